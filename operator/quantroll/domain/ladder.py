"""The variants, rung by rung: make, evaluate, judge; and which of the proven ones to serve."""

from collections.abc import Collection
from typing import Any

from quantroll.api.jobs import CalibrationInput, QuantizeInput, Recipe
from quantroll.api.spec import QuantizedModelSpec, Variant
from quantroll.api.status import Artifact, Attempt, RevisionSpec, VariantStatus
from quantroll.constants import ARTIFACTS_MOUNT, Phase, Reason
from quantroll.domain import fingerprints, progress, selection, staleness
from quantroll.domain.draft import ROW_LIMIT, Draft, attempt, clip
from quantroll.domain.gate import GateReason, Verdict, ladder_next, proof, shippable
from quantroll.domain.jobs import may_run, new_failure, news_of, report_of
from quantroll.domain.judging import evidence_of, thresholds_of, verdict_of
from quantroll.domain.locate import baseline_model, model_path, pod_path
from quantroll.domain.pipeline import evaluation_of, prepare_again, revision_spec, wanted_evaluate
from quantroll.domain.wanted import WantedQuantize

INFEASIBLE = "Infeasible"
_DO_NOT_SUFFICE = frozenset({Reason.EVAL_SET_TOO_SMALL, Reason.EVAL_SET_SLICE_MISSING, Reason.BASELINE_TOO_WEAK})
_NOTHING = {
    "verdict": None,
    "reason": None,
    "message": "",
    "score": None,
    "recovery": None,
    "lower_bound": None,
    "upper_bound": None,
    "worst_slice": None,
    "flips": None,
}


def climb(draft: Draft, spec: QuantizedModelSpec) -> bool:
    """Record what the Jobs made, judge what was measured, and want the next Job; True when the ladder is done."""
    overlap = draft.status.prepared.overlap if draft.status.prepared else 0
    for variant in spec.variants:
        _learn(draft, spec, variant)
        if draft.status.prepared is None:
            break  # the data have changed: nothing is measured before they are digested anew
    _judge(draft, spec, overlap)
    if draft.status.prepared is None:
        return False
    rung = ladder_next([gate_verdict(row) for row in draft.status.variants], spec.ladder)
    if rung is None:
        return True
    variant, row = spec.variants[rung], draft.status.variants[rung]
    place = "; ".join(part for part in (f"{rung + 1} of {len(spec.variants)}", row.message) if part)
    if row.artifact is None:
        draft.say(Phase.QUANTIZING, f"making {variant.name} ({place})")
        _want_quantize(draft, spec, variant, row.failure)
    else:
        _, _, key = identity(draft, spec, variant, row.artifact)
        far = progress.told(draft, key)
        draft.say(Phase.EVALUATING, f"verifying {variant.name} against the baseline ({place}){far}")
        _want_evaluate(draft, spec, variant, row)
    return False


def withdraw(draft: Draft, spec: QuantizedModelSpec) -> None:
    """No verdict stands against a baseline or by data that are looked at anew, or do not suffice.

    The counts stay: should they turn out to hold, they are judged again without a Job. Until then a revision that has
    served is gone back to by them (`good_by_counts`), for there is nothing better. An error stays until then: what it
    found, calibration items in the eval set say, the counts do not tell.
    """
    for variant in spec.variants:
        row = next(r for r in draft.status.variants if r.name == variant.name)
        if row.evaluation and row.verdict != Verdict.ERROR.value:
            message = clip(_why_withdrawn(draft, spec, variant, row))
            draft.set_variant(row.model_copy(update={**_NOTHING, "message": message}))


def let_end(draft: Draft, spec: QuantizedModelSpec) -> None:
    """What is being made from the same model and data is made to its end while the baseline is measured anew."""
    prepared = draft.status.prepared
    if prepared is not None and draft.status.prepared_key == fingerprints.prepare_key(spec):
        made = {fingerprints.artifact_key(variant, spec.calibration, prepared) for variant in spec.variants}
        draft.wanted.kept_jobs |= made


def _why_withdrawn(draft: Draft, spec: QuantizedModelSpec, variant: Variant, row: VariantStatus) -> str:
    status, base = draft.status, draft.status.baseline
    if draft.blocked and draft.blocked.reason in _DO_NOT_SUFFICE:
        return f"not judged: {draft.message}"
    if status.prepared is None or status.prepared_key != fingerprints.prepare_key(spec) or base is None:
        return "judged again when the model and the data sets have been checked anew"
    eval_set = status.prepared.eval_set.sha256
    current = fingerprints.evaluation_key(base.revision, spec.quality_gate, eval_set)
    if base.evaluation is None or base.evaluation.key != current:
        return _why_anew(draft, spec, variant, row)
    return "not judged: the full-precision model's own answers do not suffice"


def gate_verdict(row: VariantStatus) -> Verdict | None:
    """The row's verdict for the ladder, which skips what no engine can serve as it skips errors."""
    if row.verdict is None:
        return None
    return Verdict.ERROR if row.verdict == INFEASIBLE else Verdict(row.verdict)


