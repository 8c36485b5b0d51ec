"""Waiting for a person to approve a step. No deadline runs meanwhile."""

from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import RevisionStatus, RolloutStatus
from quantroll.constants import GROUP, Phase
from quantroll.domain import steps
from quantroll.domain.draft import Draft


def is_asked(spec: QuantizedModelSpec, rollout: RolloutStatus) -> bool:
    """Whether the step that the rollout stands at is one to be approved."""
    return 0 <= rollout.step < len(spec.rollout.steps) and spec.rollout.steps[rollout.step].approval


def ask(draft: Draft, rollout: RolloutStatus, candidate: RevisionStatus) -> None:
    """The step has passed: say how to let it go on."""
    if rollout.awaiting_since is None:
        draft.set(rollout=rollout.model_copy(update={"awaiting_since": draft.now}))
    draft.say(
        Phase.AWAITING_APPROVAL,
        f"{candidate.variant} has passed {rollout.weight} % and waits for approval: kubectl annotate quantizedmodel"
        f" {draft.seen.name} {GROUP}/approve={rollout.id}:{rollout.step}/1 --overwrite",
    )


def stop_waiting(draft: Draft, rollout: RolloutStatus) -> RolloutStatus:
    """The rollout with its deadlines moved on by the time that was waited."""
    if rollout.awaiting_since is None:
        return rollout
    moved = steps.given_back(rollout, draft.now - rollout.awaiting_since)
    rollout = rollout.model_copy(update={"awaiting_since": None, **moved})
    draft.set(rollout=rollout)
    return rollout
