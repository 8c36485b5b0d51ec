"""Commands: done once, acknowledged, refused with a reason; and suspension."""

import pytest

from quantroll.constants import Condition, Reason
from quantroll.domain.snapshot import RequestCounts
from unit.domain.world import World, spec_with, steady


def command(world: World, verb: str, value: str) -> tuple[bool, str]:
    """Give a command, and what came of it."""
    world.commands[verb] = value
    world.tick()
    found = next(c for c in world.status.commands if c.verb == verb)
    assert found.value == value[:256]
    return found.accepted, found.message


def analyzing() -> World:
    world = World()
    world.until("Analyzing")
    world.tick()  # the first look is written down
    return world


def test_abort_takes_the_candidate_back_in_the_order_of_effects():
    world = analyzing()
    name = world.status.rollout.id
    assert command(world, "abort", f"{name}/1") == (True, "gptq4 is taken back")
    assert world.status.rollout.weight == 0
    assert [e.reason for e in world.told].count("CommandDone") == 1
    world.settle()
    assert world.status.phase == "RolledBack"
    assert world.status.rejected[0].reason == "Aborted"
    assert world.status.rejected[0].rollout == name
    assert world.status.stable.variant == "baseline"


def test_an_abort_that_comes_back_from_a_backup_does_nothing():
    world = analyzing()
    old = f"{world.status.rollout.id}/1"
    command(world, "abort", old)
    world.settle()
    world.commands["retry"] = f"{world.status.rejected[0].rollout}/1"
    world.passes(minutes=1)
    world.until("Analyzing")
    world.status = world.status.model_copy(update={"commands": []})  # as if it had never been acknowledged
    world.tick()
    accepted, message = next((c.accepted, c.message) for c in world.status.commands if c.verb == "abort")
    assert not accepted
    assert "not " + old.removesuffix("/1") in message
    world.until("Steady")


def test_a_command_is_looked_at_once():
    world = analyzing()
    command(world, "abort", "another/1")
    before, told = world.status, len(world.told)
    world.tick()
    assert world.status == before
    assert len(world.told) == told
    assert command(world, "abort", "another/2")[0] is False


@pytest.mark.parametrize(
    ("verb", "value", "message"),
    [
        ("abort", "", "the value must be"),
        ("abort", "no-token", "the value must be"),
        ("abort", "a b/1", "the value must be"),
        ("abort", f"{'x' * 256}/1", "the value must be"),
        ("abort", "1-nothing/1", "the rollout under way is"),
        ("approve", "1-nothing:0/1", "the rollout under way is"),
        ("retry", "1-nothing/1", "status.rejected has no entry"),
        ("retry", "jobs/1", "no Job has failed"),
    ],
)
def test_what_makes_no_sense_is_refused_with_a_reason_and_changes_nothing(verb, value, message):
    world = analyzing()
    before = world.status
    accepted, said = command(world, verb, value)
    assert not accepted
    assert message in said
    assert world.status.rollout == before.rollout
    assert any(e.reason == "CommandRefused" and e.type == "Warning" for e in world.told)


@pytest.mark.parametrize("verb", ["abort", "approve"])
def test_without_a_rollout_there_is_nothing_to_steer(verb):
    assert command(steady(), verb, "1-a:0/1") == (False, "no rollout is under way")


def test_approval_names_the_step():
    world = analyzing()
    name = world.status.rollout.id
    accepted, message = command(world, "approve", f"{name}:1/1")
    assert not accepted
    assert f"{name}:0/TOKEN" in message
    assert command(world, "approve", f"{name}:0/2") == (True, "step 0 is approved")


def test_nothing_is_aborted_while_only_the_candidate_answers_and_then_it_is():
    world = analyzing()
    stable = world.status.stable.revision
    world.ready(stable, 0)
    world.commands["abort"] = f"{world.status.rollout.id}/1"
    world.passes(minutes=30)
    for _ in range(3):
        world.tick()
    assert (world.status.rollout.step, world.status.rollout.weight) == (0, 10), "nor is it shifted on"
    assert world.status.commands == []
    assert world.stalled() == "NotServing"
    world.ready(stable)
    world.tick()
    assert world.status.rollout.reason == "Aborted"
    assert world.status.commands[0].accepted


def test_failed_jobs_are_tried_again_when_somebody_asks():
    world = World()
    world.until("Quantizing")
    world.fail(world.job("quantize"), Reason.OUT_OF_MEMORY)
    world.settle()
    assert world.verdicts()["int8"] == "ERROR"
    made = len(world.made)
    accepted, message = command(world, "retry", "jobs/1")
    assert accepted
    assert message == "1 failed Jobs are tried again"
    world.settle()
    assert world.verdicts()["int8"] == "PASS"
    assert len(world.made) == made + 2, "made and evaluated; nothing else again"


