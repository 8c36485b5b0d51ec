"""What may happen in any phase: model or namespace are deleted, the status is wiped."""

import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import pytest

from cluster.procs import wait_for
from integration.operator.player import report_for
from integration.operator.test_spine import FOREVER, phase, spec_with
from integration.rest import models
from quantroll.api.jobs import EvaluateInput, PrepareInput, QuantizeInput

pytestmark = [pytest.mark.integration, pytest.mark.timeout(200)]

JOBS = {
    "Pending": lambda job: isinstance(job, PrepareInput),
    "Baselining": lambda job: isinstance(job, EvaluateInput) and not job.baseline_key,
    "Quantizing": lambda job: isinstance(job, QuantizeInput),
    "Evaluating": lambda job: isinstance(job, EvaluateInput) and job.baseline_key,
}
SHORT = [{"weight": 10, "duration": "3s"}]
FOLLOWING = ["Shifting", "Analyzing", "AwaitingApproval", "Promoting", "Draining", "RollingBack"]
PHASES = [*JOBS, "Selecting", "CandidateStarting", *FOLLOWING, "Steady", "Rejected", "RolledBack"]


@pytest.fixture
def held(player, apply, status, command):
    """Bring a model to a phase in which it stays until `player` plays on; the status in it."""

    def hold(moment):
        if moment in JOBS:
            player.script = lambda job, variant: None if JOBS[moment](job) else report_for(job, variant)
        player.never_ready = {"gptq4"} if moment in ("CandidateStarting", "RolledBack") else set()
        player.accept_routes = moment != "Shifting"
        apply(spec_for(moment))
        if moment == "Promoting":
            status(phase("Analyzing"), timeout=60)
            player.accept_routes = False
        if moment == "RollingBack":
            rollout = status(phase("Analyzing"), timeout=60)["rollout"]["id"]
            player.accept_routes = False
            assert command("abort", rollout)["accepted"]
        return status(phase(moment), timeout=60)

    return hold


def spec_for(moment):
    steps = {"Analyzing": FOREVER, "RollingBack": FOREVER, "AwaitingApproval": [{**SHORT[0], "approval": True}]}
    spec = spec_with("rtn4" if moment == "Rejected" else "gptq4", steps=steps.get(moment, SHORT))
    deadlines = {"RolledBack": {"modelLoad": "3s"}, "Draining": {"drain": "1h"}}
    spec["rollout"]["deadlines"] = {**spec["rollout"]["deadlines"], **deadlines.get(moment, {})}
    spec["rollout"]["windows"] = []
    if moment == "Rejected":
        del spec["calibration"]
    if moment == "Selecting":
        far = (datetime.now(UTC) + timedelta(days=3)).strftime("%a")
        spec["rollout"]["windows"] = [{"days": [far], "from": "08:00", "to": "09:00"}]
    return spec


@pytest.mark.parametrize("moment", PHASES)
def test_a_namespace_that_is_deleted_goes_and_nothing_hangs(operator, held, rest, namespace, moment):
    held(moment)
    assert rest.request("DELETE", f"/api/v1/namespaces/{namespace}")[0] in (200, 202)
    end = time.monotonic() + 60
    while rest.request("GET", f"/api/v1/namespaces/{namespace}")[0] != 404:
        assert time.monotonic() < end, rest.request("GET", f"/api/v1/namespaces/{namespace}")[1].get("status")
        time.sleep(0.5)


@pytest.mark.parametrize("moment", ["Quantizing", "CandidateStarting", "Analyzing", "RollingBack"])
def test_a_model_that_is_deleted_leaves_nothing(operator, held, rest, namespace, moment):
    held(moment)
    assert rest.request("DELETE", models(namespace, "tiny"))[0] == 200
    paths = [f"/apis/apps/v1/namespaces/{namespace}/deployments", f"/apis/batch/v1/namespaces/{namespace}/jobs",
             f"/api/v1/namespaces/{namespace}/services", f"/api/v1/namespaces/{namespace}/persistentvolumeclaims",
             f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes"]  # fmt: skip

    def left() -> list[str]:
        found = [item for path in paths for item in rest.request("GET", path)[1]["items"]]
        return [f"{item['metadata']['name']}" for item in found if not item["metadata"].get("deletionTimestamp")]

    with suppress(TimeoutError):
        wait_for("all that was made to go", lambda: not left(), 30)
    assert left() == []


@pytest.fixture
def wipe(rest, namespace):
    """Take the whole status away, at a moment at which the operator does not write."""

    def put():
        _, model = rest.request("GET", models(namespace, "tiny"))
        return rest.request("PUT", models(namespace, "tiny", "status"), {**model, "status": {}})[0] == 200

    return lambda: wait_for("the status to be wiped", put, 10)


@pytest.mark.parametrize(
    "moment", ["Quantizing", "Selecting", "CandidateStarting", "Analyzing", "Draining", "RollingBack"]
)
def test_what_serves_stays_when_the_status_is_wiped(operator, player, held, wipe, status, apply, moment):
    before, ran = held(moment)["stable"], len(player.finished)
    wipe()
    again = status(lambda s: s.get("stable"), timeout=40)
    assert again["stable"]["revision"] == before["revision"]
    player.script, player.never_ready, player.accept_routes = report_for, set(), True
    apply(spec_for("Steady"))
    done = status(phase("Steady"), timeout=100)
    assert done["stable"]["variant"] == "gptq4"
    kinds = [kind for kind, _ in player.finished]
    assert kinds.count("evaluate") == 2, "what was measured is not measured again"
    assert len(player.finished) - ran <= (3 if moment == "Quantizing" else 0)


def test_a_status_that_is_wiped_is_rebuilt_from_the_children(operator, held, wipe, status, rest, namespace):
    before = held("Steady")
    deployments = f"/apis/apps/v1/namespaces/{namespace}/deployments"

    def made():
        return {d["metadata"]["uid"] for d in rest.request("GET", deployments)[1]["items"]}

    wait_for("the baseline's pods to go, which follow the status", lambda: len(made()) == 2, 20)
    uids = made()
    wipe()
    done = status(lambda s: s.get("phase") == "Steady" and s.get("stable"), timeout=60)
    assert done["stable"]["revision"] == before["stable"]["revision"]
    assert made() == uids, "nothing was made anew"
    first = next(entry for entry in done["history"])
    assert first["phase"] in ("Pending", "Baselining", "Steady")
