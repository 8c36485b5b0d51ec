"""Rollout windows: what begins and what rises waits for them, by the clock of a place; what takes back does not."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from quantroll.api.spec import Window
from quantroll.api.status import QuantizedModelStatus
from quantroll.domain.snapshot import RequestCounts
from quantroll.domain.windows import is_open, next_opening, problem
from unit.domain.world import SPEC, World, spec_with

WEEK = ["Mon", "Tue", "Wed", "Thu"]
OFFICE = {"days": WEEK, "from": "08:00", "to": "16:00", "timeZone": "Europe/Berlin"}


def window(days, opens, closes, zone="UTC"):
    return Window.model_validate({"days": days, "from": opens, "to": closes, "timeZone": zone})


def at(text):
    """A moment in UTC; 2026-03-02 is a Monday."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("windows", "now", "opens"),
    [
        ([], "2026-03-06T12:00", None),
        ([window(WEEK, "08:00", "16:00")], "2026-03-02T08:00", None),
        ([window(WEEK, "08:00", "16:00")], "2026-03-02T07:59:59", "2026-03-02T08:00"),
        ([window(WEEK, "08:00", "16:00")], "2026-03-02T16:00", "2026-03-03T08:00"),
        # no Friday shipping
        ([window(WEEK, "08:00", "16:00")], "2026-03-06T12:00", "2026-03-09T08:00"),
        # the hours of a place, in winter and in summer
        ([window(WEEK, "08:00", "16:00", "Europe/Berlin")], "2026-03-02T06:59", "2026-03-02T07:00"),
        ([window(WEEK, "08:00", "16:00", "Europe/Berlin")], "2026-06-01T06:00", None),
        ([window(WEEK, "08:00", "16:00", "Europe/Berlin")], "2026-03-26T16:00", "2026-03-30T06:00"),
        # another day there
        ([window(["Tue"], "00:00", "06:00", "Asia/Tokyo")], "2026-03-02T15:00", None),
        ([window(["Mon"], "20:00", "24:00", "America/New_York")], "2026-03-03T04:59", None),
        ([window(["Mon"], "20:00", "24:00", "America/New_York")], "2026-03-03T05:00", "2026-03-10T00:00"),
        # over midnight, from the last day of the week into the first
        ([window(["Sun"], "22:00", "06:00")], "2026-03-02T05:59", None),
        ([window(["Sun"], "22:00", "06:00")], "2026-03-02T06:00", "2026-03-08T22:00"),
        ([window(["Sun"], "22:00", "06:00")], "2026-03-08T23:00", None),
        # the whole day
        ([window(["Wed"], "00:00", "24:00")], "2026-03-04T23:59:59", None),
        ([window(["Wed"], "00:00", "24:00")], "2026-03-05T00:00", "2026-03-11T00:00"),
        # once a week only, and it has just closed
        ([window(["Mon"], "08:00", "08:01")], "2026-03-02T08:01", "2026-03-09T08:00"),
        # several
        ([window(["Mon"], "08:00", "09:00"), window(["Mon"], "12:00", "13:00")], "2026-03-02T12:30", None),
        ([window(["Tue"], "08:00", "09:00"), window(["Mon"], "12:00", "13:00")], "2026-03-02T10:00",
         "2026-03-02T12:00"),
        # 29 March 2026: 02:00 to 03:00 is left out in Berlin; 02:30 is the moment that 03:30 is
        ([window(["Sun"], "02:30", "04:00", "Europe/Berlin")], "2026-03-29T01:29", "2026-03-29T01:30"),
        ([window(["Sun"], "02:30", "04:00", "Europe/Berlin")], "2026-03-29T01:30", None),
        ([window(["Sun"], "02:00", "02:30", "Europe/Berlin")], "2026-03-29T01:00", None),
        ([window(["Sun"], "02:30", "03:00", "Europe/Berlin")], "2026-03-29T01:15", "2026-04-05T00:30"),
        # 25 October 2026: 02:00 to 03:00 comes twice; from the first of it to the first of its end
        ([window(["Sun"], "02:30", "03:00", "Europe/Berlin")], "2026-10-25T00:29", "2026-10-25T00:30"),
        ([window(["Sun"], "02:30", "03:00", "Europe/Berlin")], "2026-10-25T01:59", None),
        ([window(["Sun"], "01:00", "02:30", "Europe/Berlin")], "2026-10-25T00:30", "2026-11-01T00:00"),
        ([window(["Sat"], "22:00", "06:00", "Europe/Berlin")], "2026-10-25T04:59", None),
    ],
)  # fmt: skip
def test_open_or_when_next(windows, now, opens):
    assert is_open(windows, at(now)) == (opens is None)
    if opens:
        assert next_opening(windows, at(now)).astimezone(UTC) == at(opens)


def test_a_time_zone_that_there_is_not_is_named():
    good, bad = window(WEEK, "08:00", "16:00"), window(WEEK, "08:00", "16:00", "Europe/Atlantis")
    assert problem([good]) is None
    assert problem([good, bad]) == (
        1, "there is no time zone 'Europe/Atlantis': take one of the IANA database, Europe/Berlin say",
    )  # fmt: skip


def world_at(moment: str, **changes) -> World:
    world = World(spec_with(rollout__windows=[OFFICE], **changes))
    world.now = at(moment)
    return world


