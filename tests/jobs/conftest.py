"""The tiny model, made once and kept; the environments, which the caller has made."""

import hashlib
import os
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from jobs.processes import ROOT, environment

SOURCES = sorted((ROOT / "examples" / "tiny").glob("*.py"))


@dataclass(frozen=True)
class Tiny:
    """The folder that examples/tiny/make_model.py writes."""

    folder: Path

    @property
    def model(self) -> Path:
        return self.folder / "model"

    @property
    def eval_set(self) -> Path:
        return self.folder / "eval.jsonl"

    @property
    def calibration(self) -> Path:
        return self.folder / "calibration.jsonl"


def _interpreter(variable: str, extra: str) -> str:
    path = os.environ.get(variable, "")
    if not path or not Path(path).is_file():
        pytest.fail(f"set {variable} to the Python of an environment with the extra {extra!r}; it is {path!r}", False)
    return path


@pytest.fixture(scope="session")
def quantize_python() -> str:
    return _interpreter("QUANTROLL_QUANTIZE_PYTHON", "quantize")


@pytest.fixture(scope="session")
def serve_python() -> str:
    return _interpreter("QUANTROLL_SERVE_PYTHON", "serve")


@pytest.fixture(scope="session")
def tiny(quantize_python: str) -> Tiny:
    """Trained at the first use, which takes about two minutes; kept by the digest of what it is made from."""
    digest = hashlib.sha256()
    for path in (*SOURCES, ROOT / "uv.lock"):
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    cache = Path(os.environ.get("QUANTROLL_CACHE") or Path.home() / ".cache" / "quantroll") / "tiny"
    folder = cache / digest.hexdigest()[:16]
    if not folder.exists():
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache) as attempt:
            made = Path(attempt) / "made"
            command = [quantize_python, str(ROOT / "examples" / "tiny" / "make_model.py"), f"--out={made}"]
            subprocess.run(command, env=environment(), check=True, timeout=900)
            with suppress(OSError):  # another run was faster
                made.rename(folder)
    return Tiny(folder)
