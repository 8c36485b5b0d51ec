"""What each command names, and what cannot be named; the operator takes what is made here."""

import pytest

from quantroll.constants import Reason
from quantroll.standing import orders
from quantroll.standing.orders import NothingToOrder
from unit.domain.test_commands import command
from unit.domain.world import World, spec_with, steady
from unit.standing import scenes


def obeyed(world, order):
    """Whether the operator carries it out, and what it says."""
    return command(world, order.verb, order.value("token"))


def test_an_approval_of_the_step_that_waits():
    world = scenes.until("AwaitingApproval", rollout__steps=scenes.STEPS)
    order = orders.approve(scenes.seen(world))
    assert (order.annotation, order.value("x")) == ("quantroll.io/approve", f"{world.status.rollout.id}:0/x")
    assert obeyed(world, order) == (True, "step 0 is approved")


def test_a_step_may_be_approved_before_it_asks_but_not_one_that_never_does():
    world = scenes.until("Analyzing", rollout__steps=scenes.STEPS)
    assert obeyed(world, orders.approve(scenes.seen(world)))[0]
    world = scenes.until("Analyzing")
    with pytest.raises(NothingToOrder, match=r"step 1 \(10 %\) asks for no approval .* over in 1 min 30 s"):
        orders.approve(scenes.seen(world))


@pytest.mark.parametrize("make", [orders.approve, orders.abort, orders.promote])
def test_without_a_rollout_there_is_nothing_to_name(make):
    with pytest.raises(NothingToOrder, match="phase Steady: gptq4 serves") as refused:
        make(scenes.seen(steady()))
    assert refused.value.verb == make.__name__
    with pytest.raises(NothingToOrder, match="the operator has not seen it yet"):
        make(scenes.seen(World()))


def test_an_approval_before_the_first_step():
    with pytest.raises(NothingToOrder, match="no step of a rollout is under way"):
        orders.approve(scenes.seen(scenes.until("CandidateStarting", rollout__steps=scenes.STEPS)))


def test_an_abort():
    world = scenes.until("Analyzing")
    assert obeyed(world, orders.abort(scenes.seen(world))) == (True, "gptq4 is taken back")
    again = orders.abort(scenes.seen(world))
    assert obeyed(world, orders.Order(again.verb, f"{again.subject}")) == (True, "gptq4 is taken back")
    assert command(world, "abort", again.value("other")) == (False, "it is being taken back already")


def test_a_promotion_of_all_steps_or_of_one():
    world = scenes.until("Analyzing")
    step = orders.promote(scenes.seen(world), one_step=True)
    assert step.value("x") == f"{world.status.rollout.id}:0/x"
    assert obeyed(world, step) == (True, "gptq4: step 0 is left as soon as there are pods for the next")
    order = orders.promote(scenes.seen(world))
    assert order.value("x") == f"{world.status.rollout.id}/x"
    assert obeyed(world, order)[0]


def test_a_retry_forgets_the_rejection_that_is_in_the_way():
    world = scenes.aborted()
    blocking = world.status.rejected[0]
    other = blocking.model_copy(update={"key": "of another eval set", "rollout": "1-other-0"})
    other = other.model_copy(update={"variant": "int8", "revision": "0123456789"})
    world.status = world.status.model_copy(update={"rejected": [other, blocking]})
    order = orders.retry(scenes.seen(world))
    assert order.subject == blocking.rollout
    assert orders.retry(scenes.seen(world), "int8").subject == "1-other-0"
    assert orders.retry(scenes.seen(world), blocking.revision).subject == blocking.rollout
    with pytest.raises(NothingToOrder, match=r"status.rejected has no awq; rejected: int8 \(\w+\), gptq4"):
        orders.retry(scenes.seen(world), "awq")
    assert obeyed(world, order) == (True, "the rejection is forgotten")


def test_a_rejection_under_another_spec_is_the_newest_ones():
    world = scenes.aborted()
    entry = world.status.rejected[0].model_copy(update={"key": "changed since"})
    world.status = world.status.model_copy(update={"rejected": [entry]})
    assert orders.retry(scenes.seen(world)).subject == entry.rollout


def test_where_nothing_is_rejected_failed_jobs_are_tried_again():
    world = scenes.until("Quantizing")
    with pytest.raises(NothingToOrder, match="no Job has failed"):
        orders.retry(scenes.seen(world))
    world.fail(world.job("quantize"), Reason.OUT_OF_MEMORY)
    world.tick()
    assert orders.retry(scenes.seen(world)).subject == "jobs"
    assert obeyed(world, orders.retry(scenes.seen(world))) == (True, "1 failed Jobs are tried again")


def test_failed_jobs_can_be_asked_for_beside_a_rejection():
    world = scenes.aborted()
    failure = scenes.until("Pending")
    failure.fail(failure.job("prepare"), Reason.JOB_FAILED)
    failure.tick()
    world.status = world.status.model_copy(update={"prepare_failure": failure.status.prepare_failure})
    assert orders.retry(scenes.seen(world), jobs=True).subject == "jobs"
    assert orders.retry(scenes.seen(world)).subject != "jobs"


def test_a_rollback_names_what_promoted_it_and_where_to():
    world = steady(spec_with(rollout__rollback={"keepWarm": "24h"}))
    name, before = world.status.stable.rollout, world.status.last_good[0].revision
    view = scenes.seen(world)
    assert orders.rollback(view).value("x") == f"{name}/x"
    assert orders.rollback(view, "baseline").value("x") == f"{name}:{before}/x"
    assert orders.rollback(view, before).value("x") == f"{name}:{before}/x"
    with pytest.raises(NothingToOrder, match=r"int8 is no revision .* known: baseline \(\w+\)"):
        orders.rollback(view, "int8")
    with pytest.raises(NothingToOrder, match="nothing serves yet"):
        orders.rollback(scenes.seen(World()))
    assert obeyed(world, orders.rollback(view, "baseline")) == (True, "going back from gptq4 to baseline")


def test_a_rollback_of_a_rollout_under_way_takes_it_back():
    world = scenes.until("Analyzing")
    order = orders.rollback(scenes.seen(world))
    assert order.subject == world.status.rollout.id
    assert obeyed(world, order) == (True, "gptq4 is taken back")
