import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantroll.api.spec.slices import SliceFloor
from quantroll.domain.evidence import SliceEvidence
from quantroll.domain.gate import (
    LOPSIDED_P,
    Evidence,
    GateReason,
    Thresholds,
    Verdict,
    judge,
    ladder_next,
    select_smallest,
    shippable,
)
from quantroll.domain.paired import Cells, mcnemar_p, normal_quantile, recovery_upper_bound, required_n, score_statistic

PASS, FAIL, INCONCLUSIVE, ERROR = Verdict
THRESHOLDS = Thresholds(min_acceptable=0.94, confidence=0.95, min_samples=500, min_baseline=0.5, max_error_rate=0.01)
LENIENT = replace(THRESHOLDS, min_samples=1, min_baseline=0, max_error_rate=1)

PROVEN = Cells(776, 52, 26, 146)
NOT_PROVEN = Cells(572, 66, 32, 305)
BELOW = Cells(685, 68, 18, 229)
# Published int4 comparisons, ab-ch90/quantization-flips-small-llms, with the verdict at 0.94 and 95 %.
GOLDEN = {
    "Qwen2.5-1.5B ARC-C": (BELOW, FAIL, 0.9336, 0.9131),
    "Qwen2.5-1.5B MMLU": (Cells(509, 86, 43, 337), FAIL, 0.9277, 0.8971),
    "Qwen2.5-3B MMLU": (NOT_PROVEN, INCONCLUSIVE, 0.9467, 0.9213),
    "Qwen2.5-1.5B CSQA": (Cells(719, 45, 37, 185), PASS, 0.9895, 0.9699),
    "Qwen2.5-3B ARC-C": (PROVEN, PASS, 0.9686, 0.9507),
    "Llama-3.2-3B MMLU": (Cells(517, 63, 51, 344), PASS, 0.9793, 0.9493),
    "Gemma-2-2B MMLU": (Cells(510, 46, 46, 373), PASS, 1.0000, 0.9717),
}


def evidence(cells: Cells = PROVEN, **found) -> Evidence:
    clean = {"errors_baseline": 0, "errors_variant": 0, "prompts_match": True, "overlap": 0}
    return Evidence(cells, **(clean | found))


def outcome(given_evidence: Evidence, thresholds: Thresholds = THRESHOLDS) -> tuple[Verdict, GateReason]:
    judgement = judge(given_evidence, thresholds)
    return judgement.verdict, judgement.reason


counts = st.integers(0, 2000) | st.integers(0, 5)
tables = st.builds(Cells, counts, counts, counts, counts)
evidences = st.builds(
    Evidence,
    tables,
    st.integers(0, 30),
    st.integers(0, 30),
    st.sampled_from([True, True, False]),
    st.sampled_from([0, 0, 3]),
)
shares = st.floats(0, 1)
all_thresholds = st.builds(
    Thresholds,
    min_acceptable=st.floats(0.5, 1),
    confidence=st.floats(0.5, 0.9999),
    min_samples=st.integers(1, 3000),
    min_baseline=shares,
    max_error_rate=shares,
)


class TestGolden:
    @pytest.mark.parametrize(("cells", "verdict", "recovery", "lower_bound"), GOLDEN.values(), ids=GOLDEN.keys())
    def test_published_tables(self, cells, verdict, recovery, lower_bound):
        judgement = judge(evidence(cells), THRESHOLDS)
        assert judgement.verdict is verdict
        assert round(judgement.recovery, 4) == recovery
        assert round(judgement.lower_bound, 4) == lower_bound
        assert judgement.upper_bound == recovery_upper_bound(cells, 0.95)
        assert judgement.flips == cells.harm + cells.gain
        assert judgement.mcnemar_p == mcnemar_p(cells)
        assert f"{recovery:.4f}" in judgement.message
        assert f"{lower_bound:.4f}" in judgement.message

    def test_point_estimate_would_ship_it(self):
        judgement = judge(evidence(NOT_PROVEN), THRESHOLDS)
        assert judgement.recovery > THRESHOLDS.min_acceptable
        assert judgement.verdict is INCONCLUSIVE


