"""Looking at an artifact before it is served: did the backend do what the recipe says?

Backends can skip every layer and still report success. Only file headers and bytes are read, no framework: what is
judged is what the engine will load.
"""

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from quantroll.api.jobs import Recipe
from quantroll.api.spec import Algorithm, Backend
from quantroll.constants import Reason
from quantroll_jobs.checkpoint import BITS, Checkpoint, Tensor
from quantroll_jobs.errors import JobError

SIZE_TOLERANCE = 0.15  # relative; packing and padding differ from backend to backend
_CHUNK = 1 << 24  # bytes read at a time
# what a quantized layer has instead of its weight
_PARTS = {Backend.LLM_COMPRESSOR: ("weight_scale",), Backend.AUTO_AWQ: ("qweight", "qzeros", "scales")}
_PROMPT_FILE = re.compile(
    r"(tokenizer|vocab|merges|special_tokens_map|added_tokens|chat_template|additional_chat_templates/)|.*\.(model|tiktoken)$"
)
_EMBEDDING = re.compile(r"(embed|wte$|wpe$)")
# dtype: (numpy's integer of that width, bits that are all set in NaN and infinity); e4m3fn has no infinity
_EXPONENTS = {
    "F64": ("<u8", 0x7FF0000000000000),
    "F32": ("<u4", 0x7F800000),
    "F16": ("<u2", 0x7C00),
    "BF16": ("<u2", 0x7F80),
    "F8_E5M2": ("u1", 0x7C),
    "F8_E4M3": ("u1", 0x7F),
}


@dataclass(frozen=True, slots=True)
class Coverage:
    """Counts of Linear layers."""

    quantized: int
    skipped: int


def inspect_artifact(baseline: Checkpoint, artifact: Checkpoint, recipe: Recipe) -> Coverage:
    """Raise JobError where the artifact is not a sound compressed form of the baseline."""
    if _same_weights(baseline, artifact):
        raise JobError(Reason.NOTHING_CHANGED, "the backend reported success and left every weight as it was")
    if "quantization_config" not in artifact.config:
        raise JobError(Reason.LAYERS_MISSED, "config.json has no quantization_config: no engine would load it as such")
    linears = linear_layers(baseline)
    parts = _PARTS[recipe.backend]
    quantized = {name for name in linears if all(f"{name}.{part}" in artifact.tensors for part in parts)}
    skipped = {name for name in linears if matches(name, recipe.ignore)}
    missed = sorted(linears - quantized - skipped)
    if missed:
        raise JobError(
            Reason.LAYERS_MISSED,
            f"{len(missed)} of {len(linears)} Linear layers are not quantized, such as {missed[0]}:"
            " name them in the variant's ignore if that is meant",
        )
    if not quantized:
        raise JobError(Reason.LAYERS_MISSED, "the variant's ignore leaves no layer to quantize")
    if recipe.algorithm is Algorithm.AWQ:
        _check_scaled(baseline, artifact)
    _check_prompts(baseline, artifact)
    _check_finite(artifact)
    _check_size(baseline, artifact, quantized, recipe)
    return Coverage(len(quantized), len(linears) - len(quantized))


