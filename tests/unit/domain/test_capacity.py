"""Room for a candidate: beside what serves, or in its place; and pods that find no node."""

from datetime import timedelta

import pytest

from quantroll.api.spec import QuantizedModelSpec
from quantroll.constants import Condition, Reason
from quantroll.domain import capacity
from quantroll.domain.snapshot import Problem, QualityCounts, ServerView
from unit.domain.world import SPEC, World, spec_with, steady

NO_GPU = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."


def spec_of(**changes):
    return QuantizedModelSpec.model_validate(spec_with(**changes))


def replacing(replicas: int = 4, **changes) -> World:
    """A world without spare GPUs."""
    room = {"mode": "Replace", "allowDowntime": replicas == 1}
    return World(spec_with(serving__replicas=replicas, rollout__capacity=room, **changes))


@pytest.mark.parametrize(
    ("replicas", "weight", "by_route", "by_pods"),
    [
        (4, 1, 1, 1),
        (4, 25, 1, 1),
        (4, 26, 2, 1),
        (4, 50, 2, 2),
        (4, 99, 3, 3),
        (4, 100, 3, 3),
        (2, 10, 1, 1),
        (2, 100, 1, 1),
    ],
)
def test_pods_of_a_candidate_where_stable_gives_the_room(replicas, weight, by_route, by_pods):
    room = {"serving__replicas": replicas, "rollout__capacity": {"mode": "Replace"}}
    assert capacity.pods_for(spec_of(**room), weight) == by_route
    assert capacity.pods_for(spec_of(**room, rollout__routing={"mode": "Service"}), weight) == by_pods


@pytest.mark.parametrize("replicas", [2, 3, 4, 7])
@pytest.mark.parametrize("routing", ["GatewayAPI", "Service"])
def test_never_more_pods_than_there_is_room_for_and_one_of_stable_stays(replicas, routing):
    mode = {"rollout__routing": {"mode": "Service"}} if routing == "Service" else {}
    world = replacing(replicas, **mode)
    world.until("CandidateStarting")
    stable = world.status.stable.revision
    seen = set()
    for _ in range(200):
        world.tick()
        if world.status.candidate is None:
            break
        candidate = world.status.candidate.revision
        wanted = world.replicas[stable], world.replicas[candidate]
        assert sum(wanted) == replicas
        assert wanted[0] >= 1
        seen.add(wanted)
        ready = min(world.servers.get(candidate, ServerView()).ready + 1, world.replicas[candidate])
        assert world.replicas[candidate] <= ready + 1, "one after the other"
        world.accept()
        world.ready(stable)
        world.ready(candidate, ready)
        world.passes(seconds=61)
    assert world.status.stable.revision != stable
    assert seen == {(replicas - n, n) for n in range(1, replicas)}
    world.settle()
    assert world.replicas == {world.status.stable.revision: replicas}
    assert world.status.phase == "Steady"


def test_the_next_pods_take_their_places_only_when_their_step_is_due():
    world = replacing(4)
    world.until("Analyzing")
    stable = world.status.stable.revision
    world.works()
    world.passes(seconds=30)
    world.tick()
    assert world.replicas[stable] == 3, "10 % need one pod of the candidate"
    world.passes(minutes=2)
    world.tick()
    assert world.status.rollout.weight == 10
    assert world.replicas[stable] == 2, "room for the second"
    assert world.replicas[world.status.candidate.revision] == 2


def test_a_candidate_that_is_taken_back_gives_the_room_back():
    world = replacing(4)
    world.until("Analyzing")
    stable, candidate = world.status.stable.revision, world.status.candidate.revision
    world.commands["abort"] = f"{world.status.rollout.id}/1"
    world.tick()
    assert world.replicas == {stable: 4, candidate: 1}, "what drains is left alone, and its place is asked for"
    world.settle()
    assert world.replicas == {stable: 4}


