"""Keys: what changes them, what does not, and that a release does not."""

import pytest

from quantroll.api.jobs import DataFacts, HubModel, ModelFacts, PrepareResult
from quantroll.api.spec import Benchmark, ModelRef, QualityGate, QuantizedModelSpec
from quantroll.api.status import RevisionSpec
from quantroll.domain import fingerprints, locate
from unit.domain.world import ENGINES, spec_with

PREPARED = PrepareResult(
    model=ModelFacts(digest="a" * 64, weight_bytes=1, architecture="LlamaForCausalLM", dtype="bfloat16"),
    eval_set=DataFacts(sha256="b" * 64, items=1),
    calibration=DataFacts(sha256="c" * 64, items=1),
)


def keys(**changes):
    """All keys of a spec: prepare, artifact, revision, evaluation; the first variant's."""
    spec = QuantizedModelSpec.model_validate(spec_with(**changes))
    profile = ENGINES["vllm-cpu"]
    served = RevisionSpec(engine="e", profile=profile, serving=spec.serving, dtype=spec.model.dtype, model="m")
    revision = fingerprints.revision(served, "f" * 64)
    return {
        "prepare": fingerprints.prepare_key(spec),
        "artifact": fingerprints.artifact_key(spec.variants[0], spec.calibration, PREPARED),
        "revision": revision,
        "evaluation": fingerprints.evaluation_key(revision, spec.quality_gate, "b" * 64),
    }


def test_an_upgrade_starts_no_rollout():
    """Pinned: when one of these changes, every user's models are made, measured and rolled out again."""
    assert keys() == GOLDEN


GOLDEN = {
    "prepare": "5c3783ef8784c34fa8ff84fe70ed041912494c4ad93fa7212948910fa3760e96",
    "artifact": "978b3ae188d66475bf0734fed1e330f662f53abf8269bf9968db5c324cc2e1da",
    "revision": "fa728ae441",
    "evaluation": "2a3b3e40902c1e3f937ffc332009045c9d531a60b506d8d637998d5f9bfe3440",
}


def variant(**changes):
    return [{"name": "int8", "scheme": "W8A8", "smoothQuantStrength": 0.8} | changes]


@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        ({"serving__replicas": 7}, set()),
        ({"driftCheck__schedule": "@daily"}, set()),
        ({"qualityGate__minAcceptable": 0.5}, set()),
        ({"qualityGate__minSamples": 1}, set()),
        ({"rollout__deadlines": {"modelLoad": "1m"}}, set()),
        ({"variants": variant(name="renamed")}, set()),
        ({"variants": variant(algorithm="GPTQ")}, set()),  # the default, said aloud
        ({"serving__tolerations": [{"key": "gpu", "operator": "Exists"}]}, set()),
        ({"model__source": "pvc://other/model"}, {"prepare"}),
        ({"qualityGate__evalSet": {"source": "pvc://tiny/eval.jsonl", "sha256": "b" * 64}}, {"prepare"}),
        ({"qualityGate__evalSet": {"source": "pvc://tiny/eval.jsonl", "idField": "k"}}, {"prepare", "evaluation"}),
        ({"variants": variant(smoothQuantStrength=0.5)}, {"artifact"}),
        ({"variants": variant(backend="LLMCompressor")}, set()),  # the default, said aloud
        ({"variants": variant(ignore=["lm_head", "re:.*down_proj"])}, {"artifact"}),
        ({"calibration__samples": 9}, {"artifact"}),
        ({"calibration__seed": 9}, {"artifact"}),
        ({"serving__maxNumSeqs": 9}, {"revision", "evaluation"}),
        ({"serving__maxModelLen": 512}, {"revision", "evaluation"}),
        ({"serving__resources": {"limits": {"nvidia.com/gpu": 1}}}, {"revision", "evaluation"}),
        ({"serving__nodeSelector": {"gpu": "L4"}}, {"revision", "evaluation"}),
        ({"qualityGate__generation": {"maxTokens": 7}}, {"evaluation"}),
        ({"qualityGate__generation": {"temperature": 0.7}}, {"evaluation"}),
        ({"qualityGate__generation": {"repeats": 2}}, {"evaluation"}),
        ({"qualityGate__generation": {"systemPrompt": "Be brief."}}, {"prepare", "evaluation"}),
        ({"qualityGate__scorer": "F1"}, {"prepare", "evaluation"}),
        ({"qualityGate__scorer": "ExactMatch", "qualityGate__scoring": {}}, set()),  # the default, said aloud
        ({"qualityGate__scoring": {"regex": {"pattern": "x"}}}, {"prepare", "evaluation"}),
        ({"qualityGate__alsoReport": ["F1"]}, {"prepare", "evaluation"}),
        (
            {"qualityGate__evalSet": {"source": "pvc://tiny/eval.jsonl", "sliceField": "slice"}},
            {"prepare", "evaluation"},
        ),
        ({"qualityGate__evalSet": {"source": "pvc://tiny/eval.jsonl", "clusterField": "c"}}, {"prepare", "evaluation"}),
        ({"qualityGate__slices": [{"name": "a", "minAcceptable": 0.9}]}, set()),
    ],
)
def test_a_key_changes_with_what_goes_into_it_and_with_nothing_else(changes, moved):
    before, after = keys(), keys(**changes)
    assert {name for name in before if before[name] != after[name]} == moved


HUB = {"source": "hf://team/llama", "revision": "a" * 40}


