"""Adopting a spec, preparing, and measuring the baseline: what must be right before anything is quantized."""

import re
from datetime import timedelta

import pytest

from quantroll.api.engine import EngineProfile
from quantroll.api.jobs import SliceFacts
from quantroll.constants import Reason
from quantroll.domain.snapshot import JobState, Problem
from unit.domain.world import PROVEN, World, spec_with, steady


def test_the_baseline_serves_while_variants_are_made():
    world = World()
    world.until("Quantizing")
    assert world.status.stable.variant == "baseline"
    assert world.replicas == {world.status.stable.revision: 2}
    assert world.condition("Available")[0] == "True"


def test_no_route_before_anything_is_ready():
    world = World()
    world.until("Baselining", but="pods")
    world.tick()
    assert world.replicas
    assert world.route is None
    world.ready(world.status.stable.revision)
    world.tick()
    assert [share.weight for share in world.route.shares] == [100]


@pytest.mark.parametrize(
    "reason",
    ["ModelNotFound", "NotSafetensors", "AdapterOnly", "EvalSetMissing", "EvalSetDigestMismatch", "EvalSetMalformed"],
)
def test_bad_input_is_told_and_tried_again_after_growing_pauses(reason):
    world = World()
    pauses = []
    for _ in range(7):
        world.tick()
        job = world.job("prepare")
        world.fail(job, Reason(reason), "line 7 is not JSON: repair it")
        decided = world.tick()
        assert world.condition("Stalled") == ("True", reason, "line 7 is not JSON: repair it")
        assert world.status.phase == "Pending"
        assert decided.wake_at == world.status.prepare_failure.retry_at
        assert world.kinds() == ["prepare"] * len(world.made), "nothing else is made"
        pauses.append((decided.wake_at - world.now).total_seconds())
        world.passes(seconds=pauses[-1] - 1)
        world.tick()
        assert world.job("prepare") is None, "before the pause is over"
        world.passes(seconds=1)
        world.tick()  # drops the old Job, whose name is in the way
        assert world.jobs == {}
    assert pauses == [30, 60, 120, 240, 480, 600, 600]
    world.tick()
    assert world.stalled() == reason, "said for as long as nothing better is known"
    world.finish(world.job("prepare"))
    world.tick()
    assert world.stalled() is None
    assert world.status.prepare_failure is None
    assert [e.reason for e in world.told].count(reason) == 1, "an event each time it begins, not each time it is tried"


def test_a_changed_spec_is_tried_at_once():
    world = World()
    world.tick()
    world.fail(world.job("prepare"), Reason.EVAL_SET_MISSING)
    world.tick()
    world.edit(qualityGate__evalSet={"source": "pvc://tiny/there.jsonl"})
    world.tick()
    assert world.job("prepare").wanted.job_input.eval_set.path == "/claims/tiny/there.jsonl"
    assert world.stalled() is None
    world.until("Steady")


def test_what_holds_a_pod_up_is_told_and_goes_by_itself():
    world = World()
    world.tick()
    waits = Problem(Reason.VOLUME_MISSING, 'persistentvolumeclaim "tiny" not found')
    world.change_job(world.job("prepare"), problem=waits)
    world.tick()
    status, reason, message = world.condition("Stalled")
    assert (status, reason) == ("True", "VolumeMissing")
    assert '"tiny" not found' in message
    world.change_job(world.job("prepare"), problem=None)
    world.tick()
    assert world.stalled() is None
    assert world.kinds() == ["prepare"]


def test_too_few_items_start_no_job():
    world = World(spec_with(qualityGate__minSamples=2001))
    world.tick()
    world.finish(world.job("prepare"))
    for _ in range(3):
        world.tick()
    assert world.stalled() == "EvalSetTooSmall"
    assert "2000 distinct items" in world.status.conditions[2].message
    assert world.kinds() == ["prepare"]
    assert world.replicas == {}
    world.edit(qualityGate__minSamples=2000)
    world.until("Steady")


