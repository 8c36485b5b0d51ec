"""Commands: done once, acknowledged, refused with a reason; and suspension."""

import pytest

from quantroll.constants import Condition, Reason
from quantroll.domain.snapshot import RequestCounts
from unit.domain.world import SPEC, World, spec_with, steady


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
        ("promote", "1-nothing/1", "the rollout under way is"),
        ("rollback", "1-nothing/1", "the rollout under way is"),
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


@pytest.mark.parametrize("verb", ["abort", "approve", "promote"])
def test_without_a_rollout_there_is_nothing_to_steer(verb):
    assert command(steady(), verb, "1-a:0/1") == (False, "no rollout is under way")


def test_approval_names_the_step():
    world = analyzing()
    name = world.status.rollout.id
    accepted, message = command(world, "approve", f"{name}:1/1")
    assert not accepted
    assert f"{name}:0/TOKEN" in message
    accepted, message = command(world, "approve", f"{name}:0/2")
    assert not accepted
    assert message == "step 0 asks for no approval: promote leaves out the waits of a step"
    world.edit(rollout__steps=[{"weight": 10, "duration": "2m", "approval": True}])
    world.tick()
    assert command(world, "approve", f"{name}:0/3") == (True, "step 0 is approved"), "before it is waited for"


# promote


def test_promote_leaves_the_rest_of_the_steps_out_but_no_pod():
    world = analyzing()
    world.requests = RequestCounts(0, 0)  # no look would pass
    rollout, candidate = world.status.rollout, world.status.candidate
    accepted, message = command(world, "promote", f"{rollout.id}/1")
    assert (accepted, message) == (True, "gptq4: it gets all the traffic as soon as it has all pods")
    world.tick()
    assert world.status.rollout.weight == 10, "capacity before weight"
    assert world.replicas[candidate.revision] == 2
    world.ready(candidate.revision)
    world.tick()
    assert (world.status.rollout.step, world.status.rollout.weight, world.status.phase) == (2, 100, "Promoting")
    world.accept()
    world.until("Steady")
    assert world.status.stable.revision == candidate.revision
    assert world.status.stable.rollout == rollout.id
    assert world.phases().count("Analyzing") == 1


def test_promote_of_one_step_leaves_that_ones_wait_out():
    world = analyzing()
    name = world.status.rollout.id
    assert not command(world, "promote", f"{name}:1/1")[0], "that step is not under way"
    assert command(world, "promote", f"{name}:0/1")[0]
    world.works()
    world.tick()
    assert (world.status.rollout.step, world.status.rollout.weight) == (1, 50)
    world.accept()
    world.tick()
    began = world.now
    world.until("Promoting")
    assert (world.now - began).total_seconds() >= 180, "the next step is held as it says"


def test_promote_before_the_first_weight_waits_for_all_pods():
    world = World()
    world.until("CandidateStarting")
    name = world.status.rollout.id
    assert not command(world, "promote", f"{name}:-1/1")[0]
    assert command(world, "promote", f"{name}/1")[0]
    candidate = world.status.candidate.revision
    assert world.replicas[candidate] == 2
    world.ready(candidate, 1)
    world.tick()
    assert world.status.rollout.weight == 0
    world.ready(candidate, 2)
    world.tick()
    assert (world.status.rollout.weight, world.status.phase) == (100, "Promoting")


def test_promote_stands_for_an_approval_and_for_a_held_step():
    world = World(spec_with(rollout__steps=[{"weight": 50, "duration": "1m", "approval": True}]))
    world.until("AwaitingApproval")
    assert command(world, "promote", f"{world.status.rollout.id}:0/1")[0]
    world.ready(world.status.candidate.revision, 2)
    world.tick()
    assert (world.status.phase, world.status.rollout.weight) == ("Promoting", 100)
    assert world.status.rollout.awaiting_since is None
    assert command(world, "promote", f"{world.status.rollout.id}/2") == (
        False, "gptq4 is given all the traffic already",
    )  # fmt: skip


