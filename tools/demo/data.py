"""The tiny model with its data sets, made once and kept in the cache."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from bootstrap import cache, environments

EXAMPLE = cache.CHECKOUT / "examples" / "tiny"
PRODUCTION = EXAMPLE / "production.py"
SHORT = 800  # items that tell the variants apart just as well, at the demo's floor
FEW = 20  # items that cannot tell anything


def folder() -> Path:
    """`model/`, `eval.jsonl` and `calibration.jsonl`; trained on the first call, in about two minutes of one core."""
    sources = sorted(path for path in EXAMPLE.glob("*.py") if path != PRODUCTION)
    key = cache.digest(sources, environments.key("quantize"))
    made = cache.root() / "tiny" / key
    with cache.lock(made.with_suffix(".lock")):
        if not made.exists():
            _make(made)
    return made


def _make(made: Path) -> None:
    python = environments.make("quantize")
    growing = made.with_suffix(".growing")
    shutil.rmtree(growing, ignore_errors=True)
    env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLE)}
    with cache.step("training the tiny Llama"):
        subprocess.run([python, EXAMPLE / "make_model.py", "--out", growing], check=True, env=env)
    growing.rename(made)


def production(kind: str, file: Path) -> None:
    """Replace the file with what production asks, labelled: `usual` or `arithmetic`."""
    growing = file.with_suffix(".growing")
    with growing.open("w") as out:
        subprocess.run([sys.executable, PRODUCTION, kind], check=True, stdout=out)
    growing.chmod(0o644)
    growing.rename(file)


def copy_to(target: Path) -> None:
    """A copy that pods may read as any user and tests may spoil, with production's items and a shorter eval set."""
    shutil.copytree(folder(), target, dirs_exist_ok=True)
    production("usual", target / "production.jsonl")
    questions = (target / "eval.jsonl").read_text().splitlines(keepends=True)
    for count, name in ((SHORT, "eval-short.jsonl"), (FEW, "eval-20.jsonl")):
        (target / name).write_text("".join(questions[:count]))
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
