"""`kubectl quantroll` as a process of its own: what it writes, the operator answers; what it shows is what there is."""

import json
import re
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from types import SimpleNamespace

import pytest

from integration.operator.conftest import CHECKOUT
from integration.operator.test_spine import FOREVER, phase, spec_with
from integration.rest import models

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]

APPROVED = [{"weight": 10, "duration": "1s", "approval": True}, {"weight": 50, "duration": "1s"}]
SHIFTING = {"analysis": {"metrics": []}}


@pytest.fixture
def command(cluster, namespace):
    """Start it; the kubeconfig and the namespace are flags, as a person would give them.

    Ctrl-C reaches it as in a terminal: what a shell runs in the background, as it may do with these tests, inherits
    that SIGINT is ignored.
    """
    run = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler);"
        " from quantroll.cli.main import app; app(prog_name='quantroll')"
    )
    where = ["-n", namespace, "--kubeconfig", str(cluster.kubeconfig)]

    def start(*words):
        process = subprocess.Popen(
            [sys.executable, "-c", run, *words, *where],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={"PYTHONPATH": str(CHECKOUT / "operator"), "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
        )  # fmt: skip
        running.enter_context(process)
        running.callback(process.kill)
        return process

    with ExitStack() as running:
        yield start


@pytest.fixture
def ask(command):
    """Run it to its end."""

    def run(*words):
        process = command(*words)
        out, err = process.communicate(timeout=90)
        return SimpleNamespace(code=process.returncode, out=out, err=err, said=out + err)

    return run


def rollout(*variants, **changes):
    spec = spec_with(*variants)
    spec["rollout"] |= {**SHIFTING, **changes}
    return spec


@pytest.mark.long
def test_approve_after_status_and_why_have_told_to(operator, player, apply, status, ask):
    apply(rollout("gptq4", steps=APPROVED))
    waiting = status(phase("AwaitingApproval"), timeout=80)
    shown = ask("status", "tiny")
    assert shown.code == 0, shown.err
    assert re.search(r"candidate  gptq4     \w+  \d/\d pods ready", shown.out)
    assert "asked    baseline 90 %, gptq4 10 %" in shown.out
    assert "\x1b" not in shown.out
    told = ask("why", "tiny")
    assert told.code == 1
    assert "kubectl quantroll approve tiny -n " in told.out
    done = ask("approve", "tiny")
    assert (done.code, done.out) == (0, "step 0 is approved\n")
    settled = status(phase("Steady"), timeout=60)
    assert settled["stable"]["variant"] == "gptq4"
    [entry] = settled["commands"]
    assert entry["value"].startswith(f"{waiting['rollout']['id']}:0/")
    refused = ask("approve", "tiny")
    assert refused.code == 1
    assert refused.err.startswith("not sent: nothing to approve")
    assert ask("why", "tiny").code == 0
    assert "approve accepted" in ask("history", "tiny").out


def test_abort_and_retry(operator, player, apply, status, ask):
    apply(rollout("gptq4", steps=FOREVER))
    status(phase("Analyzing"), timeout=80)
    done = ask("abort", "tiny", "-o", "json")
    assert done.code == 0, done.said
    assert json.loads(done.out)["answer"] == "accepted"
    status(phase("RolledBack"), timeout=40)
    assert ask("why", "tiny").code == 1
    done = ask("retry", "tiny")
    assert (done.code, done.out) == (0, "the rejection is forgotten\n")
    status(phase("Analyzing"), timeout=40)


def test_promote_and_rollback(operator, player, apply, status, ask):
    apply(rollout("gptq4", steps=FOREVER, rollback={"keepWarm": "1h"}))
    status(phase("Analyzing"), timeout=80)
    done = ask("promote", "tiny")
    assert done.code == 0, done.said
    settled = status(phase("Steady"), timeout=40)
    assert settled["stable"]["variant"] == "gptq4"
    assert "int8 is no revision" in ask("rollback", "tiny", "--to", "int8").err
    done = ask("rollback", "tiny", "--to", "baseline")
    assert (done.code, done.out) == (0, "going back from gptq4 to baseline\n"), done.err
    done = status(phase("RolledBack"), timeout=40)
    assert done["stable"]["variant"] == "baseline"


def test_suspend_and_resume(operator, player, apply, status, ask):
    apply(rollout("gptq4", steps=FOREVER))
    status(phase("Analyzing"), timeout=80)
    done = ask("suspend", "tiny")
    assert (done.code, done.out) == (0, "everything is held where it is\n")
    assert status()["suspendedAt"]
    assert ask("why", "tiny").code == 1
    done = ask("resume", "tiny")
    assert done.code == 0, done.said
    assert "suspendedAt" not in status()


def test_without_an_operator_a_command_says_that_nobody_answers(operator, player, apply, status, ask, rest, namespace):
    apply(rollout("gptq4", steps=FOREVER))
    held = status(phase("Analyzing"), timeout=80)
    operator.stop()
    done = ask("abort", "tiny", "--timeout", "2s")
    assert done.code == 2
    assert done.err.startswith("no answer: written, and no answer after 2 s")
    notes = rest.request("GET", models(namespace, "tiny"))[1]["metadata"]["annotations"]
    assert notes["quantroll.io/abort"].startswith(held["rollout"]["id"])
    assert f"the operator to answer abort={held['rollout']['id']}" in ask("why", "tiny").out
    operator.start()
    status(phase("RolledBack"), timeout=40)


def test_a_watch_tells_of_each_transition_and_ends_at_ctrl_c(operator, player, apply, status, command):
    apply(rollout("gptq4", steps=APPROVED))
    process = command("status", "tiny", "--watch")
    status(phase("AwaitingApproval"), timeout=80)
    time.sleep(5)  # at least two more looks
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, "")
    assert "\x1b" not in out
    assert re.search(r"^\S+Z  AwaitingApproval: gptq4 has passed 10 %", out, re.MULTILINE)


def test_what_is_not_there_and_who_has_no_right(ask, rest, namespace):
    assert ask("status", "nothing").code == 66
    missing = ask("abort", "nothing")
    assert missing.code == 66
    assert missing.err == f"error: no QuantizedModel nothing in namespace {namespace}\n"


def test_the_tab_key_offers_names(cluster, namespace, apply):
    apply(rollout("gptq4"), "ticket-triage")
    program = "from quantroll.cli.completion import for_kubectl; for_kubectl()"
    words = ["why", "-n", namespace, "--kubeconfig", str(cluster.kubeconfig), "tick"]
    env = {"PYTHONPATH": str(CHECKOUT / "operator"), "PATH": "/usr/bin:/bin"}
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, env=env, check=True)
    assert done.stdout == "ticket-triage\n:4\n"