def linear_layers(checkpoint: Checkpoint) -> set[str]:
    """Names of the layers with a weight matrix (or a stack of them), embeddings apart."""
    return {
        module
        for name, tensor in checkpoint.tensors.items()
        if (module := name.removesuffix(".weight")) != name and len(tensor.shape) >= 2 and not _EMBEDDING.search(module)
    }


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a list names a layer: by its name, or by `re:` and an expression, as in compressed-tensors."""
    return any(
        re.match(pattern.removeprefix("re:"), name) if pattern.startswith("re:") else pattern == name
        for pattern in patterns
    )


def _check_prompts(baseline: Checkpoint, artifact: Checkpoint) -> None:
    """Whatever makes a prompt of a question is as it was; JSON may be written in another way."""
    names = {name for checkpoint in (baseline, artifact) for name in checkpoint.files if _PROMPT_FILE.match(name)}
    for name in sorted(names):
        before, after = (_content(checkpoint.folder / name) for checkpoint in (baseline, artifact))
        if before != after:
            how = "missing" if after is None else "new" if before is None else "another one"
            raise JobError(
                Reason.TOKENIZER_DIFFERS,
                f"{name} is {how}: with another tokenizer or chat template than the baseline's, the same question would"
                " be another prompt",
            )


def _content(path: Path) -> Any:
    """What a file says; None if it is not there."""
    if not path.is_file():
        return None
    data = path.read_bytes()
    with suppress(ValueError):
        return json.loads(data) if path.suffix == ".json" else data
    return data


def _check_scaled(baseline: Checkpoint, artifact: Checkpoint) -> None:
    """AWQ moves scales between weights and the norms before them; where it does not know the layers, none."""
    pairs = [
        (tensor, artifact.tensors[name])
        for name, tensor in baseline.tensors.items()
        if len(tensor.shape) == 1 and name in artifact.tensors
    ]
    if pairs and all(_same_tensor(*pair) for pair in pairs):
        raise JobError(
            Reason.LAYERS_MISSED,
            "AWQ scaled no layer, so this is mere rounding: the backend does not know this architecture; use GPTQ",
        )


def _check_size(baseline: Checkpoint, artifact: Checkpoint, quantized: set[str], recipe: Recipe) -> None:
    expected = 0.0
    for name, tensor in baseline.tensors.items():
        module = name.removesuffix(".weight")
        expected += _compressed_bytes(tensor, recipe) if module in quantized and module != name else tensor.size
    ratio, plausible = artifact.weight_bytes / baseline.weight_bytes, expected / baseline.weight_bytes
    if ratio >= 1 or abs(ratio / plausible - 1) > SIZE_TOLERANCE:
        raise JobError(
            Reason.SIZE_UNEXPECTED,
            f"the weights have {ratio:.3f} of the baseline's bytes; {recipe.scheme} of {len(quantized)} layers should"
            f" give about {plausible:.3f}",
        )


def _compressed_bytes(tensor: Tensor, recipe: Recipe) -> float:
    """Bytes of a quantized matrix with its scales, which have the width of the baseline's weights."""
    columns = tensor.shape[-1]
    count = tensor.size * 8 // BITS[tensor.dtype]
    scales = count // columns * -(-columns // (recipe.group_size or columns))
    return count * recipe.scheme.weight_bits / 8 + scales * BITS[tensor.dtype] / 8


def _check_finite(artifact: Checkpoint) -> None:
    for tensor in artifact.tensors.values():
        if tensor.dtype in _EXPONENTS and not is_finite(tensor):
            raise JobError(Reason.NON_FINITE_WEIGHTS, f"{tensor.name} holds NaN or infinity")


def is_finite(tensor: Tensor) -> bool:
    """Whether no element of a floating tensor is NaN or infinite."""
    kind, mask = _EXPONENTS[tensor.dtype]
    width = np.dtype(kind)
    bits = width.type(mask)
    with tensor.file.open("rb") as file:
        file.seek(tensor.start)
        left = tensor.size
        while left:
            chunk = np.frombuffer(file.read(min(left, _CHUNK)), dtype=width)
            if not chunk.size or bool(((chunk & bits) == bits).any()):
                return False
            left -= chunk.nbytes
    return True


def _same_weights(baseline: Checkpoint, artifact: Checkpoint) -> bool:
    def shapes(checkpoint: Checkpoint) -> set[tuple[str, str, tuple[int, ...]]]:
        return {(tensor.name, tensor.dtype, tensor.shape) for tensor in checkpoint.tensors.values()}

    return shapes(baseline) == shapes(artifact) and all(
        _same_bytes(tensor, artifact.tensors[name]) for name, tensor in baseline.tensors.items()
    )


def _same_tensor(one: Tensor, other: Tensor) -> bool:
    return (one.dtype, one.shape) == (other.dtype, other.shape) and _same_bytes(one, other)


def _same_bytes(one: Tensor, other: Tensor) -> bool:
    with one.file.open("rb") as first, other.file.open("rb") as second:
        first.seek(one.start)
        second.seek(other.start)
        left = one.size
        while left:
            count = min(left, _CHUNK)
            if first.read(count) != second.read(count):
                return False
            left -= count
    return True
