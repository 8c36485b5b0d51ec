import struct

import pytest

from quantroll.api.jobs import Recipe
from quantroll.api.spec import Backend
from quantroll.constants import Reason
from quantroll_jobs.checkpoint import read_checkpoint, read_header
from quantroll_jobs.errors import JobError
from quantroll_jobs.inspection import inspect_artifact, is_finite, linear_layers, matches
from unit.jobs.handmade import CONFIG, LLAMA, bf16, ones, safetensors, write_model, zeros

QUANTIZED = CONFIG | {"quantization_config": {"quant_method": "compressed-tensors"}}
RECIPE = Recipe(scheme="W8A8", algorithm="GPTQ")
AWQ = Recipe(scheme="W4A16", algorithm="AWQ", group_size=32)
AUTO_AWQ = AWQ.model_copy(update={"backend": Backend.AUTO_AWQ})
NORM = "model.layers.0.input_layernorm.weight"
LINEARS = ("model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj")


def compressed(*names):
    tensors = dict(LLAMA)
    for name in names:
        _, shape, _ = tensors.pop(f"{name}.weight")
        tensors[f"{name}.weight"] = zeros("I8", *shape)
        tensors[f"{name}.weight_scale"] = ones(shape[0], 1)
    return tensors


def _inspect(tmp_path, tensors, recipe=RECIPE, config=QUANTIZED):
    baseline = read_checkpoint(write_model(tmp_path / "baseline"))
    return inspect_artifact(baseline, read_checkpoint(write_model(tmp_path / "artifact", tensors, config)), recipe)


def _fails(tmp_path, tensors, reason, text, **options):
    with pytest.raises(JobError, match=text) as caught:
        _inspect(tmp_path, tensors, **options)
    assert caught.value.reason is reason


def test_a_sound_artifact(tmp_path):
    found = _inspect(tmp_path, compressed(*LINEARS))
    assert (found.quantized, found.skipped) == (2, 1)


@pytest.mark.parametrize(
    ("name", "before", "after", "text"),
    [
        ("tokenizer.json", b'{"a": 1}', b'{"a": 2}', r"^tokenizer\.json is another one"),
        ("tokenizer_config.json", b"{}", None, r"^tokenizer_config\.json is missing"),
        ("chat_template.jinja", None, b"{{ messages }}", r"^chat_template\.jinja is new"),
        ("additional_chat_templates/tool.jinja", b"a", b"b", r"^additional_chat_templates/tool\.jinja is another one"),
        ("tokenizer.model", b"\x00\xff", b"\x00\xfe", r"^tokenizer\.model is another one"),
        ("tokenizer.json", b"{", b"}", "another one"),
    ],
)
def test_another_tokenizer_or_template(tmp_path, name, before, after, text):
    folders = [tmp_path / "baseline", tmp_path / "artifact"]
    write_model(folders[0])
    write_model(folders[1], compressed(*LINEARS), QUANTIZED)
    for folder, content in zip(folders, (before, after), strict=True):
        if content is not None:
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(content)
    with pytest.raises(JobError, match=text) as caught:
        inspect_artifact(read_checkpoint(folders[0]), read_checkpoint(folders[1]), RECIPE)
    assert caught.value.reason is Reason.TOKENIZER_DIFFERS


def test_texts_that_are_no_part_of_a_prompt_may_differ(tmp_path):
    write_model(tmp_path / "artifact")
    (tmp_path / "artifact" / "generation_config.json").write_text('{"top_k": 5}')
    (tmp_path / "artifact" / "recipe.yaml").write_text("x")
    assert _inspect(tmp_path, compressed(*LINEARS)).quantized == 2


def test_json_may_be_written_in_another_way(tmp_path):
    write_model(tmp_path / "artifact")
    (tmp_path / "baseline").mkdir()
    (tmp_path / "baseline" / "vocab.json").write_text('{"a": 1, "b": 2}')
    (tmp_path / "artifact" / "vocab.json").write_text('{\n  "b": 2, "a": 1}')
    assert _inspect(tmp_path, compressed(*LINEARS)).quantized == 2


