"""The drift check of what serves: screen, suspect, confirm, decide. No data is Unknown, which decides nothing.

`status.drift.next` says when a check is due; while `status.drift.confirming` stands, the revision to go back to is
brought up and a Job asks both.
"""

from datetime import datetime, timedelta

from quantroll.api.base import parse_duration
from quantroll.api.jobs import Arm, Asking, ConfirmInput, ConfirmResult
from quantroll.api.spec import PROBE_METRIC, QuantizedModelSpec
from quantroll.api.status import Drift, DriftCheckStatus, DriftVerdict, QuantizedModelStatus, RevisionStatus
from quantroll.constants import ARTIFACTS_MOUNT, BASELINE, Reason
from quantroll.domain import capacity, fingerprints, memory, rollback, schedule, unverified
from quantroll.domain.asking import probing
from quantroll.domain.draft import Draft, clip
from quantroll.domain.drift import UPPER_CONFIDENCE, Confirmation, decide, of_items, screen, wilson_lower, wilson_upper
from quantroll.domain.evidence import Comparison
from quantroll.domain.jobs import failure_of, report_of
from quantroll.domain.judging import thresholds_of
from quantroll.domain.locate import probe_source, revision_endpoint
from quantroll.domain.pipeline import MAX_CONCURRENCY
from quantroll.domain.snapshot import QualityCounts, Unknown
from quantroll.domain.traffic import server_of
from quantroll.domain.wanted import WantedConfirm

RETRY = timedelta(minutes=10)  # after a check that could not tell
_NUMBERS = {"value": None, "samples": None, "lower_bound": None, "upper_bound": None, "target_value": None}


def attend(draft: Draft, spec: QuantizedModelSpec) -> None:
    """Whatever the drift check asks for now; nothing while traffic moves."""
    asked = {"schedule": spec.drift_check.schedule, "after_promotion": spec.drift_check.after_promotion}
    known = draft.status.drift or Drift(schedule=spec.drift_check.schedule)
    draft.set(drift=known.model_copy(update=asked))
    _report_metric(draft, spec)
    stable = draft.status.stable
    if draft.status.rollout or stable is None:
        _end_confirming(draft)
        return
    if stable.variant == BASELINE:
        _end_confirming(draft)
        _rest(draft, stable)
        return
    _plan_ahead(draft, spec, stable)
    if (drift := draft.status.drift) and drift.confirming:
        _confirming(draft, spec, drift.confirming)
    elif drift and drift.next:
        draft.wake(drift.next)
        if draft.now >= drift.next:
            _screen(draft, spec, stable, drift)
    unverified.mark(draft, spec)


def serve_target(draft: Draft, spec: QuantizedModelSpec) -> None:
    """Pods of the revision to go back to, while a suspicion is being confirmed."""
    check = draft.status.drift.confirming if draft.status.drift else None
    target = memory.found(draft, spec, check.target) if check else None
    if target and target.revision not in {server.revision for server in draft.wanted.servers}:
        draft.wanted.servers.append(server_of(spec, target, capacity.beside(spec)))


def is_due(status: QuantizedModelStatus, now: datetime) -> bool:
    """Whether the next pass needs the prober's counts."""
    drift, stable = status.drift, status.stable
    serves = stable is not None and stable.variant != BASELINE and status.rollout is None
    return serves and drift is not None and drift.confirming is None and drift.next is not None and now >= drift.next


def window(status: QuantizedModelStatus, spec: QuantizedModelSpec, now: datetime) -> timedelta:
    """How far back answers count: not further than the promotion."""
    since = status.stable.since if status.stable else None
    longest = parse_duration(spec.drift_check.window)
    return min(longest, now - since) if since else longest


