"""What a command writes: the annotation of each verb, made from what the status says is under way.

The operator decides; here only what cannot even be named is turned away.
"""

from dataclasses import dataclass

from quantroll.constants import ANNOTATION_COMMAND, Phase
from quantroll.domain import memory
from quantroll.domain.commands import JOBS
from quantroll.errors import QuantrollError
from quantroll.standing import moments
from quantroll.standing.view import View
from quantroll.standing.waits import failures, in_the_way

VERBS = ("abort", "approve", "promote", "retry", "rollback")


class NothingToOrder(QuantrollError):
    """The command makes no sense now: there is nothing that it could name."""

    def __init__(self, verb: str, message: str) -> None:
        """`verb` is that of the command."""
        super().__init__(message)
        self.verb = verb


@dataclass(frozen=True, slots=True)
class Order:
    """A command, but for the token that makes it another one each time."""

    verb: str
    subject: str

    @property
    def annotation(self) -> str:
        """Where it is written."""
        return f"{ANNOTATION_COMMAND}/{self.verb}"

    def value(self, token: str) -> str:
        """What is written there."""
        return f"{self.subject}/{token}"


def approve(view: View) -> Order:
    """Let the step under way go on; before it asks, too, so that nobody has to wait for it."""
    rollout, step = view.status.rollout, view.step
    if rollout is None or step is None:
        raise NothingToOrder("approve", f"nothing to approve: no step of a rollout is under way ({_stands(view)})")
    if not step.approval and not rollout.awaiting_since:
        ends = f"; its time is over {moments.until(view.step_ends, view.now)}" if view.step_ends else ""
        raise NothingToOrder(
            "approve",
            f"nothing to approve: step {rollout.step + 1} ({step.weight} %) asks for no approval and goes on by"
            f" itself{ends}",
        )
    return Order("approve", f"{rollout.id}:{rollout.step}")


def promote(view: View, *, one_step: bool = False) -> Order:
    """Leave out the waits of all steps that are left, or of the one under way."""
    name = _under_way(view, "promote")
    rollout = view.status.rollout
    return Order("promote", f"{name}:{rollout.step}" if rollout and one_step else name)


def abort(view: View) -> Order:
    """Take the candidate back."""
    return Order("abort", _under_way(view, "abort"))


def retry(view: View, variant: str | None = None, *, jobs: bool = False) -> Order:
    """Forget a rejection; or have failed Jobs tried again, where that is asked for or all that there is."""
    rejected = [entry for entry in view.status.rejected if entry.rollout]
    if variant and not jobs:
        named = next((entry for entry in rejected if variant in (entry.variant, entry.revision)), None)
        if named is None:
            known = ", ".join(f"{entry.variant} ({entry.revision})" for entry in rejected) or "none"
            raise NothingToOrder("retry", f"status.rejected has no {variant}; rejected: {known}")
        return Order("retry", named.rollout)
    blocking = next((entry for entry in in_the_way(view) if entry.rollout), None)
    if blocking is None and view.status.phase is Phase.ROLLED_BACK:
        blocking = next(iter(rejected), None)
    if blocking and not jobs:
        return Order("retry", blocking.rollout)
    if failures(view):
        return Order("retry", JOBS)
    raise NothingToOrder(
        "retry", f"nothing to retry: no Job has failed, and nothing proven is rejected ({_stands(view)})"
    )


def rollback(view: View, to: str | None = None) -> Order:
    """Leave what serves, for an earlier revision: by revision, by variant, or as spec.rollout.rollback.target says.

    A rollout that is under way is undone; the operator refuses to go anywhere else meanwhile.
    """
    rollout, stable = view.status.rollout, view.status.stable
    if stable is None:
        raise NothingToOrder("rollback", "nothing to roll back from: nothing serves yet")
    under_way = rollout is not None and rollout.draining is None
    name = rollout.id if rollout and under_way else memory.promoted_by(stable)
    return Order("rollback", f"{name}:{_target(view, to)}" if to else name)


def _target(view: View, to: str) -> str:
    """The revision that is meant: the baseline, or one that served before."""
    known = {past.revision: past.variant for past in view.status.last_good}
    if view.status.baseline:
        known.setdefault(view.status.baseline.revision, "baseline")
    found = next((revision for revision, variant in known.items() if to in (revision, variant)), None)
    if found is None:
        told = ", ".join(f"{variant} ({revision})" for revision, variant in known.items()) or "none"
        raise NothingToOrder("rollback", f"{to} is no revision that may be gone back to; known: {told}")
    return found


def _under_way(view: View, verb: str) -> str:
    if view.status.rollout is None:
        raise NothingToOrder(verb, f"nothing to {verb}: no rollout is under way ({_stands(view)})")
    return view.status.rollout.id


def _stands(view: View) -> str:
    phase = view.status.phase
    return f"phase {phase}: {view.status.message}" if phase else "the operator has not seen it yet"
