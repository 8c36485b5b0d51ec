import json
import struct

import pytest

from quantroll_jobs.checkpoint import CheckpointError, read_checkpoint, read_header
from unit.jobs.handmade import LLAMA, ones, safetensors, write_model, write_sharded


def test_single_file(tmp_path):
    checkpoint = read_checkpoint(write_model(tmp_path))
    assert set(checkpoint.tensors) == set(LLAMA)
    assert checkpoint.weight_bytes == sum(len(payload) for _, _, payload in LLAMA.values())
    assert checkpoint.files == ("model.safetensors", "config.json", "tokenizer.json")


def test_shards_and_only_the_files_that_matter(tmp_path):
    write_sharded(tmp_path, {"model-1.safetensors": {"a": ones(2)}, "model-2.safetensors": {"b": ones(3)}})
    (tmp_path / "README.md").write_text("docs")
    (tmp_path / "pytorch_model.bin").write_bytes(b"old")
    checkpoint = read_checkpoint(tmp_path)
    assert checkpoint.shards == ("model-1.safetensors", "model-2.safetensors")
    assert checkpoint.weight_bytes == 10
    assert "README.md" not in checkpoint.files
    assert "pytorch_model.bin" not in checkpoint.files


def test_a_missing_shard_is_named(tmp_path):
    write_sharded(tmp_path, {"model-1.safetensors": {"a": ones(2)}, "model-2.safetensors": {"b": ones(3)}})
    (tmp_path / "model-2.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"model-2\.safetensors is missing"):
        read_checkpoint(tmp_path)


def test_index_and_shard_disagree(tmp_path):
    write_sharded(tmp_path, {"model-1.safetensors": {"a": ones(2)}})
    (tmp_path / "model-1.safetensors").write_bytes(safetensors({"other": ones(2)}))
    with pytest.raises(CheckpointError, match="disagree about tensor a"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("shard", ["../model.safetensors", "model.bin", 5])
def test_an_index_cannot_lead_elsewhere(tmp_path, shard):
    (write_model(tmp_path) / "model.safetensors").unlink()
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": shard}}))
    with pytest.raises(CheckpointError, match="no safetensors file of this folder"):
        read_checkpoint(tmp_path)


def test_a_single_file_beside_an_index(tmp_path):
    write_sharded(tmp_path, {"model-1.safetensors": {"a": ones(2)}})
    write_model(tmp_path)
    with pytest.raises(CheckpointError, match="engines differ"):
        read_checkpoint(tmp_path)


def test_shards_without_an_index(tmp_path):
    write_model(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "model-00001-of-00002.safetensors")
    with pytest.raises(CheckpointError, match="neither"):
        read_checkpoint(tmp_path)


def _header(entries, data=b"", length=None):
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a safetensors file"),
        (b"PK\x03\x04", "not a safetensors file"),
        (b"x" * 64, "not a safetensors file"),
        (struct.pack("<Q", 9) + b"not json!", "not a safetensors file"),
        (struct.pack("<Q", 2) + b"[]", "not a safetensors file"),
        (_header({"t": {"dtype": "BF16", "shape": [2]}}), "no readable entry for tensor t"),
        (_header({"t": {"dtype": "X9", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)), "no readable entry"),
        (_header({"t": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 4]}}, bytes(4)), "do not fit its shape"),
        (_header({"t": {"dtype": "BF16", "shape": [2], "data_offsets": [2, 6]}}, bytes(6)), "does not follow"),
        (safetensors({"t": ones(4)})[:-1], "broke off"),
        (safetensors({"t": ones(4)}) + b"x", "broke off"),
    ],
)
def test_damaged_files(tmp_path, content, reason):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=reason):
        read_header(path)


def test_no_tensors(tmp_path):
    with pytest.raises(CheckpointError, match="hold no tensors"):
        read_checkpoint(write_model(tmp_path, {}))