SLICED = {"source": "pvc://tiny/eval.jsonl", "sliceField": "topic", "clusterField": "doc"}


@pytest.mark.parametrize(
    ("floor", "reason", "text"),
    [
        ({"name": "edge"}, "EvalSetSliceMissing", "names 'edge', .* as its topic .there are: easy, hard"),
        ({"name": "hard", "minSamples": 41}, "EvalSetTooSmall", "slice 'hard' has 40 distinct items .* is 41"),
    ],
)
def test_a_slice_that_nothing_can_be_proven_of_starts_no_job(floor, reason, text):
    floors = [{"name": "easy", "minAcceptable": 0.9}, {"minAcceptable": 0.9} | floor]
    world = World(spec_with(qualityGate__evalSet=SLICED, qualityGate__slices=floors))
    parts = [SliceFacts(name="easy", items=1960), SliceFacts(name="hard", items=40)]
    facts = world.prepared.eval_set.model_copy(update={"slices": parts})
    world.prepared = world.prepared.model_copy(update={"eval_set": facts})
    world.tick()
    world.finish(world.job("prepare"))
    for _ in range(3):
        world.tick()
    assert world.stalled() == reason
    assert re.search(text, world.status.conditions[2].message)
    assert world.kinds() == ["prepare"]
    world.edit(qualityGate__slices=[{"name": "hard", "minAcceptable": 0.9, "minSamples": 40}])
    world.tick()
    assert world.stalled() is None
    assert world.kinds() == ["prepare", "evaluate"]


def test_a_graded_baseline_has_its_mean_as_its_score():
    world = World()
    world.until("Baselining")
    world.tick()
    job = world.job("evaluate")
    world.finish(job)
    measured = world.jobs[job.view.key].view.report
    graded = measured.model_copy(update={"evaluate": measured.evaluate.model_copy(update={"score": 0.7125})})
    world.change_job(job, report=graded)
    world.tick()
    assert (world.status.baseline.score, world.status.baseline.evaluation.score) == (0.7125, 0.7125)


def test_a_baseline_that_is_too_weak_starts_no_quantization():
    world = World()
    world.baseline_correct = 999
    world.until("Baselining")
    for _ in range(6):
        world.tick()
        world.works()
    assert world.stalled() == "BaselineTooWeak"
    assert "minBaseline is 0.5" in world.condition("Ready")[2]
    assert "quantize" not in world.kinds()
    assert world.condition("Available")[0] == "True", "it serves all the same"
    world.edit(qualityGate__minBaseline=0.4)
    world.until("Quantizing")
    assert world.kinds().count("evaluate") == 1, "counts are judged anew, nothing is measured twice"


def test_a_baseline_with_failed_requests_is_no_yardstick():
    world = World()
    world.baseline_errors = 21
    world.until("Baselining")
    for _ in range(6):
        world.tick()
        world.works()
    assert world.stalled() == "EngineFailed"
    assert "quantize" not in world.kinds()


def test_a_baseline_that_cannot_be_measured_is_tried_again():
    world = World()
    world.until("Baselining")
    world.tick()
    world.fail(world.job("evaluate"), Reason.ENGINE_NOT_READY, "no answer within 30m")
    first = world.tick()
    assert world.stalled() == "EngineNotReady"
    assert first.wake_at == world.now + timedelta(minutes=1)
    world.now = first.wake_at
    world.tick()
    world.tick()
    world.fail(world.job("evaluate"), Reason.ENGINE_NOT_READY)
    assert world.tick().wake_at == world.now + timedelta(minutes=2)
    world.until("Steady")
    assert world.status.baseline.failure is None


def test_an_unknown_engine_changes_nothing_and_names_those_there_are():
    world = World(spec_with(serving__engine="sglang"))
    world.tick()
    status, reason, message = world.condition("Stalled")
    assert (status, reason) == ("True", "EngineUnknown")
    assert "'sglang'" in message
    assert "vllm-cpu" in message
    assert (world.status.phase, world.made) == ("Pending", [])
    world.engines["sglang"] = EngineProfile(image="example.com/sglang:1", device="cpu")
    world.until("Steady")


