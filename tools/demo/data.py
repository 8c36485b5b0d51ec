"""The tiny model with its data sets, made once and kept in the cache."""

import os
import shutil
import subprocess
from pathlib import Path

from bootstrap import cache, environments

EXAMPLE = cache.CHECKOUT / "examples" / "tiny"


def folder() -> Path:
    """`model/`, `eval.jsonl` and `calibration.jsonl`; trained on the first call, in about two minutes of one core."""
    key = cache.digest(sorted(EXAMPLE.glob("*.py")), environments.key("quantize"))
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


def copy_to(target: Path) -> None:
    """A copy that pods may read as any user and tests may spoil."""
    shutil.copytree(folder(), target, dirs_exist_ok=True)
    for path in target.rglob("*"):
        path.chmod(0o755 if path.is_dir() else 0o644)