@pytest.mark.parametrize(("errors", "reason"), [(100, "TooManyErrors"), (15, "LopsidedErrors")])
def test_an_evaluation_in_which_requests_failed_is_measured_again_when_somebody_asks(errors, reason):
    world = World(spec_with(qualityGate__maxErrorRate=0.01))
    world.errors["int8"] = errors
    world.settle()
    row = world.status.variants[0]
    assert (row.verdict, row.reason) == ("ERROR", reason)
    made, key = len(world.made), row.evaluation.key
    world.errors.clear()
    assert command(world, "retry", "jobs/1") == (True, "1 failed Jobs are tried again")
    world.settle()
    assert world.verdicts()["int8"] == "PASS"
    assert world.made[made:] == [("evaluate", key)], "nothing else again"
    assert world.status.variants[0].failure is None


def test_a_baseline_in_which_requests_failed_is_measured_again_when_somebody_asks():
    world = World()
    world.baseline_errors = 100
    for _ in range(12):
        world.tick()
        world.works()
    assert "requests to the baseline failed" in world.condition("Stalled")[2]
    world.baseline_errors = 0
    assert command(world, "retry", "jobs/1") == (True, "1 failed Jobs are tried again")
    world.settle()
    assert world.verdicts()["int8"] == "PASS"


def test_errors_of_the_baseline_that_make_a_verdict_are_measured_again_too():
    world = World()
    world.baseline_errors = 15
    world.settle()
    assert {row.reason for row in world.status.variants} == {"LopsidedErrors"}
    made = len(world.made)
    world.baseline_errors = 0
    assert command(world, "retry", "jobs/1") == (True, "4 failed Jobs are tried again")
    world.settle()
    assert world.verdicts()["int8"] == "PASS"
    assert [kind for kind, _ in world.made[made:]] == ["evaluate"] * 4


def test_unknown_annotations_are_nobodys_commands():
    world = analyzing()
    world.commands["restart"] = "x/1"
    world.tick()
    assert world.status.commands == []


# suspension


@pytest.mark.parametrize(
    "phase", ["Baselining", "Quantizing", "Evaluating", "CandidateStarting", "Shifting", "Analyzing"]
)
def test_suspension_holds_everything_where_it_is_and_lets_it_go_on(phase):
    world = World()
    world.until(phase)
    world.edit(suspend=True)
    world.tick()
    rollout, made, replicas = world.status.rollout, list(world.made), dict(world.replicas)
    running = [job.view.uid for job in world.running()]
    assert world.condition(Condition.SUSPENDED)[0] == "True"
    assert world.condition(Condition.READY)[1] == "Suspended"
    assert world.condition(Condition.RECONCILING)[0] == "False"
    for _ in range(10):
        world.passes(hours=10)
        world.tick()
    assert world.status.phase == phase
    assert world.status.rollout == rollout
    assert world.made == made
    assert world.replicas == replicas
    assert [job.view.uid for job in world.running()] == running, "what runs may end"
    world.edit(suspend=False)
    world.until("Steady")
    assert world.status.stable.variant == "gptq4"
    assert world.condition(Condition.SUSPENDED)[0] == "False"
    assert [e.reason for e in world.told if e.reason in ("Suspended", "Resumed")] == ["Suspended", "Resumed"]


def test_a_step_is_looked_at_from_the_start_after_suspension():
    world = analyzing()
    deadline = world.status.rollout.expires_at
    world.edit(suspend=True)
    world.tick()
    world.passes(days=3)
    world.requests = RequestCounts(0, 0)
    world.edit(suspend=False)
    world.tick()
    assert world.status.rollout.step == 0
    assert world.status.rollout.since == world.now
    assert (world.status.rollout.expires_at - deadline).days == 3


def test_abort_is_stronger_than_suspension():
    world = analyzing()
    world.edit(suspend=True)
    world.tick()
    world.commands["abort"] = f"{world.status.rollout.id}/1"
    for _ in range(8):
        world.tick()
        world.works()
        world.passes(seconds=10)
    assert world.status.candidate is None
    assert world.status.rejected[0].reason == "Aborted"
    assert list(world.replicas) == [world.status.stable.revision]


def test_while_suspended_what_serves_is_put_back_and_scaled():
    world = steady()
    world.edit(suspend=True, serving__replicas=5)
    world.tick()
    assert list(world.replicas.values()) == [5]
    world.route = None
    world.tick()
    assert world.route
