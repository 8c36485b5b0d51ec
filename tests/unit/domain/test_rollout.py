"""Moving traffic: up by capacity and proof, down at once, and nothing lost on the way."""

from dataclasses import replace
from datetime import timedelta

import pytest

from quantroll.api.status import Share
from quantroll.constants import Condition, Reason
from quantroll.domain.capacity import share_of
from quantroll.domain.snapshot import Problem, RouteView, ServerView
from unit.domain.world import SPEC, World, spec_with, steady


def weights(world):
    return [share.weight for share in world.route.shares]


def in_phase(phase, **changes):
    world = World(spec_with(**changes))
    world.until(phase)
    return world


def candidate(world):
    return world.status.candidate.revision


@pytest.mark.parametrize(
    ("weight", "replicas", "pods"),
    [(1, 1, 1), (100, 1, 1), (1, 10, 1), (10, 10, 1), (11, 10, 2), (50, 3, 2), (99, 10, 10), (100, 10, 10), (0, 5, 0)],
)
def test_pods_that_a_share_needs(weight, replicas, pods):
    assert share_of(weight, replicas) == pods


@pytest.mark.parametrize("replicas", [1, 2, 3, 5, 10])
def test_a_candidate_has_its_pods_before_it_gets_a_weight(replicas):
    """The invariants see to the order; this counts what is there at each step."""
    world = in_phase("CandidateStarting", serving__replicas=replicas)
    world.works()
    assert world.replicas[candidate(world)] == -(-10 * replicas // 100), "no more than its first share needs"
    world.until("Analyzing")
    assert world.replicas[candidate(world)] == -(-50 * replicas // 100), "those for the next are started meanwhile"
    world.until("Promoting")
    assert world.replicas[candidate(world)] == replicas
    world.settle()
    assert list(world.replicas.values()) == [replicas]


def test_no_candidate_before_stable_serves():
    world = World()
    world.until("Selecting", but="pods")
    for _ in range(3):
        world.tick()
        world.works(but="pods")
    assert world.status.phase == "Selecting"
    assert "waits for baseline to serve first" in world.status.message
    assert world.status.candidate is None


def test_a_step_begins_when_the_gateway_has_accepted_it():
    world = in_phase("Shifting")
    assert weights(world) == [90, 10]
    world.passes(hours=3)
    world.tick()
    assert world.status.phase == "Shifting"
    world.accept()
    decided = world.tick()
    assert world.status.phase == "Analyzing"
    assert world.status.rollout.since == world.now
    assert decided.wake_at == world.now + timedelta(minutes=2)


def test_a_gateway_that_takes_a_moment_is_no_trouble_and_one_that_never_answers_is():
    world = in_phase("Shifting")
    world.passes(seconds=19)
    decided = world.tick()
    assert world.stalled() is None
    world.now = decided.wake_at
    world.tick()
    assert world.stalled() == "RouteNotAccepted"
    assert "not answered" in world.condition("Stalled")[2]
    world.settle()
    assert world.status.stable.variant == "gptq4"


def test_a_step_lasts_as_long_as_it_says_whether_or_not_the_operator_runs():
    world = in_phase("Analyzing")
    world.passes(seconds=119)
    world.tick()
    assert weights(world) == [90, 10]
    world.passes(seconds=1)
    world.tick()
    assert weights(world) == [50, 50]


def test_an_edited_route_is_put_back_and_the_clock_starts_again():
    world = in_phase("Analyzing")
    begun, desired = world.status.rollout.since, world.route.shares
    world.passes(seconds=110)
    world.route = RouteView(shares=(Share(revision=candidate(world), weight=100),), accepted=True)
    world.tick()
    assert world.status.phase == "Shifting"
    assert world.route.shares == desired
    world.passes(seconds=5)
    world.accept()
    world.tick()
    assert world.status.rollout.since == begun + timedelta(seconds=115)


def test_a_deleted_route_is_made_again():
    world = in_phase("Analyzing")
    desired, world.route = world.route.shares, None
    world.tick()
    assert world.route.shares == desired


def test_a_candidate_that_never_gets_ready_is_taken_back_and_remembered():
    world = in_phase("CandidateStarting", rollout__deadlines={"modelLoad": "20m", "drain": "1m"})
    revision = candidate(world)
    world.servers[revision] = ServerView(problem=Problem(Reason.IMAGE_PULL, "0/3 nodes are available"))
    decided = world.tick()
    assert world.stalled() == "ImagePullFailed"
    assert decided.wake_at == world.status.rollout.deadline
    world.now = decided.wake_at
    world.tick()
    assert world.status.phase == "RollingBack"
    world.settle()
    assert world.status.phase == "RolledBack"
    assert world.stalled() == "RolledBack"
    entry = world.status.rejected[0]
    assert (entry.variant, entry.revision, entry.reason) == ("gptq4", revision, "LoadDeadlineExceeded")
    assert "within deadlines.modelLoad (20m): 0/3 nodes are available" in entry.message
    assert list(world.replicas) == [world.status.stable.revision]
    world.passes(days=7)
    world.settle()
    assert world.status.candidate is None, "tried again"


def rejected():
    world = in_phase("CandidateStarting")
    world.now = world.status.rollout.deadline
    world.tick()
    world.settle()
    assert world.status.phase == "RolledBack"
    return world


def test_an_edited_spec_is_another_chance():
    world = rejected()
    world.edit(rollout__deadlines={"modelLoad": "1h", "drain": "10m"})
    world.settle()
    assert world.status.stable.variant == "gptq4"


def test_pods_that_die_under_traffic_take_the_candidate_back_at_once():
    world = in_phase("Analyzing")
    revision, stable = candidate(world), world.status.stable.revision
    world.ready(revision, 0, Problem(Reason.ENGINE_FAILED, "CUDA error"))
    world.tick()
    assert world.status.phase == "RollingBack"
    assert [(s.revision, s.weight) for s in world.route.shares] == [(stable, 100)]
    assert revision in world.replicas, "not deleted before the gateway has taken its weight"
    world.settle()
    assert world.status.rejected[0].reason == "CandidateUnavailable"
    assert "CUDA error" in world.status.rejected[0].message


def test_down_is_weight_then_verified_then_drained_then_deleted():
    world = in_phase("Analyzing")
    revision, pods = candidate(world), world.replicas[candidate(world)]
    world.edit(qualityGate__minAcceptable=0.99)
    world.tick()
    assert (world.status.phase, weights(world)) == ("RollingBack", [100])
    world.passes(hours=1)
    world.tick()
    assert world.replicas[revision] == pods, "the gateway has not answered yet"
    world.accept()
    world.servers[revision] = replace(world.servers[revision], in_flight=2)
    world.tick()
    world.passes(seconds=5)
    world.tick()
    assert world.replicas[revision] == pods, "two requests are in flight"
    world.servers[revision] = replace(world.servers[revision], in_flight=0)
    world.tick()
    assert revision not in world.replicas
    assert world.status.rejected == [], "superseded is not rejected"
    world.settle()
    assert world.status.stable.variant == "int8"


@pytest.mark.parametrize(
    ("in_flight", "seconds", "drained"),
    [(0, 4, False), (0, 5, True), (3, 5, False), (3, 599, False), (3, 600, True), (None, 9, False), (None, 600, True)],
)
def test_draining_ends_with_the_last_request_or_at_its_deadline(in_flight, seconds, drained):
    world = in_phase("Draining")
    old = world.status.rollout.draining
    assert world.replicas[old] == 2, "kept as it is when it loses its traffic"
    world.servers[old] = replace(world.servers[old], in_flight=in_flight)
    world.passes(seconds=seconds)
    decided = world.tick()
    assert (old not in world.replicas) == drained
    if not drained:
        assert world.now < decided.wake_at <= world.now + timedelta(seconds=2)


def test_promotion_touches_no_pod():
    world = in_phase("Promoting")
    revision, pods = candidate(world), dict(world.replicas)
    world.works()
    world.tick()
    assert world.status.phase == "Draining", "without a write in between"
    assert world.replicas == pods
    assert world.status.stable.revision == revision


@pytest.mark.parametrize("happens", ["pods die", "the route is edited"])
def test_what_happens_just_before_promotion_is_seen(happens):
    world = in_phase("Promoting")
    world.works()
    if happens == "pods die":
        world.ready(candidate(world), 1)
    else:
        world.route = RouteView(shares=(Share(revision=world.status.stable.revision, weight=100),), accepted=True)
    world.tick()
    assert world.status.stable.variant == "baseline"
    assert world.status.phase == ("RollingBack" if happens == "pods die" else "Promoting")


def test_a_step_taken_out_of_the_spec_is_no_shortcut_to_promotion():
    world = in_phase("Analyzing")
    world.edit(rollout__steps=[{"weight": 20, "duration": "1h"}, {"weight": 60, "duration": "1h"}])
    world.tick()
    assert world.status.rollout.reason == "Superseded"
    assert weights(world) == [100]
    world.until("Analyzing")
    assert weights(world) == [80, 20]


def test_more_replicas_in_mid_shift_are_not_held_against_the_candidate():
    world = in_phase("Analyzing", serving__replicas=1)
    world.edit(serving__replicas=20)
    world.tick()
    world.settle()
    assert world.status.rejected == []
    assert world.status.stable.variant == "gptq4"
    assert list(world.replicas.values()) == [20]


def test_pods_for_the_next_step_that_do_not_come_are_waited_for_until_their_deadline():
    world = in_phase("Analyzing", serving__replicas=4, rollout__analysis={"metrics": []})
    revision = candidate(world)
    world.ready(revision, 1)
    world.passes(minutes=2)
    decided = world.tick()
    assert "1 of 2 pods ready for 50 %" in world.status.message
    assert decided.wake_at == world.status.rollout.since + timedelta(minutes=32)
    world.now = decided.wake_at
    world.tick()
    assert world.status.rollout.reason == "LoadDeadlineExceeded"


def test_without_the_gateway_api_nothing_is_shifted_and_all_goes_on_when_it_comes():
    world = World()
    world.gateway_api = False
    world.until("Selecting")
    for _ in range(4):
        world.tick()
        world.works()
    assert world.status.phase == "Selecting"
    assert world.stalled() == "GatewayAPIMissing"
    assert world.route is None
    assert world.condition("Available")[0] == "True", "in the cluster it serves"
    decided = world.tick()
    assert decided.wake_at, "nobody tells when it comes"
    assert timedelta(seconds=5) <= decided.wake_at - world.now <= timedelta(seconds=60)
    world.gateway_api = True
    world.settle()
    assert world.status.stable.variant == "gptq4"
    assert world.stalled() is None


def test_a_gateway_api_that_is_removed_in_mid_shift_is_waited_for():
    world = in_phase("Analyzing")
    revision = candidate(world)
    world.gateway_api, world.route = False, None
    for _ in range(3):
        world.tick()
    assert world.stalled() == "GatewayAPIMissing"
    assert revision in world.replicas
    world.gateway_api = True
    world.settle()
    assert world.status.stable.revision == revision


def test_a_candidate_is_not_given_up_for_a_stable_that_is_down():
    """Half of the candidate is better than nothing at all."""
    world = in_phase("Analyzing", serving__replicas=10, rollout__steps=[{"weight": 50, "duration": "1h"}])
    world.ready(candidate(world), 2)
    world.ready(world.status.stable.revision, 0)
    world.tick()
    assert weights(world) == [50, 50]
    assert world.stalled()
    world.ready(world.status.stable.revision)
    world.tick()
    assert weights(world) == [100]


def test_the_previous_revisions_are_listed_the_latest_first():
    world = steady()
    world.edit(qualityGate__minAcceptable=0.99)
    world.settle()
    assert [past.variant for past in world.status.last_good] == ["gptq4", "baseline"]


def test_the_first_weight_waits_for_all_the_pods_that_it_needs():
    world = in_phase("CandidateStarting", serving__replicas=10, rollout__steps=[{"weight": 34, "duration": "1m"}])
    world.works()
    world.ready(candidate(world), 3)
    world.tick()
    assert world.status.phase == "CandidateStarting"
    assert "when 4 pods are ready" in world.status.message
    assert weights(world) == [100]
    world.ready(candidate(world), 4)
    world.tick()
    assert weights(world) == [66, 34]


def test_an_edit_while_the_candidate_is_taken_back_is_another_chance_too():
    world = in_phase("Analyzing")
    world.ready(candidate(world), 0)
    world.tick()
    assert world.status.phase == "RollingBack"
    world.edit(rollout__deadlines={"modelLoad": "1h", "drain": "10m"})
    world.settle()
    assert world.status.stable.variant == "gptq4"
    assert world.status.rejected[0].generation == world.generation - 1


def test_tolerations_follow_the_spec_and_make_no_new_revision():
    world = steady()
    revision, made = world.status.stable.revision, len(world.made)
    gpu = [{"key": "gpu", "operator": "Exists"}]
    world.edit(serving__tolerations=gpu)
    world.settle()
    server = world.plan().wanted.servers[0]
    assert [t.to_wire() for t in server.served.serving.tolerations] == gpu
    assert (server.revision, len(world.made)) == (revision, made)


def test_a_baseline_that_never_got_up_takes_a_mended_profile():
    world = World()
    world.until("Baselining", but="pods")
    world.engines["vllm-cpu"] = world.engines["vllm-cpu"].model_copy(update={"run_as_user": 4711})
    world.tick()
    assert world.plan().wanted.servers[0].served.profile.run_as_user == 4711


def test_the_last_server_that_answers_is_kept_although_its_time_is_up():
    world = in_phase("Draining")
    old, new = world.status.rollout.draining, world.status.stable.revision
    world.ready(new, 0)
    world.passes(days=1)
    for _ in range(3):
        world.tick()
    assert old in world.replicas
    assert world.stalled() == "NotServing"
    world.ready(new, 1)
    world.settle()
    assert list(world.replicas) == [new]


def test_a_candidate_that_was_taken_back_is_kept_while_nothing_else_answers():
    world = in_phase("Analyzing")
    world.edit(rollout__steps=[{"weight": 20, "duration": "1m"}])
    world.tick()
    leaving, stable = candidate(world), world.status.stable.revision
    world.accept()
    world.tick()
    world.ready(stable, 0)
    world.passes(days=1)
    for _ in range(3):
        world.tick()
    assert leaving in world.replicas
    assert world.stalled() == "NotServing"


def test_a_stable_that_served_is_not_swapped_for_new_settings_when_its_pod_blinks():
    world = in_phase("Quantizing")
    stable = world.status.stable.revision
    world.edit(serving__maxNumSeqs=7)
    world.ready(stable, 0)
    for _ in range(3):
        world.tick()
    assert world.status.stable.revision == stable
    assert stable in world.replicas


def test_a_variant_added_in_mid_shift_does_not_take_the_proven_candidate_back():
    proven = SPEC["variants"][:2]
    world = in_phase("Analyzing", variants=proven)
    revision = candidate(world)
    world.edit(variants=[*proven, {"name": "late", "scheme": "W8A8", "smoothQuantStrength": 0.5}])
    world.tick()
    assert world.job("quantize", "late"), "the ladder goes on"
    assert candidate(world) == revision
    assert world.status.rollout.reason is None


def test_a_route_with_foreign_backends_is_put_back():
    world = in_phase("Analyzing")
    foreign = tuple(Share(revision=name, weight=33) for name in ("x" * 128, "y", candidate(world)))
    world.route = RouteView(shares=foreign, accepted=True)
    world.tick()
    assert sum(weights(world)) == 100
    assert {s.revision for s in world.status.traffic.applied} <= {candidate(world), world.status.stable.revision}


def test_a_rung_put_before_the_proven_candidate_takes_it_back_until_it_has_a_verdict():
    """Past a rung without a verdict, or with a FAIL, nothing ships: not in mid-shift either."""
    proven = SPEC["variants"][:2]
    world = in_phase("Analyzing", variants=proven)
    world.edit(variants=[{"name": "first", "scheme": "W8A8", "smoothQuantStrength": 0.5}, *proven])
    world.tick()
    assert world.status.rollout.reason == "Superseded"


def test_a_candidate_behind_a_rung_that_fails_now_is_not_shifted_on():
    """A served variant, a smaller candidate, and a floor under which the rung before the candidate falls."""
    world = steady(spec_with(variants=SPEC["variants"][:1]))
    assert world.status.stable.variant == "int8"
    world.edit(variants=[{"name": "middle", "scheme": "W8A16"}, SPEC["variants"][1]])
    world.cells["middle"] = (1985, 5, 2, 8)
    world.until("Analyzing")
    assert world.status.candidate.variant == "gptq4"
    key = next(row.evaluation.key for row in world.status.variants if row.name == "middle")
    rows = [
        row.model_copy(update={"evaluation": row.evaluation.model_copy(update={"both": 300, "harm": 1690})})
        if row.evaluation and row.evaluation.key == key
        else row
        for row in world.status.variants
    ]
    world.status = world.status.model_copy(update={"variants": rows})
    world.tick()
    assert world.status.rollout.reason == "Superseded"


def test_it_is_settled_a_pass_after_the_pods_of_what_has_drained_are_gone():
    world = in_phase("Draining")
    for _ in range(20):
        decided = world.tick()
        if world.status.rollout is None:
            break
        world.works()
        world.now = max(world.now, decided.wake_at)
    assert (world.status.rollout, world.status.phase) == (None, "Draining")
    world.tick()
    assert world.status.phase == "Steady"


def test_a_promotion_waits_for_nothing_where_no_pod_goes():
    world = in_phase("Promoting", rollout__rollback={"keepWarm": "1h"})
    old, new = world.status.stable.revision, candidate(world)
    world.works()
    world.tick()
    assert (world.status.phase, world.status.rollout, world.status.stable.revision) == ("Steady", None, new)
    assert world.condition(Condition.PROMOTED)[0] == "True"
    assert set(world.replicas) == {old, new}


def test_a_promotion_under_a_spec_that_cannot_be_taken_up_waits_for_nothing_either():
    world = in_phase("Promoting", rollout__rollback={"keepWarm": "1h"})
    new = candidate(world)
    world.edit(serving__engine="unheard-of")
    world.works()
    world.tick()
    assert (world.status.phase, world.status.rollout, world.status.stable.revision) == ("Steady", None, new)


def test_what_the_gateway_did_last_counts_until_it_has_answered():
    """Every change of the route would be two writes of the status, otherwise."""
    world = in_phase("Shifting")
    world.works(but="route")
    world.tick()
    before = world.status
    assert [share.weight for share in before.traffic.applied] == [100]
    world.route = replace(world.route, accepted=False, message="has not answered yet")
    world.tick()
    assert world.status == before
    world.works()
    world.tick()
    assert [share.weight for share in world.status.traffic.applied] == [90, 10]
    world.route = None
    world.tick()
    assert world.status.traffic.applied == []


def going_back():
    """A world on the way back from a promoted variant, with its target's pods not ready yet."""
    world = steady(spec_with(serving__replicas=3))
    world.commands["rollback"] = f"{world.status.stable.rollout}/1"
    world.tick()
    return world, world.status.stable.revision, world.status.candidate.revision


def test_a_way_back_does_not_wait_for_all_pods_where_nothing_else_answers():
    world, bad, target = going_back()
    world.ready(target, 1)
    world.tick()
    assert weights(world) == [100], "what serves does"
    assert world.route.shares[0].revision == bad
    world.ready(bad, 0)
    world.tick()
    assert [(s.revision, s.weight) for s in world.route.shares] == [(target, 100)]
    world.accept()
    for _ in range(3):
        world.tick()
    assert world.status.stable.revision == bad, "it is not promoted before it has all its pods"
    world.ready(target)
    world.settle()
    assert world.status.stable.revision == target


def test_what_was_given_for_want_of_others_is_taken_back_when_they_are_there_again():
    world, bad, target = going_back()
    world.ready(target, 1)
    world.ready(bad, 0)
    world.tick()
    world.accept()
    world.ready(bad)
    world.tick()
    assert [(s.revision, s.weight) for s in world.route.shares] == [(bad, 100)], "a blip is no reason for one pod alone"
    world.accept()
    world.ready(target)
    world.settle()
    assert world.status.stable.revision == target


def test_without_room_a_blip_of_what_serves_costs_it_no_pod():
    world = steady(spec_with(serving__replicas=4, rollout__capacity={"mode": "Replace"}))
    world.commands["rollback"] = f"{world.status.stable.rollout}/1"
    world.tick()
    bad, target = world.status.stable.revision, world.status.candidate.revision
    world.tick()  # the route names it
    world.ready(target, 1)
    world.ready(bad, 0)
    before = dict(world.replicas)
    world.tick()
    assert world.status.rollout.weight == 100
    assert world.replicas[bad] >= before[bad] - 1


def test_of_two_that_cannot_answer_neither_is_given_traffic_anew():
    world, bad, _ = going_back()
    world.ready(bad, 0)
    world.tick()
    assert [(s.revision, s.weight) for s in world.route.shares] == [(bad, 100)]


def named(world):
    return {share.revision: share.weight for share in world.backends}


def test_a_gateway_knows_a_backend_before_it_gets_everything_and_until_it_is_gone():
    world = World(spec_with(rollout__rollback={"keepWarm": "1h"}))
    world.until("CandidateStarting")
    old, new = world.status.stable.revision, world.status.candidate.revision
    assert named(world) == {old: 100}, "its Service comes first"
    world.tick()
    assert named(world) == {old: 100, new: 0}
    world.until("Shifting")
    assert named(world) == {old: 90, new: 10}
    world.until("Promoting")
    assert named(world) == {old: 0, new: 100}
    world.until("Steady")
    assert named(world) == {old: 0, new: 100}, "it is kept warm"
    world.commands["rollback"] = f"{world.status.stable.rollout}/1"
    world.tick()
    assert named(world) == {old: 100, new: 0}
    world.settle()
    assert named(world) == {old: 100}


def test_what_is_to_be_gone_back_to_is_named_while_it_starts():
    world, bad, target = going_back()
    assert named(world) == {bad: 100}, "its Service comes first"
    world.tick()
    assert named(world) == {bad: 100, target: 0}


def test_a_candidate_that_is_ready_at_once_is_named_before_its_first_weight():
    world = World(SPEC)
    world.until("CandidateStarting")
    old, new = world.status.stable.revision, world.status.candidate.revision
    before = world.status
    world.works()
    world.tick()
    assert named(world) == {old: 100, new: 0}
    assert world.status == before, "that its pods are ready is written along with its weight"
    world.tick()
    assert (world.status.phase, named(world)) == ("Shifting", {old: 90, new: 10})
    assert world.condition("CandidateAvailable")[:2] == ("True", "Serving")


def test_without_a_route_the_traffic_goes_back_all_the_same():
    """Somebody has deleted it, and no pod of what served is left that it could lead to."""
    world, bad, target = going_back()
    world.tick()
    world.route, world.backends = None, ()
    world.ready(bad, 0)
    world.ready(target)
    for _ in range(3):
        world.tick()
    assert named(world)[target] == 100


def test_a_candidate_that_is_taken_back_is_named_until_it_is_drained():
    world = in_phase("Analyzing")
    stable, gone = world.status.stable.revision, candidate(world)
    world.commands["abort"] = f"{world.status.rollout.id}/1"
    world.tick()
    assert named(world) == {stable: 100, gone: 0}
    world.settle()
    assert named(world) == {stable: 100}


def test_one_whose_service_somebody_has_deleted_is_not_named():
    """A gateway would not accept the route, and nothing would end."""
    world = in_phase("Analyzing")
    stable = world.status.stable.revision
    world.commands["abort"] = f"{world.status.rollout.id}/1"
    world.tick(replace(world.snapshot(), services=frozenset({stable})))
    assert named(world) == {stable: 100}