def _learn(draft: Draft, spec: QuantizedModelSpec, variant: Variant) -> None:
    row = before = next(r for r in draft.status.variants if r.name == variant.name)
    row = _learn_artifact(draft, spec, variant, row)
    row = _learn_evaluation(draft, spec, variant, row)
    if row.evaluation and (row.evaluation is not before.evaluation or not row.measured_with):
        row = row.model_copy(update={"measured_with": _parts(draft, spec, variant)})
    draft.set_variant(row)


def _parts(draft: Draft, spec: QuantizedModelSpec, variant: Variant) -> str:
    prepared, base = draft.status.prepared, draft.status.baseline
    if prepared is None or base is None:
        return ""
    served = revision_spec(draft, spec, variant.name, "")
    return staleness.parts(spec, variant, prepared, served, base.revision)


def _why_anew(draft: Draft, spec: QuantizedModelSpec, variant: Variant, row: VariantStatus) -> str:
    """What has changed since the row was measured; empty where it never was."""
    now = _parts(draft, spec, variant)
    return f"measured anew: {staleness.changed(row.measured_with, now)}" if row.measured_with and now else ""


def _learn_artifact(draft: Draft, spec: QuantizedModelSpec, variant: Variant, row: VariantStatus) -> VariantStatus:
    prepared = draft.status.prepared
    if prepared is None:
        return row
    key = fingerprints.artifact_key(variant, spec.calibration, prepared)
    if row.artifact and row.artifact.key != key:
        row = row.model_copy(update={"artifact": None, "weight_bytes": None, "size_ratio": None, "revision": None})
    if row.artifact:
        return row
    report = report_of(draft.seen.jobs.get(key))
    if report and report.quantize:
        made = report.quantize
        artifact = Artifact(
            key=key,
            path=made.path,
            digest=made.digest,
            weight_bytes=made.weight_bytes,
            size_ratio=made.size_ratio,
            seconds=made.seconds,
        )
        return row.model_copy(
            update={
                "artifact": artifact,
                "weight_bytes": made.weight_bytes,
                "size_ratio": made.size_ratio,
                "failure": None,
            }
        )
    return _with_failure(draft, key, row)


def _learn_evaluation(draft: Draft, spec: QuantizedModelSpec, variant: Variant, row: VariantStatus) -> VariantStatus:
    if row.artifact is None:
        return row.model_copy(update={"evaluation": None})
    revision, _, key = identity(draft, spec, variant, row.artifact)
    row = row.model_copy(update={"revision": revision})
    if row.evaluation and row.evaluation.key == key:
        return row
    row = row.model_copy(update={"evaluation": None})
    report = news_of(draft, key, row.failure)
    if report and report.evaluate:
        return row.model_copy(update={"evaluation": evaluation_of(key, report.evaluate), "failure": None})
    return _with_failure(draft, key, row)


def _with_failure(draft: Draft, key: str, row: VariantStatus) -> VariantStatus:
    found = new_failure(draft, key, row.failure)
    if found is None:
        return row
    prepare_again(draft, found[1])
    failed = attempt(draft, *found, row.failure, None)
    return row.model_copy(update={"failure": failed.model_copy(update={"message": clip(failed.message, ROW_LIMIT)})})


def identity(
    draft: Draft, spec: QuantizedModelSpec, variant: Variant, artifact: Artifact
) -> tuple[str, RevisionSpec, str]:
    """A made variant's revision, what its pods are made from, and its evaluation's key."""
    prepared = draft.status.prepared
    if prepared is None:
        raise AssertionError("an artifact is made after prepare")
    served = revision_spec(draft, spec, variant.name, artifact.path)
    revision = fingerprints.revision(served, artifact.digest)
    base = draft.status.baseline
    against = base.evaluation.key if base and base.evaluation else None
    key = fingerprints.evaluation_key(revision, spec.quality_gate, prepared.eval_set.sha256, against)
    return revision, served, key


def good_by_counts(draft: Draft, spec: QuantizedModelSpec) -> set[str]:
    """Revisions that have passed; by their counts, while the baseline or the data are looked at anew."""
    overlap = draft.status.prepared.overlap if draft.status.prepared else 0
    by_counts = {name: changes["verdict"] for name, changes in _verdicts(draft, spec, overlap).items()}
    verdicts = [(row.revision, row.verdict or by_counts.get(row.name)) for row in draft.status.variants]
    return {revision for revision, verdict in verdicts if revision and verdict == Verdict.PASS.value}


def _judge(draft: Draft, spec: QuantizedModelSpec, overlap: int) -> None:
    """The verdicts, computed anew from what is stored: a changed threshold changes them without any Job."""
    found = _verdicts(draft, spec, overlap)
    for variant, row in zip(spec.variants, draft.status.variants, strict=True):
        if variant.name in found:
            draft.set_variant(row.model_copy(update=found[variant.name]))
        else:
            seen = overlap if variant.needs_calibration else 0
            draft.set_variant(_unmeasured(draft, spec, variant, row, seen))


