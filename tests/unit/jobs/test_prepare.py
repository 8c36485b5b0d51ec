import json

import pytest

from quantroll.api.jobs import DataFile, PrepareInput
from quantroll.api.spec import Scoring
from quantroll.constants import Reason
from quantroll_jobs import prepare, store
from quantroll_jobs.errors import JobError
from unit.jobs.handmade import CONFIG, KEY, LLAMA, OTHER_KEY, item, ones, write_lines, write_model, write_sharded, zeros


@pytest.fixture
def job(tmp_path):
    write_model(tmp_path / "model")
    write_lines(tmp_path / "eval.jsonl", item(1), item(2))
    write_lines(tmp_path / "calibration.jsonl", {"text": "something"}, {"text": "something else"})
    (tmp_path / "store").mkdir()
    return PrepareInput(
        key=KEY,
        store=str(tmp_path / "store"),
        model_path=str(tmp_path / "model"),
        dtype="bfloat16",
        eval_set=DataFile(path=str(tmp_path / "eval.jsonl")),
        calibration=DataFile(path=str(tmp_path / "calibration.jsonl")),
    )


def _fails(job, reason, text):
    with pytest.raises(JobError, match=text) as caught:
        prepare.run(job)
    assert caught.value.reason is reason
    assert caught.value.permanent
    assert store.finished(job) is None


def test_facts(job, tmp_path):
    result = prepare.run(job).prepare
    assert result.model.architecture == "LlamaForCausalLM"
    assert result.model.shape is None, "its config.json names an architecture and no sizes"
    assert result.model.weight_bytes == sum(len(payload) for _, _, payload in LLAMA.values())
    assert (result.eval_set.items, result.calibration.items, result.overlap, result.warnings) == (2, 2, 0, [])
    assert store.finished(job).prepare == result


def test_sizes_by_the_config(job, tmp_path):
    sizes = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 16}
    config = CONFIG | sizes | {"model_type": "llama", "intermediate_size": 64}
    write_model(tmp_path / "sized", config=config)
    shape = prepare.check_model(tmp_path / "sized", job.dtype).shape
    assert (shape.hidden, shape.kv_heads, shape.head_dim, shape.intermediate, shape.tied) == (32, 2, 16, 64, False)
    write_model(tmp_path / "odd", config=config | {"num_hidden_layers": "one"})
    assert prepare.check_model(tmp_path / "odd", job.dtype).shape is None, "no reason to refuse the model"


def test_the_digest_is_of_what_matters(job, tmp_path):
    first = prepare.check_model(tmp_path / "model", job.dtype).digest
    (tmp_path / "model" / "README.md").write_text("new words")
    assert prepare.check_model(tmp_path / "model", job.dtype).digest == first
    (tmp_path / "model" / "tokenizer.json").write_text('{"new": 1}')
    assert prepare.check_model(tmp_path / "model", job.dtype).digest != first


def test_a_model_in_shards(job, tmp_path):
    write_sharded(tmp_path / "big", {"model-1.safetensors": {"a": ones(2)}, "model-2.safetensors": {"b": ones(3)}})
    assert prepare.check_model(tmp_path / "big", job.dtype).weight_bytes == 10


def test_no_model(job):
    _fails(job.model_copy(update={"model_path": "/no/such/folder"}), Reason.MODEL_NOT_FOUND, "no folder /no/such")


def test_no_config(job, tmp_path):
    (tmp_path / "model" / "config.json").unlink()
    _fails(job, Reason.MODEL_NOT_FOUND, r"no config\.json")


@pytest.mark.parametrize("content", ["{", "[]"])
def test_unreadable_config(job, tmp_path, content):
    (tmp_path / "model" / "config.json").write_text(content)
    _fails(job, Reason.MODEL_NOT_FOUND, r"config\.json")


def test_an_adapter_without_its_model(job, tmp_path):
    folder = tmp_path / "model"
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text("{}")
    _fails(job, Reason.ADAPTER_ONLY, "merge the adapter")


def test_pickled_weights(job, tmp_path):
    (tmp_path / "model" / "model.safetensors").rename(tmp_path / "model" / "pytorch_model.bin")
    _fails(job, Reason.NOT_SAFETENSORS, r"pytorch_model\.bin.*convert them")


def test_a_copy_that_broke_off(job, tmp_path):
    path = tmp_path / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    _fails(job, Reason.NOT_SAFETENSORS, "broke off")


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json"])
def test_remote_code(job, tmp_path, name):
    (tmp_path / "model" / name).write_text(json.dumps(CONFIG | {"auto_map": {"AutoModel": "evil.Model"}}))
    _fails(job, Reason.REMOTE_CODE, rf"^{name} has an auto_map")