def test_a_way_back_goes_with_the_pods():
    world = replacing(4)
    world.until("Steady")
    world.settle()
    bad = world.status.stable.revision
    world.commands["rollback"] = f"{world.status.stable.rollout}/1"
    world.tick()
    target, weights = world.status.candidate.revision, []
    world.tick()  # the route names it
    for _ in range(20):
        if world.status.candidate is None:
            break
        assert sum(world.replicas.values()) == 4
        world.accept()
        world.ready(bad)
        world.ready(target, world.replicas[target])
        world.tick()
        weights.append(world.status.rollout.weight)
    assert sorted(set(weights)) == [25, 50, 100]
    world.settle()
    assert world.replicas == {target: 4}


def test_a_way_back_without_room_is_waited_for_and_said():
    world = replacing(4)
    world.until("Steady")
    world.commands["rollback"] = f"{world.status.stable.rollout}/1"
    world.tick()
    target = world.status.candidate.revision
    world.servers[target] = ServerView(problem=Problem(Reason.UNSCHEDULABLE, NO_GPU, world.now))
    world.tick()
    assert world.stalled() is None
    world.passes(minutes=15)
    world.tick()
    assert world.stalled() == "RollbackBlocked"
    assert world.status.rollout.kind == "Rollback"


def test_nothing_is_kept_warm_without_room():
    world = replacing(2, rollout__rollback={"keepWarm": "24h"})
    world.until("Steady")
    world.tick()
    assert list(world.replicas) == [world.status.stable.revision]
    assert world.status.last_good[0].warm_until is None


def test_a_confirmation_gets_one_pod_in_the_place_of_another():
    world = replacing(4)
    world.until("Steady")
    world.settle()
    world.quality = type(world.quality)(right=800, wrong=200, distinct=1000)
    world.now = max(world.now, world.status.drift.next)
    world.tick()
    check = world.status.drift.confirming
    assert world.replicas == {world.status.stable.revision: 3, check.target: 1}


# one pod in all


def test_with_one_replica_nothing_serves_in_between_and_a_share_is_all():
    world = replacing(1)
    world.until("CandidateStarting")
    stable, candidate = world.status.stable.revision, world.status.candidate.revision
    assert world.replicas == {stable: 0, candidate: 1}
    world.tick()  # the route names it
    world.ready(candidate)
    world.tick()
    assert (world.status.rollout.step, world.status.rollout.weight) == (0, 100)
    assert [(s.revision, s.weight) for s in world.route.shares] == [(candidate, 100)]
    world.until("Steady")
    assert world.status.stable.revision == candidate
    assert world.phases().count("Analyzing") == 2, "its steps are held and looked at all the same"


def test_with_one_replica_a_bad_candidate_goes_before_stable_comes_back():
    world = replacing(1)
    world.until("Analyzing")
    stable, candidate = world.status.stable.revision, world.status.candidate.revision
    world.commands["abort"] = f"{world.status.rollout.id}/1"
    world.servers[candidate] = ServerView(ready=1, in_flight=3)
    world.tick()
    assert world.status.rollout.reason == "Aborted"
    assert world.replicas == {stable: 1, candidate: 1}, "it drains"
    world.accept()
    world.tick()
    world.passes(seconds=10)
    world.tick()
    assert candidate in world.replicas, "three requests are in flight"
    world.servers[candidate] = ServerView(ready=1, in_flight=0)
    world.tick()
    assert world.replicas == {stable: 1}
    world.settle()
    assert world.status.phase == "RolledBack"


def test_with_one_replica_a_way_back_is_gone_and_aborted():
    world = replacing(1)
    world.until("Steady")
    stable = world.status.stable
    world.commands["rollback"] = f"{stable.rollout}/1"
    world.tick()
    target = world.status.candidate.revision
    assert world.replicas == {stable.revision: 0, target: 1}
    world.commands["abort"] = f"{world.status.rollout.id}/1"
    world.tick()
    world.settle()
    assert (world.status.stable.revision, world.replicas) == (stable.revision, {stable.revision: 1})


