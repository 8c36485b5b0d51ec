"""Rung by rung: what is made, what is skipped, what is judged anew, and what is chosen."""

import pytest

from quantroll.api.counts import SliceCounts
from quantroll.api.engine import EngineProfile
from quantroll.api.jobs import SliceFacts
from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import WorstSlice
from quantroll.constants import Condition, Phase, Reason
from quantroll.domain.draft import Draft
from quantroll.domain.ladder import good_by_counts
from quantroll.domain.snapshot import JobState, Problem
from unit.domain.world import BAD, PROVEN, UNSURE, World, spec_with, steady

OOM = Problem(Reason.OUT_OF_MEMORY, "container job was killed for want of memory")


def test_the_ladder_ends_at_the_first_that_is_not_proven():
    world = World()
    world.cells["gptq4"] = UNSURE
    world.settle()
    assert world.verdicts() == {"int8": "PASS", "gptq4": "INCONCLUSIVE", "rtn4": None}
    assert world.status.stable.variant == "int8"
    assert world.kinds().count("quantize") == 2, "past it no Job starts"


def test_nothing_proven_is_rejected_and_the_baseline_keeps_serving():
    world = World()
    world.cells["int8"] = BAD
    world.settle()
    assert world.status.phase == "Rejected"
    assert world.status.stable.variant == "baseline"
    assert world.stalled() == "Rejected"
    assert world.status.rollout is None
    assert "int8 FAIL: BelowFloor" in world.status.message


def ends(world, job, how):
    if how == "report":
        world.fail(job, Reason.LAYERS_MISSED, "no layer matched")
    elif how == "oom":
        world.change_job(job, state=JobState.FAILED, finished_at=world.now, problem=OOM)
    elif how == "restarts":
        cause = Problem(Reason.ENGINE_FAILED, "ValueError: head size 5 is not supported")
        world.change_job(job, engine_restarts=2, engine_problem=cause)
    else:
        world.fail(job, None)


@pytest.mark.parametrize(
    ("stage", "how", "verdict", "reason"),
    [
        ("quantize", "report", "ERROR", "LayersMissed"),
        ("quantize", "oom", "ERROR", "OutOfMemory"),
        ("quantize", "silent", "ERROR", "JobFailed"),
        ("evaluate", "report", "ERROR", "LayersMissed"),
        ("evaluate", "oom", "ERROR", "OutOfMemory"),
        ("evaluate", "restarts", "Infeasible", "Infeasible"),
    ],
)
def test_a_failed_rung_is_skipped_and_waits_for_the_spec_to_change(stage, how, verdict, reason):
    world = World()
    world.until("Quantizing" if stage == "quantize" else "Evaluating")
    world.tick()
    ends(world, world.job(stage, "int8"), how)
    world.tick()
    world.passes(seconds=20)  # a silent Job may still be heard of
    world.tick()
    row = world.status.variants[0]
    assert (row.verdict, row.reason) == (verdict, reason)
    assert row.message
    world.settle()
    assert world.verdicts() == {"int8": verdict, "gptq4": "PASS", "rtn4": "FAIL"}
    assert world.status.stable.variant == "gptq4"
    made = len(world.made)
    world.passes(days=30)
    world.settle()
    assert len(world.made) == made, "tried again without a reason"
    world.edit(rollout__deadlines={"modelLoad": "40m"})
    world.settle()
    assert world.verdicts()["int8"] == "PASS"
    assert len(set(world.made)) < len(world.made), "the same Job, made anew"


def test_an_engine_that_restarts_ends_the_evaluation_early():
    world = World()
    world.until("Evaluating")
    world.tick()
    ends(world, world.job("evaluate", "int8"), "restarts")
    decided = world.tick()
    assert not any(job.key == world.status.variants[0].failure.key for job in decided.wanted.jobs)
    assert "head size 5 is not supported" in world.status.variants[0].message
    assert [e.message for e in world.told if e.reason == "Infeasible"] == [
        f"int8: Infeasible. {world.status.variants[0].message}"
    ]


