"""Small checkpoints and data files, written byte by byte."""

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from quantroll_jobs.checkpoint import BITS

KEY = "a" * 64
OTHER_KEY = "b" * 64
CONFIG = {"architectures": ["LlamaForCausalLM"], "dtype": "bfloat16"}


def bf16(*values: float) -> bytes:
    return b"".join(struct.pack("<f", value)[2:] for value in values)


def safetensors(tensors: Mapping[str, tuple[str, tuple[int, ...], bytes]]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, (dtype, shape, payload) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(payload)]}
        data += payload
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def zeros(dtype: str, *shape: int) -> tuple[str, tuple[int, ...], bytes]:
    count = 1
    for length in shape:
        count *= length
    return dtype, shape, bytes(count * BITS[dtype] // 8)


def ones(*shape: int) -> tuple[str, tuple[int, ...], bytes]:
    count = 1
    for length in shape:
        count *= length
    return "BF16", shape, bf16(1.0) * count


LLAMA = {
    "model.embed_tokens.weight": ones(16, 32),
    "model.layers.0.self_attn.q_proj.weight": ones(32, 32),
    "model.layers.0.mlp.up_proj.weight": ones(64, 32),
    "model.layers.0.input_layernorm.weight": ones(32),
    "lm_head.weight": ones(16, 32),
}


def write_model(folder: Path, tensors: Any = LLAMA, config: Any = CONFIG) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(safetensors(tensors))
    return folder


def write_sharded(folder: Path, shards: Mapping[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    weight_map = {}
    for shard, tensors in shards.items():
        (folder / shard).write_bytes(safetensors(tensors))
        weight_map |= dict.fromkeys(tensors, shard)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    return folder


def write_lines(path: Path, *values: Any) -> Path:
    path.write_text("".join((value if isinstance(value, str) else json.dumps(value)) + "\n" for value in values))
    return path


def item(number: int, **changes: Any) -> dict[str, Any]:
    return {"id": f"i{number}", "prompt": f"Question {number}?", "expected": f"answer {number}"} | changes
