"""Random worlds: whatever happens in whatever order, every pass keeps the invariants, and the end is a settled one."""

import copy
import json
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from quantroll.api.jobs import ConfirmResult
from quantroll.api.status import QuantizedModelStatus, Share
from quantroll.constants import Reason
from quantroll.domain.memory import promoted_by
from quantroll.domain.snapshot import (
    JobState,
    PairCounts,
    Problem,
    QualityCounts,
    RequestCounts,
    RouteView,
    ServerView,
    Unknown,
)
from unit.domain import invariants
from unit.domain.world import BAD, PROVEN, SPEC, UNSURE, World, spec_with

REASONS = [
    Reason.EVAL_SET_MALFORMED, Reason.QUANTIZATION_FAILED, Reason.ENGINE_NOT_READY, Reason.INPUT_CHANGED,
    Reason.BASELINE_RESULTS_MISSING,
]  # fmt: skip
OOM = Problem(Reason.OUT_OF_MEMORY, "container job was killed for want of memory")
STEPS = [
    [{"weight": 10, "duration": "2m"}, {"weight": 50, "duration": "3m"}],
    [{"weight": 10, "duration": "2m"}],
    [{"weight": 100, "duration": "1m"}],
    [{"weight": 1, "duration": "1s"}, {"weight": 34, "duration": "1s"}, {"weight": 99, "duration": "1s"}],
]
UNREACHABLE = Unknown("Prometheus does not answer")
HEALTHY, POOR = QualityCounts(960, 40, 1000), QualityCounts(800, 200, 1000)
AS_GOOD = PairCounts(both=960, harm=10, gain=10, neither=20, distinct=1000)
WORSE = ConfirmResult(items=1000, errors=0, both=790, serving_only=10, target_only=195, neither=5, source_sha256="e")
EQUAL = ConfirmResult(items=1000, errors=0, both=950, serving_only=10, target_only=10, neither=30, source_sha256="e")
WINDOWS = [
    [],
    [{"days": ["Sun"], "from": "23:59", "to": "00:01", "timeZone": "Pacific/Chatham"}],
    [{"days": ["Mon", "Wed", "Fri"], "from": "08:00", "to": "12:00", "timeZone": "Europe/Berlin"}],
]
VERBS = ["abort", "approve", "promote", "retry", "rollback"]
NEAR = ConfirmResult(items=1000, errors=0, both=925, serving_only=5, target_only=15, neither=55, source_sha256="e")
SHIFT = ConfirmResult(items=1000, errors=0, both=790, serving_only=10, target_only=12, neither=188, source_sha256="e")
SILENT = ConfirmResult(items=0, errors=1000, both=0, serving_only=0, target_only=0, neither=0, source_sha256="e")
STARTS = ["CandidateStarting", "Analyzing", "Promoting", "Draining", "Steady"]
VARIANTS = [SPEC["variants"], SPEC["variants"][:1], SPEC["variants"][1:2], SPEC["variants"][2:], SPEC["variants"][::-1]]