def test_contaminated_calibration_starts_no_quantization():
    world = World()
    world.prepared = world.prepared.model_copy(update={"overlap": 3})
    world.settle()
    assert world.verdicts() == {"int8": "ERROR", "gptq4": "ERROR", "rtn4": "FAIL"}
    assert world.status.variants[0].reason == "ContaminatedCalibration"
    assert [kind for kind in world.kinds() if kind == "quantize"] == ["quantize"], "rtn4's, which uses no calibration"


def test_a_contaminated_variant_stays_one_while_the_data_are_digested_anew():
    world = World()
    world.prepared = world.prepared.model_copy(update={"overlap": 3})
    world.until("Evaluating")
    world.tick()
    assert world.verdicts()["int8"] == "ERROR"
    world.fail(world.job("evaluate", "rtn4"), Reason.INPUT_CHANGED, "the file is not the one that was digested")
    world.tick()
    assert world.status.prepared is None
    assert (world.verdicts()["int8"], world.status.variants[0].reason) == ("ERROR", "ContaminatedCalibration")


def test_a_changed_threshold_gives_a_new_verdict_and_no_job():
    world = steady()
    made = len(world.made)
    world.edit(qualityGate__minAcceptable=0.99)
    world.settle()
    assert world.verdicts() == {"int8": "PASS", "gptq4": "FAIL", "rtn4": "FAIL"}
    assert world.status.stable.variant == "int8"
    world.edit(qualityGate__minAcceptable=0.94)
    world.settle()
    assert world.status.stable.variant == "gptq4"
    assert len(world.made) == made


def test_a_floor_that_nothing_reaches_takes_nothing_from_users():
    world = steady()
    served = world.status.stable.revision
    world.edit(qualityGate__minAcceptable=1.0)
    world.settle()
    assert world.status.phase == "Rejected"
    assert world.status.stable.revision == served
    assert "gptq4 keeps serving" in world.status.message


def test_counts_of_another_eval_set_say_nothing():
    world = steady()
    world.prepared = world.prepared.model_copy(
        update={"eval_set": world.prepared.eval_set.model_copy(update={"sha256": "e" * 64})}
    )
    made = len(world.made)
    world.edit(qualityGate__evalSet={"source": "pvc://tiny/other.jsonl"})
    world.tick()
    world.finish(world.job("prepare"))
    world.tick()
    assert world.status.phase == "Baselining"
    world.settle()
    assert world.kinds()[made:] == ["prepare", *["evaluate"] * 4], "artifacts are kept"


def test_a_changed_recipe_makes_that_variant_anew():
    world = steady()
    made = len(world.made)
    world.edit(variants=[*world.spec["variants"][:1], {"name": "gptq4", "scheme": "W4A16", "groupSize": 32},
                         *world.spec["variants"][2:]])  # fmt: skip
    world.settle()
    assert world.kinds()[made:] == ["quantize", "evaluate"]


@pytest.mark.parametrize(("first", "second", "chosen"), [("a", "b", "a"), ("b", "a", "b")])
def test_equal_sizes_go_by_declared_order(first, second, chosen):
    world = World(spec_with(variants=[{"name": n, "scheme": "W8A8" if n == "a" else "W8A16"} for n in (first, second)]))
    world.cells = {"a": PROVEN, "b": PROVEN}
    world.settle()
    assert world.status.stable.variant == chosen


def test_a_failure_of_an_earlier_recipe_says_nothing_about_this_one():
    world = World()
    world.until("Quantizing")
    world.tick()
    world.fail(world.job("quantize", "int8"), Reason.LAYERS_MISSED)
    world.tick()
    assert world.verdicts()["int8"] == "ERROR"
    world.edit(variants=[{"name": "int8", "scheme": "W8A8"}, *world.spec["variants"][1:]])
    world.tick()
    assert world.verdicts()["int8"] is None
    assert world.job("quantize", "int8")


