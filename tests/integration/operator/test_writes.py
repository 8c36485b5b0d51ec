"""What a rollout costs the API server, and what a model that is settled does, by its own audit log."""

import copy
import time
from pathlib import Path

import pytest

from bench import audit
from cluster.procs import wait_for
from integration.conftest import Cluster
from integration.operator.conftest import SETTINGS, Operator, running
from integration.operator.test_steering import ANALYSIS, Prometheus
from unit.adapters.prometheus_server import serving
from unit.domain import world

pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("player"), pytest.mark.timeout(120)]

GOAL = 25
IDLE = 8.0  # seconds
STEPS = [{"weight": weight, "duration": "1s"} for weight in (5, 10, 25, 50, 75)]
SPEC = world.spec_with(
    variants=[variant for variant in world.SPEC["variants"] if variant["name"] == "gptq4"],
    serving__replicas=1,
    rollout__steps=STEPS,
    rollout__analysis={"metrics": []},
    rollout__deadlines={"modelLoad": "20s", "drain": "2s"},
    rollout__rollback={"keepWarm": "24h"},  # as is the default: what goes after that is no part of the rollout
    storage={"reclaimPolicy": "Delete"},
)


@pytest.fixture
def prometheus():
    with serving() as script:
        yield Prometheus(script)


@pytest.fixture
def audited(cluster: Cluster, namespace: str, prometheus: Prometheus, tmp_path: Path):
    """The requests of the operator that runs in the test's namespace."""
    log = audit.Log(cluster.audit_log)
    log.mark()
    settings = {**copy.deepcopy(SETTINGS), "prometheus": {"url": prometheus.script.url, "timeoutSeconds": 2}}
    with running(Operator(cluster.client, tmp_path, namespace, settings, cluster.audited)):
        yield lambda: [request for request in log.requests() if request.namespace == namespace]


def test_a_whole_rollout_of_five_steps_and_rest_after_it(audited, apply, status):
    apply(SPEC)
    done = status(lambda found: found.get("phase") == "Steady", timeout=80)
    assert done["stable"]["variant"] == "gptq4"
    phases = [entry["phase"] for entry in done["history"]]
    assert phases.count("Analyzing") == len(STEPS)
    before = asked_until_quiet(audited)
    writes = cheap(audited())
    assert len([write for write in writes if write.resource.endswith("/status")]) <= 2 * len(STEPS) + 3
    time.sleep(IDLE)
    # changes are told by watches, which end now and then and are begun again
    assert [request for request in audited()[before:] if request.verb != "watch"] == []


def test_analysis_and_an_approval_cost_little(audited, apply, status, command):
    steps = [*STEPS[:2], {**STEPS[2], "approval": True}, *STEPS[3:]]
    apply({**SPEC, "rollout": {**SPEC["rollout"], "analysis": ANALYSIS, "steps": steps}})
    waiting = status(lambda found: found.get("phase") == "AwaitingApproval", timeout=80)
    assert command("approve", f"{waiting['rollout']['id']}:2")["accepted"]
    done = status(lambda found: found.get("phase") == "Steady", timeout=60)
    assert [entry["phase"] for entry in done["history"]].count("Analyzing") == len(STEPS)
    asked_until_quiet(audited)
    cheap(audited(), told=1)


def cheap(requests: list[audit.Request], told: int = 0) -> list[audit.Request]:
    """What the rollout wrote: not more than it may, and `told` to say that a person is waited for."""
    writes, events = audit.rollout_writes(requests)
    print(f"{len(writes)} writes, {len(events)} events")
    assert len(writes) <= GOAL + told, "\n".join(f"{w.verb} {w.resource} {w.name} {w.code}" for w in writes)
    assert {write.code for write in writes} <= {200, 201}, "no write is refused, or was for nothing"
    return writes


def asked_until_quiet(audited) -> int:
    """Wait until nothing was asked for a while; how many requests there were until then."""
    counts = [-1]

    def is_quiet() -> bool:
        counts.append(len(audited()))
        return counts[-1] == counts[-2]

    wait_for("quiet", is_quiet, 30, every=2)
    return counts[-1]
