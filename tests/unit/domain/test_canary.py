"""A candidate on its way: what each metric, each limit and the observed share make of the rollout."""

import math
from dataclasses import replace
from datetime import timedelta

import pytest

from quantroll.domain.questions import questions
from quantroll.domain.snapshot import Histogram, PairCounts, RequestCounts, RouteView, Unknown
from unit.domain.test_analysis import analyzing, minutes
from unit.domain.world import World, spec_with

AWAY = Unknown("Prometheus does not answer")
WORSE = PairCounts(both=700, harm=250, gain=10, neither=40, distinct=1000)
DOUBTFUL = PairCounts(both=900, harm=62, gain=1, neither=37, distinct=1000)
FEW = PairCounts(both=40, harm=1, gain=0, neither=2, distinct=1000)
NOBODY = RequestCounts(0, 0)
FAST = Histogram((0.1, 0.5, math.inf), (1000, 1000, 1000))
SLOW = Histogram((0.1, 0.5, math.inf), (500, 1000, 1000))
QUALITY, ERRORS = {"name": "quality"}, {"name": "error-ratio"}


def quiet(**changes) -> World:
    """A candidate that has traffic which no user sends."""
    world = analyzing(**changes)
    world.requests = world.stable_requests = NOBODY
    return world


def test_worse_answers_take_it_back_at_the_first_planned_look():
    world = analyzing(rollout__analysis={"failureLimit": 10})
    world.pairs = WORSE
    world.passes(seconds=59)
    world.tick()
    assert world.status.phase == "Analyzing", "half of the step's duration is not over"
    world.passes(seconds=1)
    world.tick()
    assert world.status.rollout.reason == "AnalysisFailed"
    assert "quality: proven to be below the floor" in world.status.rollout.message
    world.settle()
    assert world.status.stable.variant == "baseline"
    world.edit(serving__replicas=3)
    world.settle()
    assert world.status.phase == "RolledBack", "what was found bad is not tried again because something was edited"


def test_answers_that_are_below_the_floor_without_a_proof_hold_the_step():
    world = analyzing()
    world.pairs = DOUBTFUL
    minutes(world, 30)
    assert world.status.rollout.step == 0
    assert "quality: below the floor, but not proven" in world.status.message
    assert world.stalled() is None
    world.pairs = PairCounts(both=960, harm=10, gain=10, neither=20, distinct=1000)
    world.tick()
    assert world.status.rollout.step == 1


def test_too_few_answers_hold_the_step_and_the_message_tells_the_pace_from_the_start():
    world = World(spec_with(probe={"rolloutItemsPerHour": 60}))
    world.until("CandidateStarting")
    assert "quality needs 100 items (minSamples), for which the probe takes 100 min" in world.status.message
    world.until("Analyzing")
    assert "for which the probe takes 100 min" in world.status.message
    world.pairs = FEW
    minutes(world, 5)
    assert "fewer than minSamples (100) items that both answered" in world.status.message
    assert "probe.rolloutItemsPerHour is 60" in world.status.message


def test_the_prober_asks_faster_while_a_candidate_has_traffic():
    world = World(spec_with(probe={"itemsPerHour": 7, "rolloutItemsPerHour": 700}))
    world.until("CandidateStarting")
    assert world.plan().wanted.prober.probe_input.items_per_hour == 7
    world.until("Analyzing")
    asked = world.plan().wanted.prober.probe_input
    assert (asked.items_per_hour, len(asked.targets)) == (700, 2)
    world.until("Steady")
    assert world.plan().wanted.prober.probe_input.items_per_hour == 7


@pytest.mark.parametrize(
    ("probe", "pace"), [({}, 1200), ({"itemsPerHour": 3600}, 3600), ({"rolloutItemsPerHour": 5}, 5)]
)
def test_a_pace_that_is_left_out_is_never_slower_than_the_usual_one(probe, pace):
    world = analyzing(probe=probe)
    assert world.plan().wanted.prober.probe_input.items_per_hour == pace


LATENCIES = {"metrics": [{"name": "ttft-p99", "maxRegression": 0.2}, {"name": "itl-p99", "maxLatency": "450ms"}]}


def test_a_slower_candidate_is_taken_back_after_as_many_looks_as_are_put_up_with():
    world = analyzing(rollout__analysis={"failureLimit": 1, **LATENCIES})
    world.latencies = {"ttft-p99": (SLOW, FAST), "itl-p99": (FAST, FAST)}
    world.tick()
    failed = world.status.rollout.analysis
    assert (failed.failures, [m.verdict for m in failed.metrics]) == (1, ["Fail", "Pass"])
    minutes(world, 1)
    assert world.status.rollout.reason == "AnalysisFailed"
    assert "ttft-p99: " in world.status.rollout.message


def test_a_limit_of_its_own_needs_no_stable():
    world = analyzing(rollout__analysis={"failureLimit": 0, **LATENCIES})
    world.latencies = {"ttft-p99": (FAST, FAST), "itl-p99": (SLOW, AWAY)}
    world.tick()
    assert "maxLatency 450ms" in world.status.rollout.message


