"""The tiny model and the environments of the Jobs and of the engine, made once and kept in the cache."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.jobs import Engine, serving
from bootstrap import environments
from demo import data
from jobs.forked import Parent, loaded_engine, loaded_harness


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
    """The Python that the variable names; without it, that of the locked environment."""
    given = os.environ.get(variable)
    if given is None:
        return str(environments.make(extra))
    if not Path(given).is_file():
        pytest.fail(f"{variable} names {given!r}, which is no Python with the extra {extra!r}", pytrace=False)
    return given


@pytest.fixture(scope="session")
def quantize_python() -> str:
    return _interpreter("QUANTROLL_QUANTIZE_PYTHON", "quantize")


@pytest.fixture(scope="session")
def auto_awq_python() -> str:
    return _interpreter("QUANTROLL_QUANTIZE_AUTOAWQ_PYTHON", "quantize-autoawq")


@pytest.fixture(scope="session")
def serve_python() -> str:
    return _interpreter("QUANTROLL_SERVE_PYTHON", "serve")


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    """Trained at the first use, which takes about two minutes."""
    return Tiny(data.folder())


@pytest.fixture(scope="session")
def baseline_engine(serve_python: str, tiny: Tiny, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """One vLLM with the full-precision model, for all that only ask it: its start takes a core for 20 s.

    It may be loading yet: who asks waits for it.
    """
    with serving(serve_python, tiny.model, tmp_path_factory.mktemp("engine") / "baseline.vllm") as engine:
        yield engine


@pytest.fixture(scope="session")
def vllm(serve_python: str) -> Iterator[Parent]:
    """A process that has loaded vLLM, and forks engines."""
    with loaded_engine(serve_python) as parent:
        yield parent


@pytest.fixture(scope="session")
def lm_eval_python() -> str:
    return _interpreter("QUANTROLL_LM_EVAL_PYTHON", "lm-eval")


def huggingface(root: Path) -> dict[str, str]:
    """Variables with which nothing is kept elsewhere, and nothing asked for over the network."""
    return {"HF_HOME": str(root / "huggingface"), "HF_DATASETS_OFFLINE": "1"}


@pytest.fixture(scope="session")
def harness(lm_eval_python: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parent]:
    """A process that has loaded lm-eval, and forks what needs it."""
    with loaded_harness(lm_eval_python, **huggingface(tmp_path_factory.mktemp("harness"))) as parent:
        yield parent
