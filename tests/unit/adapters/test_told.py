"""The same event counts up, and what flaps falls silent without drowning anything else."""

from quantroll.adapters import told as module
from quantroll.adapters.told import BURST, REFILL, Posted, Told
from quantroll.constants import Reason
from quantroll.domain.events import Event
from quantroll.domain.snapshot import Problem, Unknown
from unit.domain.world import World, steady

BAD = Event("Warning", "OutOfMemory", "engine was killed")


class Clock:
    at = 0.0

    def __call__(self):
        return self.at


def test_what_was_posted_is_found_by_all_that_it_says():
    told = Told(Clock())
    told.note("u-1", BAD, Posted("tiny-1", 1))
    assert told.posted("u-1", BAD) == Posted("tiny-1", 1)
    assert told.posted("u-2", BAD) is None
    assert told.posted("u-1", Event("Warning", "OutOfMemory", "again")) is None
    assert told.posted("u-1", Event("Normal", "OutOfMemory", BAD.message)) is None


def test_one_reason_of_one_object_is_held_back_and_comes_back_slowly():
    clock = Clock()
    told = Told(clock)
    assert [told.may("u-1", BAD) for _ in range(BURST + 3)] == [True] * BURST + [False] * 3
    assert told.may("u-1", Event("Warning", "RollingBack", "x"))
    assert told.may("u-2", BAD)
    clock.at += REFILL
    assert [told.may("u-1", BAD) for _ in range(2)] == [True, False]
    clock.at += 1000 * REFILL
    assert [told.may("u-1", BAD) for _ in range(BURST + 1)] == [True] * BURST + [False]


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(module, "_REMEMBERED", 10)
    told = Told(Clock())
    for number in range(50):
        told.may(str(number), BAD)
        told.note(str(number), BAD, Posted("x", 1))
    assert len(told._posted) == len(told._left) == 10
    assert told.posted("49", BAD)
    assert told.posted("0", BAD) is None


def posts(world, events):
    """Objects that these events make, one a second, and how many are told at all."""
    clock = Clock()
    told, objects, calls = Told(clock), 0, 0
    for event in events:
        clock.at += 1
        if told.may("u-1", event):
            calls += 1
            if told.posted("u-1", event) is None:
                objects += 1
                told.note("u-1", event, Posted(str(objects), 1))
    return objects, calls


def test_a_flapping_pod_is_one_event_that_counts():
    world = steady()
    before = len(world.told)
    for _ in range(100):
        world.ready(world.status.stable.revision, 0, Problem(Reason.OUT_OF_MEMORY, "engine was killed"))
        world.tick()
        world.ready(world.status.stable.revision)
        world.tick()
    flapped = world.told[before:]
    assert {event.reason for event in flapped} == {"OutOfMemory"}
    objects, calls = posts(world, flapped)
    assert (objects, calls <= BURST + 1) == (1, True)


def test_a_flapping_prometheus_makes_no_storm():
    world = World()
    world.until("Analyzing")
    before, good = len(world.told), world.requests
    for number in range(100):
        world.requests = Unknown("Prometheus: Connection refused") if number % 2 else Unknown("no answer within 10 s")
        world.passes(minutes=1)
        world.tick()
        world.requests = good
        world.tick()
    objects, calls = posts(world, world.told[before:])
    assert objects <= 8
    assert calls <= 2 * BURST