@pytest.mark.parametrize(
    "edit",
    [
        {"qualityGate__minAcceptable": 0.99},
        {"qualityGate__confidence": 0.9},
        {"qualityGate__slices": [{"name": "rev", "minAcceptable": 0.5}]},
        {"rollout__steps": [{"weight": 30, "duration": "1m"}]},
        {"driftCheck__schedule": "@daily"},
        {"probe": {"itemsPerHour": 50}},
        {"economics": {"minMonthlySaving": 3}},
        {"ladder": "All"},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_an_edit_that_cannot_mend_a_failed_job_has_none_run_again(edit):
    world = World()
    world.prepared = world.prepared.model_copy(
        update={"eval_set": world.prepared.eval_set.model_copy(update={"slices": [SliceFacts(name="rev", items=1500)]})}
    )
    world.until("Quantizing")
    world.fail(world.job("quantize"), Reason.QUANTIZATION_FAILED)
    world.settle()
    made = len(world.made)
    world.edit(**edit)
    world.settle()
    assert world.status.resolved.generation == world.generation, "the edit was taken up"
    assert (len(world.made), world.verdicts()["int8"]) == (made, "ERROR")


def test_a_suspension_that_is_lifted_has_no_failed_job_run_again():
    world = World()
    world.until("Quantizing")
    world.fail(world.job("quantize"), Reason.QUANTIZATION_FAILED)
    world.settle()
    made = len(world.made)
    for suspend in (True, False):
        world.edit(suspend=suspend)
        world.settle()
    assert (len(world.made), world.verdicts()["int8"]) == (made, "ERROR")


@pytest.mark.parametrize(
    "edit",
    [{"jobs": {"nodeSelector": {"disk": "large"}}}, {"rollout__deadlines": {"modelLoad": "40m"}}],
    ids=lambda e: next(iter(e)),
)
def test_an_edit_that_may_mend_a_failed_job_has_it_run_again(edit):
    world = World()
    world.until("Quantizing")
    world.fail(world.job("quantize"), Reason.OUT_OF_MEMORY)
    world.settle()
    made = len(world.made)
    world.edit(qualityGate__minAcceptable=0.9)
    world.settle()
    assert len(world.made) == made
    world.edit(**edit)
    world.settle()
    assert world.kinds()[made:][0] == "quantize"
    assert world.verdicts()["int8"] != "ERROR"


@pytest.mark.parametrize(("stage", "variant"), [("quantize", "int8"), ("evaluate", "int8"), ("evaluate", "baseline")])
def test_data_that_changed_under_way_are_digested_anew(stage, variant):
    world = World()
    world.until({"quantize": "Quantizing", "evaluate": "Evaluating"}[stage] if variant == "int8" else "Baselining")
    world.tick()
    world.fail(world.job(stage, variant), Reason.INPUT_CHANGED, "the file is not the one that was digested")
    world.prepared = world.prepared.model_copy(
        update={
            "eval_set": world.prepared.eval_set.model_copy(update={"sha256": "e" * 64}),
            "calibration": world.prepared.calibration.model_copy(update={"sha256": "f" * 64}),
        }
    )
    world.tick()
    world.tick()
    assert world.stalled() == "InputChanged"
    assert world.status.prepared is None
    world.settle()
    assert world.status.stable.variant == "gptq4"
    assert world.kinds().count("prepare") == 2
    assert set(world.verdicts().values()) == {"PASS", "FAIL"}


ALMOST = (1803, 95, 2, 100)  # p 0.024: proven alone, not among three


def test_all_makes_every_variant_and_ships_the_smallest_that_is_proven_among_all():
    world = World(spec_with(ladder="All"))
    world.cells = {"int8": BAD, "gptq4": PROVEN, "rtn4": UNSURE}
    world.settle()
    assert world.verdicts() == {"int8": "FAIL", "gptq4": "PASS", "rtn4": "INCONCLUSIVE"}
    assert world.kinds().count("quantize") == 3
    assert world.status.stable.variant == "gptq4", "the rung before it was not proven"


@pytest.mark.parametrize(
    ("ladder", "others", "verdict"),
    [("Sequential", PROVEN, "PASS"), ("All", PROVEN, "PASS"), ("All", UNSURE, "INCONCLUSIVE")],
)
def test_a_proof_takes_more_among_several(ladder, others, verdict):
    world = World(spec_with(ladder=ladder))
    world.cells = {"int8": ALMOST, "gptq4": others, "rtn4": others}
    world.settle()
    row = world.status.variants[0]
    assert row.verdict == verdict
    if verdict == "INCONCLUSIVE":
        assert "among the 3 variants that are tested at once (Holm-adjusted p 0.07" in row.message
        assert world.status.phase == "Rejected"


def test_all_proofs_stand_once_they_are_given():
    world = World(spec_with(ladder="All"))
    world.cells = {"int8": PROVEN, "gptq4": ALMOST, "rtn4": PROVEN}
    given = set()
    for _ in range(200):
        world.tick()
        proven = {name for name, verdict in world.verdicts().items() if verdict == "PASS"}
        assert given <= proven
        given = proven
        world.works()
        if len(given) == 3:
            return
    raise AssertionError(f"not all were proven: {world.verdicts()}")


@pytest.mark.parametrize(
    ("edit", "verdicts"),
    [
        ({"qualityGate__confidence": 0.5}, ["PASS", "PASS", "FAIL"]),
        ({"qualityGate__confidence": 0.9999}, ["PASS", "INCONCLUSIVE", "FAIL"]),
        ({"qualityGate__comparison": "Difference", "qualityGate__maxDrop": 0.06}, ["PASS", "PASS", "FAIL"]),
        ({"qualityGate__comparison": "Difference", "qualityGate__maxDrop": 0.04}, ["PASS", "FAIL", "FAIL"]),
        ({"ladder": "All"}, ["PASS", "PASS", "FAIL"]),
    ],
    ids=str,
)
def test_whatever_is_asked_of_the_counts_is_asked_anew_without_a_job(edit, verdicts):
    world = steady()
    made = len(world.made)
    world.edit(**edit)
    world.tick()
    assert list(world.verdicts().values()) == verdicts
    assert len(world.made) == made


def test_a_row_has_both_bounds_and_the_worst_slice():
    world = World()
    world.slices = [
        SliceCounts(name="easy", cells=[900, 0, 0, 100]),
        SliceCounts(name="edge", cells=[800, 90, 10, 100]),
    ]
    world.settle()
    row = world.status.variants[0]
    assert row.lower_bound < row.recovery < row.upper_bound
    assert row.worst_slice == WorstSlice(name="edge", recovery=round(810 / 890, 6), items=1000)


def test_graded_scores_are_judged_by_their_moments():
    world = World()
    world.moments = [2000, 1600, 1100, 1400, 1050, 800, 1600, 1100, 2000]
    world.settle()
    row = world.status.variants[0]
    assert (row.verdict, row.recovery, row.score) == ("FAIL", 0.6875, 0.55)
    assert "n 2000 in 2000 clusters" in row.message


def new_image(world):
    world.engines["vllm-cpu"] = EngineProfile(image="example.com/vllm-cpu:2", device="cpu")
    world.edit(rollout__deadlines={"modelLoad": "31m"})


def new_eval_set(world):
    facts = world.prepared.eval_set.model_copy(update={"sha256": "e" * 64})
    world.prepared = world.prepared.model_copy(update={"eval_set": facts})
    world.edit(qualityGate__evalSet={"source": "pvc://tiny/other.jsonl"})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (new_image, "engine image changed"),
        (new_eval_set, "eval set changed"),
        (lambda world: world.edit(qualityGate__generation={"maxTokens": 9}), "generation changed"),
        (lambda world: world.edit(serving__maxNumSeqs=3), "serving settings changed"),
        (lambda world: world.edit(serving__nodeSelector={"a": "b"}), "resources changed"),
        (lambda world: world.edit(calibration__samples=100), "calibration data changed"),
        (lambda world: world.edit(model__serving={"nodeSelector": {"a": "b"}}),
         "how the full-precision model is served changed"),
        (lambda world: world.edit(serving__maxNumSeqs=3, qualityGate__generation={"maxTokens": 9}),
         "serving settings, generation changed"),
        (lambda world: world.edit(variants=[{"name": "int8", "scheme": "W8A16"}]), "recipe changed"),
    ],
)  # fmt: skip
def test_while_it_is_measured_anew_a_row_says_what_changed(change, said):
    world = steady()
    change(world)
    for _ in range(40):
        world.tick()
        row = world.status.variants[0]
        assert (row.verdict, row.recovery) == (None, None)
        if world.status.phase not in (Phase.PENDING, Phase.BASELINING):
            break
        world.works()
    assert row.message == f"measured anew: {said}"
    assert said in world.status.message
    world.settle()
    assert world.status.variants[0].message.startswith("Recovery")


