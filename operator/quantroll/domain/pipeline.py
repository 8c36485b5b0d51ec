"""From a spec to verdicts: prepare, the baseline, then rung by rung quantize, evaluate and judge.

Every stage records what its Jobs report and returns whether the next one may go on. Results are kept under keys of
everything that went into them, so a changed spec makes exactly that anew which it changes.
"""

from datetime import timedelta
from typing import Any

from quantroll.api.base import parse_duration
from quantroll.api.counts import Counts
from quantroll.api.engine import EngineProfile
from quantroll.api.jobs import EvaluateInput, EvaluateResult, PrepareInput
from quantroll.api.spec import QuantizedModelSpec, ScorerName
from quantroll.api.status import (
    Attempt,
    BaselineStatus,
    Evaluation,
    Resolved,
    RevisionSpec,
    RevisionStatus,
    VariantStatus,
)
from quantroll.constants import ARTIFACTS_MOUNT, BASELINE, ENGINE_PORT, PROGRESS_PORT, Phase, Reason
from quantroll.domain import fingerprints, progress, record
from quantroll.domain.asking import asking, judging
from quantroll.domain.draft import Draft, attempt
from quantroll.domain.jobs import may_run, new_failure, news_of
from quantroll.domain.locate import baseline_model, data_file, hub_model, item_file, model_path
from quantroll.domain.presets import preset_of
from quantroll.domain.snapshot import Problem
from quantroll.domain.wanted import WantedEvaluate, WantedPrepare

PREPARE_PAUSE = timedelta(seconds=30)
BASELINE_PAUSE = timedelta(minutes=1)
MAX_CONCURRENCY = 64


def adopt(draft: Draft, spec: QuantizedModelSpec) -> bool:
    """Take an edit up, or an engine that the admin has changed: profile and preset are looked up once and pinned."""
    seen, resolved = draft.seen, draft.status.resolved
    profile = seen.engines.get(spec.serving.engine)
    another = resolved is None or resolved.generation != seen.generation
    edited = another and (resolved is None or resolved.intent != fingerprints.intent(spec))
    if resolved and not edited and not _is_changed_by_admin(draft, spec, profile):
        return True
    if profile is None:
        known = ", ".join(sorted(seen.engines)) or "none"
        draft.say(Phase.PENDING if draft.status.phase is None else draft.status.phase, "waiting for its engine")
        draft.block(
            Reason.ENGINE_UNKNOWN,
            f"spec.serving.engine: no engine profile {spec.serving.engine!r} is installed (known: {known});"
            " choose one of these, or have the admin add it to the chart's values under engines",
        )
        return False
    work, generation = fingerprints.work(spec), seen.generation if edited else draft.edition
    same_work = resolved is not None and resolved.work == work
    draft.set(
        resolved=Resolved(
            generation=generation,
            intent=fingerprints.intent(spec),
            work=work,
            work_generation=draft.work_edition if same_work else generation,
            engine=spec.serving.engine,
            profile=profile,
            preset=preset_of(spec.workload) if edited or resolved is None else resolved.preset,
        )
    )
    return True


def _is_changed_by_admin(draft: Draft, spec: QuantizedModelSpec, profile: EngineProfile | None) -> bool:
    """Whether the profile is another one by now. What it makes other revisions of is verified off the traffic.

    A rollout under way is not disturbed, nor what is suspended: it is taken up afterwards.
    """
    resolved = draft.status.resolved
    idle = draft.status.rollout is None and not spec.suspend
    return resolved is not None and profile is not None and resolved.profile != profile and idle


def revision_spec(draft: Draft, spec: QuantizedModelSpec, variant: str, model: str) -> RevisionSpec:
    """What pods of an arm are made from."""
    resolved = draft.status.resolved
    if resolved is None:
        raise AssertionError("a generation is adopted before anything is made for it")
    return RevisionSpec(
        engine=resolved.engine,
        profile=resolved.profile,
        serving=spec.serving_of(variant),
        dtype=spec.model.dtype,
        model=model,
    )


def prepare(draft: Draft, spec: QuantizedModelSpec) -> bool:
    """Digest and check what the user gave."""
    key, status = fingerprints.prepare_key(spec), draft.status
    if status.prepared_key == key and status.prepared:
        return _enough_items(draft, spec)
    draft.say(Phase.PENDING, "checking the model and the data sets")
    if spec.quality_gate.scorer not in draft.seen.scorers:
        draft.block(
            Reason.SCORER_UNKNOWN,
            f"spec.qualityGate.scorer: {spec.quality_gate.scorer} has no image here: have the admin name one in the"
            " chart's values under images.lmEval, or choose another scorer",
        )
        return False
    if report := news_of(draft, key, status.prepare_failure):
        draft.set(prepared=report.prepare, prepared_key=key, prepare_failure=None)
        return _enough_items(draft, spec)
    if found := new_failure(draft, key, status.prepare_failure):
        job, problem = found
        draft.set(prepare_failure=attempt(draft, job, problem, status.prepare_failure, PREPARE_PAUSE))
    if may_run(draft, key, draft.status.prepare_failure):
        draft.wanted.jobs.append(_wanted_prepare(spec, key))
    if (failure := draft.status.prepare_failure) and failure.key == key:
        draft.block(failure.reason, failure.message)
    return False


