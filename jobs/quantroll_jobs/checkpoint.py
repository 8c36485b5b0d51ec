"""Reading a Hugging Face checkpoint folder without torch: which files belong to it, and which tensors they hold.

A safetensors file is a little-endian u64 (the header's length), a JSON header, and the tensors' bytes without gaps
(https://huggingface.co/docs/safetensors). Errors are `CheckpointError`; the caller knows the reason.
"""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
CONFIG = "config.json"
TEMPLATES = "additional_chat_templates"
_HEADER_LIMIT = 100_000_000  # bytes; the safetensors library refuses longer ones, too
TEXT_SUFFIXES = frozenset({".json", ".jinja", ".model", ".txt", ".tiktoken"})
OTHER_FORMATS = frozenset({".bin", ".pt", ".pth", ".gguf", ".onnx", ".h5", ".msgpack"})  # of weights
BITS = {
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "BOOL": 8,
    "U8": 8,
    "I8": 8,
    "F8_E4M3": 8,
    "F8_E5M2": 8,
    "F8_E8M0": 8,
    "U16": 16,
    "I16": 16,
    "F16": 16,
    "BF16": 16,
    "U32": 32,
    "I32": 32,
    "F32": 32,
    "U64": 64,
    "I64": 64,
    "F64": 64,
    "C64": 64,
}


class CheckpointError(ValueError):
    """The folder is not a whole safetensors checkpoint; the text says what is wrong."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """Where a tensor stands; `start` and `end` are byte offsets in its file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    end: int

    @property
    def size(self) -> int:
        """Bytes."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A folder with its config and all its tensors by name."""

    folder: Path
    config: dict[str, Any]
    shards: tuple[str, ...]
    tensors: dict[str, Tensor]

    @property
    def weight_bytes(self) -> int:
        """Bytes of all tensors."""
        return sum(tensor.size for tensor in self.tensors.values())

    @property
    def files(self) -> tuple[str, ...]:
        """Relative names of what decides how the model computes: weights, configuration, tokenizer, templates."""
        return (*self.shards, *text_files(self.folder))


def read_checkpoint(folder: Path) -> Checkpoint:
    """Parse the config, the index and every shard's header."""
    config = read_object(folder / CONFIG)
    expected = _shards_of(folder)
    tensors: dict[str, Tensor] = {}
    for shard, names in sorted(expected.items()):
        found = read_header(folder / shard)
        if names is not None and names != set(found):
            odd = min(names ^ set(found))
            raise CheckpointError(f"{shard} and {INDEX} disagree about tensor {odd}")
        tensors |= found
    if not tensors:
        raise CheckpointError("the weight files hold no tensors")
    return Checkpoint(folder, config, tuple(sorted(expected)), tensors)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON file that holds an object."""
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise CheckpointError(f"{path.name} is missing") from None
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path.name} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{path.name} is not a JSON object")
    return value


def text_files(folder: Path) -> list[str]:
    """Relative names of the small files of a checkpoint."""
    names = [path.name for path in folder.iterdir() if path.suffix in TEXT_SUFFIXES and path.is_file()]
    templates = [f"{TEMPLATES}/{path.name}" for path in (folder / TEMPLATES).glob("*.jinja") if path.is_file()]
    return sorted(name for name in (*names, *templates) if not name.startswith((".", "quantroll-")))


def _shards_of(folder: Path) -> dict[str, set[str] | None]:
    if (folder / INDEX).is_file():
        if (folder / SINGLE).is_file():
            raise CheckpointError(f"both {SINGLE} and {INDEX} are there: engines differ in which of them they load")
        weight_map = read_object(folder / INDEX).get("weight_map")
        if not isinstance(weight_map, dict) or not weight_map:
            raise CheckpointError(f"{INDEX} has no weight_map")
        shards: dict[str, set[str]] = {}
        for name, shard in weight_map.items():
            if not isinstance(shard, str) or "/" in shard or not shard.endswith(".safetensors"):
                raise CheckpointError(f"{INDEX} names {shard!r}, which is no safetensors file of this folder")
            shards.setdefault(shard, set()).add(name)
        return dict(shards)
    if (folder / SINGLE).is_file():
        return {SINGLE: None}
    found = sorted(path.name for path in folder.iterdir() if path.suffix == ".safetensors")
    if found:
        raise CheckpointError(f"{found[0]} is there, but neither {SINGLE} nor {INDEX}")
    raise CheckpointError(f"neither {SINGLE} nor {INDEX} is there")


def read_header(path: Path) -> dict[str, Tensor]:
    """The tensors of one safetensors file; checks that the file is as long as they need."""
    try:
        with path.open("rb") as file:
            prefix = file.read(8)
            length = struct.unpack("<Q", prefix)[0] if len(prefix) == 8 else 0
            if not 2 <= length <= _HEADER_LIMIT:
                raise CheckpointError(f"{path.name} is not a safetensors file")
            header = json.loads(file.read(length))
        size = path.stat().st_size
    except FileNotFoundError:
        raise CheckpointError(f"{path.name} is missing") from None
    except (OSError, ValueError) as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path.name} is not a safetensors file: {error}") from None
    if not isinstance(header, dict):
        raise CheckpointError(f"{path.name} is not a safetensors file")
    return _tensors_of(path, header, 8 + length, size)


def _tensors_of(path: Path, header: dict[str, Any], data: int, size: int) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            start, end = (int(offset) for offset in entry["data_offsets"])
            shape = tuple(int(length) for length in entry["shape"])
            bits = BITS[entry["dtype"]] * math.prod(shape)
        except (KeyError, TypeError, ValueError):
            raise CheckpointError(f"{path.name} has no readable entry for tensor {name}") from None
        if start < 0 or (end - start) * 8 != bits:
            raise CheckpointError(f"{path.name}: the bytes of tensor {name} do not fit its shape")
        tensors[name] = Tensor(name, entry["dtype"], shape, path, data + start, data + end)
    position = data
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.end)):
        if tensor.start != position:
            raise CheckpointError(f"{path.name}: tensor {tensor.name} does not follow the one before it")
        position = tensor.end
    if position != size:
        raise CheckpointError(f"{path.name} has {size} bytes, and {position} by its header: a copy that broke off?")
    return tensors
