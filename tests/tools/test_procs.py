"""Processes are started, recorded and stopped: exactly those, and nobody else's."""

import os
import signal
import subprocess
import sys
import time

import pytest

from cluster.procs import State, start_time, wait_for

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")


@pytest.fixture
def state(tmp_path):
    s = State(tmp_path)
    yield s
    s.stop()


def test_a_started_process_is_on_record_until_it_is_stopped(state):
    pid = state.spawn("one", *SLEEP, inside=False)
    assert State(state.dir).pid("one") == pid
    assert state.stop() == []
    assert start_time(pid) is None
    assert state.alive() == []


def test_a_pid_that_now_belongs_to_somebody_else_is_not_touched(state):
    stranger = subprocess.Popen(SLEEP)
    try:
        state.data["processes"].append({"name": "old", "pid": stranger.pid, "start": "1"})
        state.save()
        state.stop()
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_what_ignores_sigterm_is_killed_and_named(state):
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)\nprint('deaf', flush=True); time.sleep(60)"
    )
    pid = state.spawn("deaf", sys.executable, "-c", deaf, inside=False)
    wait_for("start", lambda: "deaf" in state.log("deaf").read_text(), 10)
    assert state._stop(timeout=0.2, only={"deaf"}) == ["deaf"]
    assert start_time(pid) is None


def test_one_can_be_ended_and_started_again_while_the_others_run_on(state):
    other, first = (state.spawn(name, *SLEEP, inside=False) for name in ("other", "one"))
    state.end("one")
    assert start_time(first) is None
    assert state.pid("other") == other
    state.end("one")  # it is not there any more: fine
    again = state.spawn("one", *SLEEP, inside=False)
    assert [p["pid"] for p in State(state.dir).data["processes"]] == [other, again]


def test_an_ended_process_is_reported_with_the_end_of_its_log(state):
    pid = state.spawn("brief", sys.executable, "-c", "print('the reason')", inside=False)
    wait_for("end", lambda: start_time(pid) is None, 10)
    with pytest.raises(RuntimeError, match="brief ended:\nthe reason"):
        state.check("brief")


def test_a_mortal_process_ends_with_its_parent(tmp_path):
    code = (
        f"import os, signal, sys; from pathlib import Path; from cluster.procs import State\n"
        f"print(State(Path({str(tmp_path)!r})).spawn('m', *{SLEEP!r}, inside=False, mortal=True), flush=True)\n"
        f"os.kill(os.getpid(), signal.SIGKILL)"
    )
    parent = subprocess.run(
        [sys.executable, "-c", code],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )
    assert parent.returncode == -signal.SIGKILL, parent.stderr
    child = int(parent.stdout)
    wait_for("the child's end", lambda: start_time(child) is None, 5)


def test_waiting_says_what_for_and_why_not():
    def refuse():
        raise OSError("refused")

    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"the port: not within 0\.2 s \(refused\)"):
        wait_for("the port", refuse, 0.2)
    assert time.monotonic() - began < 2
