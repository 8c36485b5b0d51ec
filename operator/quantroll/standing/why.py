"""`why`: what a QuantizedModel waits for, what is most in the way first."""

from quantroll.constants import BASELINE, Condition, Phase, Reason
from quantroll.domain.commands import VALUE_LIMIT as LIMIT
from quantroll.standing.orders import VERBS
from quantroll.standing.remedies import remedy
from quantroll.standing.tree import Style, wrapped
from quantroll.standing.view import View
from quantroll.standing.waits import GIVEN_UP, NOTHING, TRIED_AGAIN, Wait, again, failures, in_phase

_AT_REST = frozenset({Phase.REJECTED, Phase.ROLLED_BACK})
_SEEN_SOON = "seconds, if the operator runs and watches this namespace: look at its Deployment and its log"


def why(view: View) -> list[Wait]:
    """All that is waited for; empty when this spec is settled and nothing is amiss.

    In this order: an operator that has not looked yet, what is in everybody's way, suspension, the phase itself, and
    then what goes on beside it.
    """
    if view.status.phase is None:
        return [Wait(Phase.PENDING, "the operator to see it", (_SEEN_SOON,))]
    found = [_behind(view), _stalled(view), _suspended(view)]
    if not (found[1] and found[1].reason == view.status.phase):
        found.append(in_phase(view))
    waits = [wait for wait in found if wait]
    waits += [wait for wait in (_not_serving(view), *_failed(view), _quality(view), _unanswered(view)) if wait]
    return _distinct(waits)


def explained(view: View, style: Style) -> list[str]:
    """The answer, for people."""
    waits = why(view)
    if not waits:
        return wrapped(f"waits for nothing: {view.status.message}", style, "", "  ")
    lines: list[str] = []
    for wait in waits:
        lines += wrapped(wait.what, style, "waits for  ", " " * 11)
        if clocks := wait.clocks(view.now):
            lines.append(f"           {clocks}")
        for at, hint in enumerate(wait.unblock):
            lines += wrapped(hint, style, "  unblock  " if at == 0 else " " * 11, " " * 13)
        lines.append("")
    return lines[:-1]


def needs_a_person(waits: list[Wait]) -> bool:
    """Whether anything does not go on by itself."""
    return any(wait.person for wait in waits)


def _distinct(waits: list[Wait]) -> list[Wait]:
    """One for each reason: a problem that holds up everything is a failed Job's, too."""
    found: dict[str, Wait] = {}
    for wait in waits:
        found.setdefault(wait.reason, wait)
    return list(found.values())


def _behind(view: View) -> Wait | None:
    seen, now = view.status.observed_generation, view.subject.generation
    if now is None or seen == now:
        return None
    what = f"the operator to see generation {now} of the spec; the status is about {seen}"
    return Wait("Behind", what, (_SEEN_SOON,))


def _stalled(view: View) -> Wait | None:
    """What is in everybody's way. The phases that are reasons of Stalled speak for themselves."""
    stalled = view.holds(Condition.STALLED)
    if stalled is None or stalled.reason in _AT_REST:
        return None
    failure = next((one for _, one in failures(view) if one.reason == stalled.reason), None)
    more = [again(view, failure)] if failure else []
    return Wait(
        stalled.reason,
        stalled.message or stalled.reason,
        (*remedy(stalled.reason, view.subject.name), *more),
        since=stalled.last_transition_time,
        until=failure.retry_at if failure else None,
        then=TRIED_AGAIN,
        person=True,
    )


def _suspended(view: View) -> Wait | None:
    if view.status.suspended_at is None:
        return None
    return Wait(
        Reason.SUSPENDED,
        "spec.suspend to be taken away: everything stays where it is, and what serves keeps serving",
        (f"to go on: {view.type('resume')}", "a rollout can be aborted all the same"),
        since=view.status.suspended_at,
        person=True,
    )


def _not_serving(view: View) -> Wait | None:
    """Users who are not served are told of whatever else goes on."""
    found = view.condition(Condition.AVAILABLE)
    if found is None or found.status == "True" or view.status.stable is None:
        return None
    return Wait(
        found.reason,
        f"a ready pod of what serves: {found.message}",
        remedy(found.reason, view.subject.name),
        since=found.last_transition_time,
        person=view.status.stable.served_at is not None,  # for the first time it has just to load
    )


def _failed(view: View) -> list[Wait]:
    """Failed Jobs that are to be tried again; one that is not makes the model Rejected where that matters."""
    return [
        Wait(
            failure.reason,
            f"another try of a failed Job ({arm}, {failure.count} in a row): {failure.message or failure.reason}",
            (again(view, failure), *remedy(failure.reason, view.subject.name)),
            since=failure.at,
            until=failure.retry_at,
            then=TRIED_AGAIN,
        )
        for arm, failure in failures(view)
        if failure.retry_at
    ]


_DRIFT = {
    "Unknown": Reason.QUALITY_UNKNOWN,
    "Suspect": Reason.FLOOR_SUSPECT,
    "Breached": Reason.FLOOR_BREACHED,
    "PopulationShift": Reason.POPULATION_SHIFT,
}


def _quality(view: View) -> Wait | None:
    """A drift check that has not found what serves above the floor."""
    drift, stable = view.status.drift, view.status.stable
    if drift is None or stable is None or stable.variant == BASELINE or drift.revision != stable.revision:
        return None
    if drift.confirming:
        return Wait(
            Reason.FLOOR_SUSPECT,
            f"a confirmation of the drift check: {drift.message}",
            (NOTHING, "a Job asks both revisions the same items; without an answer by the deadline it is Unknown"),
            since=drift.confirming.started_at,
            until=drift.confirming.deadline,
            then=GIVEN_UP,
        )
    reason = _DRIFT.get(drift.verdict)
    floor = view.condition(Condition.QUALITY_FLOOR_MET)
    if reason is None:
        return None
    return Wait(
        reason,
        f"the next drift check: {drift.message}",
        remedy(reason, view.subject.name),
        since=floor.last_transition_time if floor else drift.last,
        until=drift.next,
        then="due",
        person=drift.verdict in ("Breached", "PopulationShift"),
    )


def _unanswered(view: View) -> Wait | None:
    """A command that the operator has not answered: an abort waits until something else can serve."""
    known = {command.verb: command.value for command in view.status.commands}
    given = {verb: value for verb, value in view.subject.commands.items() if verb in VERBS}
    asked = [f"{verb}={value}" for verb, value in given.items() if known.get(verb) != value[:LIMIT]]
    if not asked:
        return None
    return Wait(
        "Unanswered",
        f"the operator to answer {', '.join(asked)}",
        (_SEEN_SOON, "an abort is held while no pod of what would serve instead is ready"),
    )
