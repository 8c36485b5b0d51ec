"""The load generator's script, run by a real shell against a `vllm` that only notes what it is asked."""

import os
import subprocess

import pytest

from quantroll.builders import benchmark
from unit.builders.samples import BENCHMARK, KEY

FAKE = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$*" in
*ready-check-timeout-sec=1800*) [ -z "$DEAD" ] || { echo "ValueError: Initial test run failed"; exit 1; } ;;
*max-concurrency=$BAD\\ *) echo "boom at $BAD"; exit 3 ;;
esac
case "$*" in *result-filename=*) echo '{}' > "$(echo "$*" | sed 's/.*result-filename=//; s/ .*//')" ;; esac
"""


@pytest.fixture
def run(tmp_path):
    """Run the script; returns (calls, files in the results' folder)."""
    tools, results = tmp_path / "bin", tmp_path / "results with a blank"
    tools.mkdir()
    results.mkdir()
    (tools / "vllm").write_text(FAKE)
    (tools / "vllm").chmod(0o755)

    def go(*, dead="", bad="none", **changes):
        job = BENCHMARK.model_copy(update={"results": str(results), "store": str(tmp_path / "store")} | changes)
        calls = tmp_path / "calls"
        variables = {"PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(calls), "DEAD": dead, "BAD": bad}
        done = subprocess.run(["sh", "-c", benchmark.script(job)], env=variables, check=False, timeout=30)
        assert done.returncode == 0, "a failed init container would hide why"
        asked = calls.read_text().splitlines() if calls.exists() else []
        return asked, {path.name: path.read_text() for path in results.iterdir()}

    return go


def test_it_waits_then_loads_level_by_level(run):
    calls, files = run()
    assert len(calls) == 4
    assert all(call.startswith("bench serve --backend=openai --base-url=http://127.0.0.1:8000") for call in calls)
    assert "--ready-check-timeout-sec=1800 --num-prompts=1 " in calls[0]
    for call, level, prompts in zip(calls[1:], (1, 8, 64), (100, 100, 256), strict=True):
        assert f"--num-prompts={prompts} --num-warmups={level} --max-concurrency={level} " in call
        assert "--random-input-len=512 --random-output-len=128" in call
    assert len({call.split("--seed=")[1].split()[0] for call in calls}) == 4, "the same prompts would be cached"
    assert {"1.json", "8.json", "64.json", "started", "ended"} <= files.keys()
    assert not [name for name in files if name.endswith((".failed", ".part"))]


def test_a_level_that_fails_is_noted_and_the_others_go_on(run):
    calls, files = run(bad="8")
    assert len(calls) == 4
    assert "boom at 8" in files["8.failed"]
    assert {"1.json", "64.json"} <= files.keys()
    assert "8.json" not in files


def test_an_engine_that_never_answers_ends_it(run):
    calls, files = run(dead="yes")
    assert len(calls) == 1
    assert "Initial test run failed" in files["engine.failed"]


def test_a_level_that_hangs_is_ended(run, tmp_path):
    slow = tmp_path / "bin" / "vllm"
    slow.write_text(FAKE + 'case "$*" in *max-concurrency=1\\ *seed=1*) sleep 60 ;; esac\n')
    _, files = run(level_timeout_seconds=1, concurrency=[1])
    assert "1.failed" in files
    assert "1.json" not in files


def test_a_finished_result_is_not_measured_again(run, tmp_path):
    place = tmp_path / "store" / "benchmarks" / KEY
    place.mkdir(parents=True)
    (place / "manifest.json").write_text("{}")
    calls, files = run()
    assert (calls, files) == ([], {})


def test_names_cannot_break_out_of_the_shell(run):
    calls, _ = run(served_model="x'; touch /tmp/quantroll-broke-out; '$(id)", concurrency=[1])
    assert "--served-model-name=x'; touch /tmp/quantroll-broke-out; '$(id)" in calls[0]
