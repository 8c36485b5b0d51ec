"""What an evaluate Job is told of what it verifies."""

from unit.domain.world import World, steady


def given(world: World, variant: str) -> dict:
    return next(
        j for j in world.jobs.values() if j.kind == "evaluate" and j.variant == variant
    ).wanted.job_input.subject


def test_a_variant_is_told_with_all_that_went_into_it():
    world = steady()
    found = given(world, "int8")
    row = world.status.variants[0]
    assert (found["name"], found["revision"]) == ("int8", row.revision)
    assert found["model"]["digest"] == "a" * 64
    assert found["artifact"]["digest"] == row.artifact.digest
    assert (found["recipe"]["scheme"], found["recipe"]["smoothQuantStrength"]) == ("W8A8", 0.8)
    assert (found["calibration"]["sha256"], found["calibration"]["overlap"]) == ("c" * 64, 0)
    assert found["calibration"]["samples"] == 256
    assert (found["engine"]["name"], found["engine"]["image"]) == ("vllm-cpu", "example.com/vllm-cpu:1")
    assert found["serving"]["maxNumSeqs"] == 64
    assert given(world, "rtn4")["calibration"] is None, "rounding needs none"


def test_the_full_precision_model_has_neither_recipe_nor_artifact():
    found = given(steady(), "baseline")
    assert (found["name"], found["recipe"], found["artifact"], found["calibration"]) == ("baseline", None, None, None)


def test_the_digest_stands_in_the_status():
    world = World()
    world.record = "9" * 64
    world.settle()
    assert world.status.variants[0].evaluation.record == world.status.baseline.evaluation.record == "9" * 64
