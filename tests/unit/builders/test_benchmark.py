"""The load generator's script, run by a real shell beside an engine, with a `vllm` that only notes what it is asked."""

import os
import socket
import subprocess
import threading
import time
from contextlib import suppress

import pytest

from quantroll.builders import benchmark
from unit.builders.samples import BENCHMARK, KEY
from unit.jobs.fake_engine import FakeEngine

FAKE = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$*" in *max-concurrency=$BAD\\ *) echo "boom at $BAD"; exit 3 ;; esac
case "$*" in *result-filename=*) echo '{}' > "$(echo "$*" | sed 's/.*result-filename=//; s/ .*//')" ;; esac
"""
# `date`, of a clock that goes on by ten seconds whenever it is looked at
CLOCK = """#!/bin/sh
now=$(($(cat "$CALLS.now" 2>/dev/null || echo 0) + 10))
echo $now | tee "$CALLS.now"
"""


@pytest.fixture
def engine():
    with FakeEngine().serving() as made:
        made.answer = lambda _: "!"
        yield made


@pytest.fixture
def run(tmp_path, engine):
    """Run the script; returns (calls, files in the results' folder)."""
    tools, results = tmp_path / "bin", tmp_path / "results with a blank"
    tools.mkdir()
    results.mkdir()
    (tools / "vllm").write_text(FAKE)
    (tools / "vllm").chmod(0o755)

    def go(*, bad="none", **changes):
        places = {"results": str(results), "store": str(tmp_path / "store"), "endpoint": engine.url}
        job = BENCHMARK.model_copy(update=places | changes)
        calls = tmp_path / "calls"
        variables = {"PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(calls), "BAD": bad}
        done = subprocess.run(["sh", "-c", benchmark.script(job)], env=variables, check=False, timeout=30)
        assert done.returncode == 0, "a failed init container would hide why"
        asked = calls.read_text().splitlines() if calls.exists() else []
        return asked, {path.name: path.read_text() for path in results.iterdir()}

    return go


def test_it_waits_then_loads_level_by_level(run, engine):
    told = iter([503, "!"])
    engine.answer = lambda _: next(told)
    calls, files = run()
    asked = [{name: body[name] for name in ("path", "model", "max_tokens")} for body in engine.requests]
    assert asked == 2 * [{"path": "/v1/completions", "model": BENCHMARK.served_model, "max_tokens": 1}]
    assert all(call.startswith(f"bench serve --backend=openai --base-url={engine.url} ") for call in calls)
    for call, level, prompts in zip(calls, (1, 8, 64), (100, 100, 256), strict=True):
        assert f"--num-prompts={prompts} --num-warmups={level} --max-concurrency={level} " in call
        assert "--random-input-len=512 --random-output-len=128" in call
    assert len({call.split("--seed=")[1].split()[0] for call in calls}) == 3, "the same prompts would be cached"
    assert {"1.json", "8.json", "64.json", "started", "ended"} <= files.keys()
    assert not [name for name in files if name.endswith((".failed", ".part"))]


def test_a_level_that_fails_is_noted_and_the_others_go_on(run):
    calls, files = run(bad="8")
    assert len(calls) == 3
    assert "boom at 8" in files["8.failed"]
    assert {"1.json", "64.json"} <= files.keys()
    assert "8.json" not in files


def test_an_engine_that_gives_no_completion_is_asked_again_until_the_deadline(run, engine, tmp_path):
    clock = tmp_path / "bin" / "date"
    clock.write_text(CLOCK)
    clock.chmod(0o755)
    engine.answer = lambda _: 500
    calls, files = run(ready_timeout_seconds=20)
    assert calls == []
    assert len(engine.requests) == 2, "10 seconds after the deadline was set, and 20"
    assert files["engine.failed"].startswith("HTTP 500: ")
    assert files.keys() == {"started", "engine.log", "engine.failed"}


def test_an_engine_that_hangs_ends_it(run, engine):
    engine.answer = lambda _: time.sleep(3)
    _, files = run(ready_timeout_seconds=1)
    assert files["engine.failed"] == "no answer yet: timed out\n"


def test_an_engine_whose_answer_drips_ends_it(run):
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            connection, _ = server.accept()
            with connection, suppress(OSError):
                for letter in 100 * b"H":  # each in time, and no line of it ever ends
                    connection.sendall(bytes([letter]))
                    time.sleep(0.3)

        threading.Thread(target=drip, daemon=True).start()
        calls, files = run(endpoint=f"http://127.0.0.1:{server.getsockname()[1]}", ready_timeout_seconds=1)
    assert calls == []
    assert "engine.failed" in files


def test_an_engine_that_is_not_there_ends_it(run):
    _, files = run(endpoint="http://127.0.0.1:1", ready_timeout_seconds=1)
    assert files["engine.failed"] == "no answer yet: [Errno 111] Connection refused\n"


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
