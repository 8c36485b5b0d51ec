"""What a phase waits for, since when, and what would unblock it: one function for each phase that waits."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from quantroll.api.base import parse_duration
from quantroll.api.status import Attempt, RejectedRevision, VariantStatus
from quantroll.constants import LABEL_OWNER, Component, Condition, Phase, Reason
from quantroll.domain import fingerprints, steps, windows
from quantroll.domain.capacity import pods_for
from quantroll.domain.gate import Verdict
from quantroll.domain.traffic import by_route
from quantroll.standing import moments
from quantroll.standing.remedies import remedy
from quantroll.standing.view import View

NOTHING = "nothing: it goes on by itself"
GIVEN_UP, TRIED_AGAIN = "given up", "tried again"


@dataclass(frozen=True, slots=True)
class Wait:
    """One thing that is waited for."""

    reason: str
    """Phase, or reason of a condition or a failure."""
    what: str
    """What is waited for, in a sentence."""
    unblock: tuple[str, ...]
    """What ends it: sentences and commands, the first the best."""
    since: datetime | None = None
    """Since when; None where the status does not tell."""
    until: datetime | None = None
    """When that is over; None: open."""
    then: str = "ends"
    """What happens at that time."""
    person: bool = False
    """Whether nothing goes on before a person has done something."""

    def clocks(self, now: datetime) -> str:
        """Since when, and when it is over; empty where neither is known."""
        told = [moments.since(self.since, now)] if self.since else []
        told += [f"{self.then} {moments.until(self.until, now)}"] if self.until else []
        return "; ".join(told)


def in_phase(view: View) -> Wait | None:
    """What the phase itself waits for; None where all is well and settled."""
    phase, rollout = view.status.phase, view.status.rollout
    if rollout and rollout.held_since and (opens := _opening(view)):  # else for a spec that can be taken up
        return _window(view, rollout.held_since, opens)
    return _PHASES[phase](view) if phase else None


def failures(view: View) -> list[tuple[str, Attempt]]:
    """Failed Jobs that have not been made good, by arm; of prepare, under its own name."""
    status = view.status
    found = [(Component.PREPARE.value, status.prepare_failure)]
    found += [("the baseline", status.baseline.failure)] if status.baseline else []
    found += [(row.name, row.failure) for row in status.variants]
    return [(arm, failure) for arm, failure in found if failure]


def again(view: View, failure: Attempt) -> str:
    """When a failed Job is tried again, or how."""
    now = f"to have it tried now: {view.type('retry', '--jobs')}"
    if failure.retry_at is None:
        return f"it is not tried again before an edit that may mend it; {now}"
    if failure.retry_at <= view.now:
        return "it is tried again now"
    return f"it is tried again {moments.until(failure.retry_at, view.now)}; {now}"


def in_the_way(view: View) -> list[RejectedRevision]:
    """Rejections of what the present spec proves: as long as they stand, it is not rolled out. Newest first."""
    prepared, gate = view.status.prepared, view.subject.spec.quality_gate
    digest = prepared.eval_set.sha256 if prepared else ""
    proven = [row.revision for row in view.status.variants if row.verdict == Verdict.PASS.value and row.revision]
    proven += [view.status.baseline.revision] if view.status.baseline else []
    keys = {fingerprints.evaluation_key(revision, gate, digest) for revision in proven}
    return [entry for entry in view.status.rejected if entry.key in keys]


def _job(component: Component) -> Callable[[View], Wait]:
    """A phase that waits for a Job."""

    def wait(view: View) -> Wait:
        what = view.status.message or f"a Job ({component.value})"
        look = view.kubectl("get", "jobs,pods", "-l", _owned(view))
        return _of_phase(view, f"the Job: {what}", f"nothing: it goes on when the Job ends; to look at it: {look}")

    return wait


def _of_phase(
    view: View, what: str, *unblock: str, until: datetime | None = None, then: str = GIVEN_UP, person: bool = False
) -> Wait:
    phase = view.status.phase
    return Wait(phase or "", what, unblock, since=view.entered, until=until, then=then, person=person)


def _opening(view: View) -> datetime | None:
    """When the next rollout window opens; None where one is open, or none is asked for."""
    asked = view.subject.spec.rollout.windows
    if windows.problem(asked) or windows.is_open(asked, view.now):
        return None
    return windows.next_opening(asked, view.now)


def _window(view: View, since: datetime | None, opens: datetime | None) -> Wait:
    return Wait(
        Reason.OUTSIDE_WINDOW,
        f"a window of rollout.windows: {view.status.message}",
        ("nothing: it goes on when the window opens", "to go on now, change rollout.windows in the spec"),
        since=since,
        until=opens,
        then="opens",
    )


def _selecting(view: View) -> Wait:
    drift = view.status.drift
    if drift and drift.confirming:
        return _of_phase(
            view,
            f"the drift check of what serves: {view.status.message}",
            "nothing: the rollout begins when the check has ended; it gives up at its deadline",
            until=drift.confirming.deadline,
        )
    if not view.holds(Condition.AVAILABLE):
        return _of_phase(view, view.status.message, "a ready pod of what serves: see below")
    if opens := _opening(view):
        return _window(view, view.entered, opens)
    return _of_phase(view, view.status.message, f"{NOTHING}, once nothing is in the way any more")


def _starting(view: View) -> Wait:
    rollout, candidate, spec = view.status.rollout, view.status.candidate, view.subject.spec
    needed = pods_for(spec, steps.weight_at(spec, 0))
    pods = view.pods_of(candidate.revision) if candidate else None
    known = f": {pods.ready} of {needed} ready" if pods else ""
    return _of_phase(
        view,
        f"pods of {candidate.variant if candidate else 'the candidate'} to load{known}",
        f"nothing, while they load: {needed} ready pods give it its first traffic; at the deadline it is taken back",
        f"to take it back now: {view.type('abort')}",
        until=rollout.deadline if rollout else None,
    )


def _shifting(view: View) -> Wait:
    rollout, candidate = view.status.rollout, view.status.candidate
    name, weight = (candidate.variant if candidate else "the candidate"), (rollout.weight if rollout else 0)
    if by_route(view.subject.spec):
        what = f"the gateway to apply {weight} % for {name}"
        look = view.kubectl("get", "httproute", view.subject.name, "-o", "yaml")
        hint = f"nothing, unless it takes more than seconds: what the gateway says is in {look}"
    else:
        what = f"enough pods of {name} for {weight} %"
        hint = "nothing: the share comes about with the pods"
    return _of_phase(view, what, hint, until=rollout.deadline if rollout else None)


def _analyzing(view: View) -> Wait:
    rollout, candidate, step, ends = view.status.rollout, view.status.candidate, view.step, view.step_ends
    if rollout is None or step is None or ends is None:
        return _of_phase(view, view.status.message, NOTHING)
    name = candidate.variant if candidate else "the candidate"
    if view.now < ends:
        place = f"step {rollout.step + 1} of {len(view.subject.spec.rollout.steps)}"
        return Wait(
            Phase.ANALYZING,
            f"the end of {place}: {name} at {rollout.weight} %",
            (NOTHING, f"to leave out what is left: {view.type('promote')}", f"to take it back: {view.type('abort')}"),
            since=rollout.since,
            until=ends,
        )
    following = steps.weight_at(view.subject.spec, steps.ahead(view.subject.spec, rollout))
    hints = [_more_data(view)] if rollout.analysis and rollout.analysis.verdict != "Pass" else []
    hints += [f"{pods_for(view.subject.spec, following)} ready pods of {name}, for {following} %"] if not hints else []
    hints.append(f"to take {name} back: {view.type('abort')}")
    return Wait(
        Phase.ANALYZING,
        view.status.message,
        tuple(hints),
        since=ends,
        until=rollout.deadline or rollout.step_expires_at or rollout.expires_at,
        then=GIVEN_UP,
    )


def _more_data(view: View) -> str:
    rollout = view.status.rollout
    found = rollout.analysis if rollout else None
    if found and found.verdict == "Fail":
        return "a look that passes: nothing has to be done; if the candidate is at fault, take it back"
    return "a look that can tell: more requests, or a lower minSamples in rollout.analysis; Prometheus, if it is away"


def _approval(view: View) -> Wait:
    rollout, candidate = view.status.rollout, view.status.candidate
    name = candidate.variant if candidate else "the candidate"
    at = f"{rollout.weight} % (step {rollout.step + 1} of {len(view.subject.spec.rollout.steps)})" if rollout else ""
    return Wait(
        Phase.AWAITING_APPROVAL,
        f"a person to approve {name}, which has passed {at}",
        (f"to let it go on: {view.type('approve')}", f"to take it back: {view.type('abort')}"),
        since=(rollout.awaiting_since if rollout else None) or view.entered,
        person=True,
    )


def _draining(view: View) -> Wait:
    rollout = view.status.rollout
    limit = parse_duration(view.subject.spec.rollout.deadlines.drain)
    return _of_phase(
        view,
        "the last requests to what served before",
        "nothing: its pods go when no request runs or waits, or at deadlines.drain",
        until=rollout.since + limit if rollout and rollout.since else None,
        then="ends all the same",
    )


def _rejected(view: View) -> Wait:
    rows = [row for row in view.status.variants if row.verdict]
    unproven = [row for row in rows if row.verdict != Verdict.PASS.value]
    hints = [f"{row.name} ({row.verdict}, {row.reason or row.verdict}): {_remedy_of(view, row)}" for row in unproven]
    if len(unproven) < len(rows):
        hints.append("what is proven does not hold benchmark.slo, or is not measured: relax the SLO, or give it more")
    if failures(view):
        hints.append(f"to have failed Jobs tried again: {view.type('retry', '--jobs')}")
    return _of_phase(
        view,
        f"a changed spec: {view.status.message}",
        *remedy(Phase.REJECTED, view.subject.name)[:1],
        *hints,
        f"all figures: {view.type('report')}",
        person=True,
    )


def _remedy_of(view: View, row: VariantStatus) -> str:
    return remedy(row.reason or row.verdict or "", view.subject.name)[0]


def _rolling_back(view: View) -> Wait:
    rollout, candidate = view.status.rollout, view.status.candidate
    if rollout and rollout.kind == "Rollback":
        pods = view.pods_of(candidate.revision) if candidate else None
        replicas = view.subject.spec.serving.replicas
        known = f" ({pods.ready} of {replicas} are)" if pods else ""
        target = candidate.variant if candidate else "the earlier revision"
        return _of_phase(
            view,
            f"all pods of {target} to be ready{known}, and then its traffic: {view.status.message}",
            "nothing, while they load: what serves keeps serving, however long it takes",
            f"room for them, if they find none: {view.kubectl('get', 'pods', '-l', _owned(view))}",
            f"to stay with what serves: {view.type('abort')}",
        )
    drain = parse_duration(view.subject.spec.rollout.deadlines.drain)
    return _of_phase(
        view,
        f"the candidate's traffic and its last requests to end: {view.status.message}",
        f"{NOTHING}; its pods go when no request is left, or at deadlines.drain",
        until=rollout.since + drain if rollout and rollout.since else None,
        then="ends all the same",
    )


def _owned(view: View) -> str:
    return f"{LABEL_OWNER}={view.subject.name}"


def _rolled_back(view: View) -> Wait:
    entry = next(iter(in_the_way(view) or view.status.rejected), None)
    if entry is None:
        return _of_phase(view, view.status.message, *remedy(Phase.ROLLED_BACK, view.subject.name), person=True)
    told = remedy(entry.reason, view.subject.name)
    return Wait(
        entry.reason,
        f"somebody to decide about {entry.variant}, which was taken back: {entry.message}",
        (f"to have it tried again, once the cause is gone: {view.type('retry')}", *told),
        since=entry.at,
        person=True,
    )


def _steady(_: View) -> None:
    return None


_PHASES: dict[Phase, Callable[[View], Wait | None]] = {
    Phase.PENDING: _job(Component.PREPARE),
    Phase.BASELINING: _job(Component.EVALUATE),
    Phase.QUANTIZING: _job(Component.QUANTIZE),
    Phase.EVALUATING: _job(Component.EVALUATE),
    Phase.SELECTING: _selecting,
    Phase.CANDIDATE_STARTING: _starting,
    Phase.SHIFTING: _shifting,
    Phase.ANALYZING: _analyzing,
    Phase.AWAITING_APPROVAL: _approval,
    Phase.PROMOTING: _shifting,
    Phase.DRAINING: _draining,
    Phase.STEADY: _steady,
    Phase.REJECTED: _rejected,
    Phase.ROLLING_BACK: _rolling_back,
    Phase.ROLLED_BACK: _rolled_back,
}
