"""The p99 of a histogram, and what is proven to be slower than a limit."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantroll.api.spec import AnalysisMetric
from quantroll.domain.latency import judge, quantile, share_above
from quantroll.domain.snapshot import Histogram, RequestCounts, Unknown

BOUNDS = (0.1, 0.25, 0.5, 1.0, math.inf)
AWAY = Unknown("connection refused")


def histogram(*counts):
    """By the number of observations in each bucket."""
    return Histogram(BOUNDS, tuple(sum(counts[: i + 1]) for i in range(len(counts))))


FAST = histogram(0, 1000, 0, 0, 0)  # p99 by interpolation: 248.5 ms
SLOW = histogram(0, 900, 100, 0, 0)
LIMIT = AnalysisMetric(name="ttft-p99", max_latency="250ms", min_samples=100)
REGRESSION = AnalysisMetric(name="itl-p99", max_regression=0.2, min_samples=100)


@pytest.mark.parametrize(
    ("counts", "share", "seconds"),
    [
        ((100, 0, 0, 0, 0), 0.5, 0.05),  # the first bucket begins at 0
        ((100, 0, 0, 0, 0), 0.99, 0.099),
        ((0, 1000, 0, 0, 0), 0.99, 0.1 + 0.15 * 0.99),
        ((50, 0, 50, 0, 0), 0.5, 0.1),  # an edge belongs to the bucket that it ends
        ((50, 0, 50, 0, 0), 0.75, 0.375),
        ((98, 0, 0, 0, 2), 0.99, math.inf),
        ((0, 0, 0, 0, 7), 0.5, math.inf),
        ((0, 0, 0, 0, 0), 0.99, None),
    ],
)
def test_quantile(counts, share, seconds):
    assert quantile(histogram(*counts), share) == (None if seconds is None else pytest.approx(seconds))


def test_no_buckets_at_all():
    assert quantile(Histogram((), ()), 0.99) is None
    assert share_above(Histogram((), ()), 1) == 0


def test_counts_that_fall_by_rounding_are_taken_to_stay():
    assert quantile(Histogram((0.1, 0.25, math.inf), (100, 99, 100)), 0.99) == pytest.approx(0.099)


@pytest.mark.parametrize(
    ("limit", "share"),
    [(0.0, 1.0), (0.1, 0.8), (0.175, 0.6), (0.25, 0.4), (0.5, 0.2), (0.75, 0.2), (1.0, 0.2), (5.0, 0.0)],
)
def test_share_above(limit, share):
    """Beyond the last bound nothing is known to be longer."""
    assert share_above(histogram(20, 40, 20, 0, 20), limit) == pytest.approx(share)


@given(st.lists(st.integers(0, 1000), min_size=5, max_size=5), st.floats(0.01, 0.999))
def test_above_a_quantile_there_is_the_rest(counts, share):
    found = histogram(*counts)
    at = quantile(found, share)
    if at is not None and not math.isinf(at):
        assert share_above(found, at) == pytest.approx(1 - share, abs=1e-9)


def ruled(metric, candidate=FAST, stable=FAST, requests=1000, theirs=1000):
    counts = [RequestCounts(n, 0) if isinstance(n, int) else n for n in (requests, theirs)]
    return judge(metric, (counts[0], counts[1]), (candidate, stable))


@pytest.mark.parametrize(
    ("metric", "changes", "verdict", "words"),
    [
        (LIMIT, {}, "Pass", "248 ms over 1000 requests, maxLatency 250ms"),
        (LIMIT, {"candidate": SLOW}, "Fail", "10.0% of them took longer"),
        (LIMIT, {"candidate": SLOW, "stable": AWAY, "theirs": AWAY}, "Fail", "10.0%"),  # a limit needs no stable
        (LIMIT, {"candidate": histogram(0, 980, 20, 0, 0), "requests": 100}, "Inconclusive", "may be chance"),
        (LIMIT, {"candidate": histogram(0, 980, 20, 0, 0)}, "Inconclusive", "may be chance"),  # where looks are many
        (LIMIT, {"candidate": histogram(0, 979, 21, 0, 0)}, "Fail", "2.1% of them"),
        (LIMIT, {"candidate": histogram(0, 900, 0, 0, 100)}, "Fail", "beyond the histogram over"),
        (LIMIT, {"requests": 99}, "Inconclusive", "99 requests to the candidate in this step, minSamples (100)"),
        (LIMIT, {"requests": 0}, "Inconclusive", "0 requests"),
        (LIMIT, {"candidate": histogram(0, 0, 0, 0, 0)}, "Inconclusive", "timed no request"),
        (LIMIT, {"candidate": AWAY}, "Error", "connection refused"),
        (LIMIT, {"candidate": None}, "Error", "not asked yet"),
        (LIMIT, {"requests": AWAY}, "Error", "connection refused"),
        (REGRESSION, {}, "Pass", "stable's 248 ms, maxRegression 0.2"),
        (REGRESSION, {"candidate": SLOW}, "Fail", "took longer"),
        (REGRESSION, {"candidate": SLOW, "stable": SLOW}, "Pass", ""),  # as slow as stable is no regression
        (REGRESSION, {"theirs": 99}, "Inconclusive", "99 requests to stable"),
        (REGRESSION, {"theirs": AWAY}, "Error", "refused"),
        (REGRESSION, {"stable": AWAY}, "Error", "refused"),
        (REGRESSION, {"stable": histogram(0, 0, 0, 0, 9)}, "Inconclusive", "beyond the engine's histogram"),
        (REGRESSION, {"stable": histogram(0, 0, 0, 0, 0)}, "Inconclusive", "beyond the engine's histogram"),
    ],
)
def test_one_look(metric, changes, verdict, words):
    said = ruled(metric, **changes)
    assert said.verdict == verdict
    assert words in said.message
    assert said.message.startswith(f"{metric.name}: ")
    assert not said.proven


def test_of_two_limits_the_worse_verdict_stands():
    both = AnalysisMetric(name="ttft-p99", max_latency="2s", max_regression=0.2)
    assert ruled(both, SLOW).verdict == "Fail"
    assert ruled(both, SLOW, stable=AWAY).verdict == "Error"
    assert ruled(AnalysisMetric(name="ttft-p99", max_latency="250ms", max_regression=9), SLOW).verdict == "Fail"


def test_what_a_step_waits_for_has_no_counts():
    """A message is written when something happens, and not at every look."""
    few, more = ruled(LIMIT, requests=7), ruled(LIMIT, requests=8)
    assert few.message != more.message
    assert few.waits_for == more.waits_for


def test_a_candidate_as_fast_as_stable_seldom_fails():
    """By the bound itself a look fails in 5 % of the cases at most; seeded."""
    rng, failed = random.Random(4), 0
    for _ in range(400):
        slow = sum(rng.random() < 0.01 for _ in range(300))
        failed += ruled(LIMIT, histogram(0, 300 - slow, slow, 0, 0), requests=300).verdict == "Fail"
    assert failed / 400 < 0.05