def prepare_again(draft: Draft, problem: Problem) -> None:
    """A Job found other data than prepare had digested: have it digested anew."""
    key = draft.status.prepared_key
    if problem.reason is not Reason.INPUT_CHANGED or key is None:
        return
    job = draft.seen.jobs.get(key)
    failure = Attempt(
        key=key,
        job=job.uid if job else "",
        reason=problem.reason,
        message=problem.message,
        at=draft.now,
        generation=draft.work_edition,
        retry_at=draft.now + PREPARE_PAUSE,
    )
    draft.set(prepared=None, prepared_key=None, prepare_failure=failure)


def _enough_items(draft: Draft, spec: QuantizedModelSpec) -> bool:
    """Whether the eval set has what the gate asks for; nothing is quantized for what cannot be proven."""
    prepared, gate = draft.status.prepared, spec.quality_gate
    if prepared is None:
        return True
    if prepared.eval_set.items < gate.min_samples:
        draft.say(Phase.PENDING, "the eval set is too small to judge by")
        draft.block(
            Reason.EVAL_SET_TOO_SMALL,
            f"the eval set has {prepared.eval_set.items} distinct items and qualityGate.minSamples is"
            f" {gate.min_samples}: nothing can be proven, so nothing is quantized; add items",
        )
        return False
    found = {part.name: part.items for part in prepared.eval_set.slices}
    lacking = next((floor for floor in gate.slices if found.get(floor.name, 0) < floor.min_samples), None)
    if lacking is None:
        return True
    draft.say(Phase.PENDING, "a slice of the eval set is too small to judge by")
    if lacking.name in found:
        draft.block(
            Reason.EVAL_SET_TOO_SMALL,
            f"slice {lacking.name!r} has {found[lacking.name]} distinct items and its minSamples in qualityGate.slices"
            f" is {lacking.min_samples}: nothing can be proven, so nothing is quantized; add items",
        )
    else:
        draft.block(
            Reason.EVAL_SET_SLICE_MISSING,
            f"qualityGate.slices names {lacking.name!r}, which no item of the eval set has as its"
            f" {gate.eval_set.slice_field} (there are: {', '.join(sorted(found)) or 'none'}); correct one of the two",
        )
    return False


def _wanted_prepare(spec: QuantizedModelSpec, key: str) -> WantedPrepare:
    evals, calibration = spec.quality_gate.eval_set, spec.calibration
    return WantedPrepare(
        key=key,
        job_input=PrepareInput(
            key=key,
            store=ARTIFACTS_MOUNT,
            model_path=model_path(baseline_model(spec.model)),
            hub=hub_model(spec.model),
            dtype=spec.model.dtype,
            eval_set=item_file(evals, evals.sha256),
            also_report=spec.quality_gate.also_report,
            calibration=data_file(calibration.dataset, calibration.sha256) if calibration else None,
            **judging(spec.quality_gate),
        ),
    )


def baseline(draft: Draft, spec: QuantizedModelSpec) -> bool:
    """Serve the full-precision model, and measure it once."""
    prepared = draft.status.prepared
    if prepared is None:
        return False
    served = revision_spec(draft, spec, BASELINE, baseline_model(spec.model))
    revision = fingerprints.revision(served, prepared.model.digest)
    key = fingerprints.evaluation_key(revision, spec.quality_gate, prepared.eval_set.sha256)
    row = draft.status.baseline
    if row is None or row.revision != revision:
        row = BaselineStatus(revision=revision, weight_bytes=prepared.model.weight_bytes)
        draft.set(baseline=row)
    _first_stable(draft, revision, served)
    if row.evaluation and row.evaluation.key == key:
        return _baseline_strong(draft, spec)
    draft.say(Phase.BASELINING, f"measuring the full-precision model{progress.told(draft, key)}")
    if report := news_of(draft, key, row.failure):
        if report.evaluate is None:
            raise AssertionError("a report of an evaluate Job carries its result")
        measured = evaluation_of(key, report.evaluate)
        row = row.model_copy(
            update={
                "evaluation": measured,
                "score": _share(measured.correct, measured.items) if measured.score is None else measured.score,
                "failure": None,
            }
        )
        draft.set(baseline=row)
        return _baseline_strong(draft, spec)
    if found := new_failure(draft, key, row.failure):
        row = row.model_copy(update={"failure": attempt(draft, *found, row.failure, BASELINE_PAUSE)})
        draft.set(baseline=row)
        prepare_again(draft, found[1])
    if may_run(draft, key, row.failure):
        draft.wanted.jobs.append(wanted_evaluate(draft, spec, BASELINE, revision, served, key))
    if row.failure and row.failure.key == key:
        draft.block(row.failure.reason, f"the baseline cannot be measured: {row.failure.message}")
    return False