@pytest.mark.parametrize("name", ["dtype", "torch_dtype"])
def test_another_dtype_in_the_config(job, tmp_path, name):
    write_model(tmp_path / "model", config={"architectures": ["X"], name: "float16"})
    _fails(job, Reason.DTYPE_MISMATCH, r"model\.dtype is bfloat16, config\.json says float16")


def test_another_dtype_in_the_weights(job, tmp_path):
    write_model(tmp_path / "model", {"a.weight": zeros("F32", 8, 8), "b.weight": ones(4)})
    _fails(job, Reason.DTYPE_MISMATCH, "most of the weights are F32")


def test_a_few_wider_tensors_are_no_mismatch(job, tmp_path):
    write_model(tmp_path / "model", LLAMA | {"router.bias": zeros("F32", 8)})
    assert prepare.run(job).ok


def test_quantized_already(job, tmp_path):
    write_model(tmp_path / "model", config=CONFIG | {"quantization_config": {}})
    _fails(job, Reason.DTYPE_MISMATCH, "quantized already")


def test_eval_set_missing(job, tmp_path):
    (tmp_path / "eval.jsonl").unlink()
    _fails(job, Reason.EVAL_SET_MISSING, r"check qualityGate\.evalSet\.source")


def test_eval_set_digest(job):
    wrong = job.eval_set.model_copy(update={"sha256": "0" * 64})
    _fails(job.model_copy(update={"eval_set": wrong}), Reason.EVAL_SET_DIGEST, "has sha256 .*says 0000")


def test_eval_set_malformed(job, tmp_path):
    write_lines(tmp_path / "eval.jsonl", item(1), "{")
    _fails(job, Reason.EVAL_SET_MALFORMED, "line 2: not JSON")


def test_duplicates_are_a_warning(job, tmp_path):
    write_lines(tmp_path / "eval.jsonl", item(1), item(1, id="again"))
    result = prepare.run(job).prepare
    assert result.eval_set.items == 1
    assert len(result.warnings) == 1
    assert "line 2 repeats line 1" in result.warnings[0]


def _with(job, file=None, **changes):
    """The Job with fields of its eval set, and of its own, changed."""
    given = job.model_dump()
    return PrepareInput.model_validate({**given, "eval_set": {**given["eval_set"], **(file or {})}, **changes})


def test_slices_are_counted(job, tmp_path):
    lines = [item(n, topic=topic) for n, topic in enumerate(["b", "a", "b", None])]
    write_lines(tmp_path / "eval.jsonl", *lines, item(9), item(2, id="again", topic="a"))
    found = prepare.run(_with(job, {"slice_field": "topic"})).prepare.eval_set
    assert [(part.name, part.items) for part in found.slices] == [("a", 1), ("b", 2)]
    assert prepare.run(job).prepare.eval_set.slices == []


@pytest.mark.parametrize("topic", ["", 7, "x" * 64, "\u00e9" * 32, "a\nb", ["a"]])
def test_a_slice_that_is_no_name(job, tmp_path, topic):
    write_lines(tmp_path / "eval.jsonl", item(1, topic="a"), item(2, topic=topic))
    _fails(
        _with(job, {"slice_field": "topic"}),
        Reason.EVAL_SET_MALFORMED,
        "line 2: topic must be a text of 1 to 63 bytes that all show",
    )


def test_too_many_slices(job, tmp_path):
    write_lines(tmp_path / "eval.jsonl", *[item(n, topic=f"t{n}") for n in range(7)])
    text = "line 7: topic has more than 6 values, which are too many slices"
    _fails(_with(job, {"slice_field": "topic"}), Reason.EVAL_SET_MALFORMED, text)


def test_a_field_that_no_item_has(job):
    _fails(_with(job, {"slice_field": "topic"}), Reason.EVAL_SET_MALFORMED, "no item has the field topic, .*sliceField")
    _fails(_with(job, {"cluster_field": "doc"}), Reason.EVAL_SET_MALFORMED, "no item has the field doc, .*clusterField")


def test_clusters_may_be_numbers_or_missing(job, tmp_path):
    write_lines(tmp_path / "eval.jsonl", item(1, doc=7), item(2), item(3, doc=None))
    assert prepare.run(_with(job, {"cluster_field": "doc"}, key=OTHER_KEY)).ok
    write_lines(tmp_path / "eval.jsonl", item(1, doc=7), item(2, doc=[1]))
    text = "line 2: doc must be a text or a whole number"
    _fails(_with(job, {"cluster_field": "doc"}), Reason.EVAL_SET_MALFORMED, text)


