"""What a user gives that proves nothing, cannot be made or is not there: it is said, and heals when it is mended."""

import pytest
import yaml

from demo.stage import EXAMPLE, Stage
from e2e.acting import Model, condition, scripted

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900), pytest.mark.xdist_group("hits one model")]

CALIBRATION = {"dataset": "pvc://tiny/calibration.jsonl", "samples": 256, "maxSequenceLength": 64}
WRONG_DATA = {
    "digest": ("qualityGate", "evalSet", "sha256", "0" * 64, "EvalSetDigestMismatch", "0000"),
    "few": ("qualityGate", "evalSet", "source", "pvc://tiny/eval-20.jsonl", "EvalSetTooSmall", "20"),
    "shown": (
        "calibration", None, "dataset", "pvc://tiny/reversals.jsonl", "ContaminatedCalibration", "stand in the eval set"
    ),
}  # fmt: skip


def lost():
    """A model on a claim that is not there."""
    manifest = scripted("lost")
    manifest["spec"]["model"]["source"] = "pvc://nowhere/model"
    return manifest


def wrong(name):
    """A model whose data prove nothing."""
    part, inner, field, value, *_ = WRONG_DATA[name]
    manifest = scripted(name)
    manifest["spec"] |= {"calibration": dict(CALIBRATION)}
    manifest["spec"]["variants"] = yaml.safe_load(EXAMPLE.read_text())["spec"]["variants"][1:2]
    place = manifest["spec"][part]
    (place[inner] if inner else place)[field] = value
    return manifest


def starved():
    """A model whose quantize Job has too little memory, and a claim of its own: nothing of others is reported again."""
    manifest = scripted("starved")
    spec = manifest["spec"]
    spec["variants"] = [{"name": "two", "scheme": "W2A16", "algorithm": "RTN", "allowNaive": True,
                         "allowSubFourBit": True}]  # fmt: skip
    spec["storage"] = {"size": "10Gi"}
    for part in ("requests", "limits"):
        spec["jobs"]["resources"][part]["memory"] = "64Mi"
    return manifest


@pytest.fixture(scope="module")
def models(playing: Stage):
    """All of them at once: each waits for itself."""
    made = {m["metadata"]["name"]: Model(playing, m) for m in (lost(), starved(), *map(wrong, WRONG_DATA))}
    yield made
    for model in made.values():
        model.delete()


def test_missing_claim_is_said_and_heals(models):
    model = models["lost"]
    seen = model.until(lambda s: condition(s, "Stalled")["status"] == "True")
    assert condition(seen, "Stalled")["reason"] == "VolumeMissing"
    assert "nowhere" in condition(seen, "Stalled")["message"]
    assert "VolumeMissing" in model.events()
    model.patch({"model": {"source": "pvc://tiny/no-such-folder"}})
    model.until(lambda s: condition(s, "Stalled")["reason"] == "ModelNotFound", timeout=120)
    model.patch({"model": {"source": "pvc://tiny/model"}})
    model.until(lambda s: s.get("prepared") and condition(s, "Stalled")["status"] == "False", timeout=120)


@pytest.mark.parametrize("name", WRONG_DATA)
def test_data_that_would_prove_nothing_are_named(models, name):
    *_, reason, told = WRONG_DATA[name]

    def messages(status):
        found = [*status.get("conditions", []), *status.get("variants", [])]
        return [row["message"] for row in found if row.get("reason") == reason]

    seen = models[name].until(messages, timeout=120)
    assert any(told in message for message in messages(seen)), messages(seen)


def test_a_quantize_job_out_of_memory(models):
    model = models["starved"]
    seen = model.until(lambda s: [r.get("reason") for r in s.get("variants", [])] == ["OutOfMemory"], timeout=300)
    assert seen["variants"][0]["verdict"] == "ERROR"
    assert seen["stable"]["variant"] == "baseline"
    enough = {"memory": "3Gi"}
    model.patch({"jobs": {"resources": {"requests": enough, "limits": enough}}})
    seen = model.until(lambda s: s["variants"][0].get("weightBytes"), timeout=300)
    assert seen["variants"][0].get("reason") != "OutOfMemory"