class TestRules:
    """One test or more per rule, in the order of precedence."""

    @pytest.mark.parametrize("overlap", [1, 400])
    def test_contaminated_calibration(self, overlap):
        judgement = judge(evidence(overlap=overlap), THRESHOLDS)
        assert (judgement.verdict, judgement.reason) == (ERROR, GateReason.CONTAMINATED)
        assert str(overlap) in judgement.message

    def test_prompts_differ(self):
        assert outcome(evidence(prompts_match=False)) == (ERROR, GateReason.PROMPTS_DIFFER)

    def test_baseline_too_weak(self):
        at_the_limit, just_below = Cells(500, 0, 0, 500), Cells(499, 0, 0, 501)
        assert outcome(evidence(at_the_limit)) == (PASS, GateReason.PROVEN)
        assert outcome(evidence(just_below)) == (ERROR, GateReason.BASELINE_TOO_WEAK)

    def test_baseline_of_nothing_right_is_too_weak_for_any_threshold(self):
        judgement = judge(evidence(Cells(0, 0, 900, 100)), replace(THRESHOLDS, min_baseline=0))
        assert (judgement.verdict, judgement.reason) == (ERROR, GateReason.BASELINE_TOO_WEAK)
        assert judgement.recovery is judgement.lower_bound is judgement.upper_bound is None

    @pytest.mark.parametrize("arm", ["errors_baseline", "errors_variant"])
    def test_too_many_errors_in_either_arm(self, arm):
        even = {"errors_baseline": 10, "errors_variant": 10}
        assert outcome(evidence(**even)) == (PASS, GateReason.PROVEN)
        assert outcome(evidence(**even | {arm: 11})) == (ERROR, GateReason.TOO_MANY_ERRORS)

    def test_error_rate_is_compared_unrounded(self):
        # 29 / 100 is 0.29, while 0.29 * 100 is a little less than 29.
        thresholds = replace(LENIENT, max_error_rate=0.29)
        cells = Cells(60, 2, 2, 36)
        assert judge(evidence(cells, errors_baseline=29, errors_variant=29), thresholds).verdict is not ERROR

    @pytest.mark.parametrize("arms", [("errors_baseline", "errors_variant"), ("errors_variant", "errors_baseline")])
    def test_lopsided_errors(self, arms):
        one, other = arms
        assert outcome(evidence(**{one: 7, other: 0})) == (PASS, GateReason.PROVEN)
        assert outcome(evidence(**{one: 8, other: 0})) == (ERROR, GateReason.LOPSIDED_ERRORS)
        assert outcome(evidence(**{one: 10, other: 1})) == (PASS, GateReason.PROVEN)
        assert outcome(evidence(**{one: 20, other: 5}), replace(THRESHOLDS, max_error_rate=0.05)) == (
            ERROR,
            GateReason.LOPSIDED_ERRORS,
        )

    def test_even_errors_are_called_lopsided_as_seldom_as_documented(self):
        rng = np.random.default_rng(3)
        thresholds = replace(LENIENT, min_baseline=0)
        pairs = rng.binomial(2000, 0.008, size=(1500, 2))
        called = sum(
            outcome(evidence(errors_baseline=int(a), errors_variant=int(b)), thresholds)[1]
            is GateReason.LOPSIDED_ERRORS
            for a, b in pairs
        )
        assert called / len(pairs) <= LOPSIDED_P + 3 * math.sqrt(LOPSIDED_P * (1 - LOPSIDED_P) / len(pairs))

    def test_too_few_items(self):
        enough, one_less = Cells(450, 5, 5, 40), Cells(450, 5, 5, 39)
        assert outcome(evidence(enough)) == (PASS, GateReason.PROVEN)
        judgement = judge(evidence(one_less), THRESHOLDS)
        assert (judgement.verdict, judgement.reason) == (INCONCLUSIVE, GateReason.INSUFFICIENT_DATA)
        assert judgement.required_n == 500
        assert "499" in judgement.message

    def test_too_few_items_names_a_need_beyond_the_minimum(self):
        cells = Cells(57, 6, 3, 31)
        judgement = judge(evidence(cells), THRESHOLDS)
        assert judgement.reason is GateReason.INSUFFICIENT_DATA
        assert judgement.required_n == required_n(cells, 0.94, 0.95) > 500
        assert str(judgement.required_n) in judgement.message

    def test_too_few_items_below_the_floor_are_not_yet_a_failure(self):
        judgement = judge(evidence(Cells(60, 20, 0, 20)), THRESHOLDS)
        assert (judgement.verdict, judgement.required_n) == (INCONCLUSIVE, 500)

    def test_no_items(self):
        judgement = judge(evidence(Cells(0, 0, 0, 0)), THRESHOLDS)
        assert (judgement.verdict, judgement.reason) == (INCONCLUSIVE, GateReason.INSUFFICIENT_DATA)
        assert judgement.recovery is None

    def test_below_floor(self):
        judgement = judge(evidence(BELOW), THRESHOLDS)
        assert (judgement.verdict, judgement.reason) == (FAIL, GateReason.BELOW_FLOOR)
        assert judgement.required_n is None
        assert "though the interval reaches it" in judgement.message

    def test_below_floor_with_the_whole_interval(self):
        judgement = judge(evidence(Cells(500, 200, 0, 300)), THRESHOLDS)
        assert judgement.verdict is FAIL
        assert judgement.upper_bound < 0.94
        assert "so is the whole interval" in judgement.message

    def test_recovery_exactly_at_the_floor_is_not_below_it(self):
        judgement = judge(evidence(Cells(940, 60, 0, 0)), THRESHOLDS)
        assert judgement.recovery == THRESHOLDS.min_acceptable
        assert (judgement.verdict, judgement.reason) == (INCONCLUSIVE, GateReason.NOT_PROVEN)
        assert judgement.required_n is None
        assert "no number of items would decide" in judgement.message

    def test_recovery_is_compared_unrounded(self):
        judgement = judge(evidence(Cells(28_200, 1_801, 0, 0)), THRESHOLDS)
        assert judgement.verdict is FAIL
        assert "Recovery 0.93997," in judgement.message  # not 0.9400

    def test_floor_inside_the_interval(self):
        judgement = judge(evidence(NOT_PROVEN), THRESHOLDS)
        assert (judgement.verdict, judgement.reason) == (INCONCLUSIVE, GateReason.NOT_PROVEN)
        assert judgement.required_n == required_n(NOT_PROVEN, 0.94, 0.95) > NOT_PROVEN.n
        assert str(judgement.required_n) in judgement.message

    def test_floor_of_one_needs_a_better_variant(self):
        thresholds = replace(THRESHOLDS, min_acceptable=1)
        assert outcome(evidence(Cells(900, 0, 0, 100)), thresholds) == (INCONCLUSIVE, GateReason.NOT_PROVEN)
        assert outcome(evidence(Cells(800, 10, 60, 130)), thresholds) == (PASS, GateReason.PROVEN)

    def test_proven(self):
        judgement = judge(evidence(), THRESHOLDS)
        assert (judgement.verdict, judgement.reason) == (PASS, GateReason.PROVEN)
        assert judgement.required_n is None
        assert "saturated" not in judgement.message

    @pytest.mark.parametrize(
        ("cells", "saturated"),
        [
            (Cells(600, 0, 0, 400), True),
            (Cells(2000, 0, 0, 0), True),
            (Cells(995, 2, 2, 1), True),
            (Cells(992, 3, 2, 3), False),
            (Cells(985, 2, 2, 11), False),
            (Cells(600, 1, 0, 399), False),
        ],
        ids=["no flips", "all right", "high, few flips", "high, 5 flips", "not high, few flips", "one flip"],
    )
    def test_a_saturated_metric_passes_with_a_warning(self, cells, saturated):
        judgement = judge(evidence(cells), THRESHOLDS)
        assert judgement.verdict is PASS
        assert ("saturated" in judgement.message) == saturated


