"""Who gets how much of the traffic, how many pods that needs, and whether it has come about.

Two ways. GatewayAPI: an HTTPRoute with weights. Service: no gateway; the Service of the QuantizedModel's name selects
the pods of one revision or, in between, of both, and every ready pod gets its part.
"""

from datetime import timedelta

from quantroll.api.base import parse_duration
from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import RevisionStatus, RolloutStatus, Share, Traffic
from quantroll.constants import LABEL_COMPONENT, LABEL_OWNER, Component, Reason
from quantroll.domain import share, steps
from quantroll.domain.capacity import beside, carried_by, is_alone, left_for_stable, one_more, pods_for, replaces
from quantroll.domain.draft import Draft
from quantroll.domain.wanted import WantedServer

ROUTE_PATIENCE = timedelta(seconds=20)  # a gateway that has not answered by then needs a person


def by_route(spec: QuantizedModelSpec) -> bool:
    """Whether an HTTPRoute splits the traffic."""
    return spec.rollout.routing.mode == "GatewayAPI"


def can_split(draft: Draft, spec: QuantizedModelSpec) -> bool:
    """Whether what splits the traffic exists here."""
    return draft.seen.gateway_api or not by_route(spec)


def is_named(draft: Draft, spec: QuantizedModelSpec, revision: str) -> bool:
    """Whether the gateway may know a revision by now, so that it can be given requests; see `introduce`."""
    route = draft.seen.route if by_route(spec) else None
    return route is None or revision in route.named


def is_taken_back(rollout: RolloutStatus) -> bool:
    """Whether the candidate is on its way out."""
    return rollout.kind == "Rollout" and rollout.reason is not None


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
        return route is not None and route.accepted and not is_edited(draft, spec)
    if draft.seen.selected != _selection(draft, spec):
        return False
    candidate, rollout = draft.status.candidate, draft.status.rollout
    waits = candidate is not None and rollout is not None and rollout.weight > 0
    if not waits or candidate is None or rollout is None:
        return True
    return draft.seen.server(candidate.revision).ready >= pods_for(spec, rollout.weight)


def is_edited(draft: Draft, spec: QuantizedModelSpec) -> bool:
    """Whether somebody else has changed what splits the traffic."""
    if by_route(spec):
        route = draft.seen.route
        return route is None or route.edited or set(route.shares) != set(desired_shares(draft))
    return draft.seen.selected != _selection(draft, spec)


def share_problem(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus) -> str:
    """Compare the share of requests that the candidate gets with its weight; what contradicts it, or nothing.

    The shares are noted when the verdict changes and along with other news of the step: they change at every look.
    Nothing is said in the first interval: requests that began before the step end in it.
    """
    stable, candidate, noted = draft.status.stable, draft.status.candidate, draft.status.traffic
    found = share.counted(draft.seen.requests, draft.seen.canary.stable)
    if rollout.since is None or stable is None or candidate is None:
        return ""
    settled = draft.now >= rollout.since + parse_duration(spec.rollout.analysis.interval)
    if found and settled:
        # Without a gateway connections are dealt out, and not requests: what comes of that is shown, not judged.
        agrees = share.is_consistent(rollout.weight, *found) if by_route(spec) else None
        turned = (agrees is False) != (noted.consistent is False) and agrees is not None
        if turned or draft.status.rollout != draft.seen.status.rollout:
            shares = share.shares(candidate.revision, stable.revision, *found)
            noted = noted.model_copy(update={"observed": shares, "consistent": agrees})
            draft.set(traffic=noted)
    if noted.consistent is not False:
        return ""
    told = next((part.weight for part in noted.observed if part.revision == candidate.revision), 0)
    return (
        f"{candidate.variant} was given {rollout.weight} % of the traffic, and {told} % of users' requests reached it"
    )


def _selection(draft: Draft, spec: QuantizedModelSpec) -> str:
    """The revision that the stable Service has to select; empty: both."""
    stable, candidate, rollout = draft.status.stable, draft.status.candidate, draft.status.rollout
    if stable is None:
        return ""
    if by_route(spec) or candidate is None or rollout is None or rollout.weight == 0:
        return stable.revision
    if rollout.weight == 100 and draft.seen.server(candidate.revision).ready >= pods_for(spec, 100):
        return candidate.revision
    return ""


