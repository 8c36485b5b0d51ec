"""What is kept warm, and for how long."""

from datetime import timedelta

from unit.domain.test_drift_check import BAD, WORSE, check
from unit.domain.world import World, spec_with

DRAIN = timedelta(minutes=10)


def promoted(keep_warm: str = "24h") -> World:
    world = World(spec_with(rollout__rollback={"keepWarm": keep_warm}))
    world.until("Steady")
    world.works()
    world.tick()
    return world


def test_the_previous_revision_keeps_its_pods_for_a_while():
    world = promoted()
    past = world.status.last_good[0]
    assert past.variant == "baseline"
    assert set(world.replicas) == {past.revision, world.status.stable.revision}
    assert world.replicas[past.revision] == 2
    assert past.warm_until - past.until < timedelta(hours=24, minutes=1)
    assert [s.revision for s in world.route.shares] == [world.status.stable.revision]
    world.now = past.warm_until - timedelta(seconds=1)
    decided = world.tick()
    assert past.revision in world.replicas
    assert decided.wake_at <= past.warm_until
    world.now = past.warm_until
    world.tick()
    assert list(world.replicas) == [world.status.stable.revision]
    assert world.status.last_good[0].warm_until is None


def test_nothing_is_kept_where_nothing_is_asked():
    world = promoted("0s")
    assert list(world.replicas) == [world.status.stable.revision]


def test_room_is_made_for_the_next_candidate():
    world = promoted()
    old = world.status.last_good[0].revision
    world.passes(minutes=10)
    world.edit(qualityGate__minAcceptable=0.99)
    world.until("CandidateStarting")
    world.tick()
    assert old not in world.replicas
    assert world.status.last_good[0].warm_until is None


def test_the_last_requests_of_what_is_kept_warm_are_not_cut_for_the_next_candidate():
    world = promoted()
    past = world.status.last_good[0]
    world.edit(qualityGate__minAcceptable=0.99)
    world.until("CandidateStarting")
    assert past.revision in world.replicas
    assert world.status.last_good[0].warm_until == past.until + DRAIN
    world.now = past.until + DRAIN
    world.tick()
    assert past.revision not in world.replicas


def test_what_is_kept_warm_for_less_than_its_last_requests_may_take_stays_for_those():
    past = promoted("1m").status.last_good[0]
    assert past.warm_until == past.until + DRAIN


def test_a_warm_revision_is_gone_back_to_at_once():
    world = promoted("7d")
    world.passes(days=2)
    world.quality, world.confirmed = BAD, WORSE
    assert check(world) == "Suspect"
    target = world.status.drift.confirming.target
    world.works()
    world.tick()
    assert world.job("confirm"), "it is ready already"
    world.until("RollingBack")
    world.settle()
    assert world.status.stable.revision == target
    assert world.status.last_good == []


def test_a_warm_revision_is_scaled_with_the_rest():
    world = promoted()
    world.edit(serving__replicas=3)
    world.tick()
    assert list(world.replicas.values()) == [3, 3]