class Loop(RuleBasedStateMachine):
    """Events of a cluster and of its people, in any order, with passes in between."""

    @initialize(phase=st.sampled_from(["", *STARTS]), steps=st.sampled_from(STEPS))
    def begin(self, phase, steps):
        self.world = World(spec_with(serving__replicas=3, rollout__steps=steps))
        self.old = self.world.snapshot()
        if phase:  # most of what can go wrong goes wrong while traffic moves
            self.world.until(phase)

    @rule(times=st.integers(1, 4))
    def passes(self, times):
        for _ in range(times):
            self.world.tick()

    @rule()
    def all_goes_well_for_a_while(self):
        for _ in range(3):
            decided = self.world.tick()
            self.world.works()
            if decided.wake_at:
                self.world.now = max(self.world.now, decided.wake_at)

    @rule(seconds=st.sampled_from([1, 5, 30, 200, 4000]))
    def time_goes_by(self, seconds):
        self.world.passes(seconds=seconds)

    @precondition(lambda self: self.world.running())
    @rule(how=st.sampled_from(["well", "well", "reason", "silent", "lost", "unreadable", "oom", "restarts"]),
          reason=st.sampled_from(REASONS))  # fmt: skip
    def a_job_ends(self, how, reason):
        world, job = self.world, self.world.running()[0]
        if how == "well":
            world.finish(job)
        elif how in ("reason", "silent"):
            world.fail(job, reason if how == "reason" else None)
        elif how == "lost":
            world.change_job(job, state=JobState.SUCCEEDED, finished_at=world.now)
        elif how == "unreadable":
            world.change_job(job, state=JobState.SUCCEEDED, finished_at=world.now, unreadable=True)
        elif how == "oom":
            world.change_job(job, state=JobState.FAILED, finished_at=world.now, problem=OOM)
        else:
            world.change_job(job, engine_restarts=3, engine_problem=Problem(Reason.ENGINE_FAILED, "ValueError: no"))

    @precondition(lambda self: self.world.jobs)
    @rule(which=st.integers(0, 9))
    def a_job_is_deleted(self, which):
        del self.world.jobs[sorted(self.world.jobs)[which % len(self.world.jobs)]]

    @precondition(lambda self: self.world.replicas)
    @rule(which=st.integers(0, 1), pods=st.sampled_from([0, 1, 3, 3]), in_flight=st.sampled_from([None, 0, 7]))
    def pods_come_and_go(self, which, pods, in_flight):
        world = self.world
        revision = sorted(world.replicas)[which % len(world.replicas)]
        world.ready(revision, min(pods, world.replicas[revision]))
        world.servers[revision] = replace(world.servers[revision], in_flight=in_flight)

    @rule()
    def the_gateway_accepts(self):
        self.world.accept()

    @precondition(lambda self: self.world.route and self.world.status.stable)
    @rule(how=st.sampled_from(["deleted", "edited", "refused"]))
    def the_route_is_tampered_with(self, how):
        world = self.world
        if how == "deleted":
            world.route = None
        elif how == "edited":
            world.route = RouteView(shares=(Share(revision="elsewhere", weight=100),), accepted=True)
        else:
            world.route = replace(world.route, accepted=False, message="ResolvedRefs is False")

    @rule()
    def the_gateway_api_goes_or_comes(self):
        self.world.gateway_api = not self.world.gateway_api
        self.world.route = None

    @rule(floor=st.sampled_from([0.5, 0.94, 0.999]))
    def another_floor(self, floor):
        self.world.edit(qualityGate__minAcceptable=floor)

    @rule(variants=st.sampled_from(VARIANTS))
    def other_variants(self, variants):
        self.world.edit(variants=variants)

    @rule(steps=st.sampled_from(STEPS))
    def other_steps(self, steps):
        self.world.edit(rollout__steps=steps)

    @rule(replicas=st.sampled_from([1, 3, 10]))
    def other_replicas(self, replicas):
        self.world.edit(serving__replicas=replicas)

    @rule(mode=st.sampled_from(["Surge", "Replace", "Replace"]), down=st.booleans())
    def another_room(self, mode, down):
        self.world.edit(rollout__capacity={"mode": mode, "allowDowntime": down and mode == "Replace"})

    @precondition(lambda self: self.world.replicas)
    @rule(which=st.integers(0, 1), long=st.booleans())
    def pods_find_no_node(self, which, long):
        world = self.world
        revision = sorted(world.replicas)[which % len(world.replicas)]
        since = world.now - timedelta(hours=long)
        world.servers[revision] = ServerView(problem=Problem(Reason.UNSCHEDULABLE, "no GPU", since), in_flight=0)

    @rule(seqs=st.sampled_from([8, 64]))
    def other_serving(self, seqs):
        self.world.edit(serving__maxNumSeqs=seqs)

    @rule(source=st.sampled_from(["pvc://tiny/eval.jsonl", "pvc://tiny/other.jsonl"]))
    def another_eval_set(self, source):
        self.world.edit(qualityGate__evalSet={"source": source})

    @rule(least=st.sampled_from([500, 5000]))
    def more_samples_asked_for(self, least):
        self.world.edit(qualityGate__minSamples=least)

    @rule(good=st.booleans())
    def a_spec_that_is_none_or_one_again(self, good):
        self.world.edit(model__dtype="bfloat16" if good else "int3")

    @rule(schedule=st.sampled_from([SPEC["driftCheck"]["schedule"], "0 0 31 2 *"]))
    def a_date_that_never_comes(self, schedule):
        self.world.edit(driftCheck__schedule=schedule)

    @rule(engine=st.sampled_from(["vllm-cpu", "unheard-of"]))
    def another_engine(self, engine):
        self.world.edit(serving__engine=engine)

    @rule(tag=st.sampled_from(["1", "2"]))
    def the_admin_changes_the_image(self, tag):
        profile = self.world.engines["vllm-cpu"]
        self.world.engines["vllm-cpu"] = profile.model_copy(update={"image": f"example.com/vllm-cpu:{tag}"})

    @rule(variant=st.sampled_from(["int8", "gptq4", "rtn4"]), cells=st.sampled_from([PROVEN, UNSURE, BAD]))
    def the_next_evaluation_finds(self, variant, cells):
        self.world.cells[variant] = cells

    @rule(counts=st.sampled_from([RequestCounts(500, 0), RequestCounts(500, 400), RequestCounts(3, 0), UNREACHABLE]))
    def prometheus_counts_requests(self, counts):
        self.world.requests = counts

    @rule(counts=st.sampled_from([None, RequestCounts(0, 0), RequestCounts(500, 0), UNREACHABLE]))
    def prometheus_counts_requests_to_stable(self, counts):
        self.world.stable_requests = counts

    @rule(pairs=st.sampled_from([AS_GOOD, PairCounts(500, 400, 0, 100, 1000), PairCounts(3, 1, 0, 0, 9), UNREACHABLE]))
    def prometheus_counts_pairs(self, pairs):
        self.world.pairs = pairs

    @rule(counts=st.sampled_from([HEALTHY, POOR, QualityCounts(5, 5, 1000), UNREACHABLE]))
    def prometheus_counts_answers(self, counts):
        self.world.quality = counts

    @rule(found=st.sampled_from([WORSE, EQUAL, NEAR, SHIFT, SILENT]))
    def the_confirmation_will_find(self, found):
        self.world.confirmed = found

    @rule()
    def a_check_is_due(self):
        drift = self.world.status.drift
        if drift and drift.next:
            self.world.now = max(self.world.now, drift.next)

    @rule(held=st.booleans())
    def suspended_or_resumed(self, held):
        self.world.edit(suspend=held)

    @rule(verb=st.sampled_from(VERBS), token=st.integers(0, 2), right=st.booleans(), detailed=st.booleans())
    def a_command(self, verb, token, right, detailed):
        status = self.world.status
        names = [entry.rollout for entry in status.rejected] + ["jobs"]
        subject = names[0] if verb == "retry" else status.rollout.id if status.rollout else "1-none-0"
        if verb == "rollback" and status.stable and (status.rollout is None or status.rollout.draining):
            subject = promoted_by(status.stable)
        detail = ""
        if verb == "approve" or (verb == "promote" and detailed):
            detail = f":{status.rollout.step}" if status.rollout else ""
        elif verb == "rollback" and detailed:
            detail = "".join(f":{past.revision}" for past in status.last_good[:1])
        self.world.commands[verb] = f"{subject}{detail}/{token}" if right else "nonsense"

    @rule(keep=st.sampled_from(["0s", "1h"]), back_to=st.sampled_from(["LastGood", "Baseline"]),
          cooldown=st.sampled_from(["0s", "24h"]))  # fmt: skip
    def another_way_back(self, keep, back_to, cooldown):
        self.world.edit(rollout__rollback={"keepWarm": keep, "target": back_to, "cooldown": cooldown})

    @rule(windows=st.sampled_from(WINDOWS))
    def other_windows(self, windows):
        self.world.edit(rollout__windows=windows)

    @rule(half=st.booleans())
    def the_operator_dies_after_its_write(self, half):
        self.world.dies(half=half)

    @rule()
    def the_write_is_lost(self):
        self.world.decide(self.world.snapshot())

    @rule(staleness=st.sampled_from(["1s", "15d"]), early=st.sampled_from([[], ["1h"], ["1s", "5s", "1d"]]))
    def other_checks(self, staleness, early):
        self.world.edit(driftCheck__missingData={"maxStaleness": staleness}, driftCheck__afterPromotion=early)

    @rule(metric=st.sampled_from(["Probe", "thumbs"]), queries=st.sampled_from([frozenset(), frozenset({"thumbs"})]))
    def another_metric(self, metric, queries):
        self.world.queries = queries
        self.world.edit(driftCheck__metric=metric)

    @rule(breach=st.sampled_from(["Rollback", "Alert"]))
    def another_answer_to_a_breach(self, breach):
        self.world.edit(driftCheck__onBreach=breach)

    @rule()
    def watches_fall_behind(self):
        self.old = self.world.snapshot()

    @rule()
    def a_pass_with_old_observations(self):
        """The operator starts again, or a watch lags: children as they were, with the status as it is."""
        now = self.world.snapshot()
        self.world.decide(replace(now, jobs=self.old.jobs, servers=self.old.servers, route=self.old.route))

    @rule()
    def the_whole_object_is_old(self):
        """Compare-and-swap refuses what comes of it; it must not be nonsense all the same."""
        self.world.decide(self.old)

    @rule()
    def the_status_is_read_back(self):
        wire = json.loads(json.dumps(self.world.status.to_wire()))
        assert QuantizedModelStatus.model_validate(wire) == self.world.status

    @invariant()
    def all_goes_with_the_model(self):
        invariants.goes_with_the_model(self.world.snapshot(), self.world.now)

    def teardown(self):
        if hasattr(self, "world"):
            it_ends_by_itself(self.world)


