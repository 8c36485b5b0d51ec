"""How many pods a share of the traffic needs, and where their room comes from.

Surge: the candidate's pods stand beside all those of stable. Replace: there is no room beside, so that one pod of
stable goes for each pod of the candidate; its last one stays until the candidate has all the traffic.
"""

from math import ceil

from quantroll.api.spec import QuantizedModelSpec


def replaces(spec: QuantizedModelSpec) -> bool:
    """Whether a candidate's pods take the places of stable's."""
    mode = spec.rollout.capacity
    return mode.mode == "Replace" and (spec.serving.replicas > 1 or mode.allow_downtime)


def is_alone(spec: QuantizedModelSpec | None) -> bool:
    """Whether there is room for one pod in all: nothing serves between the two, and a share is all or nothing."""
    return spec is not None and replaces(spec) and spec.serving.replicas == 1


def share_of(weight: int, replicas: int) -> int:
    """Ready pods that a share of the traffic needs."""
    return ceil(weight * replicas / 100)


def pods_for(spec: QuantizedModelSpec, weight: int, replicas: int | None = None) -> int:
    """Pods of the candidate that a weight needs; `replicas` are those of the spec, unless others are given.

    Without a gateway the number of pods is the share, as near as whole pods come to it and never more than the stable
    revision has.
    """
    total = replicas or spec.serving.replicas
    by_route = spec.rollout.routing.mode == "GatewayAPI"
    if replaces(spec):
        share = share_of(weight, total) if by_route else round(weight * total / 100)
        return max(1, min(total - 1, share))
    if by_route or weight >= 100:
        return share_of(weight, total)
    return min(total, max(1, round(weight * total / (100 - weight))))


def one_more(spec: QuantizedModelSpec, goal: int, ready: int, weight: int) -> int:
    """Pods of the candidate to ask for now, on the way to `goal`: without room beside, one after the other."""
    if not replaces(spec):
        return goal
    held = pods_for(spec, weight) if weight else 0
    return min(goal, max(ready + 1, held))


def left_for_stable(spec: QuantizedModelSpec, candidate: int) -> int:
    """Pods of stable beside so many of a candidate."""
    replicas = spec.serving.replicas
    if not replaces(spec):
        return replicas
    return max(replicas - candidate, 0 if is_alone(spec) else 1)


def carried_by(spec: QuantizedModelSpec, ready: int) -> int:
    """The weight that so many pods may have on a way back: all or nothing; without room beside, it goes with them."""
    if ready >= pods_for(spec, 100):
        return 100
    return 100 * ready // spec.serving.replicas if replaces(spec) else 0


def beside(spec: QuantizedModelSpec) -> int:
    """Pods of a revision that is only asked by a Job while stable serves."""
    return 1 if replaces(spec) else spec.serving.replicas
