"""Events: a line for a person at every change, and none twice."""

from quantroll.api.status import QuantizedModelStatus, VariantStatus
from quantroll.constants import Phase, Reason
from quantroll.domain.draft import clip
from quantroll.domain.events import Event, events
from quantroll.domain.gate import GateReason
from quantroll.domain.snapshot import RequestCounts
from unit.domain.world import BAD, World, steady


def test_nothing_new_is_no_event():
    status = QuantizedModelStatus(phase=Phase.STEADY)
    assert events(status, status) == ()


def test_a_new_phase_is_told():
    before = QuantizedModelStatus(phase=Phase.SHIFTING)
    after = QuantizedModelStatus(phase=Phase.ROLLING_BACK, message="taking it back")
    assert events(before, after) == (Event("Warning", "RollingBack", "taking it back"),)


def test_a_verdict_is_told_with_its_numbers_and_a_changed_one_again():
    def table(verdict):
        row = VariantStatus(name="int8", scheme="W8A8", bits=8, verdict=verdict, message="n 2000")
        return QuantizedModelStatus(variants=[row])

    assert events(table(None), table("PASS")) == (Event("Normal", "Verdict", "int8: PASS. n 2000"),)
    assert events(table("PASS"), table("FAIL")) == (Event("Warning", "Verdict", "int8: FAIL. n 2000"),)
    assert events(table("FAIL"), table(None)) == ()


def test_the_whole_loop_tells_each_thing_once():
    world = steady()
    told = [(event.reason, event.message) for event in world.told]
    assert len(told) == len(set(told))
    assert [reason for reason, _ in told].count("Verdict") == 3
    assert {event.type for event in world.told if event.reason != "Verdict"} == {"Normal"}


def test_a_transition_is_one_event_and_every_reason_is_a_constant():
    world = World()
    world.requests = RequestCounts(500, 400)
    entered = []
    for _ in range(200):
        before = world.status.phase
        decided = world.tick()
        if world.status.phase is not before:
            entered.append(world.status.phase)
        world.works()
        world.now = max(world.now, decided.wake_at or world.now)
        if world.status.phase is Phase.ROLLED_BACK and not world.status.rollout:
            break
    assert entered[-1] is Phase.ROLLED_BACK
    assert [event.reason for event in world.told if event.reason in list(Phase)] == entered
    assert {event.reason for event in world.told} <= {*Phase, *Reason, *GateReason}


def test_a_stall_is_told_when_it_begins_and_when_its_reason_changes():
    world = World()
    for reason in (Reason.EVAL_SET_MISSING, Reason.EVAL_SET_MISSING, Reason.ADAPTER_ONLY):
        world.tick()
        world.fail(world.job("prepare"), reason, "words")
        world.now = world.tick().wake_at
        world.tick()
    assert [e for e in world.told if e.type == "Warning"] == [
        Event("Warning", "EvalSetMissing", "words"),
        Event("Warning", "AdapterOnly", "words"),
    ]


def test_rejected_is_told_once_not_as_a_stall_too():
    world = World()
    world.cells["int8"] = BAD
    world.settle()
    assert [e.reason for e in world.told].count("Rejected") == 1


def test_texts_are_cut_to_what_the_schema_allows():
    assert clip("a" * 1024) == "a" * 1024
    assert len(clip("a" * 1025)) == 1024
    world = World()
    world.tick()
    world.fail(world.job("prepare"), Reason.EVAL_SET_MALFORMED, "x" * 5000)
    world.tick()
    assert world.stalled() == "EvalSetMalformed"
