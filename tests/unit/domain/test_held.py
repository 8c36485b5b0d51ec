"""A spec that cannot be taken up: nothing is begun and no weight rises, and users are protected all the same."""

from datetime import timedelta

import pytest

from quantroll.domain.snapshot import RequestCounts
from unit.domain.world import World, spec_with, steady

UNUSABLE = {
    "EngineUnknown": {"serving__engine": "unheard-of"},
    "SpecInvalid": {"driftCheck__schedule": "0 0 31 2 *"},
    "a zone": {"rollout__windows": [{"days": ["Mon"], "from": "08:00", "to": "09:00", "timeZone": "Europe/Atlantis"}]},
}
each = pytest.mark.parametrize("edit", UNUSABLE.values(), ids=UNUSABLE)


def spoilt(phase, edit):
    """A world in that phase whose spec somebody has just made unusable."""
    world = World()
    world.until(phase)
    world.edit(**edit)
    world.tick()
    assert world.stalled() in UNUSABLE
    return world


def weights(world):
    return [share.weight for share in world.route.shares]


def goes_on(world, passes=40):
    """Passes in a world that works, as long as the clock has anything to wait for."""
    for _ in range(passes):
        decided = world.tick()
        world.works()
        world.now = max(world.now, decided.wake_at or world.now)


@each
def test_a_candidate_keeps_what_it_has_and_gets_no_more(edit):
    world = spoilt("Analyzing", edit)
    rollout, replicas = world.status.rollout, dict(world.replicas)
    goes_on(world)
    assert (world.status.rollout.id, world.status.rollout.step, weights(world)) == (rollout.id, 0, [90, 10])
    assert world.replicas == replicas
    assert world.status.message == "gptq4 may leave 10 % and waits for a spec that can be used"
    assert world.stalled() in UNUSABLE


@each
def test_one_that_only_starts_gets_no_first_weight(edit):
    world = spoilt("CandidateStarting", edit)
    goes_on(world)
    assert (world.status.rollout.step, weights(world)) == (-1, [100])
    assert "waits for a spec that can be used" in world.status.message


@each
def test_the_same_rollout_goes_on_when_the_spec_is_as_before(edit):
    world = spoilt("Analyzing", edit)
    rollout = world.status.rollout
    goes_on(world)
    world.passes(days=2)
    world.spec, world.generation = World().spec, world.generation + 1
    world.until("Promoting")
    assert world.status.rollout.id == rollout.id, "what was waited for does not count against deadlines.total"
    world.settle()
    assert world.status.stable.variant == "gptq4"


@each
def test_abort_is_obeyed(edit):
    world = spoilt("Analyzing", edit)
    world.commands["abort"] = f"{world.status.rollout.id}/1"
    world.tick()
    assert (world.status.phase, weights(world)) == ("RollingBack", [100])
    goes_on(world)
    assert (world.status.phase, world.status.candidate) == ("RolledBack", None)
    assert len(world.replicas) == 1
    assert world.stalled() in UNUSABLE, "that is still what a person has to look at"


@each
def test_a_candidate_whose_pods_die_is_taken_back(edit):
    world = spoilt("Analyzing", edit)
    world.ready(world.status.candidate.revision, 0)
    world.tick()
    assert (world.status.rollout.reason, weights(world)) == ("CandidateUnavailable", [100])


@each
def test_a_candidate_that_fails_its_users_is_taken_back(edit):
    world = spoilt("Analyzing", edit)
    world.requests = RequestCounts(500, 400)
    world.passes(minutes=5)
    goes_on(world)
    assert weights(world) == [100]
    assert world.status.rejected[0].reason == "AnalysisFailed"


@each
def test_a_route_that_somebody_edits_is_put_back(edit):
    world = spoilt("Analyzing", edit)
    decided, world.route = world.route.shares, None
    world.tick()
    assert world.route.shares == decided
    world.accept()
    world.tick()
    assert (world.status.phase, world.status.rollout.since) == ("Analyzing", world.now), "its clock starts again"


@each
def test_a_way_back_is_gone_to_its_end(edit):
    world = steady()
    world.commands["rollback"] = f"{world.status.stable.rollout}/1"
    world.tick()
    assert world.status.rollout.kind == "Rollback"
    world.edit(**edit)
    goes_on(world)
    assert world.status.stable.variant == "baseline"
    assert world.status.rollout is None


