"""The drift check: screen, suspect, confirm, decide, go back; and what nothing is known of decides nothing."""

from datetime import timedelta

import pytest

from quantroll.api.engine import EngineProfile
from quantroll.api.jobs import ConfirmResult
from quantroll.api.spec import QuantizedModelSpec
from quantroll.constants import BASELINE, Condition, Phase, Reason
from quantroll.domain.drift_check import floor_of
from quantroll.domain.snapshot import JobState, Problem, QualityCounts, ServerView, Unknown
from unit.domain.world import World, spec_with, steady

GOOD, BAD = QualityCounts(right=960, wrong=40, distinct=1000), QualityCounts(right=800, wrong=200, distinct=1000)
WORSE = ConfirmResult(items=1000, errors=0, both=790, serving_only=10, target_only=195, neither=5, source_sha256="e")
AS_BAD = ConfirmResult(items=1000, errors=0, both=790, serving_only=10, target_only=10, neither=190, source_sha256="e")


def serving(**changes) -> World:
    """Something serves that is proven, has for two weeks, and was healthy when it was checked last."""
    world = steady(spec_with(**{"driftCheck": {"schedule": "@weekly"}, **changes}))
    world.passes(days=14)
    world.tick()
    assert world.status.drift.verdict == "Healthy"
    world.told.clear()
    return world


def check(world: World) -> str:
    """Runs the check that is due, up to its first answer."""
    world.now = max(world.now, world.status.drift.next)
    world.tick()
    return world.status.drift.verdict


def reasons(world: World) -> list[str]:
    return [event.reason for event in world.told]


def floor_met(world: World) -> tuple[str, str]:
    return world.condition(Condition.QUALITY_FLOOR_MET)[:2]


def test_until_a_check_has_run_nothing_is_claimed():
    world = steady()
    drift = world.status.drift
    assert (drift.verdict, drift.last) == ("Pending", None)
    assert drift.next == pytest.approx(world.status.stable.since + timedelta(hours=1), abs=timedelta(minutes=6))
    assert drift.floor == pytest.approx(0.94 * 0.995)
    assert floor_met(world) == ("Unknown", "Waiting")


def test_where_differences_are_compared_the_floor_is_the_baselines_score_less_the_drop():
    world = steady(spec_with(qualityGate__comparison="Difference", qualityGate__maxDrop=0.06))
    assert world.status.stable.variant == "gptq4"
    assert world.status.drift.floor == pytest.approx(0.995 - 0.06)
    world.quality = QualityCounts(right=930, wrong=70, distinct=1000)
    assert check(world) == "Suspect"
    assert "(0.930), floor 0.935" in world.status.drift.confirming.screen


def test_the_floor_is_of_right_answers_whatever_the_mean_of_a_graded_score():
    world = steady()
    graded = world.status.baseline.model_copy(update={"score": 0.5})
    spec = QuantizedModelSpec.model_validate(world.spec)
    assert floor_of(world.status.model_copy(update={"baseline": graded}), spec) == pytest.approx(0.94 * 0.995)
    assert floor_of(world.status.model_copy(update={"baseline": None, "drift": None}), spec) is None


def test_bounds_are_of_distinct_items_however_often_they_were_asked():
    world = steady()
    world.quality = QualityCounts(right=9600, wrong=400, distinct=1000)
    assert check(world) == "Healthy"
    often = world.status.drift
    world.quality = GOOD
    assert check(world) == "Healthy"
    assert (often.samples, often.lower_bound, often.upper_bound) == (
        1000, world.status.drift.lower_bound, world.status.drift.upper_bound,
    )  # fmt: skip


@pytest.mark.parametrize(("distinct", "catastrophic"), [(200, False), (10000, True)])
def test_the_same_items_again_make_no_catastrophe(distinct, catastrophic):
    world = serving()
    world.quality = QualityCounts(right=8840, wrong=1160, distinct=distinct)
    assert check(world) == "Suspect"
    assert bool(world.status.drift.confirming.catastrophic) is catastrophic


