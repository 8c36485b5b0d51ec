"""What a confirmation says: the bound, the paired test, and the year of false alarms that they make."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from quantroll.domain.drift import Confirmation, decide, wilson_upper

FLOOR = 0.94


@pytest.mark.parametrize(("right", "items"), [(0, 1), (1, 1), (170, 200), (0, 50), (50, 50), (940, 1000), (7, 13)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_the_bound_is_wilsons(right, items, confidence):
    oracle = proportion_confint(right, items, alpha=2 * (1 - confidence), method="wilson")[1]
    assert wilson_upper(right, items, confidence) == pytest.approx(oracle, abs=1e-12)


def test_no_items_bound_nothing():
    assert wilson_upper(0, 0, 0.9) == 1.0


@pytest.mark.parametrize(
    ("cells", "verdict"),
    [
        # both, serving only, target only, neither, errors
        ((940, 5, 15, 40, 0), "Healthy"),  # .945: above the floor
        ((935, 5, 15, 45, 0), "Healthy"),  # .940: the floor itself
        ((934, 5, 15, 46, 0), "Suspect"),  # .939: below, and the bound is above
        ((800, 5, 190, 5, 0), "Breached"),
        ((800, 5, 5, 190, 0), "PopulationShift"),  # as bad on both
        ((800, 60, 10, 130, 0), "PopulationShift"),  # the other one is worse
        ((905, 5, 8, 82, 0), "PopulationShift"),  # p .29: better, but not proven, and below the floor, too
        ((920, 0, 4, 0, 0), "Healthy"),
        ((19, 0, 1, 0, 0), "Healthy"),
        ((17, 0, 3, 0, 0), "Suspect"),  # .85 of 20: the bound is .91, but p .125
        ((0, 0, 20, 0, 0), "Breached"),
        ((0, 0, 0, 0, 0), "Unknown"),
        ((0, 0, 0, 0, 500), "Unknown"),
        ((800, 5, 190, 5, 53), "Unknown"),  # 5.03 % without an answer
        ((800, 5, 190, 5, 52), "Breached"),
    ],
)
def test_the_decision(cells, verdict):
    assert decide(Confirmation(*cells), FLOOR).verdict == verdict


def test_a_decision_gives_its_numbers():
    message = decide(Confirmation(800, 5, 190, 5), FLOOR).message
    for number in ("1000 items", "0.805", "0.990", "floor 0.940", "McNemar p"):
        assert number in message


@pytest.mark.parametrize("flips", [(5, 12), (0, 5), (3, 3), (10, 1)])
def test_the_paired_test_is_the_exact_binomial_one(flips):
    serving_only, target_only = flips
    p = stats.binomtest(target_only, serving_only + target_only, 0.5, alternative="greater").pvalue
    neither = 1000 - 700 - serving_only - target_only
    decided = decide(Confirmation(700, serving_only, target_only, neither), FLOOR)
    assert (decided.verdict == "Breached") is bool(p <= 0.05)


@pytest.mark.parametrize(
    ("share", "other", "least", "most"),
    [
        (0.955, 0.985, 0.0, 0.001),  # well above the floor
        (0.94, 0.97, 0.0, 0.13),  # at the floor: at most the bound's 10 %
        (0.90, 0.985, 0.97, 1.0),  # clearly below
    ],
)
def test_how_often_a_confirmation_breaches(share, other, least, most):
    """A simulation of 4,000 confirmations of 1,000 items; false alarms stay below what the bound promises."""
    random = np.random.default_rng(7)
    only_target = other - share + 0.005
    cells = random.multinomial(1000, [share - 0.005, 0.005, only_target, 1 - share - only_target], size=4000)
    breached = np.mean([decide(Confirmation(*map(int, row)), FLOOR).verdict == "Breached" for row in cells])
    assert least <= breached <= most