class TestPrecedence:
    """Evidence that is wrong in every respect, repaired rule by rule: each verdict hides all that come after it."""

    REPAIRS = (
        (GateReason.CONTAMINATED, {"overlap": 0}),
        (GateReason.PROMPTS_DIFFER, {"prompts_match": True}),
        (GateReason.BASELINE_TOO_WEAK, {"cells": Cells(60, 30, 0, 10)}),
        (GateReason.TOO_MANY_ERRORS, {"errors_baseline": 0, "errors_variant": 8}),
        (GateReason.LOPSIDED_ERRORS, {"errors_variant": 0}),
        (GateReason.INSUFFICIENT_DATA, {"cells": Cells(600, 300, 0, 100)}),
        (GateReason.BELOW_FLOOR, {"cells": NOT_PROVEN}),
        (GateReason.NOT_PROVEN, {"cells": PROVEN}),
        (GateReason.SLICE_HARMED, {"slices": (SliceEvidence("edge", Cells(90, 1, 1, 7)),)}),
        (GateReason.SLICE_TOO_SMALL, {"slices": (SliceEvidence("edge", Cells(90, 1, 1, 8)),)}),
        (GateReason.PROVEN, {}),
    )

    def test_every_rule_hides_the_later_ones(self):
        thresholds = replace(THRESHOLDS, max_error_rate=0.1, slices=(SliceFloor(name="edge"),))
        harmed = (SliceEvidence("edge", Cells(50, 40, 0, 10)),)
        broken = Evidence(
            Cells(10, 30, 0, 60), errors_baseline=1, errors_variant=40, prompts_match=False, overlap=5, slices=harmed
        )
        seen = []
        for _, repair in self.REPAIRS:
            seen.append(judge(broken, thresholds).reason)
            broken = replace(broken, **repair)
        assert seen == [reason for reason, _ in self.REPAIRS]
        assert set(seen) == set(GateReason)