def test_an_engine_that_is_not_there_any_more_disturbs_nothing_that_runs():
    world = steady()
    served = dict(world.replicas)
    del world.engines["vllm-cpu"]
    world.settle()
    assert world.stalled() is None, "the profile is pinned with the generation"
    world.edit(qualityGate__minAcceptable=0.9)
    world.tick()
    assert world.stalled() == "EngineUnknown"
    assert world.replicas == served
    assert world.status.resolved.generation == 1, "this generation is not taken up"


NEW_ENGINE = EngineProfile(image="example.com/vllm-cpu:2", device="cpu")


def test_a_new_engine_is_verified_off_the_traffic_and_then_rolled_out_while_the_old_one_serves():
    world = steady()
    before = world.status.stable
    world.engines["vllm-cpu"] = NEW_ENGINE
    world.until("CandidateStarting")
    assert world.status.stable == before
    assert world.route.shares[0].revision == before.revision
    assert [e.reason for e in world.told].count("EngineChanged") == 1
    said = next(e.message for e in world.told if e.reason == "EngineChanged")
    assert "(image example.com/vllm-cpu:2, was example.com/vllm-cpu:1)" in said
    assert world.status.resolved.generation == 1
    world.until("Steady")
    assert world.phases().count("Analyzing") == 4, "like any candidate"
    assert world.status.stable.revision != before.revision
    assert world.status.stable.spec.profile.image == "example.com/vllm-cpu:2"
    assert world.kinds().count("evaluate") == 8, "everything is verified with the new engine"
    assert world.kinds().count("quantize") == 3, "and nothing is made again"


def test_a_new_engine_that_serves_worse_does_not_get_the_traffic():
    world = steady()
    before = world.status.stable.revision
    world.cells |= dict.fromkeys(("int8", "gptq4"), (300, 1690, 2, 8))
    world.engines["vllm-cpu"] = NEW_ENGINE
    world.tick()
    world.settle()
    assert (world.status.phase, world.status.stable.revision) == ("Rejected", before)


def test_a_rollout_under_way_is_not_disturbed_by_a_new_engine():
    world = World()
    world.until("Analyzing")
    rollout, candidate = world.status.rollout.id, world.status.candidate
    world.engines["vllm-cpu"] = NEW_ENGINE
    world.tick()
    assert (world.status.rollout.id, world.status.candidate) == (rollout, candidate)
    world.until("Draining")
    assert world.status.stable.revision == candidate.revision
    world.until("CandidateStarting")
    world.settle()
    assert world.status.stable.spec.profile == NEW_ENGINE


def test_a_new_engine_waits_while_suspended():
    world = steady()
    world.edit(suspend=True)
    world.tick()
    world.engines["vllm-cpu"] = NEW_ENGINE
    world.tick()
    assert world.status.resolved.profile != NEW_ENGINE
    world.edit(suspend=False)
    world.tick()
    assert world.status.resolved.profile == NEW_ENGINE


@pytest.mark.parametrize("moment", ["Quantizing", "Analyzing", "Steady"])
def test_an_invalid_spec_changes_nothing_that_runs_and_recovers(moment):
    world = World()
    world.until(moment)
    served, route, jobs, phase = dict(world.replicas), world.route, dict(world.jobs), world.status.phase
    good = world.spec
    world.edit(model__dtype="int3")
    decided = world.tick()
    assert world.stalled() == "SpecInvalid"
    assert not decided.wanted.settled
    assert (world.replicas, world.route, world.jobs, world.status.phase) == (served, route, jobs, phase)
    world.spec, world.generation = good, world.generation + 1
    world.settle()
    assert world.status.stable.variant == "gptq4"


