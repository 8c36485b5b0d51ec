"""The demo's data are what the demo claims."""

import json
import re
from collections import Counter

import pytest

pytestmark = [pytest.mark.jobs, pytest.mark.timeout(1500)]


def _lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_eval_set_is_mostly_easy_and_held_out(tiny):
    items = _lines(tiny.eval_set)
    assert Counter(item["slice"] for item in items) == {"rev": 1500, "fact": 150, "add": 250, "hard": 100}
    assert len({item["id"] for item in items}) == len({item["prompt"] for item in items}) == 2000
    assert all(item["prompt"].startswith("Q:") and item["prompt"].endswith("\nA:") for item in items)
    assert [item["slice"] for item in items[:8]] != ["add"] * 8  # shuffled: a part of it is a fair sample


def test_calibration_shares_nothing_with_it(tiny):
    prompts = {item["prompt"] for item in _lines(tiny.eval_set)}
    texts = [line["text"] for line in _lines(tiny.calibration)]
    assert len(texts) == 256
    assert not any(text.startswith(tuple(prompts)) for text in texts)
    assert not any(re.match(r"Q:\d{3}", text) for text in texts)


def test_the_checkpoint_is_a_plain_llama(tiny):
    config = json.loads((tiny.model / "config.json").read_text())
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert (tiny.model / "model.safetensors").stat().st_size == pytest.approx(1_053_520, rel=0.01)
