import itertools
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import optimize, stats
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import _confint_riskratio_paired_nam

from quantroll.domain.paired import (
    MAX_REQUIRED_N,
    Cells,
    binomial_tail,
    expected_cells,
    mcnemar_p,
    non_inferior,
    normal_quantile,
    power_at,
    recovery_lower_bound,
    recovery_upper_bound,
    required_n,
    score_statistic,
)

# Published int4 comparisons, ab-ch90/quantization-flips-small-llms: cells, recovery, lower bound at 95 % one-sided.
GOLDEN = {
    "Qwen2.5-1.5B ARC-C": (Cells(685, 68, 18, 229), 0.9336, 0.9131),
    "Qwen2.5-1.5B MMLU": (Cells(509, 86, 43, 337), 0.9277, 0.8971),
    "Qwen2.5-3B MMLU": (Cells(572, 66, 32, 305), 0.9467, 0.9213),
    "Qwen2.5-1.5B CSQA": (Cells(719, 45, 37, 185), 0.9895, 0.9699),
    "Qwen2.5-3B ARC-C": (Cells(776, 52, 26, 146), 0.9686, 0.9507),
    "Llama-3.2-3B MMLU": (Cells(517, 63, 51, 344), 0.9793, 0.9493),
    "Gemma-2-2B MMLU": (Cells(510, 46, 46, 373), 1.0000, 0.9717),
}
FLOORS = st.floats(0.5, 1.0)
CONFIDENCES = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99])


def tables(least: int = 0, most: int = 2000) -> st.SearchStrategy[Cells]:
    count = st.integers(least, most) | st.integers(least, least + 5)
    return st.builds(Cells, count, count, count, count)


def small_tables(n: int) -> list[Cells]:
    counts = itertools.product(range(n + 1), repeat=3)
    return [Cells(a, b, c, n - a - b - c) for a, b, c in counts if a + b + c <= n]


def statistic_by_search(cells: Cells, phi: float) -> float:
    """T(phi) with the constrained likelihood maximised numerically over the share of items that both arms got right."""
    n = cells.n
    once = 1 - cells.neither / n  # the constraint is homogeneous in the other three cells: q00 keeps its estimate

    def shares(both: float) -> tuple[float, float]:
        harm = (once - phi * both) / (1 + phi)
        return harm, once - both - harm

    def loss(both: float) -> float:
        harm, gain = shares(both)
        if min(both, harm, gain) <= 0:
            return math.inf
        return -(cells.both * math.log(both) + cells.harm * math.log(harm) + cells.gain * math.log(gain))

    top = min(once / phi, phi * once)  # where harm, or gain, reaches zero
    best = optimize.minimize_scalar(loss, bounds=(0, top), method="bounded", options={"xatol": 1e-12})
    excess = cells.variant_score - phi * cells.baseline_score
    return excess / math.sqrt(phi * sum(shares(best.x)) / n)


class TestGolden:
    @pytest.mark.parametrize(("cells", "recovery", "lower_bound"), GOLDEN.values(), ids=GOLDEN.keys())
    def test_published_tables(self, cells, recovery, lower_bound):
        assert round(cells.recovery, 4) == recovery
        assert round(recovery_lower_bound(cells, 0.95), 4) == lower_bound

    def test_cells(self):
        cells = Cells(685, 68, 18, 229)
        assert (cells.n, cells.baseline_correct, cells.variant_correct, cells.flips) == (1000, 753, 703, 86)
        assert (cells.baseline_score, cells.variant_score) == (0.753, 0.703)
        assert cells.swapped == Cells(685, 18, 68, 229)

    @pytest.mark.parametrize("position", range(4))
    def test_negative_count(self, position):
        counts = [1, 1, 1, 1]
        counts[position] = -1
        with pytest.raises(ValueError, match="negative"):
            Cells(*counts)


class TestOracles:
    @pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
    @pytest.mark.parametrize("cells", [cells for cells, _, _ in GOLDEN.values()], ids=GOLDEN.keys())
    def test_bounds_equal_statsmodels_on_published_tables(self, cells, confidence):
        assert_bounds_equal_statsmodels(cells, confidence)

    @given(tables(least=3), st.sampled_from([0.8, 0.95, 0.99]))
    def test_bounds_equal_statsmodels(self, cells, confidence):
        assert_bounds_equal_statsmodels(cells, confidence)

    @given(tables(least=1), st.floats(0.3, 3.0))
    def test_statistic_equals_numeric_likelihood(self, cells, phi):
        assert score_statistic(cells, phi) == pytest.approx(statistic_by_search(cells, phi), rel=1e-6, abs=1e-6)

    @given(st.integers(0, 3000), st.integers(0, 3000))
    def test_mcnemar_equals_scipy(self, harm, gain):
        expected = stats.binomtest(harm, harm + gain, 0.5, "greater").pvalue if harm + gain else 1.0
        assert mcnemar_p(Cells(7, harm, gain, 3)) == pytest.approx(expected, rel=1e-6, abs=1e-200)  # scipy underflows

    def test_mcnemar_doubles_to_statsmodels_two_sided(self):
        two_sided = mcnemar([[685, 68], [18, 229]], exact=True).pvalue
        assert 2 * mcnemar_p(Cells(685, 68, 18, 229)) == pytest.approx(two_sided, rel=1e-9)

    @pytest.mark.parametrize("confidence", [0.5, 0.8, 0.95, 0.99, 0.9999])
    def test_quantile_equals_scipy(self, confidence):
        assert normal_quantile(confidence) == pytest.approx(stats.norm.ppf(confidence), abs=1e-12)


