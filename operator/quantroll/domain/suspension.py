"""`spec.suspend`: everything stays where it is, and clocks stand still."""

from quantroll.api.spec import QuantizedModelSpec
from quantroll.constants import Reason
from quantroll.domain import leaving, rollback, steps
from quantroll.domain.draft import Draft
from quantroll.domain.traffic import is_taken_back


def hold(draft: Draft, spec: QuantizedModelSpec, rejection_key: str) -> None:
    """Keep what there is: Jobs that run go on, none is started, and no weight moves.

    A candidate that is being taken back goes on its way, and so does a way back that a person asked for: both are
    stronger.
    """
    rollout, candidate = draft.status.rollout, draft.status.candidate
    draft.wanted.keep_jobs = True
    if draft.status.suspended_at is None:
        draft.set(suspended_at=draft.now)
    if rollout and candidate and is_taken_back(rollout):
        leaving.rolling_back(draft, spec, rollout, candidate, rejection_key)
        return
    if rollout and candidate and rollout.kind == "Rollback" and rollout.reason == Reason.ROLLBACK_REQUESTED:
        rollback.advance(draft, spec, rollout, candidate, rejection_key)
        return
    if rollout and rollout.draining:
        draft.wanted.kept.add(rollout.draining)
    draft.message = "held by spec.suspend"


def resume(draft: Draft) -> None:
    """Go on: deadlines move by the time that was spent, and a step is looked at from the start."""
    since, rollout, drift = draft.status.suspended_at, draft.status.rollout, draft.status.drift
    if since is None:
        return
    pause = draft.now - since
    draft.set(suspended_at=None)
    if rollout and not rollout.draining and not is_taken_back(rollout):
        draft.set(
            rollout=rollout.model_copy(
                update={
                    "since": None,
                    "analysis": None,
                    "deadline": rollout.deadline + pause if rollout.deadline else None,
                    **steps.given_back(rollout, pause),
                    "awaiting_since": rollout.awaiting_since + pause if rollout.awaiting_since else None,
                    "held_since": rollout.held_since + pause if rollout.held_since else None,
                }
            )
        )
    if drift and drift.confirming:
        confirming = drift.confirming.model_copy(update={"deadline": drift.confirming.deadline + pause})
        draft.set(drift=drift.model_copy(update={"confirming": confirming}))
