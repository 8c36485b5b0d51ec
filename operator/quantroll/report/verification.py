"""The record of a verification, for programs: what was compared with what, by which test, and what came of it.

From spec and status; the Job's own record with the same digests, and the answers, lie on the artifact volume.
"""

from typing import Any

from quantroll.api.status import Evaluation, QuantizedModelStatus, VariantStatus
from quantroll.domain.evidence import Comparison, SliceEvidence
from quantroll.domain.judging import evidence_of, thresholds_of
from quantroll.domain.paired import mcnemar_p
from quantroll.domain.quantities import Quantity
from quantroll.report.arms import Arm
from quantroll.report.subject import Subject


def verification(subject: Subject, arm: Arm) -> dict[str, Any] | None:
    """The record of a variant as JSON values; None without a verdict that counts, or with one that they lost since."""
    row = next((row for row in subject.status.variants if row.name == arm.name), None)
    if row is None or row.verdict is None or row.evaluation is None:
        return None
    return {**_outcome(subject, row.evaluation), **_compared(subject), **_made(subject, row), **_stored(row.evaluation)}


def _outcome(subject: Subject, counts: Evaluation) -> dict[str, Any]:
    """The numbers, at the thresholds of the spec."""
    thresholds = thresholds_of(subject.spec.quality_gate)
    evidence = evidence_of(counts, _overlap(subject.status))
    held = evidence.compared(thresholds.comparison)
    measured = subject.status.baseline.evaluation if subject.status.baseline else None
    differs = thresholds.comparison is Comparison.DIFFERENCE
    return {
        "comparison": thresholds.comparison.value,
        "method": held.method,
        "confidence": thresholds.confidence,
        "alpha": round(1 - thresholds.confidence, 10),
        "floor": thresholds.floor,
        "items": counts.items,
        "baselineScore": round(evidence.baseline_score, 6),
        "score": round(evidence.variant_score, 6),
        "bothRight": evidence.cells.both,
        "harm": evidence.cells.harm,
        "gain": evidence.cells.gain,
        "bothWrong": evidence.cells.neither,
        **_bounds(evidence.recovery, thresholds.confidence, "recovery"),
        **(_bounds(held, thresholds.confidence, "difference") if differs else {}),
        "mcnemarP": float(f"{mcnemar_p(evidence.cells):.4g}"),
        "slices": [_slice(part, thresholds.confidence) for part in evidence.slices],
        "errors": {"baseline": counts.baseline_errors, "variant": counts.errors},
        "promptsMatch": counts.prompts_match,
        "noise": {"items": measured.noise_items, "flips": measured.noise_flips}
        if measured and measured.noise_items
        else None,
    }


def _bounds(of: Quantity, confidence: float, name: str) -> dict[str, float | None]:
    """Estimate and bounds; null where the data set none."""
    some = of.estimate is not None
    lower, upper = (of.lower(confidence), of.upper(confidence)) if some else (None, None)
    values = {name: of.estimate, f"{name}LowerBound": lower, f"{name}UpperBound": upper}
    return {key: None if value in (None, float("inf")) else round(value, 6) for key, value in values.items()}


def _slice(part: SliceEvidence, confidence: float) -> dict[str, Any]:
    cells = part.cells
    found = _bounds(part.recovery, confidence, "recovery")
    return {"name": part.name, "items": cells.n, "harm": cells.harm, "gain": cells.gain, **found}


def _compared(subject: Subject) -> dict[str, Any]:
    """What both arms have in common."""
    gate, model, prepared = subject.spec.quality_gate, subject.spec.model, subject.status.prepared
    return {
        "scorer": gate.scorer.value,
        "scoring": gate.scoring.to_wire() if gate.scoring else None,
        "generation": gate.generation.to_wire(),
        "evalSet": {"source": gate.eval_set.source, "sha256": prepared.eval_set.sha256 if prepared else None},
        "model": {
            "source": model.source,
            "revision": model.revision,
            "dtype": model.dtype.value,
            "digest": prepared.model.digest if prepared else None,
        },
    }


def _made(subject: Subject, row: VariantStatus) -> dict[str, Any]:
    """How the variant was made and served."""
    variant = next((variant for variant in subject.spec.variants if variant.name == row.name), None)
    resolved, prepared = subject.status.resolved, subject.status.prepared
    calibration = subject.spec.calibration if variant and variant.needs_calibration else None
    data = prepared.calibration if prepared else None
    return {
        "artifact": {"key": row.artifact.key, "digest": row.artifact.digest} if row.artifact else None,
        "recipe": {name: value for name, value in variant.to_wire().items() if name != "serving"} if variant else None,
        "calibration": {
            **calibration.to_wire(),
            "sha256": data.sha256 if data else None,
            "overlap": _overlap(subject.status),
        }
        if calibration
        else None,
        "engine": {"name": resolved.engine, **resolved.profile.to_wire()} if resolved else None,
        "serving": subject.spec.serving_of(row.name).to_wire(),
        "revision": row.revision,
    }


def _stored(counts: Evaluation) -> dict[str, Any]:
    """Where the rest lies, below the root of the artifact volume."""
    folder = f"evaluations/{counts.key}"
    return {
        "engineVersion": counts.engine_version or None,
        "answers": f"{folder}/items.jsonl",
        "record": {"file": f"{folder}/record.json", "sha256": counts.record or None},
    }


def _overlap(status: QuantizedModelStatus) -> int:
    return status.prepared.overlap if status.prepared else 0
