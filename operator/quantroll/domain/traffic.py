"""Who gets how much of the traffic, how many pods that needs, and whether it has come about.

Two ways. GatewayAPI: an HTTPRoute with weights. Service: no gateway; the Service of the QuantizedModel's name selects
the pods of one revision or, in between, of both, and every ready pod gets its part.
"""

from datetime import timedelta
from math import ceil

from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import RevisionStatus, RolloutStatus, Share, Traffic
from quantroll.constants import Reason
from quantroll.domain.draft import Draft
from quantroll.domain.wanted import WantedServer

ROUTE_PATIENCE = timedelta(seconds=20)  # a gateway that has not answered by then needs a person


def by_route(spec: QuantizedModelSpec) -> bool:
    """Whether an HTTPRoute splits the traffic."""
    return spec.rollout.routing.mode == "GatewayAPI"


def can_split(draft: Draft, spec: QuantizedModelSpec) -> bool:
    """Whether what splits the traffic exists here."""
    return draft.seen.gateway_api or not by_route(spec)


def is_taken_back(rollout: RolloutStatus) -> bool:
    """Whether the candidate is on its way out."""
    return rollout.kind == "Rollout" and rollout.reason is not None


def capacity(weight: int, replicas: int) -> int:
    """Ready pods that a share of the traffic needs."""
    return ceil(weight * replicas / 100)


def pods_for(spec: QuantizedModelSpec, weight: int) -> int:
    """Pods of the candidate that a weight needs, beside all those of the stable revision.

    Without a gateway the number of pods is the share, as near as whole pods come to it and never more than the stable
    revision has.
    """
    replicas = spec.serving.replicas
    if by_route(spec) or weight >= 100:
        return capacity(weight, replicas)
    return min(replicas, max(1, round(weight * replicas / (100 - weight))))


def next_weight(spec: QuantizedModelSpec, step: int) -> int:
    """The weight after a step; promotion, the last, has all."""
    steps = spec.rollout.steps
    return steps[step + 1].weight if step + 1 < len(steps) else 100


def desired_shares(draft: Draft) -> tuple[Share, ...]:
    """The weights that are decided; they sum to 100."""
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


def is_applied(draft: Draft, spec: QuantizedModelSpec) -> bool:
    """Whether the weights that are decided have come about."""
    if by_route(spec):
        route = draft.seen.route
        return route is not None and route.accepted and set(route.shares) == set(desired_shares(draft))
    if draft.seen.selected != _selection(draft, spec):
        return False
    candidate, rollout = draft.status.candidate, draft.status.rollout
    waits = candidate is not None and rollout is not None and rollout.weight > 0
    if not waits or candidate is None or rollout is None:
        return True
    return draft.seen.server(candidate.revision).ready >= pods_for(spec, rollout.weight)


def _selection(draft: Draft, spec: QuantizedModelSpec) -> str:
    """The revision that the stable Service has to select; empty: both."""
    stable, candidate, rollout = draft.status.stable, draft.status.candidate, draft.status.rollout
    if stable is None:
        return ""
    if by_route(spec) or candidate is None or rollout is None or rollout.weight == 0:
        return stable.revision
    if rollout.weight == 100 and draft.seen.server(candidate.revision).ready >= spec.serving.replicas:
        return candidate.revision
    return ""


def _observed_shares(draft: Draft, spec: QuantizedModelSpec) -> list[Share]:
    """Weights as the gateway has accepted them last, or as they follow from the ready pods.

    Until a gateway has answered it is taken to do what it did: that it is being asked is no news worth a write.
    """
    stable, candidate, route = draft.status.stable, draft.status.candidate, draft.seen.route
    known = [found.revision for found in (stable, candidate) if found]
    if by_route(spec):
        before = draft.status.traffic
        shares = route.shares if route and route.accepted else before.applied if route and before else ()
        return [share for share in shares if share.revision in known][:2]
    if draft.seen.selected is None:
        return []
    if draft.seen.selected:
        return [Share(revision=draft.seen.selected, weight=100)]
    ready = {revision: draft.seen.server(revision).ready for revision in known}
    total = sum(ready.values())
    if not total:
        return []
    first = round(100 * ready[known[0]] / total)
    parts = [first, 100 - first][: len(known)]
    return [Share(revision=revision, weight=part) for revision, part in zip(known, parts, strict=True)]


def serve(draft: Draft, spec: QuantizedModelSpec) -> None:
    """The Deployments, Services and weights that follow from stable, candidate and rollout."""
    stable, candidate, rollout = draft.status.stable, draft.status.candidate, draft.status.rollout
    if stable is None:
        return
    wanted = draft.wanted
    wanted.stable, wanted.selected = stable.revision, _selection(draft, spec)
    wanted.servers.append(server_of(spec, stable, spec.serving.replicas))
    if candidate and rollout and is_taken_back(rollout):
        wanted.kept.add(candidate.revision)  # it may still answer: not scaled before it is drained
    elif candidate and rollout:
        wanted.servers.append(server_of(spec, candidate, _candidate_replicas(spec, rollout)))
    shares = desired_shares(draft)
    serving = draft.seen.server(stable.revision).ready > 0 or draft.seen.route is not None
    wanted.shares = shares if serving and by_route(spec) and draft.seen.gateway_api else None
    desired = list(shares) if wanted.shares or (serving and not by_route(spec)) else []
    draft.set(traffic=Traffic(desired=desired, applied=_observed_shares(draft, spec)))


def server_of(spec: QuantizedModelSpec, status: RevisionStatus, replicas: int) -> WantedServer:
    """A revision's pods, made from what is pinned; where they may run is asked for anew, for it changes no answer."""
    tolerations = spec.serving_of(status.variant).tolerations
    serving = status.spec.serving.model_copy(update={"tolerations": tolerations})
    served = status.spec.model_copy(update={"serving": serving})
    return WantedServer(status.revision, status.variant, served, replicas)


def _candidate_replicas(spec: QuantizedModelSpec, rollout: RolloutStatus) -> int:
    """With a route enough for this step and, so that it need not wait, the next; else exactly this step's share."""
    if rollout.kind == "Rollback":
        return spec.serving.replicas
    if rollout.step < 0:
        return pods_for(spec, spec.rollout.steps[0].weight)
    return pods_for(spec, next_weight(spec, rollout.step) if by_route(spec) else rollout.weight)


def report_route(draft: Draft) -> None:
    """Tell about a gateway that does not accept the weights; every change takes it a moment."""
    route, history = draft.seen.route, draft.status.history
    if route is None or route.accepted or not route.message:
        return
    patience_ends = (history[-1].at if history else draft.now) + ROUTE_PATIENCE
    if draft.now >= patience_ends:
        draft.block(Reason.ROUTE_NOT_ACCEPTED, route.message)
    else:
        draft.wake(patience_ends)
