"""What is waited for, since when and what would unblock it: in every phase, and for every reason that can block."""

import copy
from datetime import timedelta
from functools import cache

import pytest

from quantroll.api.status import ConditionStatus
from quantroll.constants import Condition, Phase, Reason
from quantroll.domain.snapshot import Problem, Unknown
from quantroll.standing.remedies import known
from quantroll.standing.tree import Style
from quantroll.standing.why import explained, needs_a_person, why
from unit.domain.world import World, steady
from unit.standing import scenes
from unit.test_runbooks import GOOD, REASONS

BLOCKING = sorted(REASONS - GOOD - {Phase.REJECTED, Phase.ROLLED_BACK})  # these two are phases, and tested as such
IN_PHASE = {
    Phase.PENDING: lambda: scenes.until("Pending"),
    Phase.BASELINING: lambda: scenes.until("Baselining"),
    Phase.QUANTIZING: lambda: scenes.until("Quantizing"),
    Phase.EVALUATING: lambda: scenes.until("Evaluating"),
    Phase.SELECTING: lambda: scenes.until("Selecting"),
    Phase.CANDIDATE_STARTING: lambda: scenes.until("CandidateStarting"),
    Phase.SHIFTING: lambda: scenes.until("Shifting"),
    Phase.ANALYZING: lambda: scenes.until("Analyzing"),
    Phase.AWAITING_APPROVAL: lambda: scenes.until("AwaitingApproval", rollout__steps=scenes.STEPS),
    Phase.PROMOTING: lambda: scenes.until("Promoting"),
    Phase.DRAINING: lambda: scenes.until("Draining"),
    Phase.STEADY: steady,
    Phase.REJECTED: scenes.rejected,
    Phase.ROLLING_BACK: scenes.going_back,
    Phase.ROLLED_BACK: scenes.aborted,
}
WANT_A_PERSON = {Phase.AWAITING_APPROVAL, Phase.REJECTED, Phase.ROLLED_BACK}


@cache
def at(phase):
    """A world in this phase, made once; it is copied before it is changed."""
    return IN_PHASE[phase]()


def stalled(world, reason, message="it says why"):
    """A world in which this is in everybody's way."""
    world = copy.copy(world)
    entry = ConditionStatus(
        type=Condition.STALLED, status="True", reason=reason, message=message, last_transition_time=world.now
    )
    others = [found for found in world.status.conditions if found.type != Condition.STALLED]
    world.status = world.status.model_copy(update={"conditions": [*others, entry]})
    return world


def checked(waits):
    """Each wait says something, and what would end it."""
    for wait in waits:
        assert wait.what.strip()
        assert wait.unblock
        assert all(hint.strip() for hint in wait.unblock)
    return waits


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_says_what_it_waits_for_since_when_and_what_ends_it(phase):
    view = scenes.seen(at(phase))
    assert view.status.phase is phase
    waits = checked(why(view))
    assert (waits == []) == (phase is Phase.STEADY)
    if waits:
        assert waits[0].since is not None
    assert needs_a_person(waits) == (phase in WANT_A_PERSON)


@pytest.mark.parametrize("reason", BLOCKING)
@pytest.mark.parametrize("phase", [Phase.PENDING, Phase.ANALYZING, Phase.STEADY])
def test_every_reason_that_can_block_says_what_to_do(reason, phase):
    first = checked(why(scenes.seen(stalled(at(phase), reason))))[0]
    assert first.reason == reason
    assert first.what == "it says why"
    assert first.since is not None
    assert first.person
    assert first.unblock[0] in known()[reason].do.replace("NAME", "tiny")
    assert first.unblock[1].startswith("by itself: ")


@pytest.mark.parametrize("reason", BLOCKING)
def test_every_reason_for_which_a_revision_is_rejected_says_how_to_have_it_tried_again(reason):
    world = copy.copy(at(Phase.ROLLED_BACK))
    entry = world.status.rejected[0].model_copy(update={"reason": reason})
    world.status = world.status.model_copy(update={"rejected": [entry]})
    first = checked(why(scenes.seen(world)))[0]
    assert first.reason == reason
    assert first.unblock[0].endswith("kubectl quantroll retry tiny -n ml")
    assert len(first.unblock) == 3


