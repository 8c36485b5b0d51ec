"""Back to a revision that served before: all or nothing, without analysis, and only once it is ready.

What serves keeps serving until then, however long it takes. Where no pod of it is ready, one of the target is enough.
"""

from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import RevisionStatus, RolloutStatus
from quantroll.constants import Phase, Reason
from quantroll.domain import memory
from quantroll.domain.capacity import carried_by, pods_for
from quantroll.domain.draft import Draft, clip
from quantroll.domain.leaving import promote
from quantroll.domain.snapshot import ServerView
from quantroll.domain.steps import promotion
from quantroll.domain.traffic import can_split, is_applied, is_named, report_route


def begin(draft: Draft, spec: QuantizedModelSpec, target: RevisionStatus, reason: Reason, message: str) -> None:
    """Have the traffic go back to `target`; what serves now is rejected for `reason` once that is done."""
    memory.cool_down(draft, spec)
    draft.set(
        candidate=target,
        rollout=RolloutStatus(
            id=memory.rollout_id(draft, target),
            kind="Rollback",
            step=-1,
            weight=0,
            started_at=draft.now,
            reason=reason.value,
            message=clip(message),
        ),
    )
    draft.say(Phase.ROLLING_BACK, f"going back to {target.variant}: {message}")
    draft.wake(draft.now)


def advance(
    draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, target: RevisionStatus, rejection_key: str
) -> None:
    """Wait for all pods of the target, give it all the traffic, and promote it when that has come about.

    Where stable's pods give the room one by one, the traffic follows the pods. Where nothing else can answer, the first
    pod of the target gets it.
    """
    server, stable = draft.seen.server(target.revision), draft.status.stable
    draft.say(Phase.ROLLING_BACK, f"going back to {target.variant}: {rollout.message}")
    stays = stable is not None and draft.seen.server(stable.revision).ready > 0
    weight = carried_by(spec, server.ready) if stays or not server.ready else 100
    if weight > rollout.weight and can_split(draft, spec) and is_named(draft, spec, target.revision):
        _change(draft, rollout, step=promotion(spec), weight=weight, since=None)
    elif weight < rollout.weight and stays:
        _change(draft, rollout, weight=weight, since=None)  # pods lost on the way, and what served before still does
    elif rollout.weight < 100:
        _report(draft, target, server)
    elif not is_applied(draft, spec) or server.ready < pods_for(spec, 100):
        _change(draft, rollout, since=None)
        report_route(draft)
    elif rollout.since is None:
        _change(draft, rollout, since=draft.now)
        draft.wake(draft.now)
    else:
        if stable:
            memory.reject(draft, rollout, stable, rejection_key)
        promote(draft, rollout, target, stable)


def _report(draft: Draft, target: RevisionStatus, server: ServerView) -> None:
    stable = draft.status.stable
    if server.problem and not draft.is_patient(server.problem):
        draft.block(
            Reason.ROLLBACK_BLOCKED,
            f"{target.variant}, to go back to, is not ready, and {stable.variant if stable else 'nothing'} keeps"
            f" serving: {server.problem.message}",
        )
    report_route(draft)


def _change(draft: Draft, rollout: RolloutStatus, **changes: object) -> None:
    changed = rollout.model_copy(update=changes)
    if changed != rollout:
        draft.set(rollout=changed)