@pytest.mark.parametrize("mode", [{}, {"onNoTraffic": "Probe"}])
def test_without_users_the_probe_decides_alone(mode):
    world = quiet(rollout__analysis={"metrics": [QUALITY, ERRORS], **mode})
    world.until("Steady")
    assert world.status.stable.variant == "gptq4"


def test_without_users_a_worse_candidate_is_found_all_the_same():
    world = quiet()
    world.pairs = WORSE
    world.until("RolledBack")
    assert world.status.rejected[0].reason == "AnalysisFailed"


@pytest.mark.parametrize(
    "analysis",
    [
        {"metrics": [QUALITY, ERRORS], "onNoTraffic": "Hold"},
        {"metrics": [ERRORS]},
        {"metrics": [ERRORS], "onNoTraffic": "Hold"},
    ],
)
def test_without_users_a_step_waits_for_them(analysis):
    world = quiet(rollout__analysis=analysis)
    minutes(world, 60)
    assert (world.status.phase, world.status.rollout.step) == ("Analyzing", 0)
    assert "users send no requests" in world.status.message
    world.requests, world.stable_requests = RequestCounts(500, 0), None
    world.until("Steady")


@pytest.mark.parametrize(
    ("candidate", "stable"),
    [(NOBODY, RequestCounts(60, 0)), (NOBODY, AWAY), (AWAY, NOBODY), (RequestCounts(30, 30), NOBODY)],
)
def test_little_traffic_or_none_that_is_known_is_not_no_traffic(candidate, stable):
    world = analyzing()
    world.requests, world.stable_requests = candidate, stable
    minutes(world, 10)
    assert (world.status.phase, world.status.rollout.step) == ("Analyzing", 0)


def test_prometheus_away_holds_whatever_is_looked_at():
    world = analyzing()
    world.pairs = world.requests = world.stable_requests = AWAY
    minutes(world, 30)
    assert world.status.rollout.step == 0
    assert world.stalled() == "MetricsUnavailable"
    assert [m.verdict for m in world.status.rollout.analysis.metrics] == ["Error", "Error"]


@pytest.mark.parametrize(
    ("limit", "pairs", "step_ends"),
    [({"errorLimit": 3}, AWAY, 0), ({"inconclusiveLimit": 3}, FEW, 2), ({"inconclusiveLimit": 0}, DOUBTFUL, 2)],
)
def test_looks_that_cannot_tell_have_limits_of_their_own(limit, pairs, step_ends):
    """An error counts from the first on; that there is too little only once the step's time is over."""
    world = analyzing(rollout__analysis=limit)
    world.pairs = pairs
    ((name, most),) = limit.items()
    minutes(world, step_ends)
    for _ in range(most):
        world.tick()
        assert world.status.rollout.reason is None
        minutes(world, 1)
    world.tick()
    assert world.status.rollout.reason == "AnalysisInconclusive"
    assert f"{most + 1} looks in a row could not tell (analysis.{name} {most})" in world.status.rollout.message
    world.settle()
    assert world.status.rejected[0].reason == "AnalysisInconclusive"
    world.pairs = World().pairs
    world.edit(rollout__analysis={"failureLimit": 7})
    world.until("Steady")
    assert world.status.stable.variant == "gptq4", "an edit has it tried again: nothing bad was found"


def test_a_look_that_tells_begins_the_count_again():
    world = analyzing(rollout__analysis={"errorLimit": 1})
    good = world.pairs
    for _ in range(6):
        world.pairs = AWAY
        world.tick()
        minutes(world, 0)
        world.pairs = good
        world.passes(seconds=10)
        world.tick()
    assert world.status.rollout.reason is None


def test_that_it_is_too_early_to_tell_costs_no_write():
    world = analyzing()
    world.pairs = FEW
    before = world.status
    world.passes(seconds=60)
    world.tick()
    assert world.status == before
    world.passes(seconds=60)
    world.tick()
    assert world.status.rollout.analysis.verdict == "Inconclusive", "now it holds the step"


# -- the observed share ------------------------------------------------------------------------------------------------


def test_the_share_is_noted_with_other_news_and_not_at_every_look():
    world = analyzing()
    world.passes(seconds=61)
    world.tick()
    assert world.status.traffic.observed == []
    world.requests = RequestCounts(500, 100)
    world.tick()
    noted = world.status.traffic
    assert [share.weight for share in noted.observed] == [90, 10]
    assert noted.consistent is True
    world.requests, world.stable_requests = RequestCounts(900, 0), RequestCounts(7800, 0)
    world.until("Shifting")
    assert world.status.traffic.observed == [], "the next step has another weight"
    assert world.status.rollout.passed.observed == 10