def test_a_baseline_that_never_served_is_replaced_by_a_corrected_one():
    world = World()
    world.until("Baselining", but="pods")
    world.tick()
    first = world.status.stable.revision
    world.edit(serving__maxNumSeqs=8)
    world.tick()
    assert world.status.stable.revision != first
    assert first not in world.replicas


def test_a_baseline_that_serves_is_not_replaced_but_rolled_over():
    world = World()
    world.cells = dict.fromkeys(world.cells, (100, 1890, 5, 5))
    world.settle()
    assert world.status.phase == "Rejected"
    first = world.status.stable.revision
    world.edit(serving__maxNumSeqs=8)
    world.tick()
    assert world.status.stable.revision == first
    world.settle()
    assert world.status.stable.revision != first
    assert world.status.stable.variant == "baseline"
    assert world.status.phase == "Rejected"


def test_a_lost_report_makes_the_job_anew_once_its_pod_is_surely_gone():
    world = World()
    world.tick()
    job = world.job("prepare")
    world.change_job(job, state=JobState.SUCCEEDED, finished_at=world.now)
    decided = world.tick()
    assert list(world.jobs) == [job.view.key], "its pod may still be heard of"
    assert decided.wake_at == world.now + timedelta(seconds=20)
    world.now = decided.wake_at
    decided = world.tick()
    assert decided.wanted.drop_jobs == {job.view.uid}
    world.tick()
    assert world.kinds() == ["prepare", "prepare"]
    assert world.stalled() is None


def test_an_unreadable_report_is_a_failure():
    world = World()
    world.tick()
    world.change_job(world.job("prepare"), state=JobState.SUCCEEDED, finished_at=world.now, unreadable=True)
    world.tick()
    assert world.stalled() == "JobReportUnreadable"
    world.until("Steady")


def test_job_inputs_carry_what_the_spec_says():
    world = World(spec_with(qualityGate__generation={"temperature": 0.5, "maxTokens": 9}, serving__maxNumSeqs=500))
    world.until("Evaluating")
    world.tick()
    given = world.job("evaluate", "int8").wanted.job_input
    assert (given.temperature, given.max_tokens, given.concurrency) == (0.5, 9, 64)
    assert given.eval_set.sha256 == "b" * 64, "what prepare has digested, not what lies there by now"
    assert given.baseline_key == world.status.baseline.evaluation.key
    assert given.ready_timeout_seconds == 1800


def test_all_that_asks_carries_how_it_asks_and_judges():
    generation = {"maxTokens": 1000, "repeats": 4, "systemPrompt": "Be brief."}
    scoring = {"regex": {"pattern": "x"}}
    world = steady(
        spec_with(
            qualityGate__generation=generation, qualityGate__scorer="Regex", qualityGate__scoring=scoring,
            qualityGate__alsoReport=["F1"], qualityGate__evalSet=SLICED,
        )
    )  # fmt: skip
    inputs = {job.kind: job.wanted.job_input for job in world.jobs.values()}
    asking = [inputs["evaluate"], world.tick().wanted.prober.probe_input]
    for given in [inputs["prepare"], *asking]:
        assert (given.scorer, given.scoring.to_wire(), given.system_prompt) == ("Regex", scoring, "Be brief.")
    for given in asking:
        assert given.request_timeout_seconds == 200, "at 5 tokens a second"
    assert (inputs["prepare"].also_report, inputs["evaluate"].also_report) == (["F1"], ["F1"])
    assert inputs["evaluate"].repeats == 4
    for file in (inputs["prepare"].eval_set, inputs["evaluate"].eval_set, asking[1].source):
        assert (file.slice_field, file.cluster_field) == ("topic", "doc")


def test_variants_that_are_proven_stay_proven_when_others_come():
    world = steady(spec_with(variants=[{"name": "int8", "scheme": "W8A8"}]))
    made = len(world.made)
    world.cells["w8"] = PROVEN
    world.edit(variants=[{"name": "int8", "scheme": "W8A8"}, {"name": "w8", "scheme": "W8A16"}])
    world.settle()
    assert world.kinds()[made:] == ["quantize", "evaluate"]
