"""Conditions as kstatus and people read them."""

from dataclasses import replace

import pytest

from quantroll.constants import Condition, Reason
from quantroll.domain.snapshot import Problem
from unit.domain.world import BAD, World, spec_with, steady


def answers(world):
    return {c.type: c.status for c in world.status.conditions}


def test_every_condition_is_there_from_the_first_pass_on():
    world = World()
    world.tick()
    assert set(answers(world)) == {kind.value for kind in Condition}
    assert all(c.reason and c.observed_generation == 1 for c in world.status.conditions)


@pytest.mark.parametrize(
    ("phase", "ready", "reconciling", "available", "quantized", "verified", "promoted"),
    [
        ("Pending", "False", "True", "False", "False", "Unknown", "False"),
        ("Quantizing", "False", "True", "True", "False", "Unknown", "False"),
        ("Selecting", "False", "True", "True", "True", "True", "False"),
        ("Analyzing", "False", "True", "True", "True", "True", "False"),
        ("Draining", "False", "True", "True", "True", "True", "True"),
        ("Steady", "True", "False", "True", "True", "True", "True"),
    ],
)
def test_conditions_on_the_way(phase, ready, reconciling, available, quantized, verified, promoted):
    world = World()
    world.until(phase)
    seen = answers(world)
    assert (seen["Ready"], seen["Reconciling"], seen["Stalled"]) == (ready, reconciling, "False")
    assert (seen["Available"], seen["Quantized"], seen["Verified"]) == (available, quantized, verified)
    assert seen["Promoted"] == promoted


def test_rejected_is_stalled_and_still_available():
    world = World()
    world.cells["int8"] = BAD
    world.settle()
    assert world.condition("Stalled")[:2] == ("True", "Rejected")
    assert world.condition("Verified")[:2] == ("False", "NoVariantProven")
    assert world.condition("Available")[0] == "True"
    assert world.condition("Ready")[0] == "False"


def test_the_candidates_pods_have_a_condition_of_their_own():
    world = World()
    world.until("CandidateStarting")
    world.tick()
    assert world.condition("CandidateAvailable")[0] == "False"
    world.ready(world.status.candidate.revision, 0, Problem(Reason.IMAGE_PULL, "image x: no such manifest"))
    world.tick()
    assert world.condition("CandidateAvailable")[:2] == ("False", "ImagePullFailed")
    world.until("Analyzing")
    world.tick()
    assert world.condition("CandidateAvailable")[:2] == ("True", "Serving")


def test_whether_going_back_takes_seconds_or_a_load():
    world = World(spec_with(rollout__rollback={"keepWarm": "1h"}))
    world.until("Selecting")
    assert world.condition("RollbackReady")[:2] == ("Unknown", "Waiting")
    world.until("Analyzing")
    assert world.condition("RollbackReady") == ("True", "Serving", "baseline serves beside the candidate")
    baseline = world.status.stable.revision
    world.until("Steady")
    world.tick()
    assert world.condition("RollbackReady") == ("True", "Serving", "baseline has pods that are ready")
    world.ready(baseline, 0)
    world.tick()
    assert world.condition("RollbackReady") == ("False", "NotServing", "baseline would be loaded first")
    world.ready(baseline)
    world.passes(hours=2)
    world.tick()
    assert world.condition("RollbackReady") == ("False", "NotServing", "baseline would be loaded first")
    world.commands["rollback"] = f"{world.status.stable.rollout}/1"
    world.tick()
    assert world.condition("RollbackReady") == ("Unknown", "Progressing", "the traffic is going back")
    world.settle()
    assert world.condition("RollbackReady")[0] == "Unknown", "the baseline is stable"


def test_steady_without_a_ready_pod_is_not_ready():
    world = steady()
    world.ready(world.status.stable.revision, 0, Problem(Reason.OUT_OF_MEMORY, "engine was killed"))
    world.tick()
    assert world.condition("Available")[:2] == ("False", "OutOfMemory")
    assert world.condition("Stalled")[:2] == ("True", "OutOfMemory")
    assert world.condition("Ready")[0] == "False"
    world.ready(world.status.stable.revision)
    world.tick()
    assert world.condition("Ready")[0] == "True"


def test_a_transition_time_moves_with_the_status_alone():
    world = World()
    world.tick()
    began = world.now
    world.passes(minutes=1)
    world.until("Baselining")
    ready = next(c for c in world.status.conditions if c.type == "Ready")
    assert (ready.reason, ready.last_transition_time) == ("Baselining", began)
    world.passes(minutes=1)
    world.until("Steady")
    assert next(c for c in world.status.conditions if c.type == "Ready").last_transition_time > began


def test_what_a_person_has_to_see_comes_first():
    """The first finding stands: what the API server refused explains all that follows."""
    world = World()
    world.tick()
    world.fail(world.job("prepare"), Reason.EVAL_SET_MISSING)
    refused = Problem(Reason.REFUSED, "the API server refuses Job x: exceeded quota")
    world.tick(replace(world.snapshot(), trouble=refused))
    assert world.condition("Stalled")[1:] == ("Refused", refused.message)
    world.tick()
    assert world.stalled() == "EvalSetMissing"