def _applied_shares(draft: Draft, spec: QuantizedModelSpec) -> list[Share]:
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
    wanted.rejected = tuple(draft.status.rejected)
    labels = f"{LABEL_OWNER}={draft.seen.name},{LABEL_COMPONENT}={Component.SERVE}"
    draft.set(replicas=spec.serving.replicas, selector=labels)
    if candidate and rollout and is_taken_back(rollout):
        wanted.servers.append(server_of(spec, stable, spec.serving.replicas))
        wanted.kept.add(candidate.revision)  # it may still answer: not scaled before it is drained
    elif candidate and rollout:
        pods = _candidate_replicas(draft, spec, rollout, candidate)
        wanted.servers.append(server_of(spec, stable, left_for_stable(spec, pods)))
        wanted.servers.append(server_of(spec, candidate, pods))
    else:
        asked = bool(draft.status.drift and draft.status.drift.confirming) and not is_alone(spec)
        wanted.servers.append(server_of(spec, stable, left_for_stable(spec, beside(spec) if asked else 0)))
    shares = desired_shares(draft)
    went_back = rollout is not None and rollout.kind == "Rollback" and rollout.weight == 100
    answering = [stable, candidate] if candidate and went_back else [stable]
    serving = draft.seen.route is not None or any(draft.seen.server(one.revision).ready for one in answering)
    wanted.shares = shares if serving and by_route(spec) and draft.seen.gateway_api else None
    desired = list(shares) if wanted.shares or (serving and not by_route(spec)) else []
    traffic = Traffic(desired=desired, applied=_applied_shares(draft, spec))
    if _same_step(draft):
        noted = draft.status.traffic
        traffic = traffic.model_copy(update={"observed": noted.observed, "consistent": noted.consistent})
    draft.set(traffic=traffic)


def introduce(draft: Draft) -> None:
    """Name whatever has pods and a Service in the route, with a share of 0 if it gets nothing.

    A gateway that hears of a backend and of its weight at once may give it requests before it knows where they go, as
    may one that hears of its end and of the weights of the others: Envoy answers 503 then.
    """
    wanted = draft.wanted
    if wanted.shares is None:
        return
    there = [server.revision for server in wanted.servers] + sorted(wanted.kept)
    weighted = {part.revision for part in wanted.shares}
    named = [revision for revision in there if revision in draft.seen.services and revision not in weighted]
    wanted.shares += tuple(Share(revision=revision, weight=0) for revision in named)


def _same_step(draft: Draft) -> bool:
    """Whether what was observed is still about the weights of now."""
    before, now = draft.seen.status.rollout, draft.status.rollout
    return before is not None and now is not None and now.since is not None and now.since == before.since


def server_of(spec: QuantizedModelSpec, status: RevisionStatus, replicas: int) -> WantedServer:
    """A revision's pods, made from what is pinned; where they may run is asked for anew, for it changes no answer."""
    tolerations = spec.serving_of(status.variant).tolerations
    serving = status.spec.serving.model_copy(update={"tolerations": tolerations})
    served = status.spec.model_copy(update={"serving": serving})
    return WantedServer(status.revision, status.variant, served, replicas)


def _candidate_replicas(
    draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, candidate: RevisionStatus
) -> int:
    """Pods of the candidate to ask for now."""
    ready = draft.seen.server(candidate.revision).ready
    held = rollout.weight if by_route(spec) else 0  # without a gateway the weight follows the pods
    if rollout.kind == "Rollback":  # it may have been given more for want of others, which may be back in a moment
        held = min(held, carried_by(spec, ready))
    return one_more(spec, pods_for(spec, _weight_prepared_for(spec, rollout)), ready, held)


def _weight_prepared_for(spec: QuantizedModelSpec, rollout: RolloutStatus) -> int:
    """With a route this step's and, so that it need not wait, the next; else exactly this step's share.

    Where stable gives the room, it does so only when the next step is due.
    """
    if rollout.kind == "Rollback":
        return 100
    waits = rollout.since is None or rollout.deadline is None
    if rollout.step >= 0 and (not by_route(spec) or (replaces(spec) and waits)):
        return rollout.weight
    return steps.weight_at(spec, steps.ahead(spec, rollout))


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