def packed():
    tensors = dict(LLAMA)
    for name in LINEARS:
        _, (rows, columns), _ = tensors.pop(f"{name}.weight")
        tensors[f"{name}.weight_packed"] = zeros("I32", rows, columns // 8)
        tensors[f"{name}.weight_scale"] = ones(rows, columns // 32)
    return tensors


def test_packed_groups(tmp_path):
    tensors = packed()
    assert _inspect(tmp_path, tensors, Recipe(scheme="W4A16", algorithm="GPTQ", group_size=32)).quantized == 2
    _fails(
        tmp_path,
        tensors,
        Reason.SIZE_UNEXPECTED,
        "W2A16",
        recipe=Recipe(scheme="W2A16", algorithm="GPTQ", group_size=32),
    )


def autoawq(*names):
    tensors = dict(LLAMA)
    for name in names:
        _, (rows, columns), _ = tensors.pop(f"{name}.weight")
        tensors[f"{name}.qweight"] = zeros("I32", columns, rows // 8)
        tensors[f"{name}.qzeros"] = zeros("I32", columns // 32, rows // 8)
        tensors[f"{name}.scales"] = zeros("F16", columns // 32, rows)
    return tensors | {NORM: zeros("BF16", 32)}


def test_autoawqs_own_format(tmp_path):
    found = _inspect(tmp_path, autoawq(*LINEARS), AUTO_AWQ)
    assert (found.quantized, found.skipped) == (2, 1)


@pytest.mark.parametrize("part", ["qweight", "qzeros", "scales"])
def test_a_part_of_a_layer_is_missing(tmp_path, part):
    tensors = autoawq(*LINEARS)
    del tensors[f"{LINEARS[1]}.{part}"]
    _fails(tmp_path, tensors, Reason.LAYERS_MISSED, r"1 of 3 .*mlp\.up_proj", recipe=AUTO_AWQ)


def test_one_backends_format_is_not_the_others(tmp_path):
    _fails(tmp_path, autoawq(*LINEARS), Reason.LAYERS_MISSED, "2 of 3", recipe=AWQ)
    _fails(tmp_path, compressed(*LINEARS), Reason.LAYERS_MISSED, "2 of 3", recipe=AUTO_AWQ)


def test_awq_that_scaled_nothing(tmp_path):
    tensors = packed() | {NORM: LLAMA[NORM]}
    _fails(tmp_path, tensors, Reason.LAYERS_MISSED, "mere rounding: the backend does not know", recipe=AWQ)
    assert _inspect(tmp_path, packed() | {NORM: zeros("BF16", 32)}, AWQ).quantized == 2


def test_nothing_changed(tmp_path):
    _fails(tmp_path, LLAMA, Reason.NOTHING_CHANGED, "left every weight as it was")


def test_a_layer_was_missed(tmp_path):
    _fails(tmp_path, compressed(LINEARS[0]), Reason.LAYERS_MISSED, r"1 of 3 .*mlp\.up_proj")


def test_missed_on_purpose(tmp_path):
    recipe = RECIPE.model_copy(update={"ignore": ["lm_head", r"re:.*mlp\."]})
    assert _inspect(tmp_path, compressed(LINEARS[0]), recipe).skipped == 2


def test_everything_ignored(tmp_path):
    tensors = LLAMA | {"model.layers.0.input_layernorm.weight": zeros("BF16", 32)}
    recipe = RECIPE.model_copy(update={"ignore": ["re:.*"]})
    _fails(tmp_path, tensors, Reason.LAYERS_MISSED, "leaves no layer", recipe=recipe)


def test_no_quantization_config(tmp_path):
    _fails(tmp_path, compressed(*LINEARS), Reason.LAYERS_MISSED, "no quantization_config", config=CONFIG)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_scales(tmp_path, value):
    tensors = compressed(*LINEARS)
    tensors[f"{LINEARS[1]}.weight_scale"] = ("BF16", (64, 1), bf16(*[1.0] * 63, value))
    _fails(tmp_path, tensors, Reason.NON_FINITE_WEIGHTS, rf"{LINEARS[1]}\.weight_scale")


def test_larger_than_the_baseline(tmp_path):
    tensors = compressed(*LINEARS) | {"extra": ones(64, 64)}
    _fails(tmp_path, tensors, Reason.SIZE_UNEXPECTED, "of the baseline's bytes")


@pytest.mark.parametrize(
    ("dtype", "good", "bad"),
    [
        ("F32", struct.pack("<f", 3e38), struct.pack("<f", float("inf"))),
        ("F16", struct.pack("<e", 65504), struct.pack("<e", float("nan"))),
        ("BF16", b"\x7f\x7f", b"\x80\x7f"),
        ("F8_E4M3", b"\x7e", b"\xff"),
        ("F8_E5M2", b"\x7b", b"\x7c"),
        ("F64", struct.pack("<d", -1.0), struct.pack("<d", float("-inf"))),
    ],
)
def test_finite_in_every_dtype(tmp_path, dtype, good, bad):
    path = tmp_path / "t.safetensors"
    path.write_bytes(safetensors({"good": (dtype, (2,), good * 2), "bad": (dtype, (2,), good + bad)}))
    tensors = read_header(path)
    assert is_finite(tensors["good"])
    assert not is_finite(tensors["bad"])


def test_linear_layers(tmp_path):
    checkpoint = read_checkpoint(write_model(tmp_path, LLAMA | {"transformer.wte.weight": ones(4, 4)}))
    assert linear_layers(checkpoint) == {*LINEARS, "lm_head"}


def test_ignore_patterns():
    assert matches("lm_head", ["lm_head"])
    assert matches("model.layers.3.mlp.down_proj", [r"re:.*down_proj$"])
    assert not matches("model.lm_head", ["lm_head", "re:lm_head"])