def test_the_full_precision_model_is_not_checked():
    world = World(spec_with(qualityGate__minAcceptable=0.999))
    world.until("Rejected")
    world.settle()
    assert world.status.drift.next is None
    assert "full-precision" in world.status.drift.message


def test_a_healthy_answer_is_written_once_a_check():
    world = steady()
    world.told.clear()
    assert check(world) == "Healthy"
    drift = world.status.drift
    assert (drift.value, drift.samples) == (0.96, 1000)
    assert "960 of 1000" in drift.message
    assert drift.last == world.now
    assert drift.next > world.now + timedelta(hours=20)
    assert floor_met(world) == ("True", "FloorMet")
    assert reasons(world) == ["FloorMet"]
    world.passes(hours=1)
    before = world.status
    world.tick()
    assert world.status == before
    assert check(world) == "Healthy"
    assert reasons(world) == ["FloorMet"], "healthy again is no news"


def test_a_missed_slot_runs_once():
    world = serving()
    check(world)
    world.passes(days=40)
    last = world.status.drift.last
    world.tick()
    assert world.status.drift.last > last
    assert world.status.drift.next > world.now
    before = world.status
    world.tick()
    assert world.status == before


@pytest.mark.parametrize("counts", [Unknown("Prometheus does not answer"), QualityCounts(3, 0, 1000)])
def test_the_first_check_after_a_promotion_needs_no_counts(counts):
    world = steady()
    world.quality = counts
    assert check(world) == "Pending"
    assert world.status.drift.confirming, world.status.drift.message
    world.settle()
    assert world.status.drift.verdict == "Healthy"
    assert check(world) in ("Unknown", "Pending"), "those after it do"
    assert world.status.drift.confirming is None


UNKNOWNS = [
    Unknown("Prometheus does not answer: connection refused"),
    QualityCounts(right=0, wrong=0, distinct=1000),
    QualityCounts(right=100, wrong=99, distinct=1000),  # one too few
    QualityCounts(right=0, wrong=5000, distinct=199),  # the same items again and again
]


@pytest.mark.parametrize("counts", UNKNOWNS)
def test_no_data_is_unknown_says_so_and_changes_nothing(counts):
    world = serving()
    world.quality = counts
    before, replicas = world.status, dict(world.replicas)
    assert check(world) == "Unknown"
    assert floor_met(world) == ("Unknown", "QualityUnknown")
    assert reasons(world) == ["QualityUnknown"]
    assert world.status.stable == before.stable
    assert world.replicas == replicas
    assert world.status.rollout is None
    assert world.status.phase is Phase.STEADY
    assert world.status.drift.last == before.drift.last
    assert world.status.drift.next <= world.now + timedelta(minutes=10), "it is tried again soon"
    check(world)
    assert reasons(world) == ["QualityUnknown"] * 2, "every check that could not tell is told"
    world.quality = GOOD
    assert check(world) == "Healthy"


def test_too_young_is_pending_and_no_alarm():
    world = steady(spec_with(driftCheck={"schedule": "*/5 * * * *"}))
    world.told.clear()
    world.quality = QualityCounts(right=4, wrong=1, distinct=1000)
    assert check(world) == "Pending"
    assert reasons(world) == []
    assert floor_met(world) == ("Unknown", "Waiting")


def test_an_hour_after_the_promotion_the_confirmation_runs_if_the_probe_has_too_little():
    world = steady()
    world.quality = QualityCounts(right=55, wrong=5, distinct=1000)
    assert check(world) == "Pending"
    assert world.status.drift.confirming
    world.settle()
    assert world.status.drift.verdict == "Healthy"
    assert world.status.drift.last - world.status.stable.since < timedelta(hours=2)
    assert list(world.replicas) == [world.status.stable.revision], "what was brought up to be asked is gone"
    world.passes(hours=23)
    world.quality = GOOD
    assert check(world) == "Healthy"


def suspected(**changes) -> World:
    world = serving(**changes)
    world.quality = BAD
    assert check(world) == "Suspect"
    return world


