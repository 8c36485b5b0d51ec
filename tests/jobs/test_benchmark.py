"""The load generator and the client of the benchmark Job against a vLLM that runs, as processes."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from bench.jobs import ROOT, SERVED_MODEL, environment, run_job
from quantroll.api.jobs import BenchmarkInput
from quantroll.api.spec import Slo
from quantroll.builders import benchmark
from quantroll.domain.sweep import judged

pytestmark = [pytest.mark.jobs, pytest.mark.timeout(1500)]
KEY = "be" * 32


@pytest.fixture
def job(tmp_path, tiny):
    for name in ("results", "store"):
        (tmp_path / name).mkdir()
    return BenchmarkInput(
        key=KEY,
        store=str(tmp_path / "store"),
        results=str(tmp_path / "results"),
        model_path=str(tiny.model),
        endpoint="http://127.0.0.1:1",
        served_model=SERVED_MODEL,
        concurrency=[1, 4],
        prompt_tokens=32,
        output_tokens=8,
        requests=12,
        ready_timeout_seconds=240,
    )


def load(job: BenchmarkInput, python: str) -> None:
    """Run the load generator as its container does; `python` and `vllm` are those of the image."""
    shim, interpreter = ROOT / "tools" / "images", Path(python).parent
    variables = environment(VLLM_NO_USAGE_STATS="1", VLLM_CPU_OMP_THREADS_BIND="nobind")
    variables["PATH"] = os.pathsep.join([str(shim), str(interpreter), variables["PATH"]])
    done = subprocess.run(["sh", "-c", benchmark.script(job)], env=variables, check=False, timeout=900)
    assert done.returncode == 0


def test_a_sweep_of_the_tiny_model(job, baseline_engine, serve_python, tmp_path):
    job = job.model_copy(update={"endpoint": baseline_engine.url})
    before = baseline_engine.requests_answered()
    load(job, serve_python)
    # one that waits, and for each level as many to warm up as it has places
    assert baseline_engine.requests_answered() - before >= 1 + (1 + 12) + (4 + 16)
    left = {path.name for path in Path(job.results).iterdir()}
    assert {"1.json", "4.json"} <= left, [path.read_text()[-2000:] for path in Path(job.results).glob("*.log")]
    raw = json.loads((Path(job.results) / "4.json").read_text())
    assert (raw["completed"], raw["total_output_tokens"]) == (16, 16 * 8)

    ended = run_job(job, tmp_path / "termination.json")
    assert ended.code == 0, ended.output
    found = ended.report.benchmark
    assert [level[0] for level in found.levels] == [1, 4]
    assert [level[7:] for level in found.levels] == [[0, 12], [0, 16]]
    assert all(number > 0 for level in found.levels for number in level[:7])
    assert all(level[1] <= level[2] and level[3] <= level[4] for level in found.levels), "p50 and p99"
    assert 0 < found.seconds < 900
    assert found.notes == ""
    point = judged(KEY, found.levels, Slo(ttft_p99="600s"))
    assert (point.concurrency, point.output_tokens_per_second) == (4, found.levels[1][5])
    print(f"measured: {found.levels}")


def test_an_engine_that_never_comes_ends_within_its_deadline(job, serve_python, tmp_path):
    job = job.model_copy(update={"ready_timeout_seconds": 3})
    load(job, serve_python)
    assert not list(Path(job.results).glob("*.json"))
    ended = run_job(job, tmp_path / "termination.json")
    assert ended.code == 65
    assert ended.report.reason == "EngineNotReady"
    assert "no completion within 3 s" in ended.report.message