def test_a_reason_of_a_newer_operator_leads_to_its_runbook():
    first = checked(why(scenes.seen(stalled(scenes.until("Pending"), "FluxCapacitorCold"))))[0]
    assert first.unblock == ("see docs/runbooks.md#fluxcapacitorcold of the operator's release",)


def test_nothing_is_known_before_the_operator_has_looked():
    [wait] = checked(why(scenes.seen(World())))
    assert wait.what == "the operator to see it"


def test_a_spec_that_the_operator_has_not_seen_comes_first():
    world = steady()
    world.edit(serving__replicas=3)
    assert "generation 2 of the spec" in checked(why(scenes.seen(world)))[0].what


def test_suspension_comes_before_the_phase_and_says_how_to_go_on():
    world = scenes.until("AwaitingApproval", rollout__steps=scenes.STEPS)
    world.edit(suspend=True)
    world.tick()
    suspended, approval, *_ = checked(why(scenes.seen(world)))
    assert suspended.reason == Reason.SUSPENDED
    assert suspended.unblock[0].endswith("kubectl quantroll resume tiny -n ml")
    assert approval.unblock[0].endswith("kubectl quantroll approve tiny -n ml")


def test_an_approval_names_the_step_and_both_ways_out():
    [wait] = why(scenes.seen(at(Phase.AWAITING_APPROVAL), after=90))
    assert wait.what == "a person to approve gptq4, which has passed 10 % (step 1 of 2)"
    assert [hint.split(": ")[1] for hint in wait.unblock] == [
        "kubectl quantroll approve tiny -n ml",
        "kubectl quantroll abort tiny -n ml",
    ]


def test_a_command_to_type_goes_to_the_cluster_that_was_looked_at():
    view = scenes.seen(at(Phase.AWAITING_APPROVAL), flags=("--context", "prod west"))
    assert why(view)[0].unblock[0].endswith("approve tiny -n ml --context 'prod west'")


def test_a_step_says_when_it_ends_and_later_what_holds_it():
    world = scenes.until("Analyzing")
    [wait] = why(scenes.seen(world))
    assert wait.until == world.status.rollout.since + timedelta(minutes=2)
    assert "kubectl quantroll promote tiny -n ml" in wait.unblock[1]
    world.requests = Unknown("Prometheus is away")
    for _ in range(2):
        world.passes(minutes=5)
        world.tick()
    metrics, held, *_ = checked(why(scenes.seen(world)))
    assert metrics.reason == Reason.METRICS_UNAVAILABLE
    assert "Prometheus is away" in metrics.what
    assert "rollout.analysis" in metrics.unblock[0]
    assert held.reason == Phase.ANALYZING
    assert held.since == world.status.rollout.since + timedelta(minutes=2)
    assert "more requests" in held.unblock[0]
    assert (held.then, held.until) == ("given up", world.status.rollout.expires_at)


def test_a_candidate_that_loads_counts_its_pods_and_has_a_deadline():
    world = scenes.until("CandidateStarting", serving__replicas=4)
    [wait] = why(scenes.seen(world))
    assert wait.what == "pods of gptq4 to load: 0 of 1 ready"
    assert (wait.then, wait.until) == ("given up", world.status.rollout.deadline)


def test_without_the_gateway_api():
    world = World()
    world.gateway_api = False
    world.until("Selecting")
    world.tick()
    first, second = checked(why(scenes.seen(world)))
    assert first.reason == Reason.GATEWAY_API_MISSING
    assert "CRDs" in first.unblock[0]
    assert "waits for the Gateway API" in second.what


def test_outside_of_all_windows_it_says_when_the_next_opens():
    hours = [{"days": ["Tue"], "from": "08:00", "to": "16:00"}]
    world = scenes.until("Selecting", rollout__windows=hours)
    world.tick()
    [wait] = checked(why(scenes.seen(world)))
    assert wait.reason == Reason.OUTSIDE_WINDOW
    assert (wait.then, wait.until) == ("opens", world.now + timedelta(days=1))


def test_a_step_that_waits_for_a_window():
    world = scenes.until("Analyzing")
    world.edit(rollout__windows=[{"days": ["Tue"], "from": "08:00", "to": "16:00"}])
    world.passes(minutes=3)
    world.tick()
    [wait] = checked(why(scenes.seen(world)))
    assert (wait.reason, wait.since) == (Reason.OUTSIDE_WINDOW, world.status.rollout.held_since)