def test_a_suspicion_moves_no_traffic_and_brings_the_fallback_up():
    world = suspected()
    check_ = world.status.drift.confirming
    assert check_.target == world.status.baseline.revision
    assert world.replicas[check_.target] == 2
    assert world.status.phase is Phase.STEADY
    assert world.status.candidate is None
    assert [s.revision for s in world.route.shares] == [world.status.stable.revision]
    assert floor_met(world) == ("Unknown", "FloorSuspect")
    assert world.job("confirm") is None, "nothing is asked before it is ready"
    world.ready(check_.target)
    world.tick()
    job = world.job("confirm").wanted.job_input
    assert job.serving.revision == world.status.stable.revision
    assert job.target.revision == check_.target
    assert job.eval_set.sha256 == world.prepared.eval_set.sha256


def test_confirmed_goes_back_and_stays_away():
    world = suspected()
    bad, target = world.status.stable.revision, world.status.drift.confirming.target
    world.confirmed = WORSE
    world.until("RollingBack")
    assert world.status.drift.verdict == "Breached"
    assert world.status.stable.revision == bad, "what serves keeps serving until the other one is ready"
    assert world.status.rollout.kind == "Rollback"
    world.settle()
    assert world.status.stable.revision == target
    assert world.status.phase is Phase.ROLLED_BACK
    assert world.status.rejected[0].reason == "FloorBreached"
    assert world.status.rejected[0].revision == bad
    assert bad not in [past.revision for past in world.status.last_good]
    assert list(world.replicas) == [target]
    assert {"FloorSuspect", "FloorBreached", "RollingBack", "RolledBack"} <= set(reasons(world))
    world.edit(serving__replicas=3)
    world.passes(days=30)
    world.settle()
    assert world.status.stable.revision == target, "an edit does not bring it back"
    world.commands["retry"] = f"{world.status.rejected[0].rollout}/1"
    world.confirmed = ConfirmResult(**{**WORSE.model_dump(), "both": 980, "target_only": 5})
    world.until("Steady")
    assert world.status.stable.revision == bad


def test_not_confirmed_is_healthy_and_the_fallback_goes():
    world = suspected()
    world.settle()
    assert world.status.drift.verdict == "Healthy"
    assert "not confirmed" in world.status.drift.message
    assert list(world.replicas) == [world.status.stable.revision]


def test_while_the_baseline_is_measured_anew_the_floor_of_before_holds():
    world = serving()
    floor = world.status.drift.floor
    world.edit(serving__maxNumSeqs=8)
    world.tick()
    assert world.status.baseline.evaluation is None
    world.quality = BAD
    assert check(world) == "Suspect"
    assert world.status.drift.floor == floor == pytest.approx(0.94 * 0.995)


def test_when_everything_is_as_bad_the_questions_have_changed():
    world = suspected()
    world.confirmed = AS_BAD
    world.settle()
    assert world.status.drift.verdict == "PopulationShift"
    assert world.status.stable.variant == "gptq4"
    assert floor_met(world) == ("False", "PopulationShift")
    assert "PopulationShift" in reasons(world)


def test_an_alert_is_no_rollback():
    world = suspected(driftCheck={"schedule": "@weekly", "onBreach": "Alert"})
    world.confirmed = WORSE
    world.settle()
    assert world.status.drift.verdict == "Breached"
    assert world.status.stable.variant == "gptq4"
    assert world.status.phase is Phase.STEADY
    assert floor_met(world) == ("False", "FloorBreached")
    assert "FloorBreached" in reasons(world)


@pytest.mark.parametrize("what", ["pods", "job"])
def test_a_confirmation_that_cannot_run_is_unknown(what):
    world = suspected()
    stable = world.status.stable
    if what == "pods":
        problem = Problem(Reason.UNSCHEDULABLE, "0/3 nodes have a free GPU")
        world.servers[world.status.drift.confirming.target] = ServerView(problem=problem)
        world.tick()
        assert world.stalled() == "RollbackBlocked"
    else:
        world.ready(world.status.drift.confirming.target)
        world.tick()
        world.fail(world.job("confirm"), Reason.ENGINE_NOT_READY)
    world.passes(hours=6)
    world.tick()
    assert world.status.drift.verdict == "Unknown"
    assert world.status.drift.confirming is None
    assert world.status.stable == stable
    assert "QualityUnknown" in reasons(world)
    if what == "pods":
        assert "0/3 nodes" in world.status.drift.message
    world.quality = GOOD
    assert check(world) == "Healthy"
    assert world.stalled() is None


