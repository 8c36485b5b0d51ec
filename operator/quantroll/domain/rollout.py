"""Moving traffic: start the candidate, shift step by step, promote and drain; or take it back.

One state at a time, read from `status.rollout`; each function below is a state and makes at most one transition. The
order of effects is fixed. Up: create, ready, warm, weight. Down: weight, verified, drained, delete.
"""

from datetime import timedelta
from math import ceil

from quantroll.api.base import parse_duration
from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import (
    PastRevision,
    RejectedRevision,
    RevisionStatus,
    RolloutStatus,
    Share,
    Traffic,
)
from quantroll.constants import Phase, Reason
from quantroll.domain.draft import LIST_LIMIT, Draft, clip
from quantroll.domain.wanted import WantedServer

POLL = timedelta(seconds=2)
ROUTE_PATIENCE = timedelta(seconds=20)  # a gateway that has not answered by then needs a person
SETTLE = timedelta(seconds=5)  # gateways take a moment to pass a changed weight on
LAST_GOOD, REJECTED = 5, 20


def capacity(weight: int, replicas: int) -> int:
    """Ready pods that a share of the traffic needs."""
    return ceil(weight * replicas / 100)


def rollout_id(draft: Draft, candidate: RevisionStatus) -> str:
    """The name of a rollout that begins under the present spec."""
    return f"{draft.seen.generation}-{candidate.revision}"


def _generation(draft: Draft, rollout: RolloutStatus) -> int:
    """The generation that a rollout was begun for: an edit made while it is taken back is another try."""
    text = rollout.id.partition("-")[0]
    return int(text) if text.isdecimal() else draft.seen.generation


def begin(draft: Draft, spec: QuantizedModelSpec, candidate: RevisionStatus) -> None:
    """Make a revision the candidate."""
    load = parse_duration(spec.rollout.deadlines.model_load)
    draft.set(
        candidate=candidate,
        rollout=RolloutStatus(
            id=rollout_id(draft, candidate),
            step=-1,
            weight=0,
            started_at=draft.now,
            deadline=draft.now + load,
        ),
    )
    draft.say(Phase.CANDIDATE_STARTING, f"starting {candidate.variant}")
    draft.wake(draft.now + load)


def advance(draft: Draft, spec: QuantizedModelSpec, chosen: str | None, rejection_key: str) -> None:
    """Go on with the rollout under way.

    `chosen` is the revision that should be rolled out now, or None while that is not decided; another one than the
    candidate supersedes it. `rejection_key` is what the candidate is remembered by if it is taken back.
    """
    rollout, candidate = draft.status.rollout, draft.status.candidate
    if rollout is None:
        return
    if rollout.draining:
        _draining(draft, spec, rollout, rollout.draining)
    elif candidate is None:
        draft.set(rollout=None)
    elif rollout.reason:
        _rolling_back(draft, spec, rollout, candidate, rejection_key)
    elif chosen != candidate.revision:
        _take_back(draft, rollout, candidate, Reason.SUPERSEDED, "the spec asks for something else now")
    elif rollout.step >= 0 and not _is_step(spec, rollout):
        _take_back(draft, rollout, candidate, Reason.SUPERSEDED, "the spec asks for other steps now")
    elif rollout.step < 0:
        _starting(draft, spec, rollout, candidate)
    elif rollout.since is None:
        _shifting(draft, spec, rollout, candidate)
    elif rollout.step < len(spec.rollout.steps):
        _analyzing(draft, spec, rollout, candidate)
    else:
        _promoting(draft, spec, rollout, candidate)


def _change(draft: Draft, rollout: RolloutStatus, **changes: object) -> RolloutStatus:
    changed = rollout.model_copy(update=changes)
    draft.set(rollout=changed)
    return changed


