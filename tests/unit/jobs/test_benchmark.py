"""The client of the benchmark Job: what it makes of the files that a load generator leaves."""

import json

import pytest

from quantroll.api.figures import MAX_LEVELS
from quantroll.api.jobs import BenchmarkInput
from quantroll.constants import Reason
from quantroll_jobs import benchmark, store
from quantroll_jobs.__main__ import execute
from quantroll_jobs.errors import JobError
from quantroll_jobs.report import encode
from unit.jobs.handmade import KEY

LEVEL = {
    "median_ttft_ms": 20.12345, "p99_ttft_ms": 31.5, "median_itl_ms": 8, "p99_itl_ms": 12, "output_throughput": 812.4,
    "request_throughput": 6.3, "completed": 100, "num_prompts": 100, "failed": 0, "errors": [],
}  # fmt: skip


@pytest.fixture
def job(tmp_path):
    (tmp_path / "results").mkdir()
    (tmp_path / "store").mkdir()
    return BenchmarkInput(
        key=KEY,
        store=str(tmp_path / "store"),
        results=str(tmp_path / "results"),
        model_path="/claims/a/b",
        endpoint="http://127.0.0.1:8000",
        served_model="tiny",
        concurrency=[1, 8],
        prompt_tokens=16,
        output_tokens=8,
        ready_timeout_seconds=60,
    )


@pytest.fixture
def leave(tmp_path):
    def write(name, content):
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "results" / name).write_text(text)

    return write


def test_a_sweep_is_reported_and_kept(job, leave, tmp_path):
    leave("1.json", LEVEL)
    leave("8.json", LEVEL | {"output_throughput": 3000, "completed": 97})
    leave("started", "1000\n")
    leave("ended", "1090\n")
    found = execute(job).benchmark
    assert found.levels == [
        [1, 20.123, 31.5, 8, 12, 812.4, 6.3, 0, 100],
        [8, 20.123, 31.5, 8, 12, 3000, 6.3, 3, 100],
    ]
    assert (found.seconds, found.notes) == (90, "")
    kept = tmp_path / "store" / "benchmarks" / KEY
    assert sorted(path.name for path in kept.iterdir()) == ["1.json", "8.json", "manifest.json"]
    assert store.finished(job).benchmark == found
    leave("1.json", LEVEL | {"output_throughput": 1})
    assert execute(job).benchmark == found, "a finished result is reported again"


def test_an_engine_that_never_answered_is_named(job, leave, tmp_path):
    leave("engine.failed", "starting\nHTTP 500: no weights\n\n")
    with pytest.raises(JobError, match="no completion within 60 s; last: HTTP 500: no weights") as caught:
        benchmark.run(job)
    assert (caught.value.reason, caught.value.permanent) == (Reason.ENGINE_NOT_READY, True)
    assert store.finished(job) is None


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "8 at once: it left no result"),
        ("{", "8 at once: its result cannot be read: JSONDecodeError"),
        ({"completed": 1}, "KeyError: 'median_ttft_ms'"),
        (LEVEL | {"p99_ttft_ms": float("nan")}, "nan is no measurement"),
        (LEVEL | {"output_throughput": -1}, "-1 is no measurement"),
        (LEVEL | {"completed": None}, "TypeError"),
        (LEVEL | {"completed": 0, "output_throughput": 0}, "8 at once: every request failed"),
    ],
)
def test_a_level_without_a_result_counts_as_failed(job, leave, content, said):
    leave("1.json", LEVEL)
    if content is not None:
        leave("8.json", content)
    found = benchmark.run(job).benchmark
    assert found.levels[0][5] == 812.4
    assert found.levels[1][:7] == [8, 0, 0, 0, 0, 0, 0]
    assert found.levels[1][7] == found.levels[1][8] > 0
    assert said in found.notes


def test_what_a_failed_level_said_is_passed_on(job, leave):
    leave("1.json", LEVEL)
    leave("8.failed", "Traceback\nboom " + "x" * 500 + "\n")
    assert benchmark.run(job).benchmark.notes.startswith("8 at once: boom xxx")


def test_a_sweep_of_failures_is_no_result(job, leave):
    leave("1.failed", "")
    leave("8.failed", "boom")
    with pytest.raises(JobError, match="1 at once: it said nothing; 8 at once: boom") as caught:
        benchmark.run(job)
    assert caught.value.reason is Reason.ENGINE_FAILED


def test_the_longest_report_fits_a_termination_message(job, leave):
    levels = [10**4 * (i + 1) for i in range(MAX_LEVELS)]
    job = job.model_copy(update={"concurrency": levels})
    huge = LEVEL | dict.fromkeys(("median_ttft_ms", "p99_ttft_ms", "median_itl_ms", "p99_itl_ms"), 123456.789)
    for level in levels[:-1]:
        leave(f"{level}.json", huge)
    leave(f"{levels[-1]}.failed", "é" * 1000)
    assert len(encode(benchmark.run(job))) <= 4096
