"""The linear test and Student's distribution beside statsmodels and scipy."""

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from quantroll.domain import student
from quantroll.domain.graded import (
    LEAST_CLUSTERS,
    LEAST_ITEMS,
    Sums,
    difference_bounds,
    difference_p,
    linear_required_n,
    linear_statistic,
    recovery_bounds,
    recovery_harm_p,
    recovery_p,
    skew_allowance,
    standard_error,
)


def moments(x, y, groups) -> list[float]:
    """The nine sums, by the long way round."""
    parts = [(x[groups == g].sum(), y[groups == g].sum(), (groups == g).sum()) for g in np.unique(groups)]
    return [
        len(parts), *(sum(p[i] for p in parts) for i in (0, 1)),
        *(sum(p[i] * p[j] for p in parts) for i, j in ((0, 0), (0, 1), (1, 1), (0, 2), (1, 2), (2, 2))),
    ]  # fmt: skip


def sums_of(x, y, groups=None) -> Sums:
    x, y = np.asarray(x, float), np.asarray(y, float)
    groups = np.arange(len(x)) if groups is None else groups
    return Sums.of(len(x), moments(x, y, groups))


def sample(seed: int, items: int = 300, clusters: int | None = None):
    """Scores that agree often, with what is common to a cluster; and the clusters."""
    rng = np.random.default_rng(seed)
    groups = np.arange(items) if clusters is None else rng.integers(0, clusters, items)
    common = rng.normal(0, 0.2, groups.max() + 1)[groups]
    x = np.clip(rng.beta(5, 1, items) + common, 0, 1)
    y = np.where(rng.random(items) < 0.7, x, np.clip(rng.beta(5, 1.3, items) + common, 0, 1))
    return x, y, groups


def regression(x, y, groups, phi):
    """Statsmodels' own: d on a constant, errors clustered."""
    d = y - phi * x
    return sm.OLS(d, np.ones_like(d)).fit(cov_type="cluster", cov_kwds={"groups": groups}, use_t=True)


SAMPLES = [(1, 300, None), (2, 500, 60), (3, 1000, 7), (4, 40, 39), (5, 260, 260)]


def p_of(excess: float, error: float, sums: Sums) -> float:
    """P value of the corrected test, by search for the t that it just passes."""

    def surplus(t: float) -> float:
        return excess - skew_allowance(sums, t) / sums.items - t * error

    t = optimize.brentq(surplus, 0, 1e6) if surplus(0) > 0 else surplus(0) / error
    return stats.t.sf(t, sums.clusters - 1)


