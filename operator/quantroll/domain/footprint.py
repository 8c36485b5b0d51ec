"""Memory by formula: what the weights of a model weigh in a numeric format, and what its KV cache needs.

Sizes are in bytes. GB in tests and texts are 10^9 bytes, GiB are 2^30.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

from quantroll.api.shape import ModelShape
from quantroll.api.spec import Dtype, Scheme

OVERHEAD = 1.2
"""KV cache and engine on top of the weights, by the rule of thumb."""
RUNTIME_BYTES = 1 << 30
"""Activations and graphs of an engine on each GPU: an assumption, for the engine tells only once it runs."""
LARGEST_NODE = 8
"""GPUs of one pod at most: an engine shards inside a node."""
_WIDTHS = {Dtype.FLOAT32: 4, Dtype.FLOAT16: 2, Dtype.BFLOAT16: 2}
_REPETITION = re.compile(r"[*+?{]")


class UnknownSizeError(ValueError):
    """The formula cannot tell; the text says why."""


@dataclass(frozen=True, slots=True)
class Format:
    """How the weights of the quantized layers are kept."""

    scheme: Scheme
    group_size: int | None = None
    """Weights that share a scale; None: those of a whole output channel."""
    ignore: tuple[str, ...] = ("lm_head",)
    """Layers in full precision: names, or regular expressions with the prefix re:"""
    zero_points: bool = False
    """Whether every scale has a zero point beside it, of as many bits as a weight."""


class Fit(StrEnum):
    """Whether weights fit into a memory."""

    YES = "yes"  # with the 20 % on top
    TIGHT = "tight"  # without them: hardly any room for the KV cache
    NO = "no"


def width_of(dtype: Dtype) -> int:
    """Bytes of one number."""
    return _WIDTHS[dtype]


def with_overhead(weights: int) -> int:
    """What the rule of thumb asks of the GPUs."""
    return round(weights * OVERHEAD)


def rule_of_thumb(parameters: float, bits: int) -> int:
    """Parameters times their width, without scales, as if every layer were quantized."""
    return round(parameters * bits / 8)


def parameters(shape: ModelShape) -> int:
    """Parameters of a model whose layers are Llama's; raises UnknownSizeError for others.

    Biases, and norms beyond two a layer, are not counted: they weigh less than 0.1 %.
    """
    return sum(rows * columns for rows, columns in _linears(shape).values()) + _others(shape)


def full_bytes(shape: ModelShape, dtype: Dtype) -> int:
    """Size of the full-precision weights; raises UnknownSizeError."""
    return parameters(shape) * width_of(dtype)


@lru_cache(maxsize=256)
def quantized_bytes(shape: ModelShape, dtype: Dtype, form: Format) -> int:
    """Size of the weights in a format: scales, and what stays in full precision, included. Raises UnknownSizeError."""
    width = width_of(dtype)
    total = float(_others(shape) * width)
    kept = _Kept(form.ignore)
    for name, (rows, columns) in _linears(shape).items():
        total += rows * columns * width if kept.names(name) else _packed(rows, columns, width, form)
    return round(total)


def quantized_bytes_of(count: int, shape: ModelShape, dtype: Dtype, form: Format) -> int:
    """The same for a model of which only the number of parameters is known, and not its layers.

    All but embeddings and output layer is taken to be quantized. Raises UnknownSizeError where more is kept.
    """
    if other := [pattern for pattern in form.ignore if pattern != "lm_head"]:
        raise UnknownSizeError(f"the size of what ignore keeps ({other[0]}) is not known for this architecture")
    width, table = width_of(dtype), shape.vocabulary * shape.hidden
    head = 0 if shape.tied else table
    inner = count - table - head
    if inner <= 0:
        raise UnknownSizeError("config.json describes more parameters than the model has")
    total = table * width + _packed(inner // shape.hidden, shape.hidden, width, form)
    return round(
        total + (head * width if "lm_head" in form.ignore else _packed(head // shape.hidden, shape.hidden, width, form))
    )


def bytes_per_token(weights: int, shape: ModelShape, dtype: Dtype) -> int:
    """What one output token reads of the weights: all of them but the embedding table, of which it reads a row.

    A tied table is the output layer, too, and is read.
    """
    return weights if shape.tied else weights - shape.vocabulary * shape.hidden * width_of(dtype)


def predicted_speedup(baseline: int, variant: int) -> float:
    """Output tokens a second against the baseline's on the same GPUs, when reading the weights is what takes the time.

    Both are bytes that one token reads. So it is at small loads; at large ones computing and the KV cache take over.
    """
    return baseline / variant


def kv_token_bytes(shape: ModelShape, width: int, gpus: int = 1) -> int:
    """Keys and values of one token on one of `gpus` GPUs that share the heads; `width` is of one number.

    An upper bound for models that look back no further than a window in some of their layers.
    """
    heads = -(-shape.kv_heads // gpus)  # fewer heads than GPUs are kept more than once
    return 2 * shape.layers * heads * shape.head_dim * width


def kv_tokens(shape: ModelShape, width: int, weights: int, usable: float, gpus: int) -> int:
    """Tokens that the KV cache holds where each of `gpus` GPUs lends the engine `usable` bytes; 0 where none fits."""
    left = usable - weights / gpus - RUNTIME_BYTES
    return max(int(left // kv_token_bytes(shape, width, gpus)), 0)


def fit(weights: int, usable: float) -> Fit:
    """Whether weights fit into what GPUs together lend the engine."""
    if with_overhead(weights) <= usable:
        return Fit.YES
    return Fit.TIGHT if weights <= usable else Fit.NO


def gpus_needed(weights: int, usable: float, heads: int | None) -> int | None:
    """The smallest power of two of GPUs, each with `usable` bytes, that holds the weights with the 20 % on top.

    It has to divide the attention heads, which tensor parallelism splits. None: not within one node.
    """
    sizes = [2**power for power in range(LARGEST_NODE.bit_length())]
    return next((n for n in sizes if fit(weights, n * usable) is Fit.YES and (heads or n) % n == 0), None)


@lru_cache(maxsize=64)
def _linears(shape: ModelShape) -> dict[str, tuple[int, int]]:
    """Rows and columns of every Linear layer, by name."""
    if shape.intermediate is None:
        raise UnknownSizeError("the weights of this architecture follow no formula that is known here")
    query, key = shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim
    block = {
        "self_attn.q_proj": (query, shape.hidden),
        "self_attn.k_proj": (key, shape.hidden),
        "self_attn.v_proj": (key, shape.hidden),
        "self_attn.o_proj": (shape.hidden, query),
        "mlp.gate_proj": (shape.intermediate, shape.hidden),
        "mlp.up_proj": (shape.intermediate, shape.hidden),
        "mlp.down_proj": (shape.hidden, shape.intermediate),
    }
    found = {f"model.layers.{i}.{name}": size for i in range(shape.layers) for name, size in block.items()}
    return found if shape.tied else found | {"lm_head": (shape.vocabulary, shape.hidden)}


def _others(shape: ModelShape) -> int:
    """Parameters that no backend quantizes: the embedding table and the norms."""
    return (shape.vocabulary + 2 * shape.layers + 1) * shape.hidden


def _packed(rows: int, columns: int, width: int, form: Format) -> float:
    """Bytes of a quantized matrix with its scales, which have the width of the full-precision weights."""
    bits = form.scheme.weight_bits
    scales = rows * math.ceil(columns / (form.group_size or columns))
    return rows * columns * bits / 8 + scales * (width + (bits / 8 if form.zero_points else 0))


class _Kept:
    """The layers that a list names, as compressed-tensors reads it."""

    def __init__(self, patterns: Iterable[str]) -> None:
        self._names = {pattern for pattern in patterns if not pattern.startswith("re:")}
        self._expressions = _compiled([p.removeprefix("re:") for p in patterns if p.startswith("re:")])

    def names(self, layer: str) -> bool:
        return layer in self._names or any(expression.match(layer) for expression in self._expressions)


def _compiled(texts: Sequence[str]) -> list[re.Pattern[str]]:
    """Regular expressions of a user, who might have written one that takes for ever: only plain ones are tried."""
    found = []
    for text in texts:
        if len(_REPETITION.findall(text)) > 2 or re.search(r"\)\s*[*+?{]", text):
            raise UnknownSizeError(f"ignore has an expression that is too involved for the formula: re:{text}")
        try:
            found.append(re.compile(text))
        except re.error as error:
            raise UnknownSizeError(f"ignore has no regular expression: re:{text}: {error}") from None
    return found