def test_a_promoted_candidate_that_fails_is_taken_back_all_the_same():
    world = analyzing()
    command(world, "promote", f"{world.status.rollout.id}/1")
    world.requests = RequestCounts(500, 400)
    for _ in range(4):
        world.passes(minutes=1)
        world.tick()
    assert world.status.rollout.reason == "AnalysisFailed"
    assert not command(world, "promote", f"{world.status.rollout.id}/2")[0]


def test_promote_goes_where_the_gate_says_and_not_further():
    world = analyzing()
    command(world, "promote", f"{world.status.rollout.id}/1")
    world.edit(qualityGate__minAcceptable=0.999)
    world.tick()
    assert world.status.rollout.reason == "Superseded"


def test_abort_beats_suspension_beats_promotion():
    world = analyzing()
    name = world.status.rollout.id
    world.edit(suspend=True)
    assert command(world, "promote", f"{name}/1")[0]
    world.works()
    world.tick()
    assert world.status.rollout.weight == 10, "nothing moves while it is suspended"
    world.commands |= {"promote": f"{name}/2", "abort": f"{name}/1"}
    world.tick()
    assert {c.verb: c.accepted for c in world.status.commands} == {"abort": True, "promote": False}
    assert world.status.rollout.reason == "Aborted"


# rollback


def promoted() -> World:
    world = World()
    world.until("Steady")
    world.tick()
    return world


def test_rollback_names_the_rollout_that_promoted_what_serves():
    world = promoted()
    stable = world.status.stable
    assert not command(world, "rollback", "1-another/1")[0]
    assert f"{stable.rollout}[:REVISION]/TOKEN" in command(world, "rollback", "1-another/2")[1]
    assert command(world, "rollback", f"{stable.rollout}/1") == (True, "going back from gptq4 to baseline")
    assert world.status.phase == "RollingBack"
    assert world.status.rollout.weight == 0, "the one to go back to has to be ready first"
    world.settle()
    assert world.status.phase == "RolledBack"
    assert world.status.stable.variant == "baseline"
    assert [(r.variant, r.reason) for r in world.status.rejected] == [("gptq4", "RollbackRequested")]
    assert world.status.stable.rollout != stable.rollout
    before = world.status.rollout, world.status.stable
    world.commands["rollback"] = f"{stable.rollout}/1"  # from a backup
    world.status = world.status.model_copy(update={"commands": []})
    world.tick()
    assert (world.status.rollout, world.status.stable) == before
    assert not world.status.commands[0].accepted


def test_rollback_to_a_revision_that_is_named():
    world = promoted()
    stable, base = world.status.stable, world.status.baseline.revision
    for wrong in ("nothing", stable.revision):
        accepted, message = command(world, "rollback", f"{stable.rollout}:{wrong}/1")
        assert not accepted
        assert f"known: {base}" in message
    assert command(world, "rollback", f"{stable.rollout}:{base}/2")[0]
    world.settle()
    assert world.status.stable.revision == base


def test_nothing_unproven_is_gone_back_to():
    world = World(spec_with(variants=[SPEC["variants"][1]]))
    world.until("Steady")
    old = world.status.stable.revision
    world.edit(serving__maxNumSeqs=32)
    world.until("Steady")
    stable = world.status.stable
    assert old in {past.revision for past in world.status.last_good}
    assert not command(world, "rollback", f"{stable.rollout}:{old}/1")[0], "its verdict was about another revision"
    assert command(world, "rollback", f"{stable.rollout}/2") == (True, "going back from gptq4 to baseline")


def test_the_baseline_has_nothing_to_go_back_to():
    world = World()
    world.until("Quantizing")
    stable = world.status.stable
    name = f"{stable.revision}-{stable.since:%y%m%d%H%M%S}"
    accepted, message = command(world, "rollback", f"{name}/1")
    assert not accepted
    assert "there is nothing to go back to" in message


