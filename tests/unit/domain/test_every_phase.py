"""Every command in every phase, and suspension: what is taken, what is refused with a reason, and that it ends well."""

import pytest

from quantroll.constants import Condition
from quantroll.domain.conditions import SETTLED
from unit.domain.world import World, spec_with

APPROVAL = [{"weight": 10, "duration": "2m", "approval": True}, {"weight": 50, "duration": "3m"}]
STEERED = {"abort", "promote", "rollback"}
# phase: the commands that make sense in it; of a rollout under way, of the revision that serves, or of one taken back
TAKEN = {
    "Pending": set(),
    "Baselining": set(),
    "Quantizing": set(),
    "Evaluating": set(),
    "Selecting": set(),
    "CandidateStarting": STEERED,
    "Shifting": STEERED,
    "Analyzing": STEERED,
    "AwaitingApproval": {*STEERED, "approve"},
    "Promoting": {"abort", "rollback"},
    "Draining": {"rollback"},
    "Steady": {"rollback"},
    "Rejected": set(),
    "RollingBack": set(),
    "RolledBack": {"retry"},
}
VERBS = ["abort", "approve", "promote", "retry", "rollback"]


def in_phase(phase: str) -> World:
    """A world in this phase, in which all that is asked for comes about."""
    world = World(spec_with(rollout__steps=APPROVAL) if phase == "AwaitingApproval" else None)
    if phase == "Rejected":
        world.cells["int8"] = world.cells["rtn4"]
    if phase in ("RollingBack", "RolledBack"):
        world.until("Analyzing")
        world.commands["abort"] = f"{world.status.rollout.id}/before"
    world.until(phase)
    return world


def named(world: World, verb: str) -> str:
    """The value that a person would give: of what there is to name in this phase."""
    status = world.status
    if status.rollout:
        step = f":{status.rollout.step}" if verb == "approve" else ""
        return f"{status.rollout.id}{step}/now"
    if verb == "retry" and status.rejected:
        return f"{status.rejected[-1].rollout}/now"
    return f"{status.stable.rollout if status.stable and status.stable.rollout else '1-none'}/now"


def answer(world: World, verb: str):
    return next((entry for entry in world.status.commands if entry.verb == verb), None)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("phase", TAKEN)
def test_a_command_is_taken_where_it_makes_sense_and_else_refused_with_a_reason(phase, verb):
    world = in_phase(phase)
    world.commands[verb] = named(world, verb)
    world.tick()
    first = answer(world, verb)
    assert first.accepted is (verb in TAKEN[phase]), first.message
    assert first.message
    told = [e for e in world.told if e.reason in ("CommandDone", "CommandRefused") and verb in e.message]
    world.tick()
    assert answer(world, verb) == first, "once"
    assert [e for e in world.told if e.reason in ("CommandDone", "CommandRefused") and verb in e.message] == told
    world.works()
    if phase == "AwaitingApproval" and not first.accepted:
        world.commands["approve"] = f"{world.status.rollout.id}:{world.status.rollout.step}/after"
    world.settle()
    assert world.status.phase in SETTLED
    assert answer(world, verb) in (first, None)


@pytest.mark.parametrize("phase", ["Selecting", "AwaitingApproval", "Promoting", "Draining", "Steady", "Rejected"])
def test_suspension_holds_the_later_phases_too(phase):
    world = in_phase(phase)
    world.edit(suspend=True)
    world.tick()
    before, made, replicas = world.status, list(world.made), dict(world.replicas)
    assert world.condition(Condition.SUSPENDED)[0] == "True"
    for _ in range(5):
        world.passes(hours=10)
        world.works(but="route" if phase == "Promoting" else "")
        world.tick()
    assert (world.status.phase, world.status.stable, world.made) == (before.phase, before.stable, made)
    assert world.replicas == replicas
    world.edit(suspend=False)
    if phase == "AwaitingApproval":
        world.until("AwaitingApproval")
        world.commands["approve"] = f"{world.status.rollout.id}:{world.status.rollout.step}/after"
    world.settle()
    assert world.status.phase == ("Rejected" if phase == "Rejected" else "Steady")


def test_what_is_taken_back_goes_on_its_way_while_suspended():
    world = in_phase("RollingBack")
    world.edit(suspend=True)
    for _ in range(8):
        world.tick()
        world.works()
        world.passes(seconds=10)
    assert world.status.candidate is None
    assert list(world.replicas) == [world.status.stable.revision]


@pytest.mark.parametrize("phase", [phase for phase in TAKEN if phase not in ("RollingBack", "RolledBack")])
def test_a_spec_that_is_changed_and_changed_back_ends_where_it_would_have(phase):
    world = in_phase(phase)
    usual = world.spec["serving"].get("maxNumSeqs", 64)
    world.edit(serving__maxNumSeqs=8)
    world.tick()
    world.works()
    world.tick()
    world.edit(serving__maxNumSeqs=usual)
    if phase == "AwaitingApproval":
        world.until("AwaitingApproval")
        world.commands["approve"] = f"{world.status.rollout.id}:{world.status.rollout.step}/after"
    world.settle()
    if phase == "Rejected":
        assert world.status.phase == "Rejected"
        return
    assert (world.status.phase, world.status.stable.variant) == ("Steady", "gptq4")
    assert world.status.stable.spec.serving.max_num_seqs == usual
    assert world.status.rejected == []
    made = [key for kind, key in world.made if kind == "quantize"]
    assert len(made) == len(set(made)), "what was made is not made again"
