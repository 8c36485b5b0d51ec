"""Memory by formula: published sizes, measured checkpoints, and what is not known."""

import math

import pytest

from quantroll.api.shape import ModelShape, ShapeError, shape_of
from quantroll.api.spec import Dtype, Scheme
from quantroll.domain import footprint
from quantroll.domain.footprint import Fit, Format, UnknownSizeError

GB, GIB = 10**9, 2**30
LLAMA_7B = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 11008,
    "num_attention_heads": 32, "vocab_size": 32000, "tie_word_embeddings": False, "max_position_embeddings": 4096,
}  # fmt: skip
LLAMA_70B = {
    "model_type": "llama", "hidden_size": 8192, "num_hidden_layers": 80, "intermediate_size": 28672,
    "num_attention_heads": 64, "num_key_value_heads": 8, "vocab_size": 32000, "tie_word_embeddings": False,
}  # fmt: skip
LLAMA_8B = {
    "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32, "intermediate_size": 14336,
    "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256, "tie_word_embeddings": False,
}  # fmt: skip
TINY = {
    "model_type": "llama", "hidden_size": 128, "num_hidden_layers": 3, "intermediate_size": 256,
    "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 320,
}  # fmt: skip
BF16 = Dtype.BFLOAT16


@pytest.mark.parametrize(
    ("parameters", "bits", "published"),
    [
        (7e9, 32, 28 * GB),
        (7e9, 16, 14 * GB),
        (7e9, 8, 7 * GB),
        (7e9, 4, 3.5 * GB),
        (70e9, 16, 140 * GB),
        (70e9, 8, 70 * GB),
        (70e9, 4, 35 * GB),
    ],
)
def test_published_rule_of_thumb(parameters, bits, published):
    assert footprint.rule_of_thumb(parameters, bits) == published


@pytest.mark.parametrize(("weights", "published"), [(140, 168), (70, 84), (35, 42)])
def test_published_twenty_per_cent(weights, published):
    assert footprint.with_overhead(weights * GB) == published * GB


@pytest.mark.parametrize(
    ("weights", "cards", "expected"),
    [
        (70, 80, Fit.TIGHT),  # 84 does not fit, 70 does
        (35, 48, Fit.YES),  # 42
        (140, 2 * 80, Fit.TIGHT),  # 168 needs more than two
        (140, 3 * 80, Fit.YES),
        (14, 16, Fit.TIGHT),  # 16.8
        (7, 16, Fit.YES),  # 8.4
        (140, 80, Fit.NO),
    ],
)
def test_what_fits_by_the_published_examples(weights, cards, expected):
    assert footprint.fit(weights * GB, cards * GB) is expected


def test_an_80_gib_card_lends_the_engine_less_than_84_gb():
    """By bytes 84 GB are 78.2 GiB: what keeps them off the card is that the engine takes 0.9 of it."""
    assert footprint.fit(70 * GB, 80 * GIB) is Fit.YES
    assert footprint.fit(70 * GB, 0.9 * 80 * GIB) is Fit.TIGHT


def test_three_cards_become_four_because_heads_are_split_evenly():
    assert footprint.gpus_needed(140 * GB, 80 * GB, 64) == 4
    assert footprint.gpus_needed(35 * GB, 80 * GB, 64) == 1
    assert footprint.gpus_needed(35 * GB, 40 * GB, 15) is None, "15 heads cannot be split over two"
    assert footprint.gpus_needed(35 * GB, 40 * GB, None) == 2
    assert footprint.gpus_needed(4000 * GB, 80 * GB, 64) is None, "more than a node has"


@pytest.mark.parametrize(
    ("config", "parameters"),
    [(LLAMA_7B, 6_738_415_616), (LLAMA_70B, 68_976_648_192), (LLAMA_8B, 8_030_261_248), (TINY, 525_184)],
    ids=["7b", "70b", "8b", "tiny"],
)
def test_parameters_as_published(config, parameters):
    assert footprint.parameters(shape_of(config)) == parameters