@each
def test_what_has_been_promoted_lets_the_one_before_go(edit):
    world = spoilt("Draining", edit)
    goes_on(world)
    assert (world.status.stable.variant, world.status.rollout) == ("gptq4", None)


@each
@pytest.mark.parametrize("phase", ["Quantizing", "Evaluating", "Selecting"])
def test_before_a_rollout_nothing_is_begun_and_jobs_may_end(edit, phase):
    world = World()
    world.until(phase)
    world.edit(**edit)
    jobs, made = set(world.jobs), list(world.made)
    goes_on(world)
    assert (set(world.jobs), world.made, world.status.rollout) == (jobs, made, None)
    assert not world.running(), "those that ran have ended"
    world.spec, world.generation = World().spec, world.generation + 1
    world.settle()
    assert world.status.stable.variant == "gptq4"


@each
def test_suspended_it_is_as_still_as_ever(edit):
    world = World()
    world.until("Analyzing")
    world.edit(suspend=True, **edit)
    world.tick()
    world.passes(days=2)
    goes_on(world)
    assert weights(world) == [90, 10]
    assert world.status.rollout.reason is None


@each
def test_what_has_drained_leaves_a_phase_that_says_who_serves(edit):
    world = spoilt("Draining", edit)
    goes_on(world)
    assert (world.status.phase, world.status.rollout) == ("Steady", None)
    said = ("gptq4 serves; what comes next waits for a spec that can be used", "waiting for its engine")
    assert world.status.message in said
    assert world.condition("Ready")[0] == "False"


@each
def test_no_window_is_said_to_be_waited_for(edit):
    world = spoilt("Analyzing", edit)
    goes_on(world)
    assert world.status.rollout.held_since
    assert "OutsideWindow" not in [event.reason for event in world.told]


def test_a_step_that_is_edited_away_costs_the_rollout_nothing_and_lost_pods_do():
    world = spoilt("Analyzing", {"serving__engine": "unheard-of"})
    world.edit(rollout__steps=[{"weight": 5, "duration": "1m"}])
    goes_on(world)
    assert (weights(world), world.status.rollout.reason) == ([90, 10], None)
    world.ready(world.status.candidate.revision, 0)
    world.tick()
    assert (weights(world), world.status.rollout.reason) == ([100], "CandidateUnavailable")


def test_the_prober_asks_what_has_been_prepared():
    world = spoilt("Analyzing", {"serving__engine": "unheard-of"})
    asked = world.plan().wanted
    assert (asked.keep_prober, asked.prober.probe_input.source.path) == (False, "/claims/tiny/eval.jsonl")
    world.edit(qualityGate__evalSet={"source": "pvc://tiny/other.jsonl"})
    asked = world.plan().wanted
    assert (asked.keep_prober, asked.prober) == (True, None)


def test_a_spec_that_cannot_be_read_changes_nothing_at_all():
    """What a newer version stored: of the fields that are left, defaults would be no reading."""
    world = World(spec_with(serving__replicas=4))
    world.until("Steady")
    before = world.status.stable, dict(world.replicas), world.route
    world.spec["serving"] = {"engine": "vllm-cpu", "scaling": {"replicas": 4}}
    world.edit()
    world.tick()
    assert world.stalled() == "SpecInvalid"
    assert (world.status.stable, dict(world.replicas), world.route) == before


@pytest.mark.parametrize("edit", [UNUSABLE["EngineUnknown"], UNUSABLE["a zone"]], ids=["engine", "zone"])
def test_what_has_nothing_to_do_with_it_does_not_stop_the_drift_check(edit):
    world = steady()
    world.edit(**edit)
    world.tick()
    before = world.status.drift.next
    world.now = before + timedelta(seconds=1)
    goes_on(world, 5)
    assert world.status.drift.last is not None
    assert world.status.drift.next > before


def test_where_nothing_serves_yet_nothing_is_touched():
    world = World(spec_with(driftCheck__schedule="0 0 31 2 *"))
    decided = world.tick()
    assert (decided.wanted.settled, world.status.phase, world.made) == (False, "Pending", [])
