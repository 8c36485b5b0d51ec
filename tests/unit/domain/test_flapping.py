"""What is tried after something was taken back: the next proven variant, and nothing after two of them."""

from datetime import timedelta

import pytest

from quantroll.constants import Condition
from quantroll.domain.snapshot import RequestCounts
from unit.domain.world import PROVEN, SPEC, World, spec_with

FAILING = RequestCounts(500, 400)


def failing(**changes) -> World:
    """A world in which gptq4, which is chosen first, fails its looks; int8 is proven as well."""
    world = World(spec_with(**changes))
    world.until("Analyzing")
    world.requests = FAILING
    world.until("RolledBack")
    return world


def test_the_next_proven_variant_is_tried_after_a_candidate_that_failed():
    world = failing()
    world.requests = RequestCounts(500, 0)
    world.tick()
    assert world.status.phase == "Selecting"
    assert world.status.message == "int8 is the next proven variant: gptq4 was taken back (AnalysisFailed)"
    world.until("Draining")
    world.settle()
    assert world.status.stable.variant == "int8"
    assert world.status.phase == "RolledBack", "what the spec asks for first does not serve"
    assert world.condition(Condition.READY)[0] == "False"


def test_the_ladder_is_not_climbed_past_its_end_for_that():
    world = World(spec_with())
    world.cells["int8"] = (1880, 110, 5, 5)  # the first rung is not proven: nothing behind it ships
    world.settle()
    assert world.status.phase == "Rejected"
    assert world.status.candidate is None


@pytest.mark.parametrize("verb", ["abort", "rollback"])
def test_what_a_person_stopped_is_not_gone_round(verb):
    world = World()
    world.until("Analyzing" if verb == "abort" else "Steady")
    name = world.status.rollout.id if verb == "abort" else world.status.stable.rollout
    world.commands[verb] = f"{name}/1"
    world.tick()
    world.settle()
    assert world.status.phase == "RolledBack"
    assert world.status.stable.variant == "baseline"
    assert world.verdicts()["int8"] == "PASS"


def test_where_the_next_one_serves_already_it_keeps_serving():
    world = World(spec_with(variants=SPEC["variants"][:1]))
    world.until("Steady")
    world.edit(variants=SPEC["variants"])
    world.until("Analyzing")
    world.requests = FAILING
    world.until("RolledBack")
    world.settle()
    assert world.status.stable.variant == "int8"
    assert world.status.message.startswith("gptq4 was taken back")
    assert world.stalled() == "RolledBack"


@pytest.fixture
def three_proven():
    """Three proven variants, the first two of which have failed one after the other."""
    world = World(spec_with(variants=[*SPEC["variants"][:2], {**SPEC["variants"][2]}]))
    world.cells |= {"gptq4": PROVEN, "rtn4": PROVEN}
    world.until("Analyzing")
    world.requests = FAILING
    world.until("RolledBack")
    world.until("Analyzing")
    world.until("RolledBack")
    for _ in range(3):
        world.tick()
        world.works()
    return world


def test_two_rollbacks_within_the_cooldown_suspend(three_proven):
    world = three_proven
    assert len(world.status.rejected) == 2
    assert world.status.phase == "RolledBack"
    assert world.status.candidate is None, "the third is proven, and is not tried"
    assert world.stalled() == "Flapping"
    status, reason, message = world.condition(Condition.SUSPENDED)
    assert (status, reason) == ("True", "Flapping")
    assert f"quantroll.io/retry={world.status.rejected[0].rollout}/1" in message
    assert [e.reason for e in world.told].count("Flapping") == 1


def test_it_ends_by_itself_after_the_cooldown(three_proven):
    world = three_proven
    end = world.status.rejected[0].at + timedelta(hours=24)
    assert world.plan().wake_at <= end
    world.now = end - timedelta(seconds=1)
    world.tick()
    assert world.status.rollout is None
    world.requests = RequestCounts(500, 0)
    world.now = end
    world.until("Analyzing")
    assert world.condition(Condition.SUSPENDED)[0] == "False"


def test_an_edit_does_not_end_it_and_a_retry_does(three_proven):
    world = three_proven
    world.edit(serving__maxNumSeqs=32)
    world.settle()
    assert world.status.candidate is None
    assert world.stalled() == "Flapping"
    world.requests = RequestCounts(500, 0)
    world.commands["retry"] = f"{world.status.rejected[0].rollout}/1"
    world.until("Analyzing")


def test_what_a_person_took_back_does_not_count():
    world = World()
    for _ in range(2):
        world.until("Analyzing")
        world.commands["abort"] = f"{world.status.rollout.id}/1"
        world.until("RolledBack")
        world.edit(serving__maxNumSeqs=world.spec["serving"].get("maxNumSeqs", 64) + 1)
    world.until("Analyzing")


def test_rollbacks_that_lie_further_apart_do_not_count():
    world = failing()
    world.requests = RequestCounts(500, 0)
    world.passes(hours=24)
    world.until("Analyzing")
    world.requests = FAILING
    world.until("RolledBack")
    world.settle()
    assert world.stalled() == "RolledBack"


def test_without_a_cooldown_nothing_flaps(three_proven):
    world = three_proven
    world.requests = RequestCounts(500, 0)
    world.edit(rollout__rollback={"cooldown": "0s"})
    world.until("Analyzing")


def test_one_revision_that_fails_twice_counts_twice():
    """Want of pods is forgiven by an edit; twice the same want is a flapping all the same."""
    world = World(spec_with(variants=SPEC["variants"][1:2]))
    for keep in ("1s", "2s"):
        world.until("Analyzing")
        candidate = world.status.candidate.revision
        world.ready(candidate, 0)
        world.tick()
        assert world.status.rollout.reason == "CandidateUnavailable"
        world.until("RolledBack")
        world.edit(rollout__rollback={"keepWarm": keep})
    world.settle()
    assert [r.key for r in world.status.rejected] == [world.status.rejected[0].key] * 2
    assert world.stalled() == "Flapping"