def test_a_commit_of_a_hub_is_prepared_and_kept_by_its_own_keys():
    models = [HUB, HUB | {"revision": "b" * 40}, HUB | {"source": "hf://team/other"}]
    assert len({keys(model=model)["prepare"] for model in models}) == 3
    assert len({locate.baseline_model(ModelRef.model_validate(model)) for model in models}) == 3
    with_token = HUB | {"tokenSecretRef": {"name": "hub"}}
    assert keys(model=with_token) == keys(model=HUB), "who fetches does not change what is fetched"


def test_a_fetched_model_is_found_again_after_an_upgrade():
    """Pinned: when this changes, every user's model is fetched once more, and its baseline rolled out again."""
    found = locate.baseline_model(ModelRef.model_validate(HUB))
    assert found == "sources/c59255f9e63df1da8cc03774995d635b3cfeaffd4cb72dc9864e5d1a4ea5b3a6"
    assert locate.model_path(found) == f"/artifacts/{found}"
    assert locate.hub_model(ModelRef.model_validate(HUB)) == HubModel(repository="team/llama", revision="a" * 40)


def test_a_model_on_a_claim_stays_where_it_is():
    model = ModelRef(source="pvc://tiny/model")
    assert locate.hub_model(model) is None
    assert locate.baseline_model(model) == model.source
    assert locate.model_path(model.source) == "/claims/tiny/model"


def test_each_backend_makes_its_own_artifact():
    awq = {"name": "awq", "scheme": "W4A16", "algorithm": "AWQ"}
    made = [keys(variants=[awq | change])["artifact"] for change in ({}, {"backend": "AutoAWQ"}, {"algorithm": "GPTQ"})]
    assert len(set(made)) == 3


def test_calibration_that_is_not_read_is_no_part_of_an_artifact():
    naive = [{"name": "w8", "scheme": "W8A16", "algorithm": "RTN"}]
    assert keys(variants=naive)["artifact"] == keys(variants=naive, calibration__samples=9)["artifact"]


def test_another_engine_image_is_another_revision():
    spec = QuantizedModelSpec.model_validate(spec_with())
    found = set()
    for image in ("a", "b"):
        profile = ENGINES["vllm-cpu"].model_copy(update={"image": image})
        served = RevisionSpec(engine="e", profile=profile, serving=spec.serving, dtype=spec.model.dtype, model="m")
        found.add(fingerprints.revision(served, "f" * 64))
    assert len(found) == 2


@pytest.mark.parametrize(
    ("changes", "moved"),
    [
        ({}, False),
        ({"slo": {"ttftP99": "1s"}}, False),  # held against what was measured
        ({"promptTokens": 256}, True),
        ({"outputTokens": 64}, True),
        ({"concurrency": [1, 8, 16]}, True),
    ],
)
def test_a_benchmark_is_kept_while_its_load_is_the_same(changes, moved):
    load = {"concurrency": [1, 8]}
    keys = [fingerprints.benchmark_key("aaaaaaaaaa", Benchmark.model_validate(made)) for made in (load, load | changes)]
    assert keys[0] == "89e18fa7b7f70f8cfd38221b5ea7d4d00029962ca5cea58260754a729bd93555"
    assert (keys[0] != keys[1]) is moved
    assert fingerprints.benchmark_key("bbbbbbbbbb", Benchmark.model_validate(load)) != keys[0]


def test_kinds_of_keys_do_not_meet():
    assert fingerprints.fingerprint("a", 1, {}) != fingerprints.fingerprint("b", 1, {})
    assert fingerprints.fingerprint("a", 1, {}) != fingerprints.fingerprint("a", 2, {})


MEASURED = {"concurrency": [1, 4], "promptTokens": 16, "outputTokens": 16}


def work(**changes):
    return fingerprints.work(QuantizedModelSpec.model_validate(spec_with(**{"benchmark": MEASURED, **changes})))


@pytest.mark.parametrize(
    "edit",
    [
        {"qualityGate__comparison": "Difference", "qualityGate__maxDrop": 0.1, "qualityGate__minAcceptable": None},
        {"qualityGate__minAcceptable": 0.9},
        {"qualityGate__confidence": 0.9},
        {"qualityGate__minSamples": 50},
        {"qualityGate__minBaseline": 0.1},
        {"qualityGate__maxErrorRate": 0.5},
        {"qualityGate__slices": [{"name": "rev"}]},
        {"benchmark": {**MEASURED, "slo": {"ttftP99": "1s"}}},
        {"rollout__steps": [{"weight": 30, "duration": "1m"}]},
        {"suspend": True},
        {"serving__replicas": 17},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_what_is_done_with_results_is_no_work(edit):
    edit = {name: value for name, value in edit.items() if value is not None}
    assert work(**edit) == work()


@pytest.mark.parametrize(
    "edit",
    [
        {"qualityGate__generation": {"maxTokens": 9}},
        {"qualityGate__scorer": "F1"},
        {"benchmark": {**MEASURED, "promptTokens": 17}},
        {"rollout__deadlines": {"modelLoad": "40m"}},
        {"jobs": {"nodeSelector": {"disk": "large"}}},
        {"serving__maxNumSeqs": 65},
    ],
    ids=lambda edit: next(iter(edit)),
)
def test_what_a_job_is_made_from_is_work(edit):
    assert work(**edit) != work()


def test_what_is_left_out_of_the_work_has_the_names_of_the_api():
    def names(model):
        return {field.alias or name for name, field in model.model_fields.items()}

    assert set(fingerprints._THRESHOLDS) <= names(QualityGate)
    assert set(fingerprints._AFTERWARDS) <= names(QuantizedModelSpec)
