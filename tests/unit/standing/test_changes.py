"""What a watch appends, and the history."""

from quantroll.constants import Reason
from quantroll.domain.snapshot import Problem, RequestCounts
from quantroll.standing.changes import changes
from quantroll.standing.history import happenings, told
from quantroll.standing.tree import Style
from quantroll.standing.view import View
from unit.domain.world import World, steady
from unit.standing import scenes


def test_at_first_where_it_stands_and_what_it_waits_for():
    assert changes(None, scenes.seen(steady())) == ["Steady: gptq4 serves, recovery 0.956"]
    assert changes(None, scenes.seen(World())) == [
        "not seen by the operator yet",
        "waits for the operator to see it",
    ]
    waiting = scenes.seen(scenes.until("AwaitingApproval", rollout__steps=scenes.STEPS))
    assert changes(None, waiting)[1] == "waits for a person to approve gptq4, which has passed 10 % (step 1 of 2)"


def test_nothing_is_said_when_nothing_is_new():
    world = steady()
    assert changes(scenes.seen(world), scenes.seen(world, after=90)) == []


def test_from_a_step_to_the_next():
    world = scenes.until("Analyzing")
    world.tick()
    before = scenes.seen(world)
    world.passes(minutes=3)
    world.until("Shifting")
    assert changes(before, scenes.seen(world)) == [
        "Shifting: giving gptq4 50 % of the traffic, as soon as the gateway applies it",
        "gptq4: 1/2 pods ready",
    ]
    world.until("Analyzing")
    assert "traffic applied: baseline 50 %, gptq4 50 %" in changes(before, scenes.seen(world))


def test_looks_that_fail_commands_and_pods():
    world = scenes.until("Analyzing")
    world.tick()
    before = scenes.seen(world)
    world.requests = RequestCounts(total=400, failed=40)
    world.commands["approve"] = "1-other-0:0/1"
    world.ready(world.status.stable.revision, 1)
    world.tick()
    assert changes(before, scenes.seen(world)) == [
        "approve refused: the rollout under way is " + world.status.rollout.id + ", not 1-other-0",
        "looks: Fail, 1 failed: error-ratio: 40 of 400 requests failed (10.00%), max 1.00%",
        "baseline: 1/2 pods ready",
    ]


def test_what_asks_for_a_person():
    world = steady()
    before = scenes.seen(world)
    world.ready(world.status.stable.revision, 0, Problem(Reason.IMAGE_PULL, "no such image"))
    world.tick()
    said = changes(before, scenes.seen(world))
    assert any(line.startswith("ImagePullFailed: ") and "no such image" in line for line in said)


def test_pods_that_cannot_be_seen_are_not_told():
    view = scenes.seen(steady())
    blind = View(view.subject, view.now)
    assert changes(blind, view) == []
    assert changes(view, blind) == []


def test_history_has_commands_between_the_transitions():
    view = scenes.seen(scenes.aborted())
    found = happenings(view)
    assert found == sorted(found, key=lambda one: one.at)
    assert "abort accepted" in [one.what for one in found]
    assert found[-1].to_wire() == {
        "at": view.status.history[-1].at.isoformat(),
        "what": "RolledBack",
        "message": "gptq4 was taken back: aborted by the annotation quantroll.io/abort",
    }
    lines = told(view, Style())
    assert lines[-1].startswith("2026-03-02T08:00:06Z  30 s  RolledBack         gptq4 was taken back")
    assert len(lines) == len(found)


def test_a_history_before_anything_has_happened():
    assert told(scenes.seen(World()), Style()) == ["nothing has happened yet"]