def _verdicts(draft: Draft, spec: QuantizedModelSpec, overlap: int) -> dict[str, dict[str, Any]]:
    """What the counts of each measured variant come to, by its name."""
    thresholds = thresholds_of(spec.quality_gate)
    rows = {row.name: row.evaluation for row in draft.status.variants}
    found = {
        variant.name: evidence_of(counts, overlap if variant.needs_calibration else 0)
        for variant in spec.variants
        if (counts := rows.get(variant.name))
    }
    # Every declared variant counts, measured or not: what comes later takes no proof away.
    at_once = spec.variants if spec.ladder == "All" else []
    proofs = {v.name: proof(found[v.name], thresholds) if v.name in found else 1.0 for v in at_once}
    return {
        name: verdict_of(evidence, thresholds, [p for other, p in proofs.items() if other != name])
        for name, evidence in found.items()
    }


def _unmeasured(
    draft: Draft, spec: QuantizedModelSpec, variant: Variant, row: VariantStatus, overlap: int
) -> VariantStatus:
    """What can be said of a variant without counts."""
    row = row.model_copy(update={**_NOTHING, "message": clip(_why_anew(draft, spec, variant, row))})
    if overlap:
        return row.model_copy(
            update={
                "verdict": Verdict.ERROR.value,
                "reason": GateReason.CONTAMINATED.value,
                "message": f"{overlap} calibration items stand in the eval set{_example(draft)}: the variant would be"
                " judged on what it has seen; take them out of one of the two",
            }
        )
    if row.artifact is None and variant.backend not in draft.seen.backends:
        return row.model_copy(
            update={
                "verdict": Verdict.ERROR.value,
                "reason": Reason.BACKEND_UNKNOWN,
                "message": f"backend {variant.backend} has no image here: have the admin name one in the chart's values"
                " under images, or choose another backend",
            }
        )
    failure = row.failure
    if (
        failure
        and failure.retry_at is None
        and failure.generation == draft.work_edition
        and _concerns(draft, spec, variant, row, failure)
    ):
        infeasible = failure.reason == Reason.INFEASIBLE
        return row.model_copy(
            update={
                "verdict": INFEASIBLE if infeasible else Verdict.ERROR.value,
                "reason": failure.reason,
                "message": failure.message,
            }
        )
    return row


def _example(draft: Draft) -> str:
    found = draft.status.prepared.overlap_example if draft.status.prepared else ""
    return f" ({found})" if found else ""


def _concerns(draft: Draft, spec: QuantizedModelSpec, variant: Variant, row: VariantStatus, failure: Attempt) -> bool:
    if draft.status.prepared is None or failure.generation != draft.work_edition:
        return False
    if row.artifact is None:
        return failure.key == fingerprints.artifact_key(variant, spec.calibration, draft.status.prepared)
    return failure.key == identity(draft, spec, variant, row.artifact)[2]


def _want_quantize(draft: Draft, spec: QuantizedModelSpec, variant: Variant, known: Attempt | None) -> None:
    prepared, calibration = draft.status.prepared, spec.calibration
    if prepared is None:
        return
    key = fingerprints.artifact_key(variant, calibration, prepared)
    if not may_run(draft, key, known):
        return
    used = calibration if variant.needs_calibration and prepared.calibration else None
    draft.wanted.jobs.append(
        WantedQuantize(
            key=key,
            variant=variant.name,
            job_input=QuantizeInput(
                key=key,
                store=ARTIFACTS_MOUNT,
                model_path=model_path(baseline_model(spec.model)),
                model_digest=prepared.model.digest,
                recipe=Recipe(
                    backend=variant.backend,
                    scheme=variant.scheme,
                    algorithm=variant.resolved_algorithm,
                    group_size=variant.resolved_group_size,
                    ignore=variant.ignore,
                    smooth_quant_strength=variant.smooth_quant_strength,
                ),
                calibration=CalibrationInput(
                    path=pod_path(used.dataset),
                    sha256=prepared.calibration.sha256,
                    samples=used.samples,
                    max_sequence_length=used.max_sequence_length,
                    seed=used.seed,
                )
                if used and prepared.calibration
                else None,
            ),
        )
    )


def _want_evaluate(draft: Draft, spec: QuantizedModelSpec, variant: Variant, row: VariantStatus) -> None:
    if row.artifact is None:
        return
    revision, served, key = identity(draft, spec, variant, row.artifact)
    if may_run(draft, key, row.failure):
        draft.wanted.jobs.append(wanted_evaluate(draft, spec, variant.name, revision, served, key))


def choose(draft: Draft, spec: QuantizedModelSpec, passed: Collection[str] = ()) -> VariantStatus | None:
    """The variant to serve, of those that are proven, but for those that are passed over; None when there is none."""
    table = draft.status.variants
    proven = [table[index] for index in shippable([gate_verdict(row) for row in table], spec.ladder)]
    may_ship = [row for row in proven if row.name not in passed]
    return selection.best(may_ship, spec.benchmark.slo if spec.benchmark else None)