def test_each_check_asks_anew():
    world = suspected()
    first = world.status.drift.confirming.key
    world.settle()
    world.passes(days=7)
    assert check(world) == "Suspect"
    assert world.status.drift.confirming.key != first


def test_production_items_are_asked_where_there_are_some():
    world = suspected(probe={"source": "pvc://tiny/production.jsonl"})
    world.ready(world.status.drift.confirming.target)
    world.tick()
    source = world.job("confirm").wanted.job_input.eval_set
    assert (source.path, source.sha256) == ("/claims/tiny/production.jsonl", None)


def test_no_check_runs_while_traffic_moves_and_a_suspicion_ends_with_it():
    world = suspected()
    world.edit(serving__maxNumSeqs=17)  # new revisions of everything
    world.until("CandidateStarting")
    assert world.status.drift.confirming is None or world.status.rollout is None
    world.passes(days=8)
    world.tick()
    assert world.status.drift.confirming is None


def test_a_rollout_waits_for_the_confirmation():
    world = suspected()
    world.ready(world.status.drift.confirming.target)
    world.tick()
    world.edit(qualityGate__minAcceptable=0.99)  # only int8 is proven by that
    for _ in range(4):
        world.tick()
    assert world.status.phase is Phase.SELECTING
    assert "waits for the drift check" in world.status.message
    world.settle()
    assert world.status.stable.variant == "int8"


def rolling_back() -> World:
    world = suspected()
    world.confirmed = WORSE
    world.until("RollingBack")
    return world


def test_a_rollback_waits_for_all_pods_and_says_what_keeps_them():
    world = rolling_back()
    target = world.status.candidate.revision
    world.servers[target] = ServerView(ready=1, problem=Problem(Reason.UNSCHEDULABLE, "no GPU is free"))
    for _ in range(30):
        world.passes(hours=5)
        world.tick()
    assert world.status.stable.variant == "gptq4"
    assert world.route.shares[0].revision == world.status.stable.revision
    assert world.stalled() == "RollbackBlocked"
    world.settle()
    assert world.status.stable.revision == target
    assert world.stalled() == "RolledBack"


def test_a_rollback_whose_pods_die_before_it_is_verified_gives_the_traffic_back():
    world = rolling_back()
    target, bad = world.status.candidate.revision, world.status.stable.revision
    world.ready(target)
    world.tick()
    assert [s.revision for s in world.route.shares] == [target]
    world.ready(target, 0)
    world.tick()
    assert [s.revision for s in world.route.shares] == [bad]
    world.settle()
    assert world.status.stable.revision == target


def test_a_rollback_after_a_breach_is_aborted_when_a_person_wants_it():
    world = rolling_back()
    bad = world.status.stable.revision
    world.commands["abort"] = f"{world.status.rollout.id}/1"
    world.tick()
    assert world.status.commands[0].accepted
    world.settle()
    assert (world.status.phase, world.status.stable.revision) == ("Steady", bad)
    assert world.status.drift.verdict == "Breached", "which is said all the same"


def test_while_all_is_measured_anew_nothing_is_gone_back_to_that_has_never_run():
    """The admin's new engine image may be broken: the full-precision model has not answered under it yet."""
    world = serving(qualityGate__minAcceptable=0.96)
    world.edit(qualityGate__minAcceptable=0.94)
    world.until("Steady")
    world.settle()
    world.engines["vllm-cpu"] = EngineProfile(image="example.com/vllm-cpu:2", device="cpu")
    for _ in range(3):
        world.tick()
    assert world.status.phase == "Baselining"
    assert set(world.verdicts().values()) == {None}
    assert world.condition(Condition.ROLLBACK_READY)[2] == "int8 would be loaded first"


