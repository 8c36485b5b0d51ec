"""Binomial tails, beside scipy's."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from quantroll.domain.binomial import lower_tail, upper_tail


@given(st.integers(0, 3000), st.integers(-2, 3002), st.sampled_from([1e-4, 0.01, 0.05, 0.5, 0.75, 0.99]))
def test_both_tails_are_scipys(trials, successes, chance):
    expected = stats.binom(trials, chance)
    assert upper_tail(successes, trials, chance) == pytest.approx(expected.sf(successes - 1), rel=1e-9, abs=1e-12)
    assert lower_tail(successes, trials, chance) == pytest.approx(expected.cdf(successes), rel=1e-9, abs=1e-12)


def test_millions_of_trials_far_out_are_nothing_and_take_no_time():
    assert upper_tail(60_000, 5_000_000, 0.01) < 1e-300
    assert upper_tail(0, 0, 0.5) == 1
    assert upper_tail(1, 0, 0.5) == 0


@pytest.mark.parametrize("chance", [0, 1, -0.1, 1.5])
def test_what_is_no_chance(chance):
    with pytest.raises(ValueError, match="lies in"):
        upper_tail(1, 2, chance)