def assert_bounds_equal_statsmodels(cells: Cells, confidence: float) -> None:
    table = [[cells.both, cells.gain], [cells.harm, cells.neither]]
    result = _confint_riskratio_paired_nam(table, alpha=2 * (1 - confidence))
    # Its quartic also has a complex pair of roots; numpy sorts by the real part.
    real = [root.real for root in result.p_roots if abs(root.imag) < 1e-9]
    assert recovery_lower_bound(cells, confidence) == pytest.approx(min(real), rel=1e-6)
    assert recovery_upper_bound(cells, confidence) == pytest.approx(max(real), rel=1e-6)


class TestStatistic:
    @given(tables(), FLOORS, st.floats(0.001, 0.5))
    def test_falls_with_the_hypothesis(self, cells, phi, more):
        assert score_statistic(cells, phi) >= score_statistic(cells, phi + more) - 1e-9

    @given(tables(), st.floats(0.1, 10))
    def test_swapping_the_arms_inverts_the_hypothesis(self, cells, phi):
        assert score_statistic(cells.swapped, 1 / phi) == pytest.approx(
            -score_statistic(cells, phi), rel=1e-9, abs=1e-9
        )

    def test_is_continuous_at_one(self):
        for cells in small_tables(8):
            below, at, above = (score_statistic(cells, phi) for phi in (1 - 1e-12, 1.0, 1 + 1e-12))
            assert below == pytest.approx(at, abs=1e-5)
            assert above == pytest.approx(at, abs=1e-5)

    def test_is_zero_at_the_observed_recovery(self):
        for cells in (cells for cells, _, _ in GOLDEN.values()):
            assert score_statistic(cells, cells.recovery) == pytest.approx(0, abs=1e-9)

    @pytest.mark.parametrize("n", range(9))
    def test_small_tables_are_finite_and_monotone(self, n):
        for cells in small_tables(n):
            at_floors = [score_statistic(cells, phi) for phi in (0.01, 0.5, 0.94, 1.0, 1.1, 5.0)]
            assert all(map(math.isfinite, at_floors))
            assert at_floors == pytest.approx(sorted(at_floors, reverse=True), abs=1e-9)

    @pytest.mark.parametrize("phi", [0.0, -1.0, math.nan])
    def test_hypothesis_must_be_positive(self, phi):
        with pytest.raises(ValueError, match="positive"):
            score_statistic(Cells(1, 1, 1, 1), phi)

    @given(tables(least=1), FLOORS, st.sampled_from([0.8, 0.95, 0.99]))
    def test_proof_and_lower_bound_agree(self, cells, phi, confidence):
        distance = recovery_lower_bound(cells, confidence) - phi
        assume(abs(distance) > 1e-8)
        assert non_inferior(cells, phi, confidence) == (distance > 0)
        assert non_inferior(cells, phi, confidence) == (score_statistic(cells, phi) >= normal_quantile(confidence))


