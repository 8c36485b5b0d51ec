"""Each rule of the gate alone, as a table: what it finds, and what it leaves to the rules after it."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from quantroll.api.spec.slices import SliceFloor
from quantroll.domain import rules
from quantroll.domain.difference import difference_lower_bound, difference_required_n
from quantroll.domain.evidence import Evidence, SliceEvidence, Thresholds
from quantroll.domain.gate import WorstPart, judge, proof
from quantroll.domain.graded import Sums, recovery_bounds
from quantroll.domain.paired import Cells, score_statistic
from quantroll.domain.rules import RULES, Case, GateReason, Verdict

PASS, FAIL, INCONCLUSIVE, ERROR = Verdict
THRESHOLDS = Thresholds(min_acceptable=0.94, confidence=0.95, min_samples=500, min_baseline=0.5, max_error_rate=0.01)
DROP = replace(THRESHOLDS, max_drop=0.05)
GOOD, BAD, UNSURE = Cells(776, 52, 26, 146), Cells(685, 68, 18, 229), Cells(572, 66, 32, 305)
DOUBTFUL = Cells(517, 63, 51, 344)  # p 0.016: proven alone
EDGE, CODE = SliceFloor(name="edge"), SliceFloor(name="code", min_acceptable=0.8, min_samples=50)
HARMED, FINE = Cells(60, 30, 2, 28), Cells(85, 3, 2, 30)


def case(cells=GOOD, thresholds=THRESHOLDS, rivals=(), **found) -> Case:
    clean = {"errors_baseline": 0, "errors_variant": 0, "prompts_match": True, "overlap": 0}
    evidence = Evidence(cells, **(clean | found))
    return Case(evidence, thresholds, evidence.compared(thresholds.comparison), rivals)


def parts(**slices: Cells) -> tuple[SliceEvidence, ...]:
    return tuple(SliceEvidence(name, cells) for name, cells in slices.items())


def sums(x, y, clusters: int | None = None) -> Sums:
    groups = np.arange(len(x)) % (clusters or len(x))
    b, v, n = (np.bincount(groups, weights) for weights in (x, y, np.ones(len(x))))
    return Sums(len(x), len(n), b.sum(), v.sum(), b @ b, b @ v, v @ v, b @ n, v @ n, n @ n)


def graded(items: int = 600, clusters: int | None = None, kept: float = 0.99) -> dict:
    """Cells and sums of scores of which this share is kept."""
    x = np.random.default_rng(3).uniform(0.7, 1.0, items)
    return {"cells": Cells(items, 0, 0, 0), "sums": sums(x, kept * x, clusters)}


TABLE = {
    rules.contaminated: [
        (case(), None, ""),
        (case(overlap=3), (ERROR, GateReason.CONTAMINATED), "eval set: 3"),
    ],
    rules.prompts_differ: [
        (case(), None, ""),
        (case(prompts_match=False), (ERROR, GateReason.PROMPTS_DIFFER), "not asked the same"),
    ],
    rules.baseline_too_weak: [
        (case(Cells(500, 0, 0, 500)), None, ""),
        (case(Cells(499, 0, 0, 501)), (ERROR, GateReason.BASELINE_TOO_WEAK), "scores 0.4990, minBaseline is 0.5"),
        (case(Cells(0, 0, 9, 9), replace(THRESHOLDS, min_baseline=0)), (ERROR, GateReason.BASELINE_TOO_WEAK), "ratio"),
        (case(Cells(0, 0, 9, 9), replace(DROP, min_baseline=0)), None, "a difference needs no ratio"),
        (case(Cells(0, 0, 0, 0)), None, "not measured is not weak"),
        (case(Cells(9, 0, 0, 0), sums=Sums.of(9, [9, 4, 4, 2, 2, 2, 4, 4, 9])),
         (ERROR, GateReason.BASELINE_TOO_WEAK), "scores 0.4444"),
    ],
    rules.too_many_errors: [
        (case(errors_baseline=10, errors_variant=10), None, ""),
        (case(errors_variant=11), (ERROR, GateReason.TOO_MANY_ERRORS), "variant 11; maxErrorRate is 0.01"),
    ],
    rules.errors_lopsided: [
        (case(errors_variant=7), None, ""),
        (case(errors_variant=8), (ERROR, GateReason.LOPSIDED_ERRORS), "baseline 0, variant 8"),
    ],
    rules.too_few_items: [
        (case(Cells(450, 5, 5, 40)), None, ""),
        (case(Cells(450, 5, 5, 39)), (INCONCLUSIVE, GateReason.INSUFFICIENT_DATA), "499, minSamples is 500; about 500"),
        (case(**graded(600)), None, ""),
        (case(**graded(600, 49)), (INCONCLUSIVE, GateReason.INSUFFICIENT_DATA), "600 in 49 clusters"),
        (case(thresholds=replace(THRESHOLDS, min_samples=1), **graded(249)),
         (INCONCLUSIVE, GateReason.INSUFFICIENT_DATA), "needs 250 in 50"),
    ],
    rules.below_floor: [
        (case(GOOD), None, ""),
        (case(UNSURE), None, ""),
        (case(BAD), (FAIL, GateReason.BELOW_FLOOR), "Recovery is below the floor 0.94, though the interval reaches it"),
        (case(Cells(500, 200, 0, 300)), (FAIL, GateReason.BELOW_FLOOR), "so is the whole interval"),
        (case(Cells(900, 50, 0, 50), DROP), None, "exactly at the floor"),
        (case(Cells(899, 51, 0, 50), DROP), (FAIL, GateReason.BELOW_FLOOR), "difference is below the floor -0.05"),
        (case(**graded(kept=0.93)), (FAIL, GateReason.BELOW_FLOOR), "so is the whole interval"),
    ],
    rules.not_proven: [
        (case(GOOD), None, ""),
        (case(UNSURE), (INCONCLUSIVE, GateReason.NOT_PROVEN), "The floor 0.94 lies inside the interval; about "),
        (case(Cells(900, 45, 0, 55), DROP), (INCONCLUSIVE, GateReason.NOT_PROVEN), "floor -0.05 lies inside"),
        (case(Cells(900, 20, 0, 80), DROP), None, ""),
        (case(**graded(kept=0.95)), None, "no spread at all"),
        (case(DOUBTFUL, rivals=(1.0,) * 6), (INCONCLUSIVE, GateReason.NOT_PROVEN), "among the 7 variants"),
        (case(DOUBTFUL, rivals=(1e-9, 1e-9, 1e-9, 1e-9)), None, "all others are proven, so it is tested last"),
        (case(DOUBTFUL), None, ""),
        (case(UNSURE, rivals=(1e-9,)), (INCONCLUSIVE, GateReason.NOT_PROVEN), "lies inside the interval"),
    ],
    rules.slice_harmed: [
        (case(slices=parts(edge=HARMED)), None, "not declared"),
        (case(thresholds=replace(THRESHOLDS, slices=(EDGE,)), slices=parts(edge=FINE)), None, ""),
        (case(thresholds=replace(THRESHOLDS, slices=(EDGE,))), None, "not counted"),
        (case(thresholds=replace(THRESHOLDS, slices=(EDGE,)), slices=parts(edge=HARMED)),
         (FAIL, GateReason.SLICE_HARMED), "edge is proven to be below its floor 0.9: recovery 0.6889 of 120 items"),
        (case(thresholds=replace(THRESHOLDS, slices=(EDGE, CODE)), slices=parts(edge=HARMED, code=HARMED)),
         (FAIL, GateReason.SLICE_HARMED), "So are 1 more"),
        (case(thresholds=replace(THRESHOLDS, slices=(EDGE,)), slices=(SliceEvidence("edge", **graded(kept=0.85)),)),
         (FAIL, GateReason.SLICE_HARMED), "of 600 items"),
        (case(thresholds=replace(DROP, slices=(EDGE,)), slices=parts(edge=HARMED)),
         (FAIL, GateReason.SLICE_HARMED), "its floor 0.9"),
    ],
    rules.slice_too_small: [
        (case(slices=parts(edge=Cells(3, 0, 0, 0))), None, "not declared"),
        (case(thresholds=replace(THRESHOLDS, slices=(EDGE,)), slices=parts(edge=Cells(99, 0, 0, 1))), None, ""),
        (case(thresholds=replace(THRESHOLDS, slices=(EDGE,)), slices=parts(edge=Cells(99, 0, 0, 0))),
         (INCONCLUSIVE, GateReason.SLICE_TOO_SMALL), "edge has 99 (minSamples 100)"),
        (case(thresholds=replace(THRESHOLDS, slices=(EDGE, CODE, SliceFloor(name="x")))),
         (INCONCLUSIVE, GateReason.SLICE_TOO_SMALL), "edge has 0 (minSamples 100), code has 0 (minSamples 50) and 1 "),
    ],
    rules.proven: [
        (case(GOOD), (PASS, GateReason.PROVEN), "Recovery is proven to reach the floor 0.94."),
        (case(Cells(900, 20, 0, 80), DROP), (PASS, GateReason.PROVEN), "difference is proven to reach the floor -0.05"),
        (case(Cells(995, 2, 2, 1)), (PASS, GateReason.PROVEN), "saturated"),
    ],
}  # fmt: skip


def test_every_rule_has_a_table_in_its_order():
    assert tuple(TABLE) == RULES


@pytest.mark.parametrize(
    ("rule", "given", "verdict", "said"),
    [(rule, *row) for rule, table in TABLE.items() for row in table],
    ids=[f"{rule.__name__}-{i}" for rule, table in TABLE.items() for i in range(len(table))],
)
def test_a_rule(rule, given, verdict, said):
    found = rule(given)
    if verdict is None:
        assert found is None
    else:
        assert (found.verdict, found.reason) == verdict
        assert said in found.message


class TestFamilies:
    def test_a_slice_that_is_harmed_alone_may_be_chance_among_many(self):
        doubtful = Cells(80, 20, 2, 4)  # p 0.023
        alone = replace(THRESHOLDS, slices=(EDGE,))
        assert rules.slice_harmed(case(thresholds=alone, slices=parts(edge=doubtful)))
        among = replace(THRESHOLDS, slices=(EDGE, *(SliceFloor(name=f"s{i}") for i in range(3))))
        assert rules.slice_harmed(case(thresholds=among, slices=parts(edge=doubtful, s0=FINE))) is None

    def test_rivals_raise_the_need(self):
        assert case(UNSURE, rivals=(1.0, 1.0)).required_n() > case(UNSURE).required_n()

    def test_the_proof_is_the_p_value_of_non_inferiority(self):
        found = case(UNSURE)
        assert proof(found.evidence, THRESHOLDS) == pytest.approx(
            stats.norm.sf(score_statistic(UNSURE, 0.94)), rel=1e-9
        )
        assert proof(case(GOOD).evidence, THRESHOLDS) < 0.05 < proof(case(BAD).evidence, THRESHOLDS)

    @pytest.mark.parametrize("broken", [{"overlap": 1}, {"cells": Cells(90, 0, 0, 10)}, graded(600, 40)])
    def test_a_broken_or_small_comparison_proves_nothing(self, broken):
        assert proof(case(**broken).evidence, THRESHOLDS) == 1


class TestJudgement:
    def test_a_difference_is_printed_with_its_bounds_and_recovery_stands_in_the_table(self):
        judgement = judge(case(UNSURE).evidence, DROP)
        low = difference_lower_bound(UNSURE, 0.95)
        assert (judgement.verdict, judgement.reason) == (INCONCLUSIVE, GateReason.NOT_PROVEN)
        assert f"Difference -0.0349, bounds {low:.4f} to " in judgement.message
        assert "floor -0.05; recovery 0.9467; n 975" in judgement.message
        assert judgement.required_n == difference_required_n(UNSURE, -0.05, 0.95)
        assert judgement.recovery == UNSURE.recovery
        assert round(judgement.lower_bound, 4) == 0.9213

    def test_graded_scores_are_judged_by_the_linear_test(self):
        rng = np.random.default_rng(4)
        x = rng.uniform(0.5, 1, 800)
        y = np.clip(x + rng.normal(-0.01, 0.1, 800), 0, 1)
        evidence = case(Cells(800, 0, 0, 0), sums=sums(x, y, 200)).evidence
        judgement = judge(evidence, THRESHOLDS)
        assert judgement.verdict is PASS
        assert (judgement.lower_bound, judgement.upper_bound) == recovery_bounds(evidence.sums, 0.95)
        assert judgement.recovery == pytest.approx(y.sum() / x.sum())
        assert "n 800 in 200 clusters" in judgement.message

    def test_the_worst_slice_and_the_length_are_told(self):
        slices = parts(a=FINE, b=HARMED, nothing=Cells(0, 0, 3, 3))
        judgement = judge(case(slices=slices, length_ratio=1.2345).evidence, THRESHOLDS)
        assert judgement.verdict is PASS, "nothing is declared, so nothing blocks"
        assert judgement.worst_slice == WorstPart("b", HARMED.recovery, 120)
        assert "McNemar p 0.0022, answers 1.23 times as long" in judgement.message

    def test_a_p_value_is_never_told_as_nothing(self):
        evidence = case(Cells(326, 1673, 0, 1)).evidence
        assert "McNemar p below 1e-300" in judge(evidence, THRESHOLDS).message

    @pytest.mark.parametrize("wrong", [{"max_drop": 0}, {"max_drop": 1.1}, {"min_acceptable": 0}, {"min_samples": 0}])
    def test_thresholds_that_make_no_gate(self, wrong):
        with pytest.raises(ValueError, match=r"lies in|at least"):
            replace(THRESHOLDS, **wrong)
