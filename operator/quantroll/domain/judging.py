"""Verdicts from what status keeps: counts, and the spec's thresholds as they are now."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from quantroll.api.counts import Counts, Moments
from quantroll.api.spec import QualityGate
from quantroll.api.status import WorstSlice
from quantroll.domain.draft import clip
from quantroll.domain.evidence import Evidence, SliceEvidence, Thresholds
from quantroll.domain.gate import judge
from quantroll.domain.graded import Sums
from quantroll.domain.paired import Cells

_judge = lru_cache(maxsize=1024)(judge)  # every pass asks again, and most find what was found before


def thresholds_of(gate: QualityGate) -> Thresholds:
    """What the user asks for."""
    return Thresholds(
        min_acceptable=gate.min_acceptable,
        confidence=gate.confidence,
        min_samples=gate.min_samples,
        min_baseline=gate.min_baseline,
        max_error_rate=gate.max_error_rate,
        max_drop=gate.max_drop if gate.comparison == "Difference" else None,
        slices=tuple(gate.slices),
    )


def evidence_of(counts: Counts, overlap: int) -> Evidence:
    """What the Jobs counted; `overlap` is the number of calibration items in the eval set."""
    cells = Cells(both=counts.both or 0, harm=counts.harm or 0, gain=counts.gain or 0, neither=counts.neither or 0)
    before, after = counts.baseline_mean_length, counts.mean_length
    return Evidence(
        cells=cells,
        errors_baseline=counts.baseline_errors or 0,
        errors_variant=counts.errors,
        prompts_match=bool(counts.prompts_match),
        overlap=overlap,
        sums=_sums(cells, counts.moments),
        slices=tuple(_slice(part.name, Cells(*part.cells), part.moments) for part in counts.slices),
        length_ratio=after / before if after is not None and before else None,
    )


def verdict_of(evidence: Evidence, thresholds: Thresholds, rivals: Sequence[float]) -> dict[str, Any]:
    """The fields of a variant's row that come from its verdict; `rivals` as `judge` takes them."""
    judgement = _judge(evidence, thresholds, tuple(rivals))
    worst = judgement.worst_slice
    return {
        "verdict": judgement.verdict.value,
        "reason": judgement.reason.value,
        "message": clip(judgement.message),
        "score": round(evidence.variant_score, 6),
        "recovery": _rounded(judgement.recovery),
        "lower_bound": _rounded(judgement.lower_bound),
        "upper_bound": _rounded(judgement.upper_bound),
        "worst_slice": worst and WorstSlice(name=worst.name, recovery=_rounded(worst.recovery), items=worst.items),
        "flips": judgement.flips,
    }


def _slice(name: str, cells: Cells, moments: Moments | None) -> SliceEvidence:
    return SliceEvidence(name, cells, _sums(cells, moments))


def _sums(cells: Cells, moments: Moments | None) -> Sums | None:
    return None if moments is None else Sums.of(cells.n, moments)


def _rounded(value: float | None) -> float | None:
    return None if value is None or value == float("inf") else round(value, 6)