def test_what_changed_is_told_since_the_last_measurement():
    world = steady()
    world.edit(serving__maxNumSeqs=3)
    world.settle()
    world.edit(qualityGate__generation={"maxTokens": 9})
    world.tick()
    assert world.status.variants[0].message == "measured anew: generation changed"


@pytest.mark.parametrize(
    ("changes", "phase", "said"),
    [
        ({"qualityGate__evalSet": {"source": "pvc://tiny/other.jsonl"}}, "Pending",
         "judged again when the model and the data sets have been checked anew"),
        ({"qualityGate__generation": {"maxTokens": 9}}, "Baselining", "measured anew: generation changed"),
        ({"qualityGate__minBaseline": 0.999}, "Baselining", "not judged: the full-precision model itself is too weak"),
        ({"qualityGate__minSamples": 90000}, "Pending", "not judged: the eval set is too small to judge by"),
    ],
)  # fmt: skip
def test_no_proof_stands_on_a_baseline_that_is_measured_anew_or_does_not_suffice(changes, phase, said):
    world = steady()
    serves, before = world.status.stable, world.status.variants[0]
    assert before.verdict == "PASS"
    world.edit(**changes)
    world.tick()
    row = world.status.variants[0]
    assert (world.status.phase, row.verdict, row.lower_bound, row.message) == (phase, None, None, said)
    assert world.status.stable == serves
    assert world.condition(Condition.VERIFIED)[0] == "Unknown"
    made = len(world.made)
    world.spec = spec_with()
    world.edit()
    world.settle()
    assert world.status.variants[0] == before, "what was measured counts again"
    assert len(world.made) == made, "no Job measures it again"