class TestBounds:
    @given(tables(), CONFIDENCES)
    def test_enclose_the_estimate(self, cells, confidence):
        lower, upper = recovery_lower_bound(cells, confidence), recovery_upper_bound(cells, confidence)
        assert 0 <= lower <= upper
        if cells.recovery is not None:
            assert lower <= cells.recovery <= upper * (1 + 1e-12)
            assert math.isfinite(upper)

    @given(tables(), st.sampled_from([(0.5, 0.8), (0.8, 0.9), (0.9, 0.95), (0.95, 0.99)]))
    def test_widen_with_confidence(self, cells, confidences):
        less, more = confidences
        assert recovery_lower_bound(cells, more) <= recovery_lower_bound(cells, less) * (1 + 1e-8)
        assert recovery_upper_bound(cells, more) >= recovery_upper_bound(cells, less) * (1 - 1e-8)

    @given(tables(least=1), CONFIDENCES)
    def test_harm_lowers_and_gain_raises(self, cells, confidence):
        harmed = Cells(cells.both - 1, cells.harm + 1, cells.gain, cells.neither)
        gained = Cells(cells.both, cells.harm, cells.gain + 1, cells.neither - 1)
        for bound in (recovery_lower_bound, recovery_upper_bound):
            assert bound(harmed, confidence) <= bound(cells, confidence) * (1 + 1e-8)
            assert bound(gained, confidence) >= bound(cells, confidence) * (1 - 1e-8)

    @given(tables(least=1), CONFIDENCES)
    def test_swapping_the_arms_inverts_them(self, cells, confidence):
        lower = recovery_lower_bound(cells, confidence)
        assert recovery_upper_bound(cells.swapped, confidence) == pytest.approx(1 / lower, rel=1e-12)

    @given(tables(least=1), st.sampled_from([0.8, 0.95]))
    def test_more_of_the_same_narrows(self, cells, confidence):
        tenfold = Cells(10 * cells.both, 10 * cells.harm, 10 * cells.gain, 10 * cells.neither)
        assert recovery_lower_bound(tenfold, confidence) > recovery_lower_bound(cells, confidence)
        assert recovery_upper_bound(tenfold, confidence) < recovery_upper_bound(cells, confidence)

    def test_closed_form_without_flips(self):
        z = normal_quantile(0.95)
        cells = Cells(500, 0, 0, 100)
        assert recovery_lower_bound(cells, 0.95) == pytest.approx(500 / (500 + z**2), rel=1e-8)
        assert recovery_upper_bound(cells, 0.95) == pytest.approx((500 + z**2) / 500, rel=1e-8)

    @pytest.mark.parametrize(
        ("cells", "lower", "upper"),
        [
            (Cells(0, 0, 0, 0), 0, math.inf),
            (Cells(0, 0, 0, 50), 0, math.inf),
            (Cells(0, 50, 0, 0), 0, normal_quantile(0.95) ** 2 / 50),
            (Cells(0, 0, 50, 0), 50 / normal_quantile(0.95) ** 2, math.inf),
        ],
        ids=["no items", "all wrong", "all harmed", "baseline all wrong"],
    )
    def test_degenerate(self, cells, lower, upper):
        assert recovery_lower_bound(cells, 0.95) == pytest.approx(lower, rel=1e-8)
        assert recovery_upper_bound(cells, 0.95) == pytest.approx(upper, rel=1e-8)

    @pytest.mark.parametrize("cells", small_tables(1) + small_tables(2))
    @pytest.mark.parametrize("confidence", [0.5, 0.95, 0.9999])
    def test_one_and_two_items(self, cells, confidence):
        lower, upper = recovery_lower_bound(cells, confidence), recovery_upper_bound(cells, confidence)
        assert 0 <= lower <= upper
        assert math.isfinite(upper) == (cells.recovery is not None)

    def test_a_billion_items(self):
        cells = Cells(900_000_000, 1_000_000, 900_000, 98_100_000)
        assert recovery_lower_bound(cells, 0.95) == pytest.approx(cells.recovery, abs=1e-5)

    @pytest.mark.parametrize("confidence", [0.49, 1.0, 95.0, math.nan])
    def test_confidence_out_of_range(self, confidence):
        with pytest.raises(ValueError, match="confidence"):
            recovery_lower_bound(Cells(1, 1, 1, 1), confidence)


class TestRequiredN:
    @given(tables(least=1), st.floats(0.5, 0.95), st.sampled_from([0.8, 0.95, 0.99]))
    def test_scaling_up_to_it_proves(self, cells, share, confidence):
        phi = share * cells.recovery
        needed = required_n(cells, phi, confidence)
        factor = math.ceil(needed / cells.n)
        scaled = Cells(*(factor * count for count in (cells.both, cells.harm, cells.gain, cells.neither)))
        assert non_inferior(scaled, phi, confidence)

    @given(tables(least=1), st.floats(0.01, 0.99))
    def test_exceeds_what_did_not_suffice(self, cells, share):
        lower = recovery_lower_bound(cells, 0.95)
        phi = lower + share * (cells.recovery - lower)
        assert not non_inferior(cells, phi, 0.95)
        assert required_n(cells, phi, 0.95) > cells.n

    @given(tables(), FLOORS)
    def test_none_exactly_when_nothing_would_do(self, cells, phi):
        needed = required_n(cells, phi, 0.95)
        if cells.recovery is None or cells.recovery <= phi:
            assert needed is None
        elif cells.recovery > phi + 0.01:
            assert 0 < needed <= MAX_REQUIRED_N

    def test_out_of_reach(self):
        assert required_n(Cells(940_001, 59_999, 0, 0), 0.94, 0.95) is None

    def test_grows_with_power(self):
        cells = Cells(572, 66, 32, 305)
        assert required_n(cells, 0.94, 0.95, power=0.9) > required_n(cells, 0.94, 0.95) > 10_000

    def test_without_flips_and_errors_it_is_exact(self):
        needed = required_n(Cells(5, 0, 0, 0), 0.94, 0.95)
        assert non_inferior(Cells(needed, 0, 0, 0), 0.94, 0.95)
        assert not non_inferior(Cells(needed - 1, 0, 0, 0), 0.94, 0.95)

    def test_has_the_power_it_promises(self):
        observed = Cells(7100, 400, 175, 2325)
        needed = required_n(observed, 0.94, 0.95)
        shares = np.array([observed.both, observed.harm, observed.gain, observed.neither]) / observed.n
        draws = np.random.default_rng(5).multinomial(needed, shares, size=5000)
        power = np.mean([non_inferior(Cells(*map(int, row)), 0.94, 0.95) for row in draws])
        assert power == pytest.approx(0.8, abs=0.03)
        assert power_at(needed, observed, 0.94, 0.95) == pytest.approx(0.8, abs=0.001)


