"""Tools that wait read every status of a whole run rightly, and none of an earlier generation."""

from itertools import groupby

import pytest

from kstatus import kstatus, waited_for
from quantroll.constants import Condition, Phase, Reason
from quantroll.domain.snapshot import Problem, Unknown
from unit.domain.world import BAD, World, spec_with, steady

FAILED = (Phase.REJECTED, Phase.ROLLED_BACK)
RUNG, STEP = ("Quantizing", "Evaluating"), ("Shifting", "Analyzing")
WAY = ["Pending", "Baselining", *3 * RUNG, "Selecting", "CandidateStarting", *2 * STEP]
WAY += ["Promoting", "Draining", "Steady"]
APPROVAL = [{"weight": 10, "duration": "2m", "approval": True}]


class Recorded(World):
    """A world that keeps every status that was written, as an onlooker gets the object."""

    def __init__(self, spec=None):
        super().__init__(spec)
        self.bodies = []

    def tick(self, *args, **kwargs):
        before = self.status
        decided = super().tick(*args, **kwargs)
        if self.status != before:
            self.bodies.append(self.body())
        return decided

    def body(self):
        return {"metadata": {"generation": self.generation}, "status": self.status.to_wire()}


def recorded(spec=None):
    world = Recorded(spec)
    world.until("Steady")
    world.settle()
    return world


def phases(world, reading):
    return [body["status"]["phase"] for body in world.bodies if kstatus(body) == reading]


def test_a_whole_run_is_in_progress_until_it_is_current():
    world = recorded()
    read = [kstatus(body) for body in world.bodies]
    settled = read.index("Current")
    assert set(read[:settled]) == {"InProgress"}
    assert set(read[settled:]) == {"Current"}
    assert [phase for phase, _ in groupby(body["status"]["phase"] for body in world.bodies)] == WAY
    assert {body["status"]["phase"] for body in world.bodies[settled:]} == {"Steady"}
    promoted = [waited_for(body, "Promoted") for body in world.bodies]
    assert promoted == sorted(promoted)
    assert world.bodies[promoted.index(True)]["status"]["phase"] == "Draining"


@pytest.mark.parametrize("phase", FAILED)
def test_what_nothing_came_of_has_failed(phase):
    world = Recorded()
    if phase is Phase.REJECTED:
        world.cells["int8"] = BAD
    else:
        world.until("CandidateStarting")
        world.commands["abort"] = f"{world.status.rollout.id}/1"
    world.settle()
    assert world.status.phase is phase
    assert kstatus(world.bodies[-1]) == "Failed"
    assert not any(waited_for(body, kind) for body in world.bodies for kind in ("Ready", "Promoted"))


def test_a_wait_for_approval_is_progress():
    world = Recorded(spec_with(rollout__steps=APPROVAL))
    world.until("AwaitingApproval")
    assert kstatus(world.bodies[-1]) == "InProgress"


def test_what_is_stuck_has_failed_until_it_goes_on():
    world = Recorded()
    world.requests = Unknown("Prometheus: Connection refused")
    world.until("Analyzing")
    for _ in range(8):
        world.passes(minutes=1)
        world.tick()
    assert world.stalled() == Reason.METRICS_UNAVAILABLE
    assert kstatus(world.bodies[-1]) == "Failed"


EDITS = {
    "other steps": {"rollout__steps": [{"weight": 20, "duration": "1m"}]},
    "a lower floor": {"qualityGate__minAcceptable": 0.5},
    "a floor that nothing reaches": {"qualityGate__minAcceptable": 0.9999},
    "another eval set": {"qualityGate__evalSet": {"source": "pvc://tiny/other.jsonl"}},
    "another model": {"model__source": "pvc://tiny/other"},
    "other serving settings": {"serving__maxNumSeqs": 8},
    "more replicas": {"serving__replicas": 3},
    "fewer replicas": {"serving__replicas": 1},
    "fewer variants": {"variants": [{"name": "int8", "scheme": "W8A8", "smoothQuantStrength": 0.8}]},
    "an SLO": {"benchmark": {"slo": {"atConcurrency": 8, "itlP99": "60ms"}}},
    "an engine that there is none of": {"serving__engine": "unheard-of"},
    "a spec that is none": {"model__dtype": "int3"},
    "suspended": {"suspend": True},
    "another schedule": {"driftCheck__schedule": "@daily"},
}


