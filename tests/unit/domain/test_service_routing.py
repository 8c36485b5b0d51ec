"""Routing mode Service: the share goes by ready pods, and what comes of it is told as it is."""

import pytest

from quantroll.api.spec import QuantizedModelSpec
from quantroll.domain.capacity import pods_for
from unit.domain.world import World, spec_with


def world_of(replicas: int, steps: list[int]) -> World:
    world = World(
        spec_with(
            serving__replicas=replicas,
            rollout__routing={"mode": "Service"},
            rollout__steps=[{"weight": weight, "duration": "1m"} for weight in steps],
        )
    )
    world.gateway_api = False
    return world


@pytest.mark.parametrize(
    ("weight", "replicas", "pods"),
    [(1, 1, 1), (50, 1, 1), (99, 1, 1), (10, 9, 1), (25, 9, 3), (50, 9, 9), (90, 9, 9), (10, 100, 11), (100, 4, 4)],
)
def test_pods_are_the_share(weight, replicas, pods):
    spec = QuantizedModelSpec.model_validate(
        spec_with(serving__replicas=replicas, rollout__routing={"mode": "Service"})
    )
    assert pods_for(spec, weight) == pods


def test_a_whole_rollout_without_a_gateway():
    world = world_of(9, [10, 25])
    world.until("CandidateStarting")
    baseline, candidate = world.status.stable.revision, world.status.candidate.revision
    assert world.selected == baseline
    world.until("Analyzing")
    assert world.selected == "", "both"
    assert world.replicas == {baseline: 9, candidate: 1}
    assert [(s.revision, s.weight) for s in world.status.traffic.desired] == [(baseline, 90), (candidate, 10)]
    assert [(s.revision, s.weight) for s in world.status.traffic.applied] == [(baseline, 90), (candidate, 10)]
    world.until("Shifting")
    world.until("Analyzing")
    assert world.replicas == {baseline: 9, candidate: 3}
    assert [s.weight for s in world.status.traffic.applied] == [75, 25]
    world.until("Promoting")
    world.until("Draining")
    assert world.selected == candidate
    world.settle()
    assert world.replicas == {candidate: 9}
    assert world.route is None


def test_what_pods_cannot_give_is_told():
    world = world_of(1, [5])
    world.until("Analyzing")
    assert [s.weight for s in world.status.traffic.desired] == [95, 5]
    assert [s.weight for s in world.status.traffic.applied] == [50, 50]
    world.settle()
    assert world.status.stable.variant == "gptq4"


def test_all_the_traffic_only_when_all_pods_are_there():
    world = world_of(4, [20])
    world.until("Analyzing")
    candidate = world.status.candidate.revision
    world.passes(minutes=1)
    world.tick()
    assert world.status.rollout.weight == 100
    assert world.replicas[candidate] == 4
    world.tick()
    assert world.selected == ""
    world.ready(candidate, 3)
    world.tick()
    assert world.selected == ""
    world.ready(candidate, 4)
    world.tick()
    assert world.selected == candidate
    assert world.status.stable.variant == "baseline"
    world.settle()
    assert world.status.stable.revision == candidate


def test_pods_that_do_not_come_take_the_candidate_back():
    world = world_of(4, [20, 40])
    world.until("Analyzing")
    candidate = world.status.candidate.revision
    world.passes(minutes=1)
    world.tick()
    world.ready(candidate, 1)
    world.passes(minutes=29)
    world.tick()
    assert world.status.rollout.reason is None
    world.passes(minutes=1)
    world.tick()
    assert world.status.rollout.reason == "LoadDeadlineExceeded"
    world.tick()
    assert world.selected == world.status.stable.revision
    world.settle()
    assert world.status.phase == "RolledBack"


def test_a_selector_edited_by_hand_is_put_back_and_the_clock_starts_again():
    world = world_of(2, [50])
    world.until("Analyzing")
    world.passes(seconds=50)
    world.selected = world.status.stable.revision
    world.tick()
    assert world.status.rollout.since is None
    assert world.selected == ""
    world.tick()
    assert world.status.rollout.since == world.now