class Steps(RuleBasedStateMachine):
    """One rollout of which not all is known: nothing else happens to it, so its steps are held, and left, often."""

    @initialize(approval=st.booleans())
    def begin(self, approval):
        steps = [{"weight": weight, "duration": "1m"} for weight in (5, 20, 60)]
        self.world = World(spec_with(rollout__steps=[*steps[:2], {**steps[2], "approval": approval}]))
        self.world.until("Analyzing")

    @rule(requests=st.sampled_from([RequestCounts(500, 0), RequestCounts(3, 0), UNREACHABLE]),
          pairs=st.sampled_from([AS_GOOD, PairCounts(3, 1, 0, 0, 9), UNREACHABLE]))  # fmt: skip
    def prometheus_counts(self, requests, pairs):
        self.world.requests, self.world.pairs = requests, pairs

    @rule(seconds=st.sampled_from([10, 60, 200]))
    def time_goes_by(self, seconds):
        for _ in range(2):
            self.world.tick()
            self.world.works()
        self.world.passes(seconds=seconds)

    @precondition(lambda self: self.world.status.rollout)
    @rule(verb=st.sampled_from(["approve", "promote"]), token=st.integers(0, 2), detailed=st.booleans())
    def a_command(self, verb, token, detailed):
        rollout = self.world.status.rollout
        self.world.commands[verb] = f"{rollout.id}{f':{rollout.step}' if detailed else ''}/{token}"

    @rule(half=st.booleans())
    def the_operator_dies_after_its_write(self, half):
        self.world.dies(half=half)

    def teardown(self):
        if hasattr(self, "world"):
            self.world.edit(rollout__steps=[{"weight": weight, "duration": "1m"} for weight in (5, 20, 60)])
            it_ends_by_itself(self.world)
            assert self.world.status.stable.variant == "gptq4"