def test_back_to_the_one_before_if_it_is_still_proven():
    """int8 serves, then gptq4; a changed floor makes the fallback of gptq4 another one."""
    world = serving(qualityGate__minAcceptable=0.96)
    assert world.verdicts()["gptq4"] == "FAIL"
    assert world.status.stable.variant == "int8"
    world.edit(qualityGate__minAcceptable=0.94)
    world.until("Steady")
    world.settle()
    assert [past.variant for past in world.status.last_good] == ["int8", "baseline"]
    world.passes(days=8)
    world.quality = BAD
    check(world)
    int8 = world.status.last_good[0]
    assert (int8.variant, world.status.drift.confirming.target) == ("int8", int8.revision)
    world.confirmed = WORSE
    world.until("RollingBack")
    world.settle()
    assert world.status.stable.variant == "int8"
    assert [past.variant for past in world.status.last_good] == ["baseline"]


def test_the_target_may_be_the_baseline_by_wish():
    world = serving(qualityGate__minAcceptable=0.96, rollout__rollback={"target": "Baseline", "keepWarm": "0s"})
    world.edit(qualityGate__minAcceptable=0.94)
    world.until("Steady")
    world.settle()
    world.passes(days=8)
    world.quality = BAD
    check(world)
    assert world.status.drift.confirming.target == world.status.baseline.revision


def test_a_suspended_check_waits():
    world = serving()
    world.edit(suspend=True)
    world.quality = BAD
    world.passes(days=60)
    world.tick()
    assert world.status.drift.verdict == "Healthy"
    world.edit(suspend=False)
    world.tick()
    world.tick()
    assert world.status.drift.verdict == "Suspect"


def test_a_lost_confirm_job_is_made_again():
    world = suspected()
    world.ready(world.status.drift.confirming.target)
    world.tick()
    job = world.job("confirm")
    del world.jobs[job.view.key]
    world.tick()
    assert world.job("confirm")
    world.change_job(world.job("confirm"), state=JobState.SUCCEEDED, finished_at=world.now)  # its pod's words are lost
    world.passes(hours=7)
    world.tick()
    assert world.status.drift.verdict == "Unknown"


@pytest.mark.parametrize("pending", ["suspended", "not prepared"])
def test_a_target_that_the_spec_no_longer_makes_is_not_served_under_its_name(pending):
    """Its revision stands for settings; with others it would be another one."""
    world = suspected(rollout__rollback={"target": "Baseline", "keepWarm": "0s"})
    target = world.status.drift.confirming.target
    world.status = world.status.model_copy(update={"last_good": []})
    changes = (
        {"suspend": True} if pending == "suspended" else {"qualityGate__evalSet": {"source": "pvc://tiny/x.jsonl"}}
    )
    world.edit(serving__maxNumSeqs=17, **changes)
    for _ in range(3):
        decided = world.tick()
        assert all(s.served.serving.max_num_seqs == 64 for s in decided.wanted.servers if s.revision == target)
    world.edit(suspend=False)
    world.settle()
    assert world.status.stable.variant == "gptq4"


def test_a_rollback_gives_up_what_was_kept_warm():
    world = rolling_back()
    assert not any(past.warm_until for past in world.status.last_good)


def test_a_check_that_cannot_tell_keeps_no_numbers_of_the_last():
    world = serving()
    check(world)
    world.quality = Unknown("Prometheus does not answer")
    check(world)
    assert (world.status.drift.value, world.status.drift.samples) == (None, None)
    assert world.status.drift.floor


NEAR = ConfirmResult(items=1000, errors=0, both=925, serving_only=4, target_only=16, neither=55, source_sha256="e")
SOME = ConfirmResult(items=200, errors=0, both=178, serving_only=6, target_only=16, neither=0, source_sha256="e")


def near(**changes) -> World:
    """Suspected, and every confirmation finds it a little below the floor: floor .9353, .929 against .941."""
    world = serving(**changes)
    world.quality = QualityCounts(right=930, wrong=70, distinct=1000)
    assert check(world) == "Suspect"
    world.confirmed = NEAR
    return world