def floor_of(status: QuantizedModelStatus, spec: QuantizedModelSpec) -> float | None:
    """Share of right answers below which nothing may serve; None while the baseline's is not known.

    The prober and the confirm Job count right and wrong, so it is not the mean of a graded score. Where they ask other
    questions than the gate, judged in another way, the user says what the floor is. While the baseline is measured
    anew, as after an edit of how it is served, the floor of the last check holds.
    """
    if spec.probe.floor is not None:
        return spec.probe.floor
    counted, thresholds = status.baseline.evaluation if status.baseline else None, thresholds_of(spec.quality_gate)
    if counted is None or not counted.items:
        return status.drift.floor if status.drift else None
    score = counted.correct / counted.items
    relative = thresholds.comparison is Comparison.RELATIVE
    return score * thresholds.floor if relative else max(score + thresholds.floor, 0.0)


def _report_metric(draft: Draft, spec: QuantizedModelSpec) -> None:
    metric, known = spec.drift_check.metric, sorted(draft.seen.queries)
    if metric != PROBE_METRIC and metric not in known:
        there = f"there are {', '.join(known)}, and {PROBE_METRIC}" if known else f"there is only {PROBE_METRIC}"
        draft.block(
            Reason.QUERY_UNKNOWN,
            f"driftCheck.metric: no query {metric} in prometheus.queries of the chart's values; {there}",
        )


def _change(draft: Draft, **changes: object) -> None:
    if draft.status.drift:
        draft.set(drift=draft.status.drift.model_copy(update=changes))


def _end_confirming(draft: Draft) -> None:
    if draft.status.drift and draft.status.drift.confirming:
        _change(draft, confirming=None)


def _rest(draft: Draft, stable: RevisionStatus) -> None:
    """The full-precision model serves; what the last check said of another revision is kept to be read."""
    drift = draft.status.drift
    if drift and drift.revision in (None, stable.revision):
        _change(draft, verdict="Unknown", message="the full-precision model serves: it is what others are held to")
    _change(draft, next=None, unverified_since=None)


def _plan_ahead(draft: Draft, spec: QuantizedModelSpec, stable: RevisionStatus) -> None:
    """A date for the next check, for a revision that has none or under another schedule."""
    drift, before = draft.status.drift, draft.seen.status.drift
    if drift is None:
        return
    since = stable.since or draft.now
    fresh = drift.revision != stable.revision
    asked = (spec.drift_check.schedule, spec.drift_check.after_promotion)
    moved = before is not None and (before.schedule, before.after_promotion) != asked
    if fresh:
        _change(
            draft,
            revision=stable.revision, verdict="Pending", message="no drift check of this revision has run yet",
            last=None, confirming=None, next=None, unverified_since=None, consecutive=None, counted_for=None,
            **_NUMBERS,
        )  # fmt: skip
    if fresh or moved or drift.next is None:
        after = since if fresh else draft.now  # a date that was missed before this could be written is caught up on
        _change(draft, next=_next_due(draft, spec, since, after), floor=_rounded(floor_of(draft.status, spec)))


def _next_due(draft: Draft, spec: QuantizedModelSpec, since: datetime, after: datetime) -> datetime:
    return schedule.next_due(spec.drift_check.schedule, _ages(spec), draft.seen.name, since, after)


def _ages(spec: QuantizedModelSpec) -> list[timedelta]:
    return [parse_duration(age) for age in spec.drift_check.after_promotion]


def _screen(draft: Draft, spec: QuantizedModelSpec, stable: RevisionStatus, drift: Drift) -> None:
    """Compare the prober's counts with the floor."""
    floor, counts = floor_of(draft.status, spec), draft.seen.quality
    if counts is None:
        draft.wake(draft.now)
        return
    if floor is None:
        _close(draft, spec, "Unknown", "the baseline has no score to hold it to")
        return
    if isinstance(counts, Unknown) or counts.samples < spec.drift_check.min_samples:
        _cannot_tell(draft, spec, stable, drift, counts)
        return
    value, found = counts.right / counts.answers, screen(counts.right, counts.answers, floor, counts.samples)
    said = f"{counts.right} of {counts.answers} {_answers(spec)} are right ({value:.3f}), floor {floor:.3f}"
    _tell(draft, counts.right, counts.answers, floor, samples=counts.samples)
    if found.below:
        _suspect(draft, spec, stable, said, catastrophic=found.catastrophic)
    else:
        _change(draft, consecutive=None, counted_for=None)
        _close(draft, spec, "Healthy", said)


