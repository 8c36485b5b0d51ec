"""The paired probe: when it is looked at, and what a look says."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantroll.api.spec import AnalysisMetric, QuantizedModelSpec
from quantroll.api.status import RolloutStatus
from quantroll.domain.evidence import Thresholds
from quantroll.domain.paired import Cells, non_inferior
from quantroll.domain.quality import Plan, harm_p, judge, table
from quantroll.domain.quality_looks import asked_for, last_look, outlook, planned_looks
from quantroll.domain.snapshot import PairCounts, Unknown
from unit.domain.world import spec_with

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
DEFAULT = [("5", "15m"), ("25", "30m"), ("50", "30m")]
HOUR = timedelta(hours=1)


def spec(steps=DEFAULT, **changes):
    steps = [{"weight": int(weight), "duration": duration} for weight, duration in steps]
    return QuantizedModelSpec.model_validate(spec_with(rollout__steps=steps, **changes))


def rollout(step=0, since=START):
    return RolloutStatus(id="1-a", step=step, weight=5, since=since, started_at=START)


# -- the plan ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("steps", "total", "looks"),
    [
        (DEFAULT, "24h", (2 + 6) + 2 * (2 + 5)),  # 15 min doubles six times in 24 h, half an hour five times
        (DEFAULT, "30m", (2 + 1) + 2 * 2),
        ([("50", "1h")], "30m", 2),
        ([("50", "1h")], "2h", 3),
        ([("50", "0s")], "4s", 2 + 2),  # a step without a duration is one of a second
    ],
)
def test_the_number_of_looks_is_known_before_the_rollout(steps, total, looks):
    assert planned_looks(spec(steps, rollout__deadlines={"total": total})) == looks


@pytest.mark.parametrize(("total", "step", "looks"), [("24h", "3h", 4), ("24h", "10m", 2), ("2h", "9h", 3)])
def test_a_step_that_is_not_held_for_long_has_fewer_looks(total, step, looks):
    assert planned_looks(spec([("50", "1h")], rollout__deadlines={"total": total, "step": step})) == looks


@pytest.mark.parametrize(
    ("minutes", "look"),
    [(0, None), (7.4, None), (7.5, 7.5), (14.9, 7.5), (15, 15), (29, 15), (30, 30), (59, 30), (60, 60), (9999, 960)],
)
def test_looks_of_a_step_are_at_its_half_its_end_and_whenever_the_time_has_doubled(minutes, look):
    """960 minutes are the last doubling within 24 hours, however long somebody takes to approve."""
    found = last_look(spec(), rollout(), START + timedelta(minutes=minutes))
    assert found == (None if look is None else START + timedelta(minutes=look))


def test_without_a_clock_there_is_no_look():
    assert last_look(spec(), rollout(since=None), START) is None


@given(st.integers(1, 99_999), st.integers(1, 99_999), st.integers(0, 400_000))
def test_no_step_has_more_looks_than_are_planned(duration, total, spent):
    """Looking every second finds no more of them."""
    of = spec([("50", f"{duration}s")], rollout__deadlines={"total": f"{total}s"})
    now = START + timedelta(seconds=spent)
    at = last_look(of, rollout(), now)
    if at is None:
        assert spent < duration / 2
        return
    assert START < at <= now
    times = (duration * 2**n / 2 for n in range(30))
    every = {last_look(of, rollout(), START + timedelta(seconds=s)) for s in times if s < 10**9}
    assert at in every
    assert len(every) <= planned_looks(of)
    assert last_look(of, rollout(), at) == at, "the look of then is the look of now"


@pytest.mark.parametrize(
    ("step", "changes", "words"),
    [
        (0, {}, None),  # 1200 an hour: 100 after 5 min
        (-1, {"probe": {"rolloutItemsPerHour": 60}}, "takes 100 min (probe.rolloutItemsPerHour 60)"),
        (0, {"probe": {"rolloutItemsPerHour": 60}}, "takes 100 min"),
        (2, {"probe": {"rolloutItemsPerHour": 60}}, "takes 100 min"),
        (2, {"probe": {"rolloutItemsPerHour": 80}}, None),  # 75 min of steps are enough for 100
        (1, {"probe": {"rolloutItemsPerHour": 80}}, "takes 75 min"),
        (0, {"probe": {"rolloutItemsPerHour": 1}}, "takes 100 h"),
        (0, {"probe": {"rolloutItemsPerHour": 1}}, "beyond deadlines.total (24h)"),
        (0, {"probe": {"rolloutItemsPerHour": 1}, "rollout__analysis": {"metrics": [{"name": "error-ratio"}]}}, None),
    ],
)
def test_a_probe_that_is_too_slow_is_told_early(step, changes, words):
    said = outlook(spec(**changes), step)
    assert (words in said) if words else said == ""


def test_how_long_the_prober_has_asked():
    now = START + timedelta(minutes=65)
    since = now - timedelta(minutes=5)
    assert asked_for(spec(), rollout(0, since), now) == timedelta(minutes=5)
    assert asked_for(spec(), rollout(2, since), now) == timedelta(minutes=50)
    skipped = rollout(2, since).model_copy(update={"started_at": since})
    assert asked_for(spec(), skipped, now) == timedelta(minutes=5)


# -- one look ----------------------------------------------------------------------------------------------------------


def plan(floor=0.94, looks=22, samples=100, drop=None, pace=900):
    thresholds = Thresholds(floor, 0.95, min_samples=500, min_baseline=0.5, max_error_rate=0.01, max_drop=drop)
    return Plan(AnalysisMetric(name="quality", min_samples=samples), thresholds, looks, pace)


def pairs(both, harm=0, gain=0, neither=0, distinct=10_000):
    return PairCounts(both, harm, gain, neither, distinct)


GOOD, BAD, DOUBTFUL = pairs(440, 5, 5, 10), pairs(300, 120, 5, 10), pairs(400, 40, 5, 10)
AWAY = Unknown("connection refused")


@pytest.mark.parametrize(
    ("now", "planned", "verdict", "words"),
    [
        (GOOD, None, "Pass", "keeps 1.0000 of 460 items against stable (harm 5, gain 5), floor 0.94"),
        (GOOD, GOOD, "Pass", ""),
        (BAD, None, "Inconclusive", "below the floor, but not proven"),  # no look is due yet
        (BAD, BAD, "Fail", "proven to be below the floor"),
        (GOOD, BAD, "Fail", "at one of 22 planned looks at most 0.0023 is a proof"),  # what a look found stays found
        (DOUBTFUL, DOUBTFUL, "Inconclusive", "items would prove it at these rates"),
        (pairs(99), None, "Inconclusive", "99 items that both answered, minSamples is 100"),
        (pairs(0, 99), pairs(0, 99), "Inconclusive", "99 items"),  # a look at fewer says nothing, however bad
        (pairs(0, 100), pairs(0, 100), "Fail", "proven"),
        (pairs(0), None, "Inconclusive", "0 items"),
        (pairs(0, 0, 3, 200), None, "Inconclusive", "stable got none of 203 items right"),
        (pairs(900, distinct=99), None, "Inconclusive", "the probe has 99 distinct items and minSamples is 100"),
        (AWAY, None, "Error", "connection refused"),
        (GOOD, AWAY, "Error", "connection refused"),
        (None, None, "Error", "not asked yet"),
    ],
)
def test_one_look(now, planned, verdict, words):
    said = judge(plan(), now, planned, HOUR)
    assert said.verdict == verdict
    assert words in said.message
    assert said.proven is (verdict == "Fail")
    assert said.message.startswith("quality: ")


def test_differences_are_held_to_the_drop_that_the_gate_allows():
    of = plan(drop=0.05)
    assert judge(of, GOOD, GOOD, HOUR).verdict == "Pass"
    assert judge(of, BAD, BAD, HOUR).verdict == "Fail"
    assert "differs by" in judge(of, DOUBTFUL, None, HOUR).message
    assert judge(of, pairs(400, 24, 1), None, HOUR).verdict == "Inconclusive"


@given(*[st.integers(0, 400)] * 4, st.floats(0.5, 1.0))
def test_harm_is_the_gates_own_test_turned_round(both, harm, gain, neither, floor):
    """Nothing is both proven to be good and proven to be bad."""
    cells = Cells(both, harm, gain, neither)
    thresholds = Thresholds(floor, 0.95, min_samples=1, min_baseline=0, max_error_rate=1)
    assert not (non_inferior(cells, floor, 0.95) and harm_p(cells, thresholds) <= 0.05)


def test_more_looks_ask_for_more_proof():
    counts = pairs(400, 50, 5, 10)
    assert judge(plan(looks=1), counts, counts, HOUR).verdict == "Fail"
    assert judge(plan(looks=1000), counts, counts, HOUR).verdict == "Inconclusive"


def test_an_item_that_was_asked_again_and_again_counts_once():
    assert table(pairs(400, 40, 40, 20, distinct=250)) == Cells(200, 20, 20, 10)
    assert table(pairs(80, 10, 5, 5, distinct=250)) == Cells(80, 10, 5, 5)
    assert table(pairs(0)) == Cells(0, 0, 0, 0)
    repeated = PairCounts(4000, 500, 50, 100, distinct=100)
    assert judge(plan(), repeated, repeated, HOUR).verdict == "Inconclusive", "as of 100 items that is no proof"


@pytest.mark.parametrize(
    ("counts", "time", "slow"),
    [
        (pairs(20), timedelta(minutes=4), True),  # 60 were due
        (pairs(40), timedelta(minutes=4), False),
        (pairs(40), HOUR, True),
        (pairs(60), HOUR, False),
        (pairs(0), timedelta(0), False),
    ],
)
def test_a_prober_that_does_not_get_on_is_told(counts, time, slow):
    said = judge(plan(), counts, None, time)
    assert ("an engine is slow or gives no answers" in said.message) is slow
    assert said.waits_for == judge(plan(), pairs(1), None, HOUR).waits_for