def confirm(world: World) -> int | None:
    """Ends the confirmation under way; how many in a row it is now."""
    world.settle()
    assert world.status.drift.confirming is None
    return world.status.drift.consecutive


def again(world: World) -> int | None:
    """The next check, with its confirmation."""
    assert check(world) == "Suspect"
    return confirm(world)


def test_the_third_confirmation_in_a_row_is_a_breach():
    world = near()
    bad = world.status.stable.revision
    assert confirm(world) == 1
    assert "1 of 3 times in a row" in world.status.drift.message
    assert again(world) == 2
    assert (world.status.stable.revision, world.status.rollout) == (bad, None)
    assert check(world) == "Suspect"
    world.until("RollingBack")
    assert "3 times in a row" in world.status.drift.message
    world.settle()
    assert world.status.stable.variant == BASELINE
    assert world.status.rejected[0].reason == "FloorBreached"


def test_the_count_survives_restarts_unknowns_and_a_suspension():
    world = near()
    assert confirm(world) == 1
    world.status = type(world.status).model_validate(world.status.to_wire())
    world.quality = Unknown("Prometheus does not answer")
    for _ in range(3):
        assert check(world) == "Unknown"
    assert world.status.drift.consecutive == 1
    world.quality = BAD
    check(world)
    world.passes(hours=7)  # nothing is ever ready: it cannot run
    world.tick()
    assert (world.status.drift.verdict, world.status.drift.consecutive) == ("Unknown", 1)
    world.edit(suspend=True)
    world.tick()
    world.edit(suspend=False)
    world.tick()
    world.quality = QualityCounts(right=930, wrong=70, distinct=1000)
    assert again(world) == 2


def another_eval_set(world: World) -> None:
    """Another file, which prepare finds other bytes in."""
    facts = world.prepared.eval_set.model_copy(update={"sha256": "f" * 64})
    world.prepared = world.prepared.model_copy(update={"eval_set": facts})
    world.edit(qualityGate__evalSet={"source": "pvc://tiny/other.jsonl"})


RESETS = {
    "a healthy screen": lambda world: setattr(world, "quality", GOOD),
    "another floor": lambda world: world.edit(qualityGate__minAcceptable=0.9401),
    "another eval set": another_eval_set,
    "other items of production": lambda world: world.edit(probe={"source": "pvc://tiny/production.jsonl"}),
    "another way of asking": lambda world: world.edit(qualityGate__generation={"maxTokens": 17}),
    "another revision": lambda world: world.edit(serving__maxNumSeqs=17),
}


@pytest.mark.parametrize("what", RESETS)
def test_what_begins_the_count_anew(what):
    world = near()
    assert confirm(world) == 1
    assert again(world) == 2
    quality = world.quality
    RESETS[what](world)
    world.until("Steady")
    world.settle()
    check(world)
    world.quality = quality
    if world.status.drift.confirming:
        assert confirm(world) == 1
    else:
        assert world.status.drift.consecutive is None
        assert again(world) == 1
    assert world.status.stable.variant == "gptq4"


@pytest.mark.parametrize(
    "edit", [{"driftCheck__minSamples": 150}, {"serving__replicas": 3}, {"probe": {"itemsPerHour": 61}}]
)
def test_what_does_not_begin_it_anew(edit):
    world = near()
    assert confirm(world) == 1
    world.edit(**edit)
    world.settle()
    assert again(world) == 2


def test_a_target_that_is_as_bad_ends_the_count():
    world = near()
    assert confirm(world) == 1
    assert again(world) == 2
    world.confirmed = AS_BAD
    assert again(world) is None
    assert world.status.drift.verdict == "PopulationShift"
    world.confirmed = NEAR
    assert again(world) == 1


def test_where_a_breach_only_alerts_the_count_goes_on():
    world = near(driftCheck={"schedule": "@weekly", "onBreach": "Alert"})
    assert [confirm(world), again(world), again(world), again(world)] == [1, 2, 3, 4]
    assert world.status.drift.verdict == "Breached"
    assert world.status.stable.variant == "gptq4"