def _answers(spec: QuantizedModelSpec) -> str:
    metric = spec.drift_check.metric
    return "answers to the probe" if metric == PROBE_METRIC else f"answers that query {metric} counts"


def _tell(draft: Draft, right: int, asked: int, floor: float, *, samples: int, target: float | None = None) -> None:
    """The numbers of a check."""
    of = of_items(right, asked, samples)
    _change(
        draft,
        value=_rounded(right / asked),
        samples=samples,
        floor=_rounded(floor),
        lower_bound=_rounded(wilson_lower(*of, UPPER_CONFIDENCE)),
        upper_bound=_rounded(wilson_upper(*of, UPPER_CONFIDENCE)),
        target_value=_rounded(target),
    )


def _cannot_tell(
    draft: Draft, spec: QuantizedModelSpec, stable: RevisionStatus, drift: Drift, counts: QualityCounts | Unknown
) -> None:
    """The first check after a promotion asks both revisions then: it needs nobody's counts."""
    said, too_early = (counts.cause, False) if isinstance(counts, Unknown) else _too_few(draft, spec, counts)
    since = stable.since or draft.now
    if schedule.is_first(_ages(spec), since, drift.last, drift.next or draft.now):
        _suspect(draft, spec, stable, f"the first check after the promotion: {said}", verdict="Pending")
    elif too_early:
        _close(draft, spec, "Pending", f"too early to tell: {said}")
    else:
        _close(draft, spec, "Unknown", said)


def _too_few(draft: Draft, spec: QuantizedModelSpec, counts: QualityCounts) -> tuple[str, bool]:
    """What is missing, and whether there has merely been too little time for it."""
    needed = spec.drift_check.min_samples
    age = window(draft.status, spec, draft.now)
    expected = spec.probe.items_per_hour * age.total_seconds() / 3600
    if counts.distinct is not None and counts.distinct < needed:
        said = f"the probe has {counts.distinct} distinct items and driftCheck.minSamples is {needed}: add items"
    else:
        said = f"{counts.answers} {_answers(spec)} in the window, driftCheck.minSamples is {needed}"
    return said, expected < needed and age < parse_duration(spec.drift_check.window)


def _close(draft: Draft, spec: QuantizedModelSpec, verdict: DriftVerdict, message: str) -> None:
    """The end of a check; one that could not tell is tried again soon."""
    stable = draft.status.stable
    since = (stable.since if stable else None) or draft.now
    due = _next_due(draft, spec, since, draft.now)
    if verdict == "Unknown":
        due = min(due, draft.now + RETRY)
    could_tell = verdict not in ("Unknown", "Pending")
    told = {"last": draft.now} if could_tell else _NUMBERS
    _change(draft, verdict=verdict, message=clip(message), next=due, confirming=None, **told)
    draft.wake(due)


def _suspect(
    draft: Draft,
    spec: QuantizedModelSpec,
    stable: RevisionStatus,
    said: str,
    verdict: DriftVerdict = "Suspect",
    *,
    catastrophic: bool = False,
) -> None:
    """Have it confirmed, by a Job that asks the revision to go back to as well."""
    target = memory.fallback(draft, spec)
    if target is None:
        _close(draft, spec, verdict, said)
        return
    deadline = draft.now + parse_duration(spec.drift_check.confirm.deadline)
    confirming = DriftCheckStatus(
        revision=stable.revision,
        target=target.revision,
        key=fingerprints.confirm_key(stable.revision, target.revision, draft.now),
        started_at=draft.now,
        deadline=deadline,
        screen=clip(said),
        catastrophic=catastrophic or None,
    )
    _change(
        draft,
        verdict=verdict,
        message=clip(f"being confirmed: {said}"),
        confirming=confirming,
        confirmation=confirming.key,
    )
    draft.wake(deadline)


