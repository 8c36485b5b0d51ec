"""The drift check of what serves: screen, suspect, confirm, decide. No data is Unknown, which decides nothing.

`status.drift.next` says when a check is due; while `status.drift.confirming` stands, the revision to go back to is
brought up and a Job asks both.
"""

from datetime import datetime, timedelta

from quantroll.api.base import parse_duration
from quantroll.api.jobs import Arm, ConfirmInput, ConfirmResult
from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import Drift, DriftCheckStatus, DriftVerdict, QuantizedModelStatus, RevisionStatus
from quantroll.constants import ARTIFACTS_MOUNT, BASELINE, Reason
from quantroll.domain import capacity, fingerprints, memory, rollback, schedule
from quantroll.domain.asking import asking
from quantroll.domain.draft import Draft, clip
from quantroll.domain.drift import Confirmation, decide
from quantroll.domain.evidence import Comparison
from quantroll.domain.jobs import failure_of, report_of
from quantroll.domain.judging import thresholds_of
from quantroll.domain.locate import probe_source, revision_endpoint
from quantroll.domain.pipeline import MAX_CONCURRENCY
from quantroll.domain.snapshot import QualityCounts, Unknown
from quantroll.domain.traffic import server_of
from quantroll.domain.wanted import WantedConfirm

RETRY = timedelta(minutes=10)  # after a check that could not tell


def attend(draft: Draft, spec: QuantizedModelSpec) -> None:
    """Whatever the drift check asks for now; nothing while traffic moves."""
    known = draft.status.drift or Drift(schedule=spec.drift_check.schedule)
    draft.set(drift=known.model_copy(update={"schedule": spec.drift_check.schedule}))
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

    The prober and the confirm Job count right and wrong, so it is not the mean of a graded score.
    """
    counted, thresholds = status.baseline.evaluation if status.baseline else None, thresholds_of(spec.quality_gate)
    if counted is None or not counted.items:
        return None
    score = counted.correct / counted.items
    relative = thresholds.comparison is Comparison.RELATIVE
    return score * thresholds.floor if relative else max(score + thresholds.floor, 0.0)


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
    _change(draft, next=None)


def _plan_ahead(draft: Draft, spec: QuantizedModelSpec, stable: RevisionStatus) -> None:
    """A date for the next check, for a revision that has none or under another schedule."""
    drift, before = draft.status.drift, draft.seen.status.drift
    if drift is None:
        return
    since = stable.since or draft.now
    fresh = drift.revision != stable.revision
    moved = before is not None and before.schedule != spec.drift_check.schedule
    if fresh:
        _change(
            draft,
            revision=stable.revision, verdict="Pending", message="no drift check of this revision has run yet",
            last=None, value=None, samples=None, confirming=None, next=None,
        )  # fmt: skip
    if fresh or moved or drift.next is None:
        due = schedule.next_due(spec.drift_check.schedule, draft.seen.name, since, draft.now)
        _change(draft, next=due, floor=_rounded(floor_of(draft.status, spec)))


def _screen(draft: Draft, spec: QuantizedModelSpec, stable: RevisionStatus, drift: Drift) -> None:
    """Compare the prober's counts with the floor."""
    floor, counts = floor_of(draft.status, spec), draft.seen.quality
    since = stable.since or draft.now
    if counts is None:
        draft.wake(draft.now)
        return
    if floor is None:
        _close(draft, spec, "Unknown", "the baseline has no score to hold it to")
        return
    if isinstance(counts, Unknown):
        _close(draft, spec, "Unknown", counts.cause)
        return
    needed, samples = spec.drift_check.min_samples, min(counts.answers, counts.distinct)
    if samples < needed:
        first = schedule.is_first(since, drift.last, drift.next or draft.now)
        _too_few(draft, spec, stable, counts, confirm_all_the_same=first)
        return
    value = counts.right / counts.answers
    said = f"{counts.right} of {counts.answers} answers to the probe are right ({value:.3f}), floor {floor:.3f}"
    _change(draft, value=round(value, 6), samples=samples, floor=_rounded(floor))
    if value >= floor:
        _close(draft, spec, "Healthy", said)
    else:
        _suspect(draft, spec, stable, said)


def _too_few(
    draft: Draft, spec: QuantizedModelSpec, stable: RevisionStatus, counts: QualityCounts, *, confirm_all_the_same: bool
) -> None:
    needed = spec.drift_check.min_samples
    age = window(draft.status, spec, draft.now)
    expected = spec.probe.items_per_hour * age.total_seconds() / 3600
    if counts.distinct < needed:
        said = f"the probe has {counts.distinct} distinct items and driftCheck.minSamples is {needed}: add items"
    else:
        said = f"{counts.answers} answers to the probe in the window, driftCheck.minSamples is {needed}"
    if confirm_all_the_same:
        _suspect(draft, spec, stable, f"an hour after the promotion: {said}", verdict="Pending")
    elif expected < needed and age < parse_duration(spec.drift_check.window):
        _close(draft, spec, "Pending", f"too early to tell: {said}")
    else:
        _close(draft, spec, "Unknown", said)


def _close(draft: Draft, spec: QuantizedModelSpec, verdict: DriftVerdict, message: str) -> None:
    """The end of a check; one that could not tell is tried again soon."""
    stable = draft.status.stable
    since = (stable.since if stable else None) or draft.now
    due = schedule.next_due(spec.drift_check.schedule, draft.seen.name, since, draft.now)
    if verdict == "Unknown":
        due = min(due, draft.now + RETRY)
    could_tell = verdict not in ("Unknown", "Pending")
    told = {"last": draft.now} if could_tell else {"value": None, "samples": None}
    _change(draft, verdict=verdict, message=clip(message), next=due, confirming=None, **told)
    draft.wake(due)


def _suspect(
    draft: Draft, spec: QuantizedModelSpec, stable: RevisionStatus, said: str, verdict: DriftVerdict = "Suspect"
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
        _conclude(draft, spec, target, report.confirm)
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


def _conclude(draft: Draft, spec: QuantizedModelSpec, target: RevisionStatus, result: ConfirmResult) -> None:
    floor = floor_of(draft.status, spec)
    found = Confirmation(result.both, result.serving_only, result.target_only, result.neither, result.errors)
    if floor is None:
        _close(draft, spec, "Unknown", "the baseline has no score to hold it to")
        return
    decision = decide(found, floor)
    if found.items:
        _change(draft, value=round(found.serving / found.items, 6), samples=found.items, floor=_rounded(floor))
    _close(draft, spec, decision.verdict, decision.message)
    if decision.verdict != "Breached":
        return
    if spec.drift_check.on_breach == "Rollback":
        rollback.begin(draft, target, Reason.FLOOR_BREACHED, decision.message)


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
            **asking(spec),
        ),
    )


def _serving(draft: Draft) -> str:
    return draft.status.stable.variant if draft.status.stable else "nothing"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