def test_after_a_catastrophic_drop_the_targets_being_better_is_enough():
    """On 200 items .92 is no proof of being below .935; the probe's .8 of 1,000 is."""
    world = suspected()
    assert world.status.drift.confirming.catastrophic
    world.confirmed = SOME
    world.until("RollingBack")
    assert "catastrophic" in world.status.drift.message
    assert world.status.drift.upper_bound > world.status.drift.floor
    world = near()
    assert world.status.drift.confirming.catastrophic is None
    world.confirmed = SOME
    assert confirm(world) == 1
    assert world.status.drift.verdict == "Suspect"


def test_the_status_tells_the_numbers_and_the_next_date():
    world = near()
    screened = world.status.drift
    assert (screened.value, screened.samples) == (0.93, 1000)
    assert screened.lower_bound == pytest.approx(0.9190, abs=1e-4)
    assert screened.upper_bound == pytest.approx(0.9397, abs=1e-4)
    assert screened.target_value is None
    confirm(world)
    drift = world.status.drift
    assert (drift.value, drift.samples, drift.target_value, drift.consecutive) == (0.929, 1000, 0.941, 1)
    assert drift.lower_bound < drift.value < drift.upper_bound
    assert drift.floor == pytest.approx(0.9353)
    assert drift.next > world.now


def unknown_for(days: float, **changes) -> World:
    """Checks cannot tell for so long."""
    world = serving(**changes)
    world.quality = Unknown("Prometheus does not answer")
    end = world.status.drift.last + timedelta(days=days)
    while world.status.drift.next < end:
        check(world)
        if world.status.drift.unverified_since is None:
            world.now = min(end, world.now + timedelta(days=1))
    world.now = end
    world.tick()
    return world


def test_without_an_answer_for_too_long_quality_is_unverified_which_is_told_once():
    world = unknown_for(14.9)
    assert floor_met(world) == ("Unknown", "QualityUnknown")
    assert "QualityUnverified" not in reasons(world)
    before = world.status
    world.now = before.drift.last + timedelta(days=15)
    world.tick()
    assert floor_met(world) == ("Unknown", "QualityUnverified")
    assert world.status.drift.unverified_since == world.now
    assert f"since {before.drift.last:%Y-%m-%d}" in world.condition(Condition.QUALITY_FLOOR_MET)[2]
    assert (world.status.stable, world.status.phase, world.stalled()) == (before.stable, Phase.STEADY, None)
    for _ in range(5):
        check(world)
    assert reasons(world).count("QualityUnverified") == 1
    assert world.status.stable == before.stable
    world.quality = GOOD
    assert check(world) == "Healthy"
    assert world.status.drift.unverified_since is None
    assert floor_met(world) == ("True", "FloorMet")


def test_while_it_is_unverified_no_rollout_begins_and_then_it_does():
    world = unknown_for(16)
    world.edit(qualityGate__minAcceptable=0.99)  # only int8 is proven by that
    for _ in range(6):
        world.works()
        world.tick()
    assert world.status.phase is Phase.SELECTING
    assert "waits for a drift check that can tell" in world.status.message
    assert world.stalled() == "QualityUnverified"
    assert world.status.stable.variant == "gptq4"
    world.quality = GOOD
    check(world)
    world.settle()
    assert world.status.stable.variant == "int8"
    assert world.stalled() is None


def test_a_longer_limit_is_the_way_out_without_a_prometheus():
    world = unknown_for(16)
    world.edit(qualityGate__minAcceptable=0.99, driftCheck__missingData={"maxStaleness": "9999d"})
    world.settle()
    assert world.status.stable.variant == "int8"


def test_a_confirmation_changes_nothing_about_it_until_it_ends():
    world = unknown_for(16)
    world.quality = BAD
    assert check(world) == "Suspect"
    assert floor_met(world) == ("Unknown", "QualityUnverified")
    world.passes(hours=7)
    world.tick()
    assert floor_met(world) == ("Unknown", "QualityUnverified")
    assert reasons(world).count("QualityUnverified") == 1
    check(world)
    confirm(world)
    assert floor_met(world) == ("True", "FloorMet")