def test_an_error_stays_while_the_data_are_checked_anew_and_is_no_proof():
    """Whether calibration items stand in the eval set is not known meanwhile, and the counts alone would pass."""
    world = World()
    world.prepared = world.prepared.model_copy(update={"overlap": 0})
    world.until("Steady")
    world.settle()
    contaminated = world.status.prepared.model_copy(update={"overlap": 3})
    world.status = world.status.model_copy(update={"prepared": contaminated})
    world.tick()
    before = world.status.variants[0]
    assert (before.verdict, before.reason) == ("ERROR", "ContaminatedCalibration")
    assert before.evaluation is not None
    world.edit(qualityGate__evalSet={"source": "pvc://tiny/other.jsonl"})
    world.status = world.status.model_copy(update={"prepared": None})
    draft = Draft(seen=world.snapshot(), now=world.now, status=world.status, phase=Phase.PENDING)
    world.tick()
    assert world.status.variants[0].verdict == "ERROR"
    spec = QuantizedModelSpec.model_validate(world.spec)
    assert before.revision not in good_by_counts(draft, spec)


def test_an_eval_set_that_is_another_and_too_small_says_so():
    world = steady()
    facts = world.prepared.eval_set.model_copy(update={"sha256": "e" * 64, "items": 20})
    world.prepared = world.prepared.model_copy(update={"eval_set": facts})
    world.edit(qualityGate__evalSet={"source": "pvc://tiny/other.jsonl"})
    world.tick()
    world.works()
    world.tick()
    row = world.status.variants[0]
    assert (row.verdict, row.message) == (None, "not judged: the eval set is too small to judge by")


def test_what_changes_nothing_that_was_measured_measures_nothing_anew():
    world = steady()
    before = world.status.variants[0].measured_with
    world.edit(
        serving__replicas=3, qualityGate__minSamples=600, serving__tolerations=[{"key": "a", "operator": "Exists"}]
    )
    world.settle()
    assert world.status.variants[0].measured_with == before


def test_a_first_measurement_is_no_news():
    world = World()
    world.until("Quantizing")
    assert [row.message for row in world.status.variants] == ["", "", ""]
    assert world.status.message == "making int8 (1 of 3)"