def test_rollback_in_a_rollout_takes_the_candidate_back():
    world = analyzing()
    name, base = world.status.rollout.id, world.status.baseline.revision
    assert "abort it first" in command(world, "rollback", f"{name}:{base}/1")[1]
    assert command(world, "rollback", f"{name}/2") == (True, "gptq4 is taken back")
    world.settle()
    assert world.status.rejected[0].reason == "Aborted"


def test_rollback_while_the_old_one_drains_turns_round_to_it():
    world = World()
    world.until("Draining")
    name, old = world.status.stable.rollout, world.status.rollout.draining
    assert command(world, "rollback", f"{name}/1")[0]
    assert world.status.candidate.revision == old
    assert world.replicas[old] == 2
    world.settle()
    assert world.status.stable.revision == old


def test_rollback_to_another_one_waits_until_what_drains_is_gone():
    world = World(spec_with(rollout__rollback={"keepWarm": "0s", "target": "Baseline"}))
    world.until("Steady")
    world.edit(variants=[SPEC["variants"][0]])
    world.until("Draining")
    world.commands["rollback"] = f"{world.status.stable.rollout}/1"
    world.tick()
    assert world.status.rollout.draining, "it still has requests"
    world.settle()
    assert world.status.stable.variant == "baseline"
    assert world.status.commands[0].accepted


def test_a_way_back_that_was_asked_for_goes_on_while_suspended():
    world = promoted()
    world.edit(suspend=True)
    assert command(world, "rollback", f"{world.status.stable.rollout}/1")[0]
    for _ in range(8):
        world.works()
        world.passes(seconds=10)
        world.tick()
    assert world.status.stable.variant == "baseline"


@pytest.mark.parametrize("weight", [0, 100])
def test_a_way_back_is_aborted_and_nothing_is_held_against_its_target(weight):
    world = promoted()
    stable = world.status.stable
    command(world, "rollback", f"{stable.rollout}/1")
    if weight:
        world.tick()  # the route names it
        world.works()
        world.tick()
    assert world.status.rollout.weight == weight
    target, name = world.status.candidate.revision, world.status.rollout.id
    assert not command(world, "abort", "1-another/1")[0]
    accepted, message = command(world, "abort", f"{name}/2")
    assert (accepted, message) == (True, "gptq4 keeps serving, and baseline goes")
    if weight:
        assert world.status.rollout.weight == 0
        assert target in world.replicas, "it is drained before it goes"
    world.settle()
    assert (world.status.phase, world.status.stable.revision) == ("Steady", stable.revision)
    assert world.status.rejected == []
    assert target not in world.replicas


def test_a_way_back_is_not_aborted_when_nothing_else_answers():
    world = promoted()
    command(world, "rollback", f"{world.status.stable.rollout}/1")
    world.works()
    world.tick()
    world.ready(world.status.stable.revision, 0)
    accepted, message = command(world, "abort", f"{world.status.rollout.id}/1")
    assert not accepted
    assert "only baseline can answer" in message
    world.settle()
    assert world.status.stable.variant == "baseline"


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


def test_errors_of_the_baseline_that_an_edit_makes_too_many_are_measured_again_too():
    world = World(spec_with(qualityGate__maxErrorRate=0.05))
    world.baseline_errors = 3
    world.settle()
    assert world.verdicts()["int8"] == "PASS"
    world.edit(qualityGate__maxErrorRate=0.001)
    world.tick()
    assert "requests to the baseline failed" in world.condition("Stalled")[2]
    assert set(world.verdicts().values()) == {None}, "nothing is proven against such a baseline"
    world.baseline_errors = 0
    assert command(world, "retry", "jobs/1") == (True, "4 failed Jobs are tried again")
    world.settle()
    assert world.verdicts()["int8"] == "PASS"


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