def it_ends_by_itself(world):
    """When all is well again, the loop comes to an end: the same one if the operator is killed right now (I8)."""
    killed = copy.deepcopy(world)
    killed.dies(half=False)
    world.tick()
    for one in (killed, world):
        all_is_well(one)
    assert end_of(killed) == end_of(world)


def end_of(world):
    """What is left of it, without times."""
    rows = [(row.name, row.verdict, row.revision) for row in world.status.variants]
    rejected = {(entry.revision, entry.reason) for entry in world.status.rejected}
    past = [(past.revision, past.warm_until is None) for past in world.status.last_good]
    serves = world.status.stable and world.status.stable.revision
    return serves, world.replicas, world.backends, rows, rejected, past, world.status.phase


def all_is_well(world):
    """From here on, until nothing moves any more."""
    world.gateway_api = True
    world.requests, world.quality = RequestCounts(500, 0), HEALTHY
    world.stable_requests, world.pairs = None, AS_GOOD
    world.edit(
        model__dtype="bfloat16", serving__engine="vllm-cpu", qualityGate__minSamples=500, suspend=False,
        driftCheck__metric="Probe", driftCheck__missingData={"maxStaleness": "15d"}, rollout__windows=[],
        driftCheck__schedule="@weekly",
    )  # fmt: skip
    world.settle()
    assert world.stalled() in (None, "Rejected", "RolledBack", "Flapping")


class LoopOnceMore(Loop):
    """Half of the loop's examples, so that both processors have some and neither test takes long."""


for machine, examples in ((Loop, 50), (LoopOnceMore, 50), (Steps, 40)):
    machine.TestCase.settings = settings(
        max_examples=examples,
        stateful_step_count=30,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.reuse, Phase.generate],  # shrinking takes longer than a test may
    )
patient = pytest.mark.timeout(300)  # some twenty seconds of computing, on a machine that does nothing else
TestLoop, TestLoopOnceMore, TestSteps = (patient(machine.TestCase) for machine in (Loop, LoopOnceMore, Steps))