def _confirming(draft: Draft, spec: QuantizedModelSpec, check: DriftCheckStatus) -> None:
    """Bring the target up, ask both, decide."""
    job, target = draft.seen.jobs.get(check.key), memory.found(draft, spec, check.target)
    if target is None or check.revision != (draft.status.stable.revision if draft.status.stable else ""):
        _end_confirming(draft)  # the spec has changed what there is to go back to
        return
    report = report_of(job)
    if report and report.confirm:
        _conclude(draft, spec, check, target, report.confirm)
        return
    if job and (problem := failure_of(job, draft.now)):
        _close(draft, spec, "Unknown", f"the confirmation failed: {problem.message}")
        return
    if draft.now >= check.deadline:
        pods = draft.seen.server(check.target).problem
        cause = f": {pods.message}" if pods else ""
        limit = spec.drift_check.confirm.deadline
        _close(draft, spec, "Unknown", f"not confirmed within driftCheck.confirm.deadline ({limit}){cause}")
        return
    draft.wake(check.deadline)
    if draft.seen.server(check.target).ready or job:
        draft.waits(job)
        draft.wanted.jobs.append(_wanted_confirm(draft, spec, check))
    elif problem := draft.seen.server(check.target).problem:
        draft.block(
            Reason.ROLLBACK_BLOCKED,
            f"{target.variant}, to go back to, is not ready, and {_serving(draft)} keeps serving: {problem.message}",
        )


def _conclude(
    draft: Draft, spec: QuantizedModelSpec, check: DriftCheckStatus, target: RevisionStatus, result: ConfirmResult
) -> None:
    floor = floor_of(draft.status, spec)
    found = Confirmation(result.both, result.serving_only, result.target_only, result.neither, result.errors)
    if floor is None:
        _close(draft, spec, "Unknown", "the baseline has no score to hold it to")
        return
    known, counted_for = draft.status.drift, _counted_for(draft, spec, check, floor)
    before = (known.consecutive or 0) if known and known.counted_for == counted_for else 0
    decision = decide(found, floor, before, catastrophic=bool(check.catastrophic))
    if found.items:
        share = found.target / found.items
        _tell(draft, found.serving, found.items, floor, samples=found.items, target=share)
    row = decision.consecutive
    _change(draft, consecutive=row or None, counted_for=counted_for if row else None)
    _close(draft, spec, decision.verdict, decision.message)
    if decision.verdict != "Breached":
        return
    if spec.drift_check.on_breach == "Rollback":
        rollback.begin(draft, spec, target, Reason.FLOOR_BREACHED, decision.message)


def _counted_for(draft: Draft, spec: QuantizedModelSpec, check: DriftCheckStatus, floor: float) -> str:
    """What confirmations in a row have in common: with something else, the count begins anew.

    The file of probe.source is meant to change; a row goes on over new items of it.
    """
    items = probe_source(spec, draft.status.prepared).model_dump(mode="json")
    how = Asking(**probing(spec)).model_dump(mode="json")
    return fingerprints.series_key(
        check.revision, check.target, {"items": items, "floor": _rounded(floor), "asked": how}
    )


def _wanted_confirm(draft: Draft, spec: QuantizedModelSpec, check: DriftCheckStatus) -> WantedConfirm:
    name = draft.seen.name
    return WantedConfirm(
        key=check.key,
        job_input=ConfirmInput(
            key=check.key,
            store=ARTIFACTS_MOUNT,
            eval_set=probe_source(spec, draft.status.prepared),
            items=spec.drift_check.confirm.items,
            served_model=name,
            serving=Arm(revision=check.revision, endpoint=revision_endpoint(name, check.revision)),
            target=Arm(revision=check.target, endpoint=revision_endpoint(name, check.target)),
            concurrency=min(spec.serving.max_num_seqs, MAX_CONCURRENCY),
            ready_timeout_seconds=parse_duration(spec.rollout.deadlines.model_load).total_seconds(),
            **probing(spec),
        ),
    )


def _serving(draft: Draft) -> str:
    return draft.status.stable.variant if draft.status.stable else "nothing"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