def passes_in_a_world_that_works(world, times=6):
    for _ in range(times):
        world.tick()
        world.works()


def test_everything_but_the_traffic_goes_on_and_a_rollout_waits_for_monday():
    world = world_at("2026-03-06T10:00")
    world.until("Selecting")
    passes_in_a_world_that_works(world)
    assert world.status.phase == "Selecting"
    assert world.status.message == (
        "gptq4 is chosen and waits for a rollout window, the next of which opens on Mon 2026-03-09 08:00"
        " (Europe/Berlin)"
    )
    assert world.plan().wake_at == at("2026-03-09T07:00")
    world.now = at("2026-03-09T07:00")
    world.tick()
    assert world.status.phase == "CandidateStarting"
    assert world.stalled() is None


def test_pods_may_come_but_the_first_weight_waits_and_no_deadline_fires():
    world = world_at("2026-03-05T14:59")
    world.until("CandidateStarting")
    rollout = world.status.rollout
    world.now = at("2026-03-05T15:00")
    passes_in_a_world_that_works(world)
    assert world.status.rollout.weight == 0
    assert "is ready and waits for a rollout window" in world.status.message
    assert [e.reason for e in world.told].count("OutsideWindow") == 1
    world.now = at("2026-03-08T12:00")
    passes_in_a_world_that_works(world)
    assert world.status.rollout.reason is None
    world.now = at("2026-03-09T07:00")
    world.tick()
    assert world.status.rollout.weight == 10
    assert world.status.rollout.expires_at - rollout.expires_at == timedelta(days=3, hours=16)
    world.until("Steady")


def test_pods_that_are_lost_while_a_window_is_waited_for_get_their_time_again():
    world = world_at("2026-03-05T14:59")
    world.until("CandidateStarting")
    world.now = at("2026-03-05T15:00")
    passes_in_a_world_that_works(world)
    world.ready(world.status.candidate.revision, 0)
    world.now = at("2026-03-09T07:00")
    world.tick()
    assert world.status.rollout.deadline == at("2026-03-09T07:30")
    world.now = at("2026-03-09T07:30")
    world.tick()
    assert world.status.rollout.reason == "LoadDeadlineExceeded"


@pytest.mark.parametrize("hurried", [False, True])
def test_a_step_is_left_in_a_window_only_whoever_is_in_a_hurry(hurried):
    world = world_at("2026-03-05T14:50")
    world.until("Analyzing")
    world.now = at("2026-03-05T15:00")
    if hurried:
        world.commands["promote"] = f"{world.status.rollout.id}/1"
    for _ in range(4):
        passes_in_a_world_that_works(world, 2)
        world.passes(hours=20)
    assert world.status.rollout.weight == 10
    assert "may leave 10 % and waits for a rollout window" in world.status.message
    assert world.status.phase == "Analyzing"
    world.now = at("2026-03-09T07:00")
    world.tick()
    assert world.status.rollout.weight == (100 if hurried else 50)
    assert world.status.rollout.held_since is None


def test_an_approval_outside_of_a_window_is_kept_for_it():
    world = world_at("2026-03-05T14:50", rollout__steps=[{"weight": 10, "duration": "2m", "approval": True}])
    world.until("AwaitingApproval")
    world.now = at("2026-03-06T10:00")
    world.commands["approve"] = f"{world.status.rollout.id}:0/1"
    passes_in_a_world_that_works(world)
    assert world.status.rollout.weight == 10
    world.now = at("2026-03-09T07:00")
    world.tick()
    assert world.status.phase == "Promoting"


def test_taking_back_needs_no_window():
    world = world_at("2026-03-05T14:50", variants=SPEC["variants"][1:2])
    world.until("Analyzing")
    world.now = at("2026-03-06T10:00")
    passes_in_a_world_that_works(world)
    world.requests = RequestCounts(500, 400)
    for _ in range(4):
        world.passes(minutes=1)
        world.tick()
    assert world.status.rollout.reason == "AnalysisFailed"
    assert world.status.rollout.held_since is None
    world.settle()
    assert world.status.phase == "RolledBack"


def test_going_back_needs_no_window():
    world = world_at("2026-03-02T08:00")
    world.until("Steady")
    world.now = at("2026-03-06T10:00")
    world.commands["rollback"] = f"{world.status.stable.rollout}/1"
    world.settle()
    assert world.status.stable.variant == "baseline"


def test_a_window_that_is_taken_out_of_the_spec_is_waited_for_no_longer():
    world = world_at("2026-03-05T14:50")
    world.until("Analyzing")
    world.now = at("2026-03-06T10:00")
    passes_in_a_world_that_works(world)
    assert world.status.rollout.held_since
    world.edit(rollout__windows=[])
    world.tick()
    assert (world.status.rollout.weight, world.status.rollout.held_since) == (50, None)


def test_a_moment_by_another_clock_is_stored_as_what_it_is_in_utc():
    here = datetime(2026, 3, 8, 23, 59, tzinfo=ZoneInfo("Pacific/Chatham"))
    status = QuantizedModelStatus(suspended_at=here)
    assert status.to_wire()["suspendedAt"] == "2026-03-08T10:14:00Z"
    assert QuantizedModelStatus.model_validate(status.to_wire()).suspended_at == here