def _take_back(draft: Draft, rollout: RolloutStatus, candidate: RevisionStatus, reason: Reason, message: str) -> None:
    stable = draft.status.stable
    if rollout.weight and stable and _serves_alone(draft, candidate, stable):
        draft.block(
            Reason.NOT_SERVING,
            f"{candidate.variant} is to be taken back ({message}), but no pod of {stable.variant} is ready: the traffic"
            " stays as it is until one is",
        )
        return
    _change(draft, rollout, reason=reason.value, message=clip(message), weight=0, since=None, deadline=None)
    draft.say(Phase.ROLLING_BACK, f"taking {candidate.variant} back: {message}")


def _serves_alone(draft: Draft, candidate: RevisionStatus, stable: RevisionStatus) -> bool:
    return draft.seen.server(candidate.revision).ready > 0 and draft.seen.server(stable.revision).ready == 0


def _starting(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> None:
    first = spec.rollout.steps[0].weight
    needed, server = capacity(first, spec.serving.replicas), draft.seen.server(candidate.revision)
    if not draft.seen.gateway_api:
        draft.say(Phase.CANDIDATE_STARTING, f"{candidate.variant} waits for the Gateway API")
        return
    if server.ready >= needed:
        _change(draft, rollout, step=0, weight=first, since=None, deadline=None)
        draft.say(Phase.SHIFTING, f"{candidate.variant} is ready and warm: {first} % of the traffic")
        return
    draft.say(Phase.CANDIDATE_STARTING, f"{candidate.variant}: {server.ready} of {needed} pods ready")
    if server.problem:
        draft.block(server.problem.reason, f"candidate {candidate.variant}: {server.problem.message}")
    if rollout.deadline and draft.now >= rollout.deadline:
        cause = f": {server.problem.message}" if server.problem else ""
        _take_back(
            draft,
            rollout,
            candidate,
            Reason.LOAD_DEADLINE,
            f"not ready within deadlines.modelLoad ({spec.rollout.deadlines.model_load}){cause}",
        )
    elif rollout.deadline:
        draft.wake(rollout.deadline)


def _shifting(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> None:
    if _lost_capacity(draft, spec, rollout, candidate):
        return
    if is_applied(draft):
        _change(draft, rollout, since=draft.now, deadline=None)
        if rollout.step < len(spec.rollout.steps):
            step = spec.rollout.steps[rollout.step]
            draft.say(Phase.ANALYZING, f"{candidate.variant} has {rollout.weight} % for {step.duration}")
            draft.wake(draft.now + parse_duration(step.duration))
        else:
            draft.say(Phase.PROMOTING, f"{candidate.variant} has all the traffic")
            draft.wake(draft.now)
        return
    last = rollout.step >= len(spec.rollout.steps)
    phase = Phase.PROMOTING if last else Phase.SHIFTING
    draft.say(phase, f"waiting for the gateway to give {candidate.variant} {rollout.weight} %")
    _report_route(draft)


def _analyzing(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> None:
    if _lost_capacity(draft, spec, rollout, candidate):
        return
    if not is_applied(draft):  # somebody changed the route: it is put back, and the step's clock starts again
        _change(draft, rollout, since=None)
        draft.say(Phase.SHIFTING, f"the route was changed: giving {candidate.variant} {rollout.weight} % again")
        return
    steps = spec.rollout.steps
    step = steps[rollout.step]
    if rollout.since is None:
        return
    over = rollout.since + parse_duration(step.duration)
    draft.say(Phase.ANALYZING, f"{candidate.variant} has {rollout.weight} % for {step.duration}")
    if draft.now < over:
        draft.wake(over)
        return
    following = next_weight(spec, rollout.step)
    needed, server = capacity(following, spec.serving.replicas), draft.seen.server(candidate.revision)
    late = over + parse_duration(spec.rollout.deadlines.model_load)
    if server.ready < needed and draft.now >= late:
        _take_back(
            draft,
            rollout,
            candidate,
            Reason.LOAD_DEADLINE,
            f"only {server.ready} of the {needed} pods that {following} % need were ready within deadlines.modelLoad",
        )
    elif server.ready < needed:
        draft.say(Phase.ANALYZING, f"{candidate.variant}: {server.ready} of {needed} pods ready for {following} %")
        draft.wake(late)
    else:
        _change(draft, rollout, step=rollout.step + 1, weight=following, since=None)
        shifting = rollout.step + 1 < len(steps)
        draft.say(
            Phase.SHIFTING if shifting else Phase.PROMOTING, f"{candidate.variant} gets {following} % of the traffic"
        )


def next_weight(spec: QuantizedModelSpec, step: int) -> int:
    """The weight after a step; promotion, the last, has all."""
    steps = spec.rollout.steps
    return steps[step + 1].weight if step + 1 < len(steps) else 100


def _is_step(spec: QuantizedModelSpec, rollout: RolloutStatus) -> bool:
    """Whether the rollout stands at a step that the spec still has; promotion is the one after the last."""
    return rollout.step <= len(spec.rollout.steps) and rollout.weight == next_weight(spec, rollout.step - 1)


def _lost_capacity(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> bool:
    needed, server = capacity(rollout.weight, spec.serving.replicas), draft.seen.server(candidate.revision)
    if server.ready >= needed:
        return False
    cause = f": {server.problem.message}" if server.problem else ""
    edited = rollout.id != rollout_id(draft, candidate)  # with more replicas, say: that is no fault of the candidate's
    _take_back(
        draft,
        rollout,
        candidate,
        Reason.SUPERSEDED if edited else Reason.CANDIDATE_UNAVAILABLE,
        f"{server.ready} of the {needed} pods that {rollout.weight} % need are ready{cause}",
    )
    return True


def _promoting(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus) -> None:
    """Move the pointer; no pod is touched."""
    if _lost_capacity(draft, spec, rollout, candidate):
        return
    if not is_applied(draft):
        _change(draft, rollout, since=None)
        draft.say(Phase.PROMOTING, f"the route was changed: giving {candidate.variant} all the traffic again")
        return
    old = draft.status.stable
    good = [PastRevision(revision=old.revision, variant=old.variant, until=draft.now)] if old else []
    draft.set(
        stable=candidate.model_copy(update={"since": draft.now, "served_at": draft.now}),
        candidate=None,
        last_good=[*good, *draft.status.last_good][:LAST_GOOD],
    )
    draft.wanted.kept.update({old.revision} if old else ())
    _change(draft, rollout, draining=old.revision if old else None, since=draft.now, weight=100)
    draft.say(Phase.DRAINING, f"{candidate.variant} is promoted; {old.variant if old else 'nothing'} drains")
    draft.wake(draft.now + SETTLE)


def _draining(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, revision: str) -> None:
    if _is_drained(draft, spec, rollout, revision) and not _is_last(draft, revision):
        draft.set(rollout=None)
        draft.say(Phase.DRAINING, "the previous revision is drained")
        draft.wake(draft.now)
        return
    draft.wanted.kept.add(revision)
    draft.say(Phase.DRAINING, "waiting for the previous revision's requests to end")


def _is_last(draft: Draft, leaving: str) -> bool:
    """Whether the revision that is to go is the only one that could still answer: then it stays, and that is said."""
    stable = draft.status.stable
    if stable is None or draft.seen.server(stable.revision).ready or not draft.seen.server(leaving).ready:
        return False
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
    server = draft.seen.server(revision)
    if draft.now >= late or (settled and (server.in_flight == 0 or server.ready == 0)):
        return True
    draft.wake(min(late, draft.now + POLL))
    return False


def _rolling_back(
    draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus, key: str
) -> None:
    draft.say(Phase.ROLLING_BACK, f"taking {candidate.variant} back: {rollout.message}")
    if rollout.step >= 0 and draft.seen.gateway_api:
        if not is_applied(draft):
            _report_route(draft)
            return
        if rollout.since is None:
            rollout = _change(draft, rollout, since=draft.now)
            draft.wake(draft.now + SETTLE)
            return
        if not _is_drained(draft, spec, rollout, candidate.revision):
            return
    if _is_last(draft, candidate.revision):
        return
    draft.set(candidate=None, rollout=None)
    if rollout.reason != Reason.SUPERSEDED:
        entry = RejectedRevision(
            key=key,
            generation=_generation(draft, rollout),
            revision=candidate.revision,
            variant=candidate.variant,
            reason=rollout.reason or Reason.JOB_FAILED,
            message=clip(rollout.message, LIST_LIMIT),
            at=draft.now,
        )
        draft.set(rejected=[entry, *(r for r in draft.status.rejected if r.key != key)][:REJECTED])
        draft.say(Phase.ROLLED_BACK, f"{candidate.variant} was taken back: {rollout.message}")
    draft.wake(draft.now)


def desired_shares(draft: Draft) -> tuple[Share, ...]:
    """The weights that the route should have now; they sum to 100."""
    stable, candidate, rollout = draft.status.stable, draft.status.candidate, draft.status.rollout
    if stable is None:
        return ()
    if candidate is None or rollout is None or rollout.weight == 0:
        return (Share(revision=stable.revision, weight=100),)
    if rollout.weight == 100:
        return (Share(revision=candidate.revision, weight=100),)
    return (
        Share(revision=stable.revision, weight=100 - rollout.weight),
        Share(revision=candidate.revision, weight=rollout.weight),
    )


def is_applied(draft: Draft) -> bool:
    """Whether the gateway has accepted the weights that are decided."""
    route = draft.seen.route
    return route is not None and route.accepted and set(route.shares) == set(desired_shares(draft))


def _report_route(draft: Draft) -> None:
    """Tell about a gateway that does not accept the weights; every change takes it a moment."""
    route, history = draft.seen.route, draft.status.history
    if route is None or route.accepted or not route.message:
        return
    patience_ends = (history[-1].at if history else draft.now) + ROUTE_PATIENCE
    if draft.now >= patience_ends:
        draft.block(Reason.ROUTE_NOT_ACCEPTED, route.message)
    else:
        draft.wake(patience_ends)


def serve(draft: Draft, spec: QuantizedModelSpec) -> None:
    """The Deployments, Services and weights that follow from stable, candidate and rollout."""
    stable, candidate, rollout = draft.status.stable, draft.status.candidate, draft.status.rollout
    if stable is None:
        return
    wanted = draft.wanted
    wanted.stable = stable.revision
    wanted.servers.append(_server(spec, stable, spec.serving.replicas))
    if candidate and rollout and rollout.reason:
        wanted.kept.add(candidate.revision)  # it may still answer: not scaled before it is drained
    elif candidate and rollout:
        wanted.servers.append(_server(spec, candidate, _candidate_replicas(spec, rollout)))
    shares = desired_shares(draft)
    serving = draft.seen.server(stable.revision).ready > 0 or draft.seen.route is not None
    wanted.shares = shares if serving and draft.seen.gateway_api else None
    route, known = draft.seen.route, {stable.revision, *((candidate.revision,) if candidate else ())}
    applied = [share for share in route.shares if share.revision in known][:2] if route and route.accepted else []
    draft.set(traffic=Traffic(desired=list(wanted.shares or ()), applied=applied))


def _server(spec: QuantizedModelSpec, status: RevisionStatus, replicas: int) -> WantedServer:
    """A revision's pods, made from what is pinned; where they may run is asked for anew, for it changes no answer."""
    tolerations = spec.serving_of(status.variant).tolerations
    serving = status.spec.serving.model_copy(update={"tolerations": tolerations})
    served = status.spec.model_copy(update={"serving": serving})
    return WantedServer(status.revision, status.variant, served, replicas)


def _candidate_replicas(spec: QuantizedModelSpec, rollout: RolloutStatus) -> int:
    """Enough for this step and, so that it need not wait, the next."""
    replicas = spec.serving.replicas
    if rollout.step < 0:
        return capacity(spec.rollout.steps[0].weight, replicas)
    return capacity(next_weight(spec, rollout.step), replicas)
