"""Two candidates taken back, or left after a breach, in a short time: then no other is tried before somebody looked."""

from datetime import datetime

from quantroll.api.base import parse_duration
from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import RejectedRevision
from quantroll.constants import Reason
from quantroll.domain import memory
from quantroll.domain.draft import Draft

_ON_PURPOSE = frozenset({Reason.ABORTED, Reason.ROLLBACK_REQUESTED})


def until(rejected: list[RejectedRevision], spec: QuantizedModelSpec, now: datetime) -> datetime | None:
    """How long nothing is begun; None where something may be.

    What a person took back does not count, nor what a retry has forgotten.
    """
    cooldown = parse_duration(spec.rollout.rollback.cooldown)
    counted = sorted((entry.at for entry in rejected if entry.reason not in _ON_PURPOSE), reverse=True)
    if len(counted) < 2 or counted[0] - counted[1] >= cooldown:
        return None
    end = counted[0] + cooldown
    return end if now < end else None


def holds(draft: Draft, spec: QuantizedModelSpec) -> bool:
    """Whether nothing may be begun now; then it is said how that is lifted."""
    rejected = draft.status.rejected
    end = until(rejected, spec, draft.now)
    if end is None:
        return False
    draft.wake(end)
    last = next(entry for entry in rejected if entry.reason not in _ON_PURPOSE)
    draft.flapping = (
        f"two rollbacks within rollout.rollback.cooldown ({spec.rollout.rollback.cooldown}), the last of {last.variant}"
        f" ({last.reason}): no rollout is begun before {end:%Y-%m-%d %H:%M} UTC; to go on at once, with"
        f" {last.variant} tried again: {memory.how_to_retry(draft, last)}"
    )
    draft.block(Reason.FLAPPING, draft.flapping)
    return True
