"""Tango's test of a paired difference beside numeric maximum likelihood and McNemar's test."""

import math

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from scipy import optimize
from statsmodels.stats.contingency_tables import mcnemar

from quantroll.domain.difference import (
    difference_lower_bound,
    difference_required_n,
    difference_statistic,
    difference_upper_bound,
)
from quantroll.domain.paired import Cells

counts = st.integers(0, 2000) | st.integers(0, 5)
tables = st.builds(Cells, counts, counts, counts, counts)
full_tables = st.builds(Cells, *[st.integers(1, 2000)] * 4)


def statistic_by_search(cells: Cells, difference: float) -> float:
    """The constrained likelihood maximised numerically over the share of harm."""
    n = cells.n

    def loss(harm: float) -> float:
        gain, rest = harm + difference, 1 - 2 * harm - difference
        if min(harm, gain, rest) <= 0:
            return math.inf
        same = cells.both + cells.neither
        return -(cells.harm * math.log(harm) + cells.gain * math.log(gain) + same * math.log(rest))

    low, high = max(0.0, -difference), (1 - difference) / 2
    harm = optimize.minimize_scalar(loss, bounds=(low, high), method="bounded", options={"xatol": 1e-13}).x
    return (cells.gain - cells.harm - n * difference) / math.sqrt(n * (2 * harm + difference * (1 - difference)))


class TestOracles:
    @given(full_tables, st.floats(-0.5, 0.5))
    def test_statistic_equals_numeric_likelihood(self, cells, difference):
        expected = statistic_by_search(cells, difference)
        assert difference_statistic(cells, difference) == pytest.approx(expected, rel=1e-6, abs=1e-6)

    @given(st.integers(0, 500), st.integers(0, 500))
    def test_at_no_difference_it_is_mcnemar(self, harm, gain):
        assume(harm + gain)
        expected = mcnemar([[5, harm], [gain, 7]], exact=False, correction=False).statistic
        assert difference_statistic(Cells(5, harm, gain, 7), 0.0) ** 2 == pytest.approx(expected, rel=1e-9, abs=1e-12)

    @pytest.mark.parametrize("cells", [Cells(36, 12, 2, 1), Cells(685, 68, 18, 229), Cells(510, 46, 46, 373)])
    @pytest.mark.parametrize(("confidence", "z"), [(0.95, 1.6448536), (0.975, 1.9599640)])
    def test_bounds_are_where_the_likelihoods_statistic_reaches_the_quantile(self, cells, confidence, z):
        bounds = difference_lower_bound(cells, confidence), difference_upper_bound(cells, confidence)
        assert [statistic_by_search(cells, bound) for bound in bounds] == pytest.approx([z, -z], abs=1e-5)


class TestStatistic:
    @given(tables, st.floats(-1, 0.9), st.floats(0.001, 0.1))
    def test_falls_with_the_hypothesis(self, cells, difference, more):
        assert difference_statistic(cells, difference) >= difference_statistic(cells, difference + more) - 1e-9

    @given(tables, st.floats(-0.999, 0.999))
    @example(Cells(0, 0, 0, 23), 2.5e-281)
    def test_swapping_the_arms_turns_the_sign(self, cells, difference):
        there, back = difference_statistic(cells, difference), difference_statistic(cells.swapped, -difference)
        assert there == pytest.approx(-back, rel=1e-6, abs=1e-6)

    def test_is_zero_at_the_observed_difference_and_without_items(self):
        assert difference_statistic(Cells(80, 9, 4, 7), -0.05) == pytest.approx(0, abs=1e-9)
        assert difference_statistic(Cells(0, 0, 0, 0), -0.05) == 0

    @pytest.mark.parametrize("difference", [-1.1, 1.1, math.nan])
    def test_a_difference_out_of_range(self, difference):
        with pytest.raises(ValueError, match="difference"):
            difference_statistic(Cells(1, 1, 1, 1), difference)


class TestBounds:
    @given(tables, st.sampled_from([0.5, 0.8, 0.95, 0.99]))
    def test_enclose_the_estimate_and_agree_with_the_statistic(self, cells, confidence):
        lower, upper = difference_lower_bound(cells, confidence), difference_upper_bound(cells, confidence)
        assert -1 <= lower <= upper <= 1
        if cells.n:
            observed = (cells.gain - cells.harm) / cells.n
            assert lower - 1e-9 <= observed <= upper + 1e-9

    def test_no_items(self):
        assert difference_lower_bound(Cells(0, 0, 0, 0), 0.95) == -1
        assert difference_upper_bound(Cells(0, 0, 0, 0), 0.95) == 1

    @pytest.mark.parametrize("confidence", [0.4, 1.0])
    def test_confidence_out_of_range(self, confidence):
        with pytest.raises(ValueError, match="confidence"):
            difference_lower_bound(Cells(1, 1, 1, 1), confidence)


class TestRequiredN:
    def test_has_the_power_it_promises(self):
        observed = Cells(7100, 400, 300, 2200)
        needed = difference_required_n(observed, -0.03, 0.95)
        shares = np.array([observed.both, observed.harm, observed.gain, observed.neither]) / observed.n
        draws = np.random.default_rng(5).multinomial(needed, shares, size=4000)
        power = np.mean([difference_statistic(Cells(*map(int, row)), -0.03) >= 1.6448536 for row in draws])
        assert power == pytest.approx(0.8, abs=0.03)

    @pytest.mark.parametrize("cells", [Cells(0, 0, 0, 0), Cells(90, 5, 0, 5), Cells(90, 6, 0, 4)])
    def test_none_where_nothing_would_do(self, cells):
        assert difference_required_n(cells, -0.05, 0.95) is None


@pytest.mark.parametrize(("baseline", "churn", "n"), [(0.942, 0.08, 100), (0.75, 0.08, 250), (0.6, 0.1, 1000)])
def test_keeps_its_level(baseline, churn, n):
    runs, drop = 10_000, 0.05
    harm, gain = (churn + drop) / 2, (churn - drop) / 2
    draws = np.random.default_rng(7).multinomial(n, [baseline - harm, harm, gain, 1 - baseline - gain], size=runs)
    proven = sum(difference_statistic(Cells(*map(int, row)), -drop) >= 1.6448536 for row in draws) / runs
    assert 0.025 <= proven <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