def test_a_share_that_contradicts_the_weight_holds_the_step_until_it_agrees():
    world = analyzing()
    world.requests, world.stable_requests = RequestCounts(500, 0), RequestCounts(500, 0)
    world.passes(seconds=30)
    world.tick()
    assert world.stalled() is None, "requests that began before the step end in its first moments"
    world.passes(seconds=30)
    world.tick()
    assert world.stalled() == "ShareContradictsWeight"
    assert world.status.traffic.consistent is False
    minutes(world, 20)
    assert world.status.rollout.step == 0
    assert "gptq4 was given 10 % of the traffic, and 50 % of users' requests reached it" in world.status.message
    held = world.status
    world.requests = world.stable_requests = RequestCounts(520, 0)
    world.tick()
    assert world.status == held
    world.stable_requests = None  # the rest of them
    world.until("Steady")


def test_a_share_that_contradicts_the_weight_ends_at_the_deadline():
    world = analyzing(rollout__deadlines={"total": "1h"})
    world.requests = world.stable_requests = RequestCounts(500, 0)
    minutes(world, 61)
    assert world.status.rollout.reason == "RolloutDeadlineExceeded"


@pytest.mark.parametrize("stable", [AWAY, RequestCounts(20, 0)])
def test_a_share_that_is_not_known_is_no_contradiction(stable):
    world = analyzing(rollout__analysis={"metrics": [{"name": "error-ratio", "minSamples": 20}]})
    world.requests, world.stable_requests = RequestCounts(20, 0), stable
    world.until("Steady")


def test_without_a_gateway_the_share_is_shown_and_not_judged():
    world = analyzing(rollout__routing={"mode": "Service"}, rollout__steps=[{"weight": 50, "duration": "2m"}])
    world.requests, world.stable_requests = RequestCounts(900, 0), RequestCounts(100, 0)
    world.until("Promoting")
    assert world.status.rollout.passed.observed == 90
    assert world.status.traffic.consistent is None
    world.until("Steady")


def edited(world: World) -> None:
    first, *others = world.route.shares
    world.route = RouteView(shares=(first.model_copy(update={"weight": 1}), *others), accepted=True)


def test_somebody_who_changes_the_route_starts_the_steps_clock_again():
    world = analyzing()
    world.passes(seconds=90)
    edited(world)
    world.told.clear()
    world.tick()
    assert world.status.phase == "Shifting"
    assert world.status.rollout.drifted_at == world.now
    assert [event.reason for event in world.told].count("RouteDrifted") == 1
    assert "the traffic was changed: giving gptq4 10 % again" in world.status.message
    world.until("Analyzing")
    assert world.status.rollout.since == world.now
    assert [event.reason for event in world.told].count("RouteDrifted") == 1
    world.until("Shifting")
    assert world.status.rollout.drifted_at is None


def test_whatever_somebody_changes_in_the_route_starts_the_steps_clock_again():
    world = analyzing()
    world.passes(seconds=90)
    world.route = replace(world.route, edited=True)
    world.told.clear()
    world.tick()
    assert (world.status.phase, world.status.rollout.drifted_at) == ("Shifting", world.now)
    assert [event.reason for event in world.told].count("RouteDrifted") == 1
    world.tick()
    assert world.status.rollout.since is None, "no clock starts on what is being put back"
    world.route = replace(world.route, edited=False, accepted=False)  # put back
    world.until("Analyzing")
    assert world.status.rollout.since == world.now


def test_a_gateway_that_takes_its_word_back_is_no_edit():
    world = analyzing()
    world.route = RouteView(shares=world.route.shares, accepted=False, message="programming failed")
    world.tick()
    assert world.status.rollout.since is None
    assert world.status.rollout.drifted_at is None
    assert "no longer split as decided" in world.status.message
    assert "RouteDrifted" not in [event.reason for event in world.told]


# -- what is asked -----------------------------------------------------------------------------------------------------


def test_pairs_are_asked_since_the_rollout_began_and_up_to_the_last_look():
    world = analyzing()
    world.passes(seconds=70)
    asked = questions(world.status, world.snapshot().spec, world.now).canary
    began = int((world.now - world.status.rollout.started_at).total_seconds())
    assert (asked.pairs.seconds, asked.pairs.ago) == (began, 0)
    assert (asked.planned.seconds, asked.planned.ago) == (began - 10, 10), "half of 2 minutes was 10 s ago"
    assert asked.stable.seconds == 70
    assert asked.pairs.reference == asked.stable.revision == world.status.stable.revision
    assert asked.candidate == asked.pairs.revision == world.status.candidate.revision


def test_only_what_is_looked_at_is_asked():
    world = analyzing(rollout__analysis=LATENCIES)
    world.latencies = {"ttft-p99": (FAST, FAST), "itl-p99": (FAST, FAST)}
    asked = questions(world.status, world.snapshot().spec, world.now + timedelta(minutes=1)).canary
    assert (asked.pairs, asked.planned) == (None, None)
    assert asked.latencies == ("ttft-p99", "itl-p99")
    world = analyzing(rollout__analysis={"metrics": []})
    assert questions(world.status, world.snapshot().spec, world.now).canary is None
