"""From what status keeps to what the gate takes."""

from dataclasses import replace

import pytest

from quantroll.api.counts import Counts, SliceCounts
from quantroll.api.spec import QualityGate
from quantroll.api.spec.slices import SliceFloor
from quantroll.domain import judging
from quantroll.domain.evidence import Comparison, SliceEvidence
from quantroll.domain.graded import Sums
from quantroll.domain.paired import Cells

CELLS = {"items": 1000, "correct": 802, "both": 776, "harm": 52, "gain": 26, "neither": 146}
MOMENTS = [100, 80, 78, 66, 64, 63, 80, 78, 100]


def gate(**changes) -> QualityGate:
    wire = {"verifiedAgainst": "bfloat16", "evalSet": {"source": "pvc://a/b"}, **changes}
    return QualityGate.model_validate(wire)


def test_evidence_has_all_that_was_counted():
    parts = [
        SliceCounts(name="a", cells=[1, 2, 3, 4]),
        SliceCounts(name="b", cells=[100, 0, 0, 0], moments=MOMENTS),
    ]
    found = judging.evidence_of(
        Counts(
            **CELLS, errors=3, baseline_errors=2, prompts_match=True, moments=[1000, *MOMENTS[1:8], 1000],
            slices=parts, mean_length=30.0, baseline_mean_length=20.0,
        ), overlap=7,
    )  # fmt: skip
    assert (found.cells, found.overlap, found.prompts_match) == (Cells(776, 52, 26, 146), 7, True)
    assert (found.errors_variant, found.errors_baseline, found.length_ratio) == (3, 2, 1.5)
    assert found.sums == Sums.of(1000, [1000, *MOMENTS[1:8], 1000])
    assert found.slices == (
        SliceEvidence("a", Cells(1, 2, 3, 4)), SliceEvidence("b", Cells(100, 0, 0, 0), Sums.of(100, MOMENTS)),
    )  # fmt: skip


@pytest.mark.parametrize("lengths", [{}, {"mean_length": 3.0}, {"mean_length": 3.0, "baseline_mean_length": 0.0}])
def test_lengths_that_have_no_ratio(lengths):
    assert judging.evidence_of(Counts(**CELLS, **lengths), 0).length_ratio is None


def test_prompts_that_nobody_compared_do_not_match():
    assert not judging.evidence_of(Counts(**CELLS), 0).prompts_match


def test_thresholds_are_those_of_the_spec():
    found = judging.thresholds_of(gate(minAcceptable=0.9, confidence=0.9, minSamples=7, minBaseline=0.3))
    assert (found.floor, found.confidence, found.min_samples, found.min_baseline) == (0.9, 0.9, 7, 0.3)
    assert found.comparison is Comparison.RELATIVE


def test_a_difference_has_a_floor_below_zero():
    found = judging.thresholds_of(gate(comparison="Difference", maxDrop=0.02))
    assert (found.comparison, found.floor) == (Comparison.DIFFERENCE, -0.02)


def test_a_slice_floor_fails_a_variant_and_a_lower_one_lets_it_pass():
    counts = Counts(**CELLS, prompts_match=True, slices=[SliceCounts(name="edge", cells=[60, 30, 2, 28])])
    said = []
    for floor in (0.9, 0.5):
        thresholds = replace(judging.thresholds_of(gate()), slices=(SliceFloor(name="edge", min_acceptable=floor),))
        row = judging.verdict_of(judging.evidence_of(counts, 0), thresholds, [])
        said.append((row["verdict"], row["reason"]))
        assert (row["worst_slice"].name, row["worst_slice"].items) == ("edge", 120)
    assert said == [("FAIL", "SliceHarmed"), ("PASS", "Proven")]


def test_a_bound_without_end_is_left_out():
    counts = Counts(items=600, correct=0, both=0, harm=600, gain=0, neither=0, prompts_match=True)
    row = judging.verdict_of(judging.evidence_of(counts, 0), judging.thresholds_of(gate()), [])
    assert (row["verdict"], row["recovery"], row["lower_bound"]) == ("FAIL", 0.0, 0.0)