class TestProperties:
    @given(evidences, all_thresholds)
    def test_always_a_complete_judgement(self, found, thresholds):
        judgement = judge(found, thresholds)
        numbers = [judgement.recovery, judgement.lower_bound, judgement.upper_bound]
        assert all(number is None for number in numbers) or all(map(math.isfinite, numbers))
        assert 0 <= judgement.mcnemar_p <= 1
        assert judgement.flips == found.cells.flips
        assert "nan" not in judgement.message.lower()
        assert f"n {found.cells.n}," in judgement.message
        assert len(judgement.message) < 512
        if judgement.required_n is not None:
            assert judgement.verdict is INCONCLUSIVE
            assert judgement.required_n > found.cells.n

    @given(tables, all_thresholds)
    def test_passes_exactly_what_the_test_proves(self, cells, thresholds):
        enough = cells.n >= thresholds.min_samples and cells.baseline_score >= thresholds.min_baseline
        proven = score_statistic(cells, thresholds.min_acceptable) >= normal_quantile(thresholds.confidence)
        above = cells.recovery is not None and cells.recovery >= thresholds.min_acceptable
        judgement = judge(evidence(cells), thresholds)
        assert (judgement.verdict is PASS) == (enough and above and proven)

    @given(evidences, all_thresholds, all_thresholds)
    def test_stricter_thresholds_never_turn_into_pass(self, found, one, other):
        strict, loose = (
            Thresholds(
                min_acceptable=pick(one.min_acceptable, other.min_acceptable),
                confidence=pick(one.confidence, other.confidence),
                min_samples=pick(one.min_samples, other.min_samples),
                min_baseline=pick(one.min_baseline, other.min_baseline),
                max_error_rate=unpick(one.max_error_rate, other.max_error_rate),
            )
            for pick, unpick in ((max, min), (min, max))
        )
        if judge(found, strict).verdict is PASS:
            assert judge(found, loose).verdict is PASS

    @given(st.builds(Cells, *[st.integers(1, 500)] * 4), st.floats(0.5, 1), st.integers(1, 20))
    def test_more_harm_never_turns_into_pass(self, cells, floor, more):
        thresholds = replace(LENIENT, min_acceptable=floor)
        moved = min(more, cells.both)
        harmed = Cells(cells.both - moved, cells.harm + moved, cells.gain, cells.neither)
        if judge(evidence(harmed), thresholds).verdict is PASS:
            assert judge(evidence(cells), thresholds).verdict is PASS

    @pytest.mark.parametrize("n", range(5))
    def test_tiny_tables(self, n):
        for both, harm, gain in itertools.product(range(n + 1), repeat=3):
            if both + harm + gain <= n:
                cells = Cells(both, harm, gain, n - both - harm - gain)
                assert judge(evidence(cells), LENIENT).verdict in Verdict
                assert judge(evidence(cells), THRESHOLDS).verdict in (ERROR, INCONCLUSIVE)

    @pytest.mark.parametrize(("baseline", "churn", "n"), [(0.942, 0.08, 250), (0.75, 0.06, 500)])
    def test_ships_a_variant_at_the_floor_no_oftener_than_alpha(self, baseline, churn, n):
        runs, alpha = 4000, 1 - THRESHOLDS.confidence
        drop = baseline * (1 - THRESHOLDS.min_acceptable)
        harm, gain = (churn + drop) / 2, (churn - drop) / 2
        draws = np.random.default_rng(11).multinomial(n, [baseline - harm, harm, gain, 1 - baseline - gain], size=runs)
        verdicts = [judge(evidence(Cells(*map(int, row))), LENIENT).verdict for row in draws]
        shipped = verdicts.count(PASS) / runs
        assert alpha / 2 <= shipped <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / runs)


