"""What a rollout costs the API server, by its own audit log."""

from pathlib import Path

import pytest

from bench import audit
from cluster.testcontrol import ControlPlaneOnly
from integration.conftest import AUDIT_LOG, AUDITED
from integration.operator.conftest import SETTINGS, Operator, running
from unit.domain import world

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

GOAL = 25
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
def audited(cluster: ControlPlaneOnly, gateway_crds: None, namespace: str, tmp_path: Path):
    """The requests of the operator that runs in the test's namespace."""
    log = audit.Log(cluster.dir.parent / AUDIT_LOG)
    log.mark()
    user = cluster.user(AUDITED, "system:masters")
    with running(Operator(cluster.client, tmp_path, namespace, SETTINGS, user)):
        yield lambda: [request for request in log.requests() if request.namespace == namespace]


def test_a_whole_rollout_of_five_steps(audited, player, apply, status):
    apply(SPEC)
    done = status(lambda found: found.get("phase") == "Steady", timeout=80)
    assert done["stable"]["variant"] == "gptq4"
    phases = [entry["phase"] for entry in done["history"]]
    assert phases.count("Analyzing") == len(STEPS)
    writes, events = audit.rollout_writes(audited())
    print(f"{len(writes)} writes, {len(events)} events")
    assert len(writes) <= GOAL, "\n".join(f"{w.verb} {w.resource} {w.name} {w.code}" for w in writes)
    assert len([write for write in writes if write.resource.endswith("/status")]) <= 2 * len(STEPS) + 4
    assert {write.code for write in writes} <= {200, 201}, "no write is refused, or was for nothing"
