"""The default backend: llm-compressor, which writes compressed-tensors checkpoints.

The same input gives the same bytes: seeds are set, and the order of calibration samples is kept, which llm-compressor
shuffles without a seed otherwise.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from llmcompressor.modifiers.quantization import QuantizationModifier
from llmcompressor.modifiers.transform.awq import AWQModifier
from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier
from llmcompressor.pipelines.cache import IntermediatesCache
from transformers import AutoModelForCausalLM

from quantroll.api.jobs import QuantizeInput, Recipe
from quantroll.api.spec import Algorithm, Scheme
from quantroll_jobs.checkpoint import Checkpoint
from quantroll_jobs.quantize import common

_WEIGHT_ONLY = frozenset({Scheme.W8A16, Scheme.W4A16, Scheme.W3A16, Scheme.W2A16})

if not torch.accelerator.is_available():
    # AWQ pins memory for faster copies to a GPU, and torch refuses to where there is none
    IntermediatesCache.pin_memory = lambda *_, **__: None


def make_artifact(job: QuantizeInput, baseline: Checkpoint, folder: Path) -> None:
    """Write the compressed checkpoint into `folder`, with the baseline's tokenizer, template and generation config."""
    with common.failures_told("llm-compressor"):
        _compress(job, baseline.folder, folder)
    common.keep_texts(baseline.folder, folder)


def modifiers_of(recipe: Recipe) -> list[Any]:
    """llm-compressor's recipe."""
    options: dict[str, Any] = {"ignore": list(recipe.ignore)}
    if recipe.scheme in _WEIGHT_ONLY:
        options["config_groups"] = {"weights": {"targets": ["Linear"], "weights": _weights_of(recipe)}}
    else:
        options |= {"targets": "Linear", "scheme": recipe.scheme.value}
    modifiers: list[Any] = []
    if recipe.smooth_quant_strength is not None:
        modifiers.append(SmoothQuantModifier(smoothing_strength=recipe.smooth_quant_strength))
    if recipe.algorithm is Algorithm.AWQ:
        modifiers.append(AWQModifier())  # only scales; what rounds comes behind it
    modifiers.append((GPTQModifier if recipe.algorithm is Algorithm.GPTQ else QuantizationModifier)(**options))
    return modifiers


def _weights_of(recipe: Recipe) -> dict[str, Any]:
    weights: dict[str, Any] = {"num_bits": recipe.scheme.weight_bits, "type": "int", "symmetric": True}
    if recipe.group_size is None:
        return weights | {"strategy": "channel"}
    return weights | {"strategy": "group", "group_size": recipe.group_size}


def _compress(job: QuantizeInput, source: Path, folder: Path) -> None:
    common.seed_all(job)
    model = AutoModelForCausalLM.from_pretrained(source, dtype="auto", local_files_only=True)
    options: dict[str, Any] = {}
    if job.calibration is not None:
        samples = common.tokenized(job.calibration, source)
        options = {
            "dataset": Dataset.from_list([{"input_ids": ids, "attention_mask": [1] * len(ids)} for ids in samples]),
            "num_calibration_samples": len(samples),
            "max_seq_length": job.calibration.max_sequence_length,
            "shuffle_calibration_samples": False,
        }
    oneshot(model=model, recipe=modifiers_of(job.recipe), **options)
    model.save_pretrained(folder, save_compressed=True)
