"""Looks at a candidate: limits, missing data, approval, the deadline of the whole rollout."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from quantroll.api.spec import AnalysisMetric
from quantroll.constants import Condition
from quantroll.domain.error_ratio import judge
from quantroll.domain.snapshot import RequestCounts, Unknown
from unit.domain.world import World, spec_with

METRIC = AnalysisMetric(name="error-ratio", max=0.01, min_samples=100)


def analyzing(**changes) -> World:
    world = World(spec_with(**changes))
    world.until("Analyzing")
    return world


def minutes(world: World, count: int) -> None:
    """Passes a minute apart, as the interval asks for."""
    for _ in range(count):
        world.passes(minutes=1)
        world.tick()


@pytest.mark.parametrize(
    ("counts", "verdict"),
    [
        (RequestCounts(100, 0), "Pass"),
        (RequestCounts(100, 1), "Pass"),  # the limit itself is within it
        (RequestCounts(100, 2), "Fail"),
        (RequestCounts(99, 99), "Inconclusive"),
        (RequestCounts(0, 0), "Inconclusive"),
        (Unknown("connection refused"), "Error"),
        (None, "Error"),
    ],
)
def test_one_look(counts, verdict):
    found = judge(counts, METRIC)
    assert found.verdict == verdict
    assert found.message.startswith("error-ratio: ")


def test_a_limit_of_nothing_fails_at_the_first_error():
    metric = METRIC.model_copy(update={"max": 0.0, "min_samples": 1})
    assert judge(RequestCounts(10_000, 1), metric).verdict == "Fail"
    assert judge(RequestCounts(1, 0), metric).verdict == "Pass"


def test_good_looks_cost_no_write_and_are_recorded_with_the_transition():
    world = analyzing()
    before = world.status
    world.passes(seconds=30)
    world.tick()
    world.passes(seconds=60)
    world.requests = RequestCounts(total=900, failed=1)
    world.tick()
    assert world.status == before
    world.until("Shifting")
    rollout = world.status.rollout
    assert (rollout.step, rollout.analysis) == (1, None)
    assert (rollout.passed.step, rollout.passed.weight, rollout.passed.verdict) == (0, 10, "Pass")
    assert "1 of 900 requests failed" in rollout.passed.message


@pytest.mark.parametrize("counts", [Unknown("Prometheus does not answer"), RequestCounts(3, 0), RequestCounts(3, 3)])
def test_without_data_a_step_is_held_neither_passed_nor_failed(counts):
    world = analyzing()
    world.requests = counts
    minutes(world, 60)
    assert world.status.phase == "Analyzing"
    assert world.status.rollout.step == 0
    assert world.status.rollout.analysis.failures == 0
    assert (world.stalled() == "MetricsUnavailable") is isinstance(counts, Unknown)
    world.requests = RequestCounts(500, 0)
    world.tick()
    assert world.status.rollout.step == 1
    assert world.stalled() is None


def test_data_that_come_a_moment_later_by_themselves_are_no_call_for_a_person():
    """A scrape is due, or the prober has just been started: what goes by kstatus would take the rollout for failed."""
    world = analyzing(rollout__analysis={"interval": "5s"})
    world.passes(minutes=10)
    world.requests = Unknown("no recent counts")
    for _ in range(6):
        woken = world.tick().wake_at
        assert world.status.phase == "Analyzing"
        assert "is held at 10 %: error-ratio: no recent counts" in world.status.message
        assert world.stalled() is None
        assert world.condition(Condition.RECONCILING)[0] == "True"
        assert woken <= world.now + timedelta(seconds=30)
        world.passes(seconds=5)
    world.tick()
    assert world.stalled() == "MetricsUnavailable"
    world.requests = RequestCounts(500, 0)
    world.tick()
    assert world.stalled() is None


def test_failed_looks_are_put_up_with_up_to_the_limit():
    world = analyzing(rollout__analysis={"failureLimit": 2})
    world.requests = RequestCounts(500, 400)
    world.tick()
    for _ in range(5):  # news of pods say; within an interval a failure counts once
        world.passes(seconds=5)
        world.tick()
    assert world.status.rollout.analysis.failures == 1
    minutes(world, 1)
    assert world.status.rollout.analysis.failures == 2
    minutes(world, 1)
    assert world.status.phase == "RollingBack"
    assert world.status.rollout.reason == "AnalysisFailed"
    world.settle()
    assert world.status.stable.variant == "baseline"
    assert world.status.phase == "RolledBack"
    assert "400 of 500 requests failed" in world.status.message
    assert "quantroll.io/retry=" in world.status.message


def test_failures_of_one_step_do_not_count_in_the_next():
    world = analyzing(rollout__analysis={"failureLimit": 2})
    world.requests = RequestCounts(500, 400)
    world.tick()
    minutes(world, 1)
    assert world.status.rollout.analysis.failures == 2
    world.requests = RequestCounts(9000, 0)
    minutes(world, 2)
    assert world.status.rollout.step == 1
    world.until("Analyzing")
    world.requests = RequestCounts(500, 400)
    world.tick()
    assert world.status.rollout.analysis.failures == 1


def test_a_bad_look_at_the_end_of_a_step_holds_it():
    world = analyzing()
    world.passes(minutes=2)
    world.requests = RequestCounts(500, 400)
    world.tick()
    assert world.status.rollout.step == 0
    assert "held at 10 %: the last look has failed" in world.status.message


def test_an_empty_list_shifts_by_time_alone():
    world = World(spec_with(rollout__analysis={"metrics": []}))
    world.requests = Unknown("there is no Prometheus")
    world.until("Steady")
    assert world.status.stable.variant == "gptq4"


def test_a_failed_analysis_is_remembered_whatever_else_is_edited_until_somebody_asks():
    world = analyzing(rollout__analysis={"failureLimit": 0})
    world.requests = RequestCounts(500, 400)
    world.until("RolledBack")
    world.requests = RequestCounts(500, 0)
    world.edit(serving__replicas=3)
    world.settle()
    assert world.status.phase == "RolledBack"
    entry = world.status.rejected[0]
    world.commands["retry"] = f"{entry.rollout}/1"
    world.until("Steady")
    assert world.status.stable.variant == "gptq4"
    assert world.status.rejected == []


APPROVAL = [{"weight": 10, "duration": "2m", "approval": True}, {"weight": 50, "duration": "3m"}]


def awaiting(**changes) -> World:
    world = World(spec_with(rollout__steps=APPROVAL, **changes))
    world.until("AwaitingApproval")
    return world


def test_a_step_with_approval_waits_for_it_however_long():
    world = awaiting(rollout__deadlines={"total": "1h"})
    assert world.condition(Condition.AWAITING_APPROVAL)[0] == "True"
    assert world.condition(Condition.RECONCILING)[0] == "True"
    rollout = world.status.rollout
    assert f"quantroll.io/approve={rollout.id}:0/1" in world.status.message
    minutes(world, 5)
    world.passes(days=9)
    world.tick()
    assert world.status.phase == "AwaitingApproval"
    world.commands["approve"] = f"{rollout.id}:0/x"
    world.tick()
    assert world.status.rollout.step == 1
    assert world.status.rollout.expires_at == rollout.expires_at + timedelta(days=9, minutes=5)
    world.until("Steady")
    assert world.status.stable.variant == "gptq4"


def test_what_goes_wrong_while_approval_is_awaited_takes_the_candidate_back():
    world = awaiting(rollout__analysis={"failureLimit": 0})
    world.requests = RequestCounts(500, 400)
    world.passes(minutes=1)
    world.tick()
    assert world.status.rollout.reason == "AnalysisFailed"


def test_approval_may_come_before_it_is_asked_for():
    world = World(spec_with(rollout__steps=APPROVAL))
    world.until("Analyzing")
    world.commands["approve"] = f"{world.status.rollout.id}:0/x"
    world.until("Steady")
    assert "AwaitingApproval" not in world.phases()


def test_the_whole_rollout_has_a_deadline():
    world = analyzing(rollout__deadlines={"total": "1h"})
    world.requests = Unknown("Prometheus does not answer")
    minutes(world, 59)
    assert world.status.phase == "Analyzing"
    minutes(world, 1)
    assert world.status.rollout.reason == "RolloutDeadlineExceeded"
    world.settle()
    assert "deadlines.total: " in world.status.message
    assert "Prometheus does not answer" in world.status.message
    world.requests = RequestCounts(500, 0)
    world.edit(rollout__deadlines={"total": "2h"})
    world.until("Steady")
    assert world.status.stable.variant == "gptq4"


def test_a_step_that_is_held_has_a_deadline_of_its_own():
    world = analyzing(rollout__deadlines={"step": "10m", "total": "24h"})
    world.requests = Unknown("Prometheus does not answer")
    minutes(world, 11)
    assert world.status.phase == "Analyzing", "two minutes are the step's own"
    minutes(world, 1)
    assert world.status.rollout.reason == "RolloutDeadlineExceeded"
    assert world.status.rollout.step_expires_at is None
    world.settle()
    assert "10 % not left within deadlines.step (10m) after the step's duration" in world.status.message
    assert "Prometheus does not answer" in world.status.message


def test_a_steps_deadline_is_not_that_of_the_next_one():
    world = analyzing(rollout__deadlines={"step": "10m", "total": "24h"})
    minutes(world, 1)
    world.requests = Unknown("Prometheus does not answer")
    minutes(world, 8)
    world.requests = RequestCounts(9000, 0)
    world.until("Shifting")
    assert world.status.rollout.step_expires_at is None
    world.until("Analyzing")
    assert world.status.rollout.step_expires_at == world.now + timedelta(minutes=3 + 10)


def test_a_steps_deadline_does_not_run_while_a_person_is_waited_for_nor_while_suspended():
    world = awaiting(rollout__deadlines={"step": "10m", "total": "24h"})
    before = world.status.rollout.step_expires_at
    world.passes(hours=5)
    world.requests = Unknown("Prometheus does not answer")
    world.tick()
    assert world.status.rollout.step_expires_at == before + timedelta(hours=5)
    world.edit(suspend=True)
    world.tick()
    world.passes(hours=1)
    world.edit(suspend=False)
    world.tick()
    assert world.status.rollout.reason is None
    assert world.status.rollout.step_expires_at > world.now + timedelta(minutes=9), "the step begins again"


def test_a_step_deadline_that_is_taken_out_of_the_spec_takes_nothing_back():
    world = analyzing(rollout__deadlines={"step": "10m", "total": "24h"})
    world.requests = Unknown("Prometheus does not answer")
    minutes(world, 5)
    world.edit(rollout__deadlines={"total": "24h"})
    minutes(world, 60)
    assert (world.status.phase, world.status.rollout.reason) == ("Analyzing", None)


@pytest.mark.parametrize(
    ("deadlines", "limit"),
    [({"step": "10m", "total": "24h"}, "not left within deadlines.step"), ({"total": "12m"}, "within deadlines.total")],
)
def test_at_a_deadline_a_candidate_that_serves_alone_keeps_serving(deadlines, limit):
    world = analyzing(rollout__deadlines=deadlines)
    world.requests = Unknown("Prometheus does not answer")
    minutes(world, 5)
    world.ready(world.status.stable.revision, 0)
    minutes(world, 10)
    assert (world.status.phase, world.status.rollout.reason) == ("Analyzing", None)
    assert "held at 10 %" in world.status.message
    assert limit in world.condition(Condition.STALLED)[2]
    decided = world.plan()
    assert decided.wake_at is None or decided.wake_at > world.now, "it is not looked at without a pause"
    world.ready(world.status.stable.revision)
    minutes(world, 1)
    assert world.status.rollout.reason == "RolloutDeadlineExceeded"


def test_without_a_step_deadline_a_step_is_held_up_to_that_of_the_whole():
    world = analyzing()
    world.requests = Unknown("Prometheus does not answer")
    minutes(world, 200)
    assert (world.status.phase, world.status.rollout.step_expires_at) == ("Analyzing", None)


BESIDE = AnalysisMetric(name="error-ratio", max=0.1, max_regression=0.5, min_samples=100)


@pytest.mark.parametrize(
    ("mine", "stables", "verdict"),
    [
        ((0, 500), (0, 500), "Pass"),
        ((8, 500), (0, 500), "Pass"),  # eight failures to none, where three to two were allowed: evidence 16.4
        ((9, 500), (0, 500), "Fail"),  # 24.7
        ((3, 500), (0, 4500), "Fail"),  # it has a tenth of the requests: 27.1
        ((30, 500), (20, 500), "Pass"),  # as allowed
        ((49, 500), (15, 500), "Pass"),  # 16.6; as the only look it would have p 0.004
        ((49, 500), (14, 500), "Fail"),  # 28.8
        ((45, 500), (45, 500), "Pass"),
        ((60, 500), (60, 500), "Fail"),  # max
        ((1, 99), (0, 500), "Inconclusive"),
        ((1, 500), (0, 99), "Inconclusive"),
    ],
)
def test_errors_are_held_to_stables_by_a_proof(mine, stables, verdict):
    counts, stable = (RequestCounts(total, failed) for failed, total in (mine, stables))
    found = judge(counts, BESIDE, stable)
    assert found.verdict == verdict, found.message
    if verdict != "Inconclusive" and mine[0] != 60:
        assert f"stable's {stables[0]} of {stables[1]}" in found.message


@pytest.mark.parametrize("stable", [None, Unknown("Prometheus does not answer")])
def test_without_stables_errors_there_is_nothing_to_compare_with(stable):
    found = judge(RequestCounts(500, 0), BESIDE, stable)
    assert found.verdict == "Error"
    assert judge(RequestCounts(500, 400), BESIDE, stable).verdict == "Fail", "max holds all the same"


@given(st.integers(100, 5000), st.integers(100, 5000), st.floats(0, 3))
def test_who_looks_often_needs_more_than_the_test_of_one_look(mine, stables, allowed):
    failed, others = min(8, mine // 50), 2
    metric = AnalysisMetric(name="error-ratio", max=1, max_regression=allowed)
    found = judge(RequestCounts(mine, failed), metric, RequestCounts(stables, others)).verdict
    chance = (1 + allowed) * mine / ((1 + allowed) * mine + stables)
    p = binomtest(failed, failed + others, chance, alternative="greater").pvalue
    if found == "Fail":
        assert p <= 0.05
    else:
        assert p > 0.001


def test_a_candidate_whose_requests_fail_oftener_than_stables_is_taken_back():
    metrics = [{"name": "error-ratio", "max": 0.2, "maxRegression": 0.5}]
    world = analyzing(rollout__analysis={"metrics": metrics, "failureLimit": 0})
    world.requests, world.stable_requests = RequestCounts(500, 40), RequestCounts(4500, 9)
    minutes(world, 1)
    assert world.status.rollout.reason == "AnalysisFailed"
    assert "proven to be more" in world.status.rollout.message


def test_pods_for_the_next_step_get_their_time_from_when_they_are_missed():
    """However long the approval took before."""
    world = awaiting(serving__replicas=4)
    world.passes(hours=5)
    world.ready(world.status.candidate.revision, 1)
    world.commands["approve"] = f"{world.status.rollout.id}:0/x"
    world.tick()
    assert world.status.rollout.reason is None
    assert "1 of 2 pods ready for 50 %" in world.status.message
    world.passes(minutes=29)
    world.tick()
    assert world.status.rollout.reason is None
    world.passes(minutes=1)
    world.tick()
    assert world.status.rollout.reason == "LoadDeadlineExceeded"


@pytest.mark.parametrize("approved", [True, False])
def test_data_that_go_missing_end_the_wait_for_approval_and_the_clock_runs_again(approved):
    world = awaiting(rollout__deadlines={"total": "1h"})
    world.requests = Unknown("Prometheus does not answer")
    if approved:
        world.commands["approve"] = f"{world.status.rollout.id}:0/x"
    minutes(world, 1)
    assert world.status.rollout.awaiting_since is None
    assert world.condition(Condition.AWAITING_APPROVAL)[0] == "False"
    minutes(world, 2)
    assert world.stalled() == "MetricsUnavailable"
    minutes(world, 60)
    assert world.status.rollout.reason == "RolloutDeadlineExceeded"


def test_failures_with_gaps_between_them_count_once_an_interval_too():
    """A Prometheus that answers every other time makes no more of them."""
    world = analyzing(rollout__analysis={"failureLimit": 5})
    for _ in range(5):
        world.requests = RequestCounts(500, 400)
        world.tick()
        world.requests = Unknown("Prometheus does not answer")
        world.tick()
        world.passes(seconds=5)
    assert world.status.rollout.analysis.failures == 1
    world.passes(minutes=1)
    world.requests = RequestCounts(500, 400)
    world.tick()
    assert world.status.rollout.analysis.failures == 2
