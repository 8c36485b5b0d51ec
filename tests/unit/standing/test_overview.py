"""The tree: what is in it in which phase, what it looks like, and text of others that can do nothing."""

import re
from datetime import UTC, datetime

import pytest

from quantroll.domain.snapshot import RequestCounts
from quantroll.report.subject import read
from quantroll.standing.overview import overview
from quantroll.standing.tree import Mark, Node, Style, columns, draw, wrapped
from quantroll.standing.view import View
from quantroll.standing.why import explained
from unit.domain.world import World, steady
from unit.report import documents
from unit.report.test_text import ESCAPES
from unit.standing import scenes


def tree(world, style=None, **more):
    return "\n".join(draw(overview(scenes.seen(world, **more)), style or Style()))


def test_a_rollout_with_steps_clocks_looks_and_shares():
    world = scenes.until("Analyzing", rollout__steps=scenes.STEPS)
    world.requests = RequestCounts(total=400, failed=1)
    world.tick()
    told = tree(world)
    assert told.startswith("▶ ml/tiny: Analyzing, since 08:00:00Z (30 s); spec generation 1\n")
    for line in (
        "▶ the end of step 1 of 2: gptq4 at 10 % [since 08:00:00Z (30 s); ends in 1 min 30 s (08:02:00Z)]",
        f"✔ candidate  gptq4     {world.status.candidate.revision}  1/1 pods ready  recovery 0.956",
        f"rollout to gptq4: {world.status.rollout.id}, begun 30 s ago; given up in 23 h 59 min (2026-03-03 08:00Z)",
        "▶ step 1 of 2: 10 % for 2m, then approval  since 08:00:00Z (30 s), 1 min 30 s left",
        "✔ looks: Pass, 0 failed, 30 s ago: error-ratio: 1 of 400 requests failed (0.25%), max 1.00%",
        "· step 2 of 2: 50 % for 3m",
        "asked    baseline 90 %, gptq4 10 %",
        "applied  baseline 90 %, gptq4 10 %",
        "✔ gptq4  W4A16  PASS  Proven      0.9558 [0.9474, 0.9630]",
    ):
        assert line in told


def test_a_step_that_is_passed_is_done_and_one_that_is_not_applied_has_no_clock():
    told = tree(scenes.until("Promoting", rollout__steps=[{"weight": 10, "duration": "2m"}]))
    assert "✔ step 1 of 1: 10 % for 2m" in told
    assert re.search(r"▶ promotion: all the traffic +its weight is not applied yet", told)
    assert "▶ traffic" in told


def test_an_approval_that_is_waited_for_is_held_with_the_command():
    told = tree(scenes.until("AwaitingApproval", rollout__steps=scenes.STEPS))
    assert "⏸ step 1 of 2: 10 % for 2m, then approval  passed; awaits approval since 08:02:00Z (30 s)" in told
    assert "to let it go on: kubectl quantroll approve tiny -n ml" in told


def test_suspension_holds_the_clocks():
    world = scenes.until("Analyzing")
    world.edit(suspend=True)
    world.tick()
    told = tree(world)
    assert told.startswith("⏸")
    assert re.search(r"⏸ step 1 of 2: 10 % for 2m +held since 08:00:00Z \(30 s\)", told)
    assert "given up" not in told


def test_a_candidate_that_is_taken_back_says_why_and_at_which_step():
    told = tree(scenes.going_back())
    assert "⚠ Aborted: aborted by the annotation quantroll.io/abort" in told
    assert "✖ step 1 of 2: 10 % for 2m" in told
    assert "✔ abort 30 s ago, accepted: gptq4 is taken back" in told


def test_what_was_rejected_is_listed():
    world = scenes.aborted()
    assert f"gptq4 ({world.status.rejected[0].revision}), Aborted, 30 s ago" in tree(world)


def test_drift_with_its_numbers_and_the_next_date():
    world = steady()
    world.passes(days=8)
    world.tick()
    told = tree(world)
    assert "✔ drift: Healthy, 0.9600, of 1,000 items, floor 0.9353" in told
    assert re.search(r"checks @weekly: last 08:\d\d:\d\dZ, next in \d+ (h|d)", told)