def test_items_that_a_scorer_cannot_judge(job, tmp_path):
    text = "line 1: MultipleChoice needs choices"
    _fails(_with(job, scorer="MultipleChoice"), Reason.EVAL_SET_MALFORMED, text)
    _fails(_with(job, also_report=["MultipleChoice"]), Reason.EVAL_SET_MALFORMED, text)
    assert prepare.run(_with(job, scorer="NumericTolerance", key=OTHER_KEY)).ok
    write_lines(tmp_path / "eval.jsonl", item(1), item(2, expected="none"))
    _fails(_with(job, scorer="NumericTolerance"), Reason.EVAL_SET_MALFORMED, "line 2: expected must hold one number")


def test_settings_that_only_prepare_can_check(job):
    scoring = Scoring.model_validate({"jsonSchema": {"schema": "[]"}})
    _fails(_with(job, scorer="JSONSchema", scoring=scoring), Reason.SPEC_INVALID, r"scoring\.jsonSchema\.schema")


def test_a_system_prompt_goes_before_messages_alone(job, tmp_path):
    chat = {"id": 1, "messages": [{"role": "user", "content": "u"}], "expected": "yes"}
    write_lines(tmp_path / "eval.jsonl", chat)
    asked = _with(job, system_prompt="Be brief.")
    assert prepare.run(_with(asked, key=OTHER_KEY)).ok
    write_lines(tmp_path / "eval.jsonl", chat, item(2))
    _fails(asked, Reason.EVAL_SET_MALFORMED, r"line 2: it has a prompt, and qualityGate\.generation\.systemPrompt")
    double = chat | {"id": 2, "messages": [{"role": "system", "content": "s"}, *chat["messages"]]}
    write_lines(tmp_path / "eval.jsonl", chat, double)
    _fails(asked, Reason.EVAL_SET_MALFORMED, "line 2: its messages begin with one of the role system")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "it has no items"),
        (b"\n\n", "it has no items"),
        (b"\xef\xbb\xbf{}", "line 1: starts with a byte order mark"),
        (
            b'{"id": 1, "prompt": "p", "expected": "x"}\n{"id": 1, "prompt": "q", "expected": "x"}',
            "lines 1 and 2 have the",
        ),
        (b'{"id": 1, "prompt": "p"}', "line 1: expected must be a text"),
        (b'{"id": 1, "expected": "p"}', "line 1: needs either prompt or messages"),
    ],
)
def test_bad_eval_sets_are_named_by_line_and_reason(job, tmp_path, content, text):
    (tmp_path / "eval.jsonl").write_bytes(content)
    _fails(job, Reason.EVAL_SET_MALFORMED, text)


def test_calibration_missing(job, tmp_path):
    (tmp_path / "calibration.jsonl").unlink()
    _fails(job, Reason.CALIBRATION_MISSING, "no file")


def test_calibration_digest(job):
    wrong = job.calibration.model_copy(update={"sha256": "0" * 64})
    _fails(job.model_copy(update={"calibration": wrong}), Reason.CALIBRATION_DIGEST, "has sha256")


def test_calibration_malformed(job, tmp_path):
    write_lines(tmp_path / "calibration.jsonl", {"text": "a"}, {"words": "b"})
    _fails(job, Reason.CALIBRATION_MALFORMED, "line 2: needs text, prompt or messages")


def test_overlap_is_counted(job, tmp_path):
    asked = {"text": "Question 2? answer 2<|end|>"}
    chat = {"messages": [{"role": "user", "content": "question 1?"}, {"role": "assistant", "content": "answer 1"}]}
    write_lines(tmp_path / "calibration.jsonl", asked, chat, {"text": "Question 3? no"})
    found = prepare.run(job).prepare
    assert (found.overlap, found.overlap_example) == (
        2,
        "sample 1 of the calibration set shows the question 'question 2?'",
    )


def test_a_shared_passage_is_an_overlap_and_named(job, tmp_path):
    passage = "the quick brown fox jumps over the lazy dog while seven wise owls watch from above"
    chat = [{"role": "system", "content": f"Say what happens: {passage}."}, {"role": "user", "content": "What?!?!?!?!"}]
    write_lines(tmp_path / "eval.jsonl", item(1), {"id": 2, "messages": chat, "expected": "x"})
    write_lines(tmp_path / "calibration.jsonl", {"text": "fine"}, {"text": f"Look, {passage.upper()}"})
    found = prepare.run(job).prepare
    assert found.overlap == 1
    assert found.overlap_example.startswith("sample 2 of the calibration set shares the passage 'the quick brown fox")


def test_an_example_with_control_characters_stays_short(job, tmp_path):
    write_lines(tmp_path / "eval.jsonl", item(1, prompt="\x01" * 100))
    write_lines(tmp_path / "calibration.jsonl", {"text": "\x01" * 100})
    found = prepare.run(job).prepare
    assert (found.overlap, len(found.overlap_example)) == (1, 256)


def test_without_calibration(job):
    result = prepare.run(job.model_copy(update={"calibration": None})).prepare
    assert result.calibration is None
    assert result.overlap == 0