class TestOracles:
    @pytest.mark.parametrize(("seed", "items", "clusters"), SAMPLES)
    @pytest.mark.parametrize("phi", [0.5, 0.94, 1.0, 1.2])
    def test_statistic_and_error_equal_statsmodels(self, seed, items, clusters, phi):
        x, y, groups = sample(seed, items, clusters)
        fit, sums = regression(x, y, groups, phi), sums_of(x, y, groups)
        assert standard_error(sums, phi) == pytest.approx(fit.bse[0], rel=1e-6)
        assert linear_statistic(sums, phi) == pytest.approx(fit.tvalues[0], rel=1e-6, abs=1e-9)

    @pytest.mark.parametrize(("seed", "items", "clusters"), SAMPLES)
    @pytest.mark.parametrize("phi", [0.5, 0.94, 1.0, 1.2])
    def test_p_values_are_those_of_statsmodels_t_less_the_allowance(self, seed, items, clusters, phi):
        x, y, groups = sample(seed, items, clusters)
        fit, sums = regression(x, y, groups, phi), sums_of(x, y, groups)
        nothing = regression(np.zeros_like(x), x, groups, 0).pvalues[0] / 2  # that the baseline scores nothing
        upper, lower = (p_of(side * fit.params[0], fit.bse[0], sums) for side in (1, -1))
        assert recovery_p(sums, phi) == pytest.approx(max(upper, nothing), rel=1e-6, abs=1e-12)
        assert recovery_harm_p(sums, phi) == pytest.approx(max(lower, nothing), rel=1e-6, abs=1e-12)

    @pytest.mark.parametrize(("seed", "items", "clusters"), SAMPLES)
    @pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
    def test_bounds_are_where_statsmodels_t_less_the_allowance_reaches_the_quantile(
        self, seed, items, clusters, confidence
    ):
        x, y, groups = sample(seed, items, clusters)
        sums = sums_of(x, y, groups)
        q = stats.t.ppf(confidence, sums.clusters - 1)
        allowance = skew_allowance(sums, q) / items

        def surplus(phi: float, side: int) -> float:
            fit = regression(x, y, groups, phi)
            return side * fit.params[0] - allowance - q * fit.bse[0]

        lower, upper = recovery_bounds(sums, confidence)
        expected = [optimize.brentq(lambda phi: surplus(phi, 1), -1, sums.recovery),
                    optimize.brentq(lambda phi: surplus(phi, -1), sums.recovery, 9)]  # fmt: skip
        assert [lower, upper] == pytest.approx([max(expected[0], 0), expected[1]], rel=1e-6)

    @pytest.mark.parametrize(("seed", "items", "clusters"), SAMPLES)
    def test_difference_equals_statsmodels(self, seed, items, clusters):
        x, y, groups = sample(seed, items, clusters)
        fit, sums = regression(x, y, groups, 1.0), sums_of(x, y, groups)
        allowance = skew_allowance(sums, stats.t.ppf(0.95, sums.clusters - 1)) / items
        low, high = fit.conf_int(0.10)[0]
        assert difference_bounds(sums, 0.95) == pytest.approx((low - allowance, high + allowance), rel=1e-6)
        expected = p_of(fit.params[0] + 0.02, fit.bse[0], sums)
        assert difference_p(sums, -0.02) == pytest.approx(expected, rel=1e-6)

    def test_items_alone_are_the_plain_t_test_less_the_allowance(self):
        x, y, _ = sample(6)
        found = stats.ttest_1samp(y - 0.94 * x, 0, alternative="greater")
        assert linear_statistic(sums_of(x, y), 0.94) == pytest.approx(found.statistic, rel=1e-9)
        assert found.pvalue < recovery_p(sums_of(x, y), 0.94)

    def test_the_allowance_is_in_lost_clusters(self):
        assert skew_allowance(sums_of(*sample(6)[:2]), 1.645) == pytest.approx((1 + 2 * 1.645**2) / 6)
        x, y, _ = sample(6)
        fives = skew_allowance(sums_of(x, y, np.arange(300) // 5), 1.645)
        assert fives == pytest.approx(5 * (1 + 2 * 1.645**2) / 6)


class TestStudent:
    @pytest.mark.parametrize("freedom", [1, 2, 3, 7, 49, 199, 200, 249, 1000, 10**5, 10**6])
    @pytest.mark.parametrize("confidence", [0.5, 0.6, 0.9, 0.95, 0.99, 0.9999])
    def test_quantile_equals_scipy(self, freedom, confidence):
        assert student.quantile(confidence, freedom) == pytest.approx(stats.t.ppf(confidence, freedom), rel=1e-9)

    @given(st.floats(-40, 40), st.integers(1, 10**6))
    def test_tail_equals_scipy(self, t, freedom):
        assert student.upper_tail(t, freedom) == pytest.approx(stats.t.sf(t, freedom), rel=1e-9, abs=1e-300)

    @given(st.floats(0.5, 0.9999), st.integers(1, 10**6))
    def test_quantile_inverts_the_tail(self, confidence, freedom):
        assert student.upper_tail(student.quantile(confidence, freedom), freedom) == pytest.approx(1 - confidence)

    @pytest.mark.parametrize(("t", "tail"), [(math.inf, 0.0), (-math.inf, 1.0), (0.0, 0.5)])
    def test_ends(self, t, tail):
        assert student.upper_tail(t, 5) == tail

    def test_bad_input(self):
        with pytest.raises(ValueError, match="confidence"):
            student.quantile(1.0, 5)
        with pytest.raises(ValueError, match="degrees"):
            student.upper_tail(1.0, 0)


class TestBounds:
    @given(st.integers(0, 10**6), st.integers(2, 400), st.sampled_from([0.5, 0.8, 0.95, 0.99]), st.floats(0.01, 1.5))
    def test_agree_with_the_p_values(self, seed, items, confidence, phi):
        x, y, _ = sample(seed, items)
        sums = sums_of(x, y)
        lower, upper = recovery_bounds(sums, confidence)
        assert 0 <= lower <= sums.recovery <= upper
        if abs(lower - phi) > 1e-6:
            assert (recovery_p(sums, phi) <= 1 - confidence) == (phi < lower)
        if abs(upper - phi) > 1e-6 and math.isfinite(upper):
            assert (recovery_harm_p(sums, phi) <= 1 - confidence) == (phi > upper)

    def test_nothing_is_proven_of_a_baseline_that_may_score_nothing(self):
        x, y = np.zeros(300), np.ones(300)
        x[0] = 1.0
        sums = sums_of(x, y)
        assert recovery_bounds(sums, 0.95) == (0.0, math.inf)
        assert recovery_p(sums, 0.5) > 0.05

    @pytest.mark.parametrize("items", [0, 1])
    def test_fewer_than_two_clusters_prove_nothing(self, items):
        sums = sums_of(np.ones(items), np.ones(items))
        assert recovery_bounds(sums, 0.95) == (0.0, math.inf)
        assert difference_bounds(sums, 0.95) == (-1.0, 1.0)
        assert recovery_p(sums, 0.1) == recovery_harm_p(sums, 0.1) == difference_p(sums, -0.5) == 1.0
        assert linear_statistic(sums, 0.94) == 0
        assert linear_required_n(sums, 0.94, 0, 0.95) is None

    def test_without_any_spread(self):
        sums = sums_of(np.ones(300), np.ones(300))
        lost = skew_allowance(sums, student.quantile(0.95, 299)) / 300
        assert recovery_bounds(sums, 0.95) == pytest.approx((1 - lost, 1 + lost), rel=1e-9)
        assert 0 < recovery_p(sums, 0.94) < 1e-6
        assert linear_statistic(sums, 1.0) == 0
        assert recovery_harm_p(sums, 0.94) == 1

    def test_a_cluster_counts_once(self):
        x, y, _ = sample(7, 60)
        alone = recovery_bounds(sums_of(x, y), 0.95)
        tenfold = sums_of(np.repeat(x, 10), np.repeat(y, 10), np.repeat(np.arange(60), 10))
        assert recovery_bounds(tenfold, 0.95) == pytest.approx(alone, rel=1e-9), (
            "the same answers ten times prove no more"
        )

    @pytest.mark.parametrize("confidence", [0.49, 1.0, math.nan])
    def test_confidence_out_of_range(self, confidence):
        for bounds in (recovery_bounds, difference_bounds):
            with pytest.raises(ValueError, match="confidence"):
                bounds(sums_of([1, 0, 1], [1, 1, 0]), confidence)

    @pytest.mark.parametrize(
        "given", [[4, 1, 1, 1, 1, 1, 1, 1, 1], [3, -1, 1, 1, 1, 1, 1, 1, 1], [3, 4, 1, 1, 1, 1, 1, 1, 3]]
    )
    def test_sums_that_cannot_be(self, given):
        with pytest.raises(ValueError, match="scores"):
            Sums.of(3, given)


class TestRequiredN:
    @pytest.mark.parametrize("clusters", [None, 120])
    def test_that_many_prove_it_four_times_in_five(self, clusters):
        x, y, groups = sample(8, 600, clusters)
        sums = sums_of(x, y, groups)
        phi = sums.recovery - 0.01
        needed = linear_required_n(sums, phi, 0, 0.95)
        error = standard_error(sums, phi) * math.sqrt(sums.items / needed)
        excess = sums.variant_score - phi * sums.baseline_score - skew_allowance(sums, stats.norm.ppf(0.95)) / needed
        power = stats.norm.sf(stats.norm.ppf(0.95) - excess / error)
        assert power == pytest.approx(0.8, abs=0.005)

    def test_never_fewer_than_the_test_needs(self):
        x, y, groups = sample(9, 200, 10)
        assert linear_required_n(sums_of(x, y), 0.1, 0, 0.95) == LEAST_ITEMS
        assert linear_required_n(sums_of(x, y, groups), 0.1, 0, 0.95) == 20 * LEAST_CLUSTERS

    def test_none_where_nothing_would_do(self):
        x, y, _ = sample(10)
        sums = sums_of(x, y)
        assert linear_required_n(sums, sums.recovery, 0, 0.95) is None
        assert linear_required_n(sums, sums.recovery - 1e-9, 0, 0.95) is None

    def test_enough(self):
        x, y, _ = sample(11, LEAST_ITEMS)
        assert sums_of(x, y).enough
        assert not sums_of(x[1:], y[1:]).enough
        assert not sums_of(x, y, np.arange(LEAST_ITEMS) % (LEAST_CLUSTERS - 1)).enough


@pytest.mark.parametrize(
    ("items", "clusters", "whole"), [(250, 250, False), (1000, 1000, False), (600, 60, False), (600, 60, True)]
)
def test_keeps_its_level(items, clusters, whole):
    """The most skewed scores: right, and rarely lost; by chance or by whole clusters."""
    rng, floor, runs, proven = np.random.default_rng(12), 0.94, 3000, 0
    groups = np.arange(items) % clusters
    for _ in range(runs):
        easy = rng.beta(6, 1.5, clusters)[groups] if clusters < items else 0.8
        x = rng.random(items) < easy
        kept = (rng.random(clusters) < floor)[groups] if whole else rng.random(items) < floor
        proven += recovery_p(_of_binary(x, x & kept, groups), floor) <= 0.05
    assert proven / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    if clusters == items:
        assert proven / runs >= 0.03  # a test that never proves anything would keep its level, too


def _of_binary(x, y, groups) -> Sums:
    b, v, n = (np.bincount(groups, weights) for weights in (x, y, np.ones(len(x))))
    return Sums(len(x), len(n), b.sum(), v.sum(), b @ b, b @ v, v @ v, b @ n, v @ n, n @ n)