class TestPower:
    @given(tables(least=1), st.floats(0.5, 0.99), st.sampled_from([0.6, 0.8, 0.95]))
    def test_the_items_that_are_needed_for_a_power_have_it(self, cells, share, power):
        phi = share * cells.recovery
        needed = required_n(cells, phi, 0.95, power)
        assume(needed)
        assert power_at(needed, cells, phi, 0.95) >= power - 1e-9
        assert needed == 1 or power_at(needed - 1, cells, phi, 0.95) <= power + 1e-9

    def test_without_a_ratio_nothing_is_proven(self):
        assert power_at(1000, Cells(0, 0, 5, 5), 0.94, 0.95) == 0

    def test_without_spread_it_is_a_step(self):
        cells = Cells(5, 0, 0, 0)
        needed = required_n(cells, 0.94, 0.95)
        assert [power_at(n, cells, 0.94, 0.95) for n in (needed - 1, needed)] == [0, 1]


class TestExpectedCells:
    @pytest.mark.parametrize(
        ("baseline", "churn", "recovery"),
        [(0.75, 0.06, 0.985), (0.942, 0.058, 0.94), (0.6, 0.1, 1.02), (1.0, 0.1, 0.9)],
    )
    def test_have_the_rates(self, baseline, churn, recovery):
        cells = expected_cells(baseline, churn, recovery, 10**9)
        assert cells.n == pytest.approx(10**9, abs=2)
        assert cells.baseline_score == pytest.approx(baseline, abs=1e-8)
        assert cells.flips / cells.n == pytest.approx(churn, abs=1e-8)
        assert cells.recovery == pytest.approx(recovery, abs=1e-8)

    @pytest.mark.parametrize(
        ("rates", "said"),
        [
            ((0.75, 0.05, 0.9), "needs a churn of 0.075 at least"),
            ((0.99, 0.1, 1.0), "a churn of 0.02 at most"),
            ((0.0, 0.0, 1.0), "are shares"),
            ((0.5, -0.1, 1.0), "are shares"),
        ],
    )
    def test_rates_that_no_table_has(self, rates, said):
        with pytest.raises(ValueError, match=said):
            expected_cells(*rates, 1000)


class TestLevel:
    @pytest.mark.parametrize(
        ("baseline", "churn", "n"), [(0.942, 0.08, 50), (0.942, 0.08, 1000), (0.75, 0.06, 250), (0.60, 0.10, 250)]
    )
    def test_proves_a_recovery_at_the_floor_no_oftener_than_alpha(self, baseline, churn, n):
        runs, alpha, floor = 10_000, 0.05, 0.94
        drop = baseline * (1 - floor)
        harm, gain = (churn + drop) / 2, (churn - drop) / 2
        draws = np.random.default_rng(7).multinomial(n, [baseline - harm, harm, gain, 1 - baseline - gain], size=runs)
        proven = sum(non_inferior(Cells(*map(int, row)), floor, 1 - alpha) for row in draws)
        assert proven / runs <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)
        assert proven / runs >= alpha / 2  # a test that never proves anything would keep its level, too


class TestBinomialTail:
    @pytest.mark.parametrize(
        ("successes", "trials", "p"), [(0, 0, 1), (0, 5, 1), (5, 5, 1 / 32), (3, 4, 5 / 16), (6, 5, 0)]
    )
    def test_by_hand(self, successes, trials, p):
        assert binomial_tail(successes, trials) == pytest.approx(p, rel=1e-12)

    def test_large_counts(self):
        expected = stats.binom.sf(50_499, 100_000, 0.5)
        assert binomial_tail(50_500, 100_000) == pytest.approx(expected, rel=1e-6)