# pods that find no node


def unplaced(world: World, since=None) -> None:
    world.servers[world.status.candidate.revision] = ServerView(
        ready=world.servers.get(world.status.candidate.revision, ServerView()).ready,
        problem=Problem(Reason.UNSCHEDULABLE, NO_GPU, since or world.now),
        in_flight=0,
    )


def test_an_autoscaler_gets_its_chance_then_the_pods_are_taken_away():
    world = World(spec_with(variants=SPEC["variants"][1:2]))
    world.until("CandidateStarting")
    missed = world.now
    unplaced(world)
    decided = world.tick()
    assert world.condition(Condition.CAPACITY_BLOCKED)[0] == "False", "most find a place in a moment"
    assert decided.wake_at == missed + timedelta(seconds=10)
    world.passes(seconds=10)
    decided = world.tick()
    assert world.stalled() is None
    assert world.condition(Condition.CAPACITY_BLOCKED) == ("Unknown", "Unschedulable", f"gptq4: {NO_GPU}")
    assert decided.wake_at == missed + timedelta(minutes=15)
    world.passes(minutes=14, seconds=49)
    world.tick()
    assert world.status.rollout.reason is None
    world.passes(seconds=1)
    world.tick()
    assert world.condition(Condition.CAPACITY_BLOCKED)[:2] == ("True", "CapacityBlocked")
    assert NO_GPU in world.condition(Condition.CAPACITY_BLOCKED)[2]
    assert [e.reason for e in world.told].count("CapacityBlocked") == 1
    world.settle()
    assert (world.status.phase, world.status.rejected[0].reason) == ("RolledBack", "CapacityBlocked")
    assert world.condition(Condition.CAPACITY_BLOCKED)[0] == "True"
    assert [e.reason for e in world.told].count("CapacityBlocked") == 1
    assert list(world.replicas) == [world.status.stable.revision]


def test_a_node_that_comes_in_time_is_all_that_was_wanted():
    world = World()
    world.until("CandidateStarting")
    unplaced(world)
    world.tick()
    world.passes(minutes=10)
    world.until("Steady")
    assert world.condition(Condition.CAPACITY_BLOCKED) == ("False", "Progressing", "")


def test_for_the_next_step_it_is_counted_from_when_the_pods_are_missed():
    world = World()
    world.until("Analyzing")
    world.edit(serving__replicas=4)
    world.tick()
    long_ago = world.now
    unplaced(world)
    world.passes(minutes=2)
    world.tick()
    missed = world.now
    world.passes(minutes=14)
    unplaced(world, long_ago)
    world.tick()
    assert world.status.rollout.reason is None
    world.now = missed + timedelta(minutes=15)
    world.tick()
    assert world.status.rollout.reason == "CapacityBlocked"


def test_nothing_fires_while_a_person_is_asked():
    world = World(spec_with(rollout__steps=[{"weight": 10, "duration": "2m", "approval": True}]))
    world.until("AwaitingApproval")
    world.ready(world.status.candidate.revision, 1)
    unplaced(world)
    for _ in range(5):
        world.passes(days=1)
        world.tick()
    assert world.status.phase == "AwaitingApproval"
    assert world.stalled() is None
    world.commands["approve"] = f"{world.status.rollout.id}:0/1"
    world.tick()
    assert world.status.rollout.reason is None, "they have just begun to be missed"
    world.passes(minutes=15)
    world.tick()
    assert world.status.rollout.reason == "CapacityBlocked"


def test_without_a_gateway_pods_are_missed_once_their_share_is_decided():
    world = World(spec_with(serving__replicas=4, rollout__routing={"mode": "Service"}))
    world.until("Analyzing")
    world.passes(minutes=2)
    world.tick()
    assert world.status.rollout.weight == 50
    unplaced(world)
    world.passes(minutes=15)
    world.tick()
    assert world.status.rollout.reason == "CapacityBlocked"


