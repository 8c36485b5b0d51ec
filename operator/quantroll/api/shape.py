"""The numbers of a model's config.json that its size, its KV cache and its speed follow from."""

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from quantroll.api.base import ApiModel

Size = Annotated[int, Field(ge=1, le=10**8)]

# Model types whose layers are Llama's: four projections of attention, three matrices of a gated MLP, nothing else that
# weighs. By transformers' names.
LLAMA_LIKE = frozenset(
    {
        "llama", "mistral", "ministral", "qwen2", "qwen3", "phi3", "gemma", "gemma2", "gemma3_text", "granite",
        "smollm3", "olmo2", "exaone4", "seed_oss", "helium",
    }
)  # fmt: skip
_TIED_BY_DEFAULT = frozenset({"gemma", "gemma2", "gemma3_text", "smollm3"})


class ShapeError(ValueError):
    """A config.json does not say what the formulas need; the text says what is missing."""


class ModelShape(ApiModel):
    """What the formulas of memory and speed need to know of a model."""

    hidden: Size
    """Width of the model: hidden_size."""
    layers: Annotated[int, Field(ge=1, le=1000)]
    """num_hidden_layers."""
    heads: Size
    """num_attention_heads."""
    kv_heads: Size
    """num_key_value_heads."""
    head_dim: Size
    """Width of one head."""
    vocabulary: Size
    """vocab_size."""
    tied: bool
    """Whether the output layer is the embedding table: tie_word_embeddings."""
    intermediate: Size | None = None
    """intermediate_size, of models whose layers are Llama's; absent for others, whose weights no formula counts."""
    positions: Size | None = None
    """Longest sequence: max_position_embeddings."""


def shape_of(config: Mapping[str, Any]) -> ModelShape:
    """The shape that a config.json describes; raises ShapeError with what it lacks.

    Models that keep something else than keys and values of every head, such as a compressed latent or a state, have
    none: the formula of the KV cache would be wrong for them.
    """
    kind = config.get("model_type")
    odd = [name for name in ("text_config", "kv_lora_rank", "ssm_cfg", "mamba_d_state") if name in config]
    if odd:
        raise ShapeError(f"config.json has {odd[0]}: the formulas do not know such a model")
    hidden, heads = _size(config, "hidden_size"), _size(config, "num_attention_heads")
    return ModelShape(
        hidden=hidden,
        layers=_size(config, "num_hidden_layers", most=1000),
        heads=heads,
        kv_heads=_size(config, "num_key_value_heads", heads),
        head_dim=_size(config, "head_dim", max(hidden // heads, 1)),
        vocabulary=_size(config, "vocab_size"),
        tied=bool(config.get("tie_word_embeddings", kind in _TIED_BY_DEFAULT)),
        intermediate=_size(config, "intermediate_size") if kind in LLAMA_LIKE else None,
        positions=_size(config, "max_position_embeddings") if "max_position_embeddings" in config else None,
    )


def _size(config: Mapping[str, Any], name: str, default: int | None = None, most: int = 10**8) -> int:
    value = config.get(name)
    if value is None and default is not None:
        return default
    if value is None:
        raise ShapeError(f"config.json has no {name}")
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        raise ShapeError(f"config.json: {name} is {str(value)[:40]!r}, not a size")
    return value
