"""Binomial tails, beside scipy's."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import integrate, stats

from quantroll.domain.binomial import evidence, lower_tail, upper_tail


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


COUNTS = st.integers(0, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
CHANCES = st.sampled_from([0.001, 0.01, 0.1, 0.3, 0.5, 0.9, 0.99])


@given(COUNTS, CHANCES)
def test_evidence_is_a_fair_game_at_the_chance_itself(counts, chance):
    """What the next trial makes of it is on average what it was: all that Ville's inequality asks for."""
    x, n = counts
    now = evidence(x, n, chance)
    assume(now < 1e300)
    after = chance * evidence(x + 1, n + 1, chance) + (1 - chance) * evidence(x, n + 1, chance)
    assert after == pytest.approx(now, rel=1e-6, abs=1e-9)
    assert evidence(0, 0, chance) == pytest.approx(1)


@pytest.mark.parametrize(("x", "n", "chance"), [(5, 100, 0.01), (21, 1000, 0.01), (7, 20, 0.1), (30, 50, 0.5)])
def test_it_is_the_likelihood_of_higher_chances_mixed(x, n, chance):
    b = max(1, round((1 - chance) / (2 * chance)))
    prior = stats.beta(1, b)

    def mixed(p):
        return stats.binom.pmf(x, n, p) * prior.pdf(p) / prior.sf(chance)

    expected, _ = integrate.quad(mixed, chance, 1, points=[x / n], limit=200)
    assert evidence(x, n, chance) == pytest.approx(expected / stats.binom.pmf(x, n, chance), rel=1e-6)


@given(COUNTS, CHANCES)
def test_more_successes_are_more_evidence(counts, chance):
    x, n = counts
    assert evidence(x, n, chance) <= evidence(x + 1, n + 1, chance) * (1 + 1e-9)


def test_what_is_certain_has_a_number():
    assert evidence(5_000_000, 5_000_000, 0.01) > 1e300
    assert evidence(0, 5_000_000, 0.5) < 1e-6


@pytest.mark.parametrize(("trials", "chance", "needed", "once"), [
    (100, 0.01, 5, 4), (300, 0.01, 9, 7), (1000, 0.01, 21, 16), (20, 0.1, 7, 5), (200, 0.5, 122, 113),
])  # fmt: skip
def test_what_it_costs_beside_a_test_that_is_made_once(trials, chance, needed, once):
    assert next(x for x in range(trials) if evidence(x, trials, chance) >= 20) == needed
    assert next(x for x in range(trials) if upper_tail(x, trials, chance) <= 0.05) == once


def wrong_steps(chance, every, is_proof):
    """Share of 4,000 steps of 30 looks in which chance alone was taken for a proof."""
    random = np.random.default_rng(7)
    looks = np.arange(1, 31) * every
    steps = random.binomial(every, chance, (4000, 30)).cumsum(axis=1)
    return np.mean([any(is_proof(int(x), int(n)) for x, n in zip(step, looks, strict=True)) for step in steps])


@pytest.mark.parametrize(("chance", "every"), [(0.01, 100), (0.1, 20)])
def test_thirty_looks_are_wrong_as_often_as_the_documentation_says(chance, every):
    limit = {n: next(x for x in range(n + 1) if evidence(x, n, chance) >= 20) for n in np.arange(1, 31) * every}
    once = {n: next(x for x in range(n + 1) if upper_tail(x, n, chance) <= 0.05) for n in limit}
    assert wrong_steps(chance, every, lambda x, n: x >= limit[n]) < 0.02
    assert 0.14 < wrong_steps(chance, every, lambda x, n: x >= once[n]) < 0.2, "one test, repeated"
