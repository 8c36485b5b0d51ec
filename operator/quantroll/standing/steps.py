"""The steps of the rollout under way, each with its state and its clock."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from quantroll.api.spec.rollout import Step
from quantroll.api.status import RolloutStatus
from quantroll.domain import steps
from quantroll.standing import moments
from quantroll.standing.tree import Mark
from quantroll.standing.view import View

_LOOKS = {"Pass": Mark.GOOD, "Fail": Mark.BAD}  # all else is neither


@dataclass(frozen=True, slots=True)
class Stage:
    """One step, or the promotion that follows the last."""

    what: str
    state: Literal["done", "current", "held", "planned", "given up"]
    weight: int
    since: datetime | None = None
    """When its weight was verified."""
    ends: datetime | None = None
    """When its duration is over."""
    clock: str = ""
    analysis: str = ""
    analysis_mark: Mark = Mark.NONE

    @property
    def mark(self) -> Mark:
        """Its state as a sign."""
        return {
            "done": Mark.GOOD,
            "current": Mark.WORKING,
            "held": Mark.HELD,
            "planned": Mark.LATER,
            "given up": Mark.BAD,
        }[self.state]

    def to_wire(self) -> dict[str, Any]:
        """For programs."""
        return {
            "weight": self.weight,
            "state": self.state,
            "since": self.since.isoformat() if self.since else None,
            "ends": self.ends.isoformat() if self.ends else None,
        }


def steps_of(view: View) -> list[Stage]:
    """All steps, and the promotion as the last; empty without a rollout."""
    rollout, spec = view.status.rollout, view.subject.spec
    if rollout is None:
        return []
    count = steps.promotion(spec)
    found = [
        _stage(view, at, _told(at, step, count), steps.weight_at(spec, at))
        for at, step in enumerate(spec.rollout.steps)
    ]
    last = _stage(view, count, "promotion: all the traffic", 100)
    return [*found, Stage(last.what, "done", 100, clock="done; draining") if rollout.draining else last]


def _told(at: int, step: Step, count: int) -> str:
    approval = ", then approval" if step.approval else ""
    return f"step {at + 1} of {count}: {step.weight} % for {step.duration}{approval}"


def _stage(view: View, at: int, what: str, weight: int) -> Stage:
    rollout = view.status.rollout
    if rollout is None or at > rollout.step:
        return Stage(what, "planned", weight)
    if at < rollout.step:
        return Stage(what, "done", weight, analysis=_left_with(rollout, at), analysis_mark=Mark.GOOD)
    if rollout.reason:
        return Stage(what, "given up", weight)
    held = bool(rollout.awaiting_since or rollout.held_since or view.status.suspended_at)
    looked = rollout.analysis
    analysis = f"looks: {looked.verdict}, {looked.failures} failed" if looked else ""
    analysis += f", {moments.ago(looked.at, view.now)}: {looked.message}" if looked else ""
    return Stage(
        what,
        "held" if held else "current",
        weight,
        since=rollout.since,
        ends=view.step_ends,
        clock=_clock(view),
        analysis=analysis,
        analysis_mark=_LOOKS.get(looked.verdict, Mark.WARNING) if looked else Mark.NONE,
    )


def _left_with(rollout: RolloutStatus, at: int) -> str:
    """What the last look at the step before has said; those of earlier steps are not kept."""
    passed = rollout.passed
    if passed is None or passed.step != at:
        return ""
    reached = "" if passed.observed is None else f"{passed.observed} % of users' requests reached it; "
    return f"looks: {passed.verdict}, {passed.failures} failed: {reached}{passed.message}"


def _clock(view: View) -> str:
    rollout, now, ends = view.status.rollout, view.now, view.step_ends
    if rollout is None:
        return ""
    if held := _held(view):
        return held
    if rollout.since is None:
        return "its weight is not applied yet"
    if steps.is_hurried(rollout):
        left = ", its waits are left out: a person promotes it"
    elif ends is None:
        left = ""
    else:
        left = (
            f", {moments.span(ends - now)} left" if ends > now else f", its time was over at {moments.clock(ends, now)}"
        )
    return f"{moments.since(rollout.since, now)}{left}"


def _held(view: View) -> str:
    """What its clock stands for."""
    rollout, suspended = view.status.rollout, view.status.suspended_at
    waits = {
        "held": suspended,
        "passed; awaits approval": rollout.awaiting_since if rollout else None,
        "held back": rollout.held_since if rollout else None,
    }
    return next((f"{what} {moments.since(since, view.now)}" for what, since in waits.items() if since), "")