def test_a_failed_job_is_tried_again_at_a_time():
    world = scenes.until("Pending")
    world.fail(world.job("prepare"), Reason.EVAL_SET_MISSING, "no file")
    world.tick()
    wait, *_ = checked(why(scenes.seen(world, after=10)))
    assert wait.reason == Reason.EVAL_SET_MISSING
    assert (wait.then, wait.until) == ("tried again", world.status.prepare_failure.retry_at)
    assert wait.unblock[-1].endswith("kubectl quantroll retry tiny --jobs -n ml")


def test_a_way_back_counts_pods_and_can_be_stopped():
    world = steady(scenes.spec_with(rollout__rollback={"keepWarm": "24h"}))
    world.commands["rollback"] = f"{world.status.stable.rollout}/1"
    world.tick()
    [wait] = checked(why(scenes.seen(world)))
    assert wait.what.startswith("all pods of baseline to be ready (2 of 2 are), and then its traffic: ")
    assert wait.unblock[-1] == "to stay with what serves: kubectl quantroll abort tiny -n ml"


def test_none_proven_says_of_each_row_what_to_do():
    [wait] = why(scenes.seen(scenes.rejected()))
    assert wait.unblock[0] == known()["Rejected"].do
    assert wait.unblock[1].startswith("int8 (FAIL, BelowFloor): ")
    assert wait.unblock[-1] == "all figures: kubectl quantroll report tiny -n ml"


def test_stable_without_a_pod_is_told_in_every_phase():
    world = steady()
    world.servers = {revision: world.servers[revision] for revision in ()}
    world.tick()
    [wait] = checked(why(scenes.seen(world)))
    assert wait.what.startswith("a ready pod of what serves")
    assert wait.person


def test_a_pod_that_has_a_problem_is_told_once():
    world = steady()
    revision = world.status.stable.revision
    world.ready(revision, 0, Problem(Reason.UNSCHEDULABLE, "0/3 nodes are available"))
    world.tick()
    [wait] = checked(why(scenes.seen(world)))
    assert wait.reason == Reason.UNSCHEDULABLE
    assert "0/3 nodes" in wait.what


@pytest.mark.parametrize(
    ("verdict", "reason", "person"),
    [
        ("Unknown", Reason.QUALITY_UNKNOWN, False),
        ("Suspect", Reason.FLOOR_SUSPECT, False),
        ("Breached", Reason.FLOOR_BREACHED, True),
        ("PopulationShift", Reason.POPULATION_SHIFT, True),
    ],
)
def test_a_drift_check_that_is_not_content_waits_for_the_next(verdict, reason, person):
    world = steady()
    world.status = world.status.model_copy(
        update={"drift": world.status.drift.model_copy(update={"verdict": verdict, "message": "numbers"})}
    )
    [wait] = checked([one for one in why(scenes.seen(world)) if one.reason == reason])
    assert wait.until == world.status.drift.next
    assert wait.then == "due"
    assert wait.person is person


@pytest.mark.parametrize("verdict", ["Healthy", "Pending"])
def test_a_drift_check_that_is_content_waits_for_nothing(verdict):
    world = steady()
    drift = world.status.drift.model_copy(update={"verdict": verdict})
    world.status = world.status.model_copy(update={"drift": drift})
    assert why(scenes.seen(world)) == []


def test_a_confirmation_has_its_deadline():
    world = scenes.suspected()
    [wait] = checked(why(scenes.seen(world)))
    assert wait.until == world.status.drift.confirming.deadline
    assert not wait.person


def test_a_command_without_an_answer_is_waited_for():
    world = scenes.until("Analyzing")
    world.commands["abort"] = f"{world.status.rollout.id}/7"
    world.commands["restartedAt"] = "somebody else's"
    wait = checked(why(scenes.seen(world)))[-1]
    assert wait.what == f"the operator to answer abort={world.status.rollout.id}/7"


def test_for_people():
    lines = explained(scenes.seen(at(Phase.AWAITING_APPROVAL)), Style(width=80))
    assert lines == [
        "waits for  a person to approve gptq4, which has passed 10 % (step 1 of 2)",
        "           since 08:02:00Z (30 s)",
        "  unblock  to let it go on: kubectl quantroll approve tiny -n ml",
        "           to take it back: kubectl quantroll abort tiny -n ml",
    ]
    assert explained(scenes.seen(steady()), Style()) == ["waits for nothing: gptq4 serves, recovery 0.956"]