def test_full_precision():
    assert footprint.full_bytes(shape_of(LLAMA_7B), BF16) == 2 * 6_738_415_616
    assert footprint.full_bytes(shape_of(LLAMA_7B), Dtype.FLOAT32) == 4 * 6_738_415_616


@pytest.mark.parametrize(
    ("form", "ratio"),
    [
        (Format(Scheme.W4A16, 128), 0.381),
        (Format(Scheme.W4A16, 32), 0.401),
        (Format(Scheme.W4A16), 0.381),
        (Format(Scheme.W4A16, 128, zero_points=True), 0.382),
        (Format(Scheme.W8A8), 0.588),
        (Format(Scheme.FP8_DYNAMIC), 0.588),
        (Format(Scheme.W3A16, 128), 0.329),
        (Format(Scheme.W2A16, 128), 0.276),
    ],
)
def test_size_ratios_as_measured_on_a_tiny_model(form, ratio):
    """Ratios of files of 0.5 MB; their headers of names are a per cent of that, and no part of the weights."""
    shape = shape_of(TINY)
    found = footprint.quantized_bytes(shape, BF16, form) / footprint.full_bytes(shape, BF16)
    assert found == pytest.approx(ratio, abs=0.008)


def test_size_to_the_byte_as_measured_on_a_tiny_model():
    """Weights of checkpoints that llm-compressor wrote; it notes the shape of each packed matrix, too."""
    shape = shape_of(TINY)
    assert footprint.full_bytes(shape, BF16) == 1_050_368
    assert footprint.quantized_bytes(shape, BF16, Format(Scheme.W8A8)) == 614_144
    assert footprint.quantized_bytes(shape, BF16, Format(Scheme.W4A16, 128)) == 394_064 - 21 * 2 * 8


def test_four_bits_of_an_8b_are_more_than_half_a_byte_a_parameter():
    weights = footprint.quantized_bytes(shape_of(LLAMA_8B), BF16, Format(Scheme.W4A16, 128))
    layers = 32 * (2 * 4096 * 4096 + 2 * 1024 * 4096 + 3 * 4096 * 14336)
    rest = (2 * 128256 + 65) * 4096
    assert weights == layers / 2 + layers / 128 * 2 + rest * 2
    assert weights > 1.35 * footprint.rule_of_thumb(8.03e9, 4)


def test_layers_that_are_kept_weigh_what_they_weighed():
    shape = shape_of(LLAMA_8B)
    plain = footprint.quantized_bytes(shape, BF16, Format(Scheme.W4A16, 128))
    kept = footprint.quantized_bytes(shape, BF16, Format(Scheme.W4A16, 128, ("lm_head", "re:.*down_proj")))
    rows, columns, layers = 4096, 14336, 32
    assert kept - plain == layers * rows * columns * (2 - 0.5 - 2 / 128)
    nothing = footprint.quantized_bytes(shape, BF16, Format(Scheme.W4A16, 128, ("re:.*",)))
    assert nothing == footprint.full_bytes(shape, BF16)
    head = footprint.quantized_bytes(shape, BF16, Format(Scheme.W8A8, None, ()))
    assert footprint.quantized_bytes(shape, BF16, Format(Scheme.W8A8)) - head == 128256 * 4096 - 128256 * 2


@pytest.mark.parametrize("pattern", ["re:(a+)+$", "re:(.*)(.*)(.*)x", "re:[", "re:(x|y)*"])
def test_an_expression_that_might_take_for_ever_is_not_tried(pattern):
    with pytest.raises(UnknownSizeError, match="ignore has"):
        footprint.quantized_bytes(shape_of(LLAMA_8B), BF16, Format(Scheme.W8A8, None, (pattern,)))