def test_a_job_without_a_node_waits_for_one_before_that_is_said():
    world = World()
    world.until("Quantizing")
    job = world.job("quantize")
    world.change_job(job, problem=Problem(Reason.UNSCHEDULABLE, NO_GPU, world.now))
    world.tick()
    assert world.stalled() is None
    world.passes(minutes=15)
    world.tick()
    assert world.stalled() == "Unschedulable"
    assert world.running(), "it goes on waiting"


def test_what_serves_stays_whatever_the_scheduler_says():
    world = World()
    world.until("Steady")
    stable = world.status.stable.revision
    world.servers[stable] = ServerView(problem=Problem(Reason.UNSCHEDULABLE, NO_GPU, world.now))
    world.passes(minutes=16)
    world.tick()
    assert world.stalled() == "Unschedulable"
    assert world.condition(Condition.CAPACITY_BLOCKED)[:2] == ("True", "Unschedulable")
    assert world.replicas[stable] == 2


# more and fewer replicas while a rollout is under way


def test_more_replicas_are_given_to_both_and_take_nothing_back():
    world = World()
    world.until("Analyzing")
    stable, candidate = world.status.stable.revision, world.status.candidate.revision
    world.edit(serving__replicas=8)
    for _ in range(3):
        world.tick()
    assert world.status.rollout.reason is None
    assert (world.status.rollout.weight, world.replicas[stable], world.replicas[candidate]) == (10, 8, 4)
    world.passes(minutes=2)
    world.tick()
    assert world.status.rollout.weight == 10, "capacity before weight, by the new number"
    world.ready(candidate, 4)
    world.tick()
    assert (world.status.rollout.weight, world.status.rollout.replicas) == (50, 8)


def test_lost_pods_are_counted_by_the_number_that_the_weight_was_given_for():
    world = World(spec_with(serving__replicas=4, rollout__steps=[{"weight": 50, "duration": "1h"}]))
    world.until("Analyzing")
    candidate = world.status.candidate.revision
    world.ready(candidate, 2)
    world.edit(serving__replicas=8)
    world.tick()
    world.ready(candidate, 4)
    world.tick()
    assert world.status.rollout.replicas == 8, "they have come"
    world.ready(candidate, 3)
    world.tick()
    assert world.status.rollout.reason == "CandidateUnavailable"


def test_fewer_replicas_and_more_again_take_nothing_back():
    world = World(spec_with(serving__replicas=10, rollout__steps=[{"weight": 50, "duration": "1h"}]))
    world.until("Analyzing")
    candidate = world.status.candidate.revision
    for replicas in (2, 10):
        world.edit(serving__replicas=replicas)
        world.tick()
        world.ready(candidate, 1)
        world.tick()
        assert world.status.rollout.reason is None
    assert world.replicas[candidate] == 10


def test_promotion_waits_for_the_replicas_that_were_added():
    world = World()
    world.until("Promoting")
    world.edit(serving__replicas=3)
    for _ in range(4):
        world.tick()
        world.accept()
    assert world.status.phase == "Promoting"
    world.until("Steady")


def test_with_one_replica_a_confirmation_asks_for_a_second_place_and_is_unknown_without_one():
    alone = {"mode": "Replace", "allowDowntime": True}
    metrics = {"metrics": [{"name": "error-ratio"}]}
    world = steady(spec_with(serving__replicas=1, rollout__capacity=alone, rollout__analysis=metrics))
    world.passes(days=14)
    world.quality = QualityCounts(right=800, wrong=200, distinct=1000)
    world.tick()
    stable, target = world.status.stable.revision, world.status.drift.confirming.target
    assert world.replicas == {stable: 1, target: 1}
    world.passes(hours=7)
    world.tick()
    assert world.status.drift.verdict == "Unknown"
    assert world.replicas == {stable: 1}