def test_a_schedule_that_is_rarer_than_the_limit_is_not_unverified_by_itself():
    world = serving(driftCheck={"schedule": "@monthly"})
    check(world)
    world.passes(days=20)
    world.tick()
    assert floor_met(world) == ("True", "FloorMet")


def test_the_time_counts_from_the_promotion_while_no_check_has_been_able_to_tell():
    world = steady()
    world.quality = Unknown("Prometheus does not answer")
    check(world)
    world.now = world.status.stable.since + timedelta(days=15)
    world.tick()
    assert floor_met(world) == ("Unknown", "QualityUnverified")


def test_a_query_of_the_admins_is_screened_and_confirmed_as_the_probe_is():
    world = World(spec_with(driftCheck={"schedule": "@weekly", "metric": "thumbs"}))
    world.queries = frozenset({"thumbs"})
    world.quality = QualityCounts(right=960, wrong=40, distinct=None)
    world.until("Steady")
    world.settle()
    assert check(world) == "Healthy"
    assert "960 of 1000 answers that query thumbs counts are right" in world.status.drift.message
    assert world.status.drift.samples == 1000
    world.quality = QualityCounts(right=100, wrong=99, distinct=None)
    world.passes(days=30)
    assert check(world) == "Unknown"
    assert "199 answers that query thumbs counts in the window" in world.status.drift.message
    world.quality = QualityCounts(right=800, wrong=200, distinct=None)
    check(world)
    world.confirmed = WORSE
    world.until("RollingBack")


@pytest.mark.parametrize(
    ("known", "there"), [(set(), "there is only Probe"), ({"b", "a"}, "there are a, b, and Probe")]
)
def test_a_query_that_is_not_there_is_told_with_those_that_are(known, there):
    world = World(spec_with(driftCheck={"schedule": "@weekly", "metric": "thumbs", "afterPromotion": []}))
    world.queries = frozenset(known)
    world.quality = Unknown("the chart's values have no query thumbs in prometheus.queries")
    world.until("Steady")
    assert world.stalled() == "QueryUnknown"
    assert there in world.condition(Condition.STALLED)[2]
    assert "driftCheck.metric: no query thumbs" in world.condition(Condition.STALLED)[2]
    assert "QueryUnknown" in reasons(world)
    world.settle()
    assert check(world) == "Unknown"
    assert world.status.stable.variant == "gptq4", "what runs goes on"
    world.queries = frozenset({"thumbs"})
    world.quality = GOOD
    assert check(world) == "Healthy"
    assert world.stalled() is None


def test_the_checks_after_a_promotion_are_those_of_the_spec():
    world = steady(spec_with(driftCheck={"schedule": "@monthly", "afterPromotion": ["10m"]}))
    assert world.status.drift.after_promotion == ["10m"]
    since = world.status.stable.since
    assert timedelta(minutes=10) <= world.status.drift.next - since <= timedelta(minutes=11)
    world.edit(driftCheck__afterPromotion=[])
    world.tick()
    assert world.status.drift.next - since > timedelta(days=10)
    world.edit(driftCheck__afterPromotion=["2h"])
    world.tick()
    assert timedelta(hours=2) <= world.status.drift.next - since <= timedelta(hours=2, minutes=6)
    world.quality = QualityCounts(right=55, wrong=5, distinct=1000)
    assert check(world) == "Pending"
    assert world.status.drift.confirming, "the first of them has it confirmed"


def test_a_check_that_was_due_before_the_promotion_was_done_runs_then():
    """The operator was away from the promotion on, or the old revision was long in draining."""
    world = World(spec_with(driftCheck={"schedule": "@monthly", "afterPromotion": ["10m", "1h"]}))
    world.until("Draining")
    world.passes(hours=2)
    world.until("Steady")
    world.tick()
    drift = world.status.drift
    assert (drift.verdict, drift.last) == ("Healthy", world.now)
    assert drift.next > world.now + timedelta(days=2), "caught up on once"