@pytest.mark.parametrize("edit", EDITS)
def test_the_write_that_adopts_an_edit_says_whether_there_is_something_to_wait_for(edit):
    """Ready and Promoted at the new generation are true at once only where they stay so."""
    world = recorded()
    first = len(world.bodies)
    world.edit(**EDITS[edit])
    assert kstatus(world.body()) == "InProgress", "not seen yet"
    assert not any(waited_for(world.body(), kind) for kind in ("Ready", "Promoted"))
    for _ in range(60):
        decided = world.tick()
        world.works()
        if decided.wake_at and world.status.phase is not Phase.STEADY:
            world.now = max(world.now, decided.wake_at)
    written = world.bodies[first:]
    assert written[0]["status"]["observedGeneration"] == world.generation
    for kind in ("Ready", "Promoted"):
        said = [waited_for(body, kind) for body in written]
        assert said == sorted(said), f"{kind} was told too early"
    read = [kstatus(body) for body in written]
    assert "InProgress" not in read[read.index("Current") :] if "Current" in read else read[-1] != "Current"


def test_pods_that_are_still_to_come_are_waited_for_and_pods_that_go_later_are_not():
    world = recorded()
    stable = world.status.stable.revision
    world.edit(serving__replicas=3)
    world.tick()
    assert (kstatus(world.body()), waited_for(world.body(), "Ready")) == ("InProgress", False)
    assert world.condition(Condition.READY) == ("False", "Progressing", "2 of 3 pods of gptq4 are ready")
    world.ready(stable, 2, Problem(Reason.UNSCHEDULABLE, "0/3 nodes are available"))
    world.tick()
    said = "2 of 3 pods of gptq4 are ready: 0/3 nodes are available"
    assert world.condition(Condition.RECONCILING) == ("True", "Progressing", said)
    world.ready(stable, 3)
    world.tick()
    assert kstatus(world.body()) == "Current"
    before = len(world.bodies)
    for pods in (2, 3, 1, 3):
        world.ready(stable, pods)
        world.tick()
    assert {kstatus(body) for body in world.bodies[before:]} <= {"Current"}


def test_a_variant_of_an_earlier_spec_is_not_what_this_one_promoted():
    world = recorded()
    assert world.condition(Condition.PROMOTED)[:2] == ("True", "Promoted")
    world.edit(qualityGate__minAcceptable=0.9999)
    world.settle()
    assert world.status.phase is Phase.REJECTED
    assert world.status.stable.variant == "gptq4"
    assert world.condition(Condition.PROMOTED)[:2] == ("False", "Rejected")


def test_while_it_is_suspended_nothing_is_said_of_what_the_edited_spec_would_promote():
    world = recorded()
    world.edit(suspend=True)
    world.tick()
    assert world.condition(Condition.PROMOTED)[0] == "Unknown"
    world.edit(suspend=False)
    world.tick()
    assert world.condition(Condition.PROMOTED)[0] == "True"


def test_trouble_with_what_serves_has_failed_and_recovers():
    world = steady()
    stable = world.status.stable.revision
    world.ready(stable, 0)
    world.tick()
    body = {"metadata": {"generation": 1}, "status": world.status.to_wire()}
    assert kstatus(body) == "InProgress"
    world.ready(stable, 0, Problem(Reason.OUT_OF_MEMORY, "engine was killed"))
    world.tick()
    assert kstatus({"metadata": {"generation": 1}, "status": world.status.to_wire()}) == "Failed"


@pytest.mark.parametrize("reason", [Reason.ENGINE_FAILED, Reason.OUT_OF_MEMORY])
def test_a_container_of_a_job_that_ended_asks_for_nobody_yet(reason):
    world = World()
    world.until("Evaluating")
    world.tick()
    died = Problem(reason, "it ended")
    world.change_job(world.job("evaluate", "int8"), problem=died, engine_restarts=1, engine_problem=died)
    world.tick()
    assert kstatus({"metadata": {"generation": 1}, "status": world.status.to_wire()}) == "InProgress"
    assert not [event for event in world.told if event.reason == reason]
    world.change_job(world.job("evaluate", "int8"), engine_restarts=2)
    world.tick()
    assert world.verdicts()["int8"] in ("Infeasible", "ERROR")


@pytest.mark.parametrize("reason", [Reason.IMAGE_PULL, Reason.CONTAINER_CONFIG, Reason.VOLUME_MISSING])
def test_a_job_that_cannot_begin_asks_for_somebody(reason):
    world = World()
    world.until("Evaluating")
    world.tick()
    world.change_job(world.job("evaluate", "int8"), problem=Problem(reason, "it cannot begin"))
    world.tick()
    assert kstatus({"metadata": {"generation": 1}, "status": world.status.to_wire()}) == "Failed"
