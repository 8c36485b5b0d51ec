"""What a confirmation says: the bound, the paired test, and the year of false alarms that they make."""

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from quantroll.domain.drift import Confirmation, decide, is_catastrophic, of_items, screen, wilson_lower, wilson_upper

FLOOR = 0.94


@pytest.mark.parametrize(("right", "items"), [(0, 1), (1, 1), (170, 200), (0, 50), (50, 50), (940, 1000), (7, 13)])
@pytest.mark.parametrize("confidence", [0.9, 0.95, 0.99])
def test_the_bound_is_wilsons(right, items, confidence):
    oracle = proportion_confint(right, items, alpha=2 * (1 - confidence), method="wilson")[1]
    assert wilson_upper(right, items, confidence) == pytest.approx(oracle, abs=1e-12)
    oracle = proportion_confint(right, items, alpha=2 * (1 - confidence), method="wilson")[0]
    assert wilson_lower(right, items, confidence) == pytest.approx(oracle, abs=1e-12)


def test_no_items_bound_nothing():
    assert wilson_upper(0, 0, 0.9) == 1.0
    assert wilson_lower(0, 0, 0.9) == 0.0


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


POINT = (930, 5, 15, 50)  # .935 and .945: below the floor by its point alone, and McNemar's p is .02
FAINT = (934, 5, 8, 53)  # .939 and .942: p .29
BOTH_LOW = (932, 4, 6, 58)  # .936 and .938: both below the floor, nothing proven
SHIFT = (905, 5, 8, 82)  # .910 and .913: the bound is below, too


@pytest.mark.parametrize(
    ("cells", "before", "catastrophic", "verdict", "after"),
    [
        # rule 1: proven below, and the target proven better; the row goes on, as where a breach only alerts
        ((800, 5, 190, 5), 0, False, "Breached", 1),
        ((800, 5, 190, 5), 7, False, "Breached", 8),
        # the third in a row whose point is below floor and target; two are no proof
        (POINT, 0, False, "Suspect", 1),
        (POINT, 1, False, "Suspect", 2),
        (POINT, 2, False, "Breached", 3),
        (POINT, 3, False, "Breached", 4),
        (FAINT, 2, False, "Breached", 3),
        # a healthy one ends the row, however near
        ((940, 0, 20, 40), 2, False, "Healthy", 0),
        # a target that is as bad ends it, too: the model is not to blame
        (BOTH_LOW, 2, False, "Suspect", 0),
        (SHIFT, 2, False, "PopulationShift", 0),
        (SHIFT, 99, False, "PopulationShift", 0),
        ((930, 8, 8, 54), 2, False, "Suspect", 0),  # the same share
        ((920, 15, 5, 60), 2, False, "Suspect", 0),  # a worse one
        # no data neither counts nor ends it
        ((0, 0, 0, 0, 9), 2, False, "Unknown", 2),
        ((800, 5, 190, 5, 53), 2, True, "Unknown", 2),
        # catastrophic by the probe: the target's being better is all that is left to be proven
        (POINT, 0, True, "Breached", 1),
        (FAINT, 0, True, "Suspect", 1),  # not proven better
        (SHIFT, 0, True, "PopulationShift", 0),
        ((940, 0, 20, 40), 0, True, "Healthy", 0),
    ],
)
def test_the_row_and_the_catastrophe(cells, before, catastrophic, verdict, after):
    decided = decide(Confirmation(*cells), FLOOR, before, catastrophic=catastrophic)
    assert (decided.verdict, decided.consecutive) == (verdict, after), decided.message


@pytest.mark.parametrize("answers", [20, 60, 200, 1000, 5000])
@pytest.mark.parametrize("floor", [0.3, 0.8855, 0.94, 0.999])
def test_catastrophic_is_far_below_and_no_chance(answers, floor):
    for right in range(0, answers + 1, max(1, answers // 100)):
        p = stats.binom.cdf(right, answers, floor)
        assert is_catastrophic(right, answers, floor) is bool(right / answers < floor - 0.05 and p < 0.001)


@pytest.mark.parametrize("floor", [1.0, 0.05, 0.0])
def test_a_floor_at_the_edge_is_no_arithmetic_error(floor):
    assert is_catastrophic(3, 20, floor) is (floor == 1.0)
    assert not is_catastrophic(20, 20, floor)
    assert screen(20, 20, floor).below is False


@pytest.mark.parametrize(
    ("right", "below", "catastrophic"),
    [(178, False, False), (177, True, False), (168, True, False), (162, True, False), (161, True, True)],
)
def test_a_screen(right, below, catastrophic):
    found = screen(right, 200, 0.8855)
    assert (found.below, found.catastrophic) == (below, catastrophic), stats.binom.cdf(right, 200, 0.8855)


@pytest.mark.parametrize(("items", "catastrophic"), [(None, True), (4000, True), (200, True), (50, False)])
def test_the_same_items_again_are_no_more_evidence(items, catastrophic):
    found = screen(3200, 4000, 0.8855, items)  # 0.80
    assert (found.below, found.catastrophic) == (True, catastrophic)


def test_answers_as_if_each_item_had_been_asked_once():
    assert of_items(3200, 4000, 1000) == (800, 1000)
    assert of_items(90, 100, 1000) == (90, 100)
    assert of_items(90, 100, None) == (90, 100)


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