class TestInput:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"min_acceptable": 0},
            {"min_acceptable": 1.01},
            {"min_acceptable": math.nan},
            {"confidence": 0.4},
            {"confidence": 1},
            {"min_samples": 0},
            {"min_baseline": -0.1},
            {"min_baseline": 1.1},
            {"max_error_rate": -0.1},
            {"max_error_rate": math.nan},
        ],
        ids=str,
    )
    def test_thresholds_out_of_range(self, wrong):
        with pytest.raises(ValueError):
            replace(THRESHOLDS, **wrong)

    @pytest.mark.parametrize("field", ["errors_baseline", "errors_variant", "overlap"])
    def test_negative_counts(self, field):
        with pytest.raises(ValueError, match="negative"):
            evidence(**{field: -1})


class TestLadder:
    @pytest.mark.parametrize(
        ("verdicts", "following", "may_ship"),
        [
            ([], None, []),
            ([None, None], 0, []),
            ([PASS, None], 1, [0]),
            ([PASS, PASS], None, [0, 1]),
            ([PASS, FAIL, None], None, [0]),
            ([PASS, INCONCLUSIVE, None], None, [0]),
            ([FAIL, None], None, []),
            ([ERROR, None], 1, []),
            ([ERROR, PASS, ERROR, PASS], None, [1, 3]),
            ([ERROR, ERROR], None, []),
            ([PASS, FAIL, PASS], None, [0]),
            ([PASS, INCONCLUSIVE, PASS], None, [0]),
            ([FAIL, PASS], None, []),
            ([PASS, None, PASS], 1, [0]),
        ],
    )
    def test_rung_by_rung(self, verdicts, following, may_ship):
        assert ladder_next(verdicts) == following
        assert shippable(verdicts) == may_ship

    @pytest.mark.parametrize(
        ("verdicts", "following", "may_ship"),
        [
            ([], None, []),
            ([FAIL, None], 1, []),
            ([PASS, INCONCLUSIVE, None], 2, [0]),
            ([FAIL, PASS, ERROR, PASS], None, [1, 3]),
            ([ERROR, FAIL], None, []),
        ],
    )
    def test_all_at_once(self, verdicts, following, may_ship):
        assert ladder_next(verdicts, "All") == following
        assert shippable(verdicts, "All") == may_ship
        assert select_smallest(verdicts, [8, 6, 4, 2][: len(verdicts)], "All") == (may_ship[-1] if may_ship else None)

    @given(st.lists(st.sampled_from([*Verdict, None]), max_size=8))
    def test_nothing_ships_or_starts_past_a_stop(self, verdicts):
        stops = [i for i, verdict in enumerate(verdicts) if verdict in (FAIL, INCONCLUSIVE)] or [len(verdicts)]
        following = ladder_next(verdicts)
        assert following is None or (following < stops[0] and verdicts[following] is None)
        assert all(index < stops[0] and verdicts[index] is PASS for index in shippable(verdicts))


class TestSelection:
    @pytest.mark.parametrize(
        ("verdicts", "sizes", "selected"),
        [
            ([PASS, PASS, PASS], [8, 4, 6], 1),
            ([PASS, PASS, PASS], [8, 4, 4], 1),
            ([PASS, FAIL, PASS], [8, 6, 4], 0),
            ([ERROR, PASS, None], [1, 8, None], 1),
            ([PASS, PASS], [None, 4], 1),
            ([PASS, PASS], [None, None], 0),
            ([FAIL, PASS], [8, 4], None),
            ([], [], None),
        ],
        ids=["smallest", "tie", "stopped", "skipped", "unmeasured last", "none measured", "none proven", "no variants"],
    )
    def test_smallest_of_the_shippable(self, verdicts, sizes, selected):
        assert select_smallest(verdicts, sizes) == selected
