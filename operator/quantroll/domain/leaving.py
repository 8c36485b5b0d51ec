"""How a revision goes: its weight first, then, once that is verified, its last requests, then its pods."""

from datetime import timedelta

from quantroll.api.base import parse_duration
from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import RevisionStatus, RolloutStatus
from quantroll.constants import Phase, Reason
from quantroll.domain import memory
from quantroll.domain.capacity import is_alone
from quantroll.domain.draft import Draft, clip
from quantroll.domain.traffic import can_split, is_applied, report_route

POLL = timedelta(seconds=2)
SETTLE = timedelta(seconds=5)  # gateways take a moment to pass a changed weight on


def take_back(draft: Draft, rollout: RolloutStatus, candidate: RevisionStatus, reason: Reason, message: str) -> bool:
    """Begin to take the candidate back; False, with the reason told, while nothing else could answer."""
    stable = draft.status.stable
    if rollout.weight and stable and serves_alone(draft, candidate, stable) and not is_alone(draft.seen.spec):
        draft.block(
            Reason.NOT_SERVING,
            f"{candidate.variant} is to be taken back ({message}), but no pod of {stable.variant} is ready: the traffic"
            " stays as it is until one is",
        )
        return False
    gone = {
        "weight": 0,
        "since": None,
        "deadline": None,
        "step_expires_at": None,
        "expires_at": None,
        "awaiting_since": None,
        "held_since": None,
    }
    draft.set(rollout=rollout.model_copy(update={"reason": reason.value, "message": clip(message), **gone}))
    draft.say(Phase.ROLLING_BACK, f"taking {candidate.variant} back: {message}")
    return True


def serves_alone(draft: Draft, candidate: RevisionStatus, stable: RevisionStatus) -> bool:
    """Whether nothing but the candidate has a ready pod."""
    return draft.seen.server(candidate.revision).ready > 0 and draft.seen.server(stable.revision).ready == 0


def rolling_back(
    draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus, key: str
) -> None:
    """The candidate has lost its weight: wait until that is so, and its requests have ended; then forget it.

    `key` is what it is remembered by, so that it is not tried again.
    """
    draft.say(Phase.ROLLING_BACK, f"taking {candidate.variant} back: {rollout.message}")
    if rollout.step >= 0 and can_split(draft, spec):
        if not is_applied(draft, spec):
            report_route(draft)
            return
        if rollout.since is None:
            draft.set(rollout=rollout.model_copy(update={"since": draft.now}))
            draft.wake(draft.now + SETTLE)
            return
        if not _is_drained(draft, spec, rollout, candidate.revision):
            return
    if _is_last(draft, candidate.revision):
        return
    draft.set(candidate=None, rollout=None)
    if rollout.reason == Reason.ROLLBACK_ABORTED:
        draft.message = clip(f"{candidate.variant} does not serve: {rollout.message}")
    elif rollout.reason != Reason.SUPERSEDED:
        memory.reject(draft, rollout, candidate, key)
        draft.say(Phase.ROLLED_BACK, f"{candidate.variant} was taken back: {rollout.message}")
    draft.wake(draft.now)


def promote(draft: Draft, rollout: RolloutStatus, candidate: RevisionStatus, old: RevisionStatus | None) -> None:
    """The candidate, which has all the traffic, is the stable revision from here on; the old one drains.

    One that is kept warm does so meanwhile: nothing is waited for.
    """
    memory.forget(draft, candidate.revision)
    draft.set(
        stable=candidate.model_copy(update={"since": draft.now, "served_at": draft.now, "rollout": rollout.id}),
        candidate=None,
    )
    if old and _is_kept_warm(draft, old.revision):
        draft.set(rollout=None)
        draft.wake(draft.now)
        return
    gone = old.revision if old else None
    draft.set(rollout=rollout.model_copy(update={"draining": gone, "since": draft.now, "weight": 100}))
    draft.wanted.kept.update({old.revision} if old else ())
    draft.say(Phase.DRAINING, _drains(candidate))
    draft.wake(draft.now + SETTLE)


def draining(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, revision: str) -> None:
    """The previous stable revision has lost its weight: wait for its last requests, then let it go."""
    if _is_drained(draft, spec, rollout, revision) and not _is_last(draft, revision):
        draft.set(rollout=None)
        draft.wake(draft.now)
        return
    draft.wanted.kept.add(revision)
    draft.say(Phase.DRAINING, _drains(draft.status.stable))


def nothing_goes(draft: Draft) -> bool:
    """Whether a promotion has just been made, and what served before keeps its pods: then nothing is waited for."""
    before = draft.seen.status.stable
    served_before = before.revision if before and draft.status.rollout is None else ""
    return draft.status.stable != before and _is_kept_warm(draft, served_before)


def _is_kept_warm(draft: Draft, revision: str) -> bool:
    return any(past.revision == revision and past.warm_until for past in draft.status.last_good)


def _drains(stable: RevisionStatus | None) -> str:
    return f"{stable.variant if stable else 'nothing'} has all the traffic; the last requests to what served before end"


def _is_last(draft: Draft, leaving: str) -> bool:
    """Whether the revision that is to go is the only one that could still answer: then it stays, and that is said."""
    stable = draft.status.stable
    if stable is None or draft.seen.server(stable.revision).ready or not draft.seen.server(leaving).ready:
        return False
    if is_alone(draft.seen.spec):
        return False  # there is no room for the other one before it is gone
    draft.block(
        Reason.NOT_SERVING,
        f"no pod of {stable.variant} is ready: revision {leaving}, which has lost its traffic, is kept until one is",
    )
    return True


def _is_drained(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, revision: str) -> bool:
    """No request in flight, or the deadline is over; unknown is not zero."""
    since = rollout.since or draft.now
    late = since + parse_duration(spec.rollout.deadlines.drain)
    settled = draft.now >= since + SETTLE
    server = draft.seen.servers.get(revision)
    if draft.now >= late or (settled and (server is None or server.in_flight == 0)):
        return True
    draft.wake(min(late, draft.now + POLL))
    return False