def _first_stable(draft: Draft, revision: str, served: RevisionSpec) -> None:
    """The baseline is the first stable; one that never had a ready pod may be replaced: nobody loses anything."""
    stable = draft.status.stable
    replaceable = (
        stable is not None
        and stable.variant == BASELINE
        and (stable.revision, stable.spec) != (revision, served)
        and draft.status.rollout is None
        and stable.served_at is None
    )
    if stable is None or replaceable:
        draft.set(stable=RevisionStatus(revision=revision, variant=BASELINE, since=draft.now, spec=served))


def _baseline_strong(draft: Draft, spec: QuantizedModelSpec) -> bool:
    row, gate = draft.status.baseline, spec.quality_gate
    measured = row.evaluation if row else None
    if row is None or measured is None or row.score is None:
        return False
    if row.score < gate.min_baseline:
        draft.say(Phase.BASELINING, "the full-precision model itself is too weak")
        draft.block(
            Reason.BASELINE_TOO_WEAK,
            f"the baseline scores {row.score:.3f} on the eval set and qualityGate.minBaseline is {gate.min_baseline:g}:"
            " a recovery of that means nothing; check expected answers, prompts and maxTokens",
        )
        return False
    if measured.errors > gate.max_error_rate * measured.items:
        draft.say(Phase.BASELINING, "too many requests to the full-precision model failed")
        draft.block(
            Reason.ENGINE_FAILED,
            f"{measured.errors} of {measured.items} requests to the baseline failed (maxErrorRate"
            f" {gate.max_error_rate:g}): see the evaluate Job's log",
        )
        return False
    return True


def evaluation_of(key: str, result: EvaluateResult) -> Evaluation:
    """A Job's counts as status keeps them."""
    kept = {name: getattr(result, name) for name in Counts.model_fields}
    return Evaluation(key=key, seconds=result.seconds, **kept)


def _share(part: int, whole: int) -> float | None:
    return round(part / whole, 6) if whole else None


def wanted_evaluate(
    draft: Draft, spec: QuantizedModelSpec, variant: str, revision: str, served: RevisionSpec, key: str
) -> WantedEvaluate:
    """The evaluate Job of an arm; a variant's joins its answers with the baseline's."""
    gate, prepared, base = spec.quality_gate, draft.status.prepared, draft.status.baseline
    if prepared is None:
        raise AssertionError("nothing is evaluated before it is prepared")
    artifact = next((row.artifact for row in draft.status.variants if row.name == variant), None)
    joined = base.evaluation.key if variant != BASELINE and base and base.evaluation else None
    return WantedEvaluate(
        key=key,
        variant=variant,
        revision=revision,
        served=served,
        job_input=EvaluateInput(
            key=key,
            store=ARTIFACTS_MOUNT,
            eval_set=item_file(gate.eval_set, prepared.eval_set.sha256),
            also_report=gate.also_report,
            repeats=gate.generation.repeats,
            endpoint=f"http://127.0.0.1:{ENGINE_PORT}",
            served_model=draft.seen.name,
            concurrency=min(spec.serving.max_num_seqs, MAX_CONCURRENCY),
            ready_timeout_seconds=parse_duration(spec.rollout.deadlines.model_load).total_seconds(),
            progress_port=PROGRESS_PORT,
            noise_items=gate.generation.noise_items if variant == BASELINE else 0,
            baseline_key=joined,
            **_for_lm_eval(spec),
            **asking(spec),
            subject=record.subject(spec, prepared, variant, revision, served, artifact),
        ),
    )


def _for_lm_eval(spec: QuantizedModelSpec) -> dict[str, Any]:
    """What lm-eval needs to know of the model. The tokenizer is the full-precision model's, for both arms."""
    if spec.quality_gate.scorer is not ScorerName.LM_EVAL:
        return {}
    return {"tokenizer": model_path(baseline_model(spec.model)), "max_length": spec.serving.max_model_len}


def rows(draft: Draft, spec: QuantizedModelSpec) -> None:
    """One row a variant, in declared order; what is known of a variant stays."""
    known = {row.name: row for row in draft.status.variants}
    fresh = [
        known[v.name].model_copy(update={"scheme": v.scheme, "bits": v.scheme.weight_bits})
        if v.name in known
        else VariantStatus(name=v.name, scheme=v.scheme, bits=v.scheme.weight_bits)
        for v in spec.variants
    ]
    draft.set(variants=fresh)