def test_a_suspicion_names_what_it_is_confirmed_against():
    world = scenes.suspected()
    target = world.status.drift.confirming.target
    assert f"▶ being confirmed against revision {target} (0/2 pods ready): since" in tree(world)
    assert "⚠ drift: Suspect" in tree(world)


def test_what_is_kept_warm_says_until_when():
    world = steady(scenes.spec_with(rollout__rollback={"keepWarm": "24h"}))
    assert re.search(r"· before  baseline  \w+  2/2 pods ready .* kept warm, ends in 23 h", tree(world))


def test_without_the_right_to_see_pods_they_are_left_out():
    view = scenes.seen(steady())
    told = "\n".join(draw(overview(View(view.subject, view.now)), Style()))
    assert "pods ready" not in told
    assert "✔ stable" in told


def test_before_the_operator_has_seen_it():
    told = tree(World())
    assert told.splitlines()[0] == "▶ ml/tiny: not seen by the operator yet"


@pytest.mark.parametrize("width", [1, 40, 80])
def test_lines_end_at_the_edge_of_the_terminal(width):
    told = tree(scenes.rejected(), Style(width=width))
    room = max(width, 45)  # what has to stay together, and the branches before it
    assert all(len(line) <= room for line in told.splitlines())


def test_into_a_pipe_goes_no_escape_code_and_into_ascii_nothing_else():
    assert "\033" not in tree(scenes.aborted(), Style(width=80))
    assert tree(scenes.aborted(), Style(ascii=True)).isascii()


def test_colours_change_nothing_but_colours():
    plain, coloured = (tree(scenes.aborted(), Style(width=80, coloured=on)) for on in (False, True))
    assert "\033[31m✖\033[0m" in coloured
    assert re.sub(r"\033\[\d*m", "", coloured) == plain


def test_text_of_others_steers_no_terminal():
    document = documents.hostile(ESCAPES)
    status = document["status"]
    at = documents.AT
    status["history"] = [{"at": at, "phase": "Analyzing", "message": ESCAPES}]
    status["commands"] = [{"verb": ESCAPES, "value": ESCAPES, "accepted": True, "message": ESCAPES, "at": at}]
    status["rollout"] |= {
        "id": ESCAPES, "reason": ESCAPES, "message": ESCAPES, "since": at,
        "analysis": {"verdict": "Fail", "message": ESCAPES, "at": at},
    }  # fmt: skip
    check = {"revision": ESCAPES, "target": ESCAPES, "key": ESCAPES, "startedAt": at, "deadline": at}
    status["drift"] = {"schedule": ESCAPES, "message": ESCAPES, "revision": ESCAPES, "confirming": check}
    status["traffic"] = {"desired": [{"revision": ESCAPES, "weight": 100}]}
    status["conditions"] = [
        {"type": kind, "status": "True", "reason": "R", "message": ESCAPES, "lastTransitionTime": at}
        for kind in ("Stalled", "Suspended")
    ]
    document["metadata"]["annotations"] = {"quantroll.io/abort": ESCAPES}
    view = View(read(document), datetime(2026, 11, 20, 10, tzinfo=UTC))
    for lines in (draw(overview(view), Style(width=100)), explained(view, Style(width=100))):
        assert lines
        assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", "".join(lines))


def test_a_command_is_never_broken():
    lines = wrapped(
        "to have it tried again, once the cause is gone: kubectl quantroll retry tiny -n ml", Style(width=60)
    )
    assert lines == ["to have it tried again, once the cause is gone:", "kubectl quantroll retry tiny -n ml"]
    told = wrapped("see `kubectl get qm tiny -o yaml`, and then somewhere else again", Style(width=40))
    assert told == ["see `kubectl get qm tiny -o yaml`, and", "then somewhere else again"]


def test_columns_line_up_and_empty_ones_are_left_out():
    assert columns([("a", "", "数", "x"), ("bbb", "", "c", "y")]) == ["a    数  x", "bbb  c   y"]
    assert columns([]) == []


def test_branches():
    leaf = Node("leaf", Mark.GOOD)
    lines = draw(Node("root", below=[Node("one", below=[leaf, leaf]), Node("two", below=[leaf])]), Style())
    assert lines == ["root", "├─ one", "│  ├─ ✔ leaf", "│  └─ ✔ leaf", "└─ two", "   └─ ✔ leaf"]