def test_another_architecture_by_its_number_of_parameters():
    shape = shape_of(LLAMA_8B | {"model_type": "mixtral"})
    with pytest.raises(UnknownSizeError, match="architecture"):
        footprint.parameters(shape)
    form = Format(Scheme.W4A16, 128)
    by_count = footprint.quantized_bytes_of(8_030_261_248, shape, BF16, form)
    assert by_count == pytest.approx(footprint.quantized_bytes(shape_of(LLAMA_8B), BF16, form), rel=0.001)
    quantized_head = footprint.quantized_bytes_of(8_030_261_248, shape, BF16, Format(Scheme.W8A8, None, ()))
    assert quantized_head < footprint.quantized_bytes_of(8_030_261_248, shape, BF16, Format(Scheme.W8A8))
    with pytest.raises(UnknownSizeError, match="down_proj"):
        footprint.quantized_bytes_of(8 * GB, shape, BF16, Format(Scheme.W4A16, 128, ("re:.*down_proj",)))
    with pytest.raises(UnknownSizeError, match="more parameters"):
        footprint.quantized_bytes_of(10**6, shape, BF16, form)


def test_kv_cache_of_a_token():
    assert footprint.kv_token_bytes(shape_of(LLAMA_7B), 2) == 2 * 32 * 32 * 128 * 2  # 512 KiB
    assert footprint.kv_token_bytes(shape_of(LLAMA_8B), 2) == 128 * 1024
    assert footprint.kv_token_bytes(shape_of(LLAMA_8B), 1) == 64 * 1024
    assert footprint.kv_token_bytes(shape_of(LLAMA_8B), 2, gpus=4) == 32 * 1024
    assert footprint.kv_token_bytes(shape_of(LLAMA_8B), 2, gpus=16) == 16 * 1024, "8 heads on 16 GPUs are kept twice"


def test_tokens_that_the_kv_cache_holds():
    shape = shape_of(LLAMA_8B)
    usable = 0.9 * 24 * GIB
    tokens = footprint.kv_tokens(shape, 2, 16 * GB, usable, 1)
    assert tokens == math.floor((usable - 16 * GB - GIB) / 131072)
    assert footprint.kv_tokens(shape, 2, 16 * GB, usable, 2) > 3 * tokens
    assert footprint.kv_tokens(shape, 2, 30 * GB, usable, 1) == 0


def test_what_a_token_reads():
    untied, table = shape_of(LLAMA_8B), 128256 * 4096 * 2
    assert footprint.bytes_per_token(16 * GB, untied, BF16) == 16 * GB - table
    assert footprint.bytes_per_token(16 * GB, shape_of(LLAMA_8B | {"tie_word_embeddings": True}), BF16) == 16 * GB
    full = footprint.bytes_per_token(footprint.full_bytes(untied, BF16), untied, BF16)
    four = footprint.bytes_per_token(footprint.quantized_bytes(untied, BF16, Format(Scheme.W4A16, 128)), untied, BF16)
    assert footprint.predicted_speedup(full, four) == pytest.approx(3.228, abs=0.001), (
        "and not 4: the output layer stays"
    )


def test_a_tied_model_has_its_table_once():
    shape = shape_of(LLAMA_8B | {"tie_word_embeddings": True})
    assert footprint.parameters(shape) == 8_030_261_248 - 128256 * 4096
    assert shape_of({**LLAMA_8B, "model_type": "gemma2", "tie_word_embeddings": None}).tied is False
    assert shape_of({k: v for k, v in LLAMA_8B.items() if k != "tie_word_embeddings"} | {"model_type": "gemma2"}).tied


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hidden_size": None}, "no hidden_size"),
        ({"num_hidden_layers": "32"}, "num_hidden_layers is '32'"),
        ({"num_hidden_layers": 10**6}, "num_hidden_layers is '1000000'"),
        ({"vocab_size": True}, "vocab_size"),
        ({"num_attention_heads": 0}, "num_attention_heads"),
        ({"intermediate_size": None}, "no intermediate_size"),
        ({"text_config": {}}, "text_config"),
        ({"kv_lora_rank": 512}, "kv_lora_rank"),
    ],
)
def test_a_config_that_lacks_something_is_named(change, message):
    with pytest.raises(ShapeError, match=message):
        shape_of(LLAMA_8B | change)


def test_heads_default_as_transformers_have_it():
    shape = shape_of(LLAMA_7B)
    assert (shape.kv_heads, shape.head_dim, shape.positions) == (32, 128, 4096)
    assert shape_of(LLAMA_8B | {"head_dim": 64}).head_dim == 64
    assert ModelShape.model_validate(shape.to_wire()) == shape
