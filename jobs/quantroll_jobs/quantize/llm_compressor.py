"""The default backend: llm-compressor, which writes compressed-tensors checkpoints.

The same input gives the same bytes: seeds are set, and the order of calibration samples is kept, which llm-compressor
shuffles without a seed otherwise.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from llmcompressor.modifiers.quantization import QuantizationModifier
from llmcompressor.modifiers.transform.smoothquant import SmoothQuantModifier
from transformers import AutoModelForCausalLM, AutoTokenizer

from quantroll.api.jobs import CalibrationInput, QuantizeInput, Recipe
from quantroll.api.spec import Algorithm, Scheme
from quantroll.constants import Reason
from quantroll_jobs.checkpoint import CONFIG, INDEX, TEMPLATES, Checkpoint, text_files
from quantroll_jobs.datafiles import DataError, read_calibration
from quantroll_jobs.errors import JobError

_WEIGHT_ONLY = frozenset({Scheme.W8A16, Scheme.W4A16, Scheme.W3A16, Scheme.W2A16})


def make_artifact(job: QuantizeInput, baseline: Checkpoint, folder: Path) -> None:
    """Write the compressed checkpoint into `folder`, with the baseline's tokenizer, template and generation config."""
    try:
        _compress(job, baseline.folder, folder)
    except (JobError, OSError):
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise JobError(Reason.OUT_OF_MEMORY, f"quantization ran out of memory: {error}") from error
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise JobError(Reason.QUANTIZATION_FAILED, f"llm-compressor stopped with {cause}") from error
    _keep_texts(baseline.folder, folder)


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
    modifiers.append((GPTQModifier if recipe.algorithm is Algorithm.GPTQ else QuantizationModifier)(**options))
    return modifiers


def _weights_of(recipe: Recipe) -> dict[str, Any]:
    weights: dict[str, Any] = {"num_bits": recipe.scheme.weight_bits, "type": "int", "symmetric": True}
    if recipe.group_size is None:
        return weights | {"strategy": "channel"}
    return weights | {"strategy": "group", "group_size": recipe.group_size}


def _compress(job: QuantizeInput, source: Path, folder: Path) -> None:
    seed = job.calibration.seed if job.calibration else 0
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the libraries draw from the global generator
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(source, dtype="auto", local_files_only=True)
    options: dict[str, Any] = {}
    if job.calibration is not None:
        samples = _tokenized(job.calibration, source)
        print(f"quantizing with {len(samples)} calibration samples", flush=True)
        options = {
            "dataset": Dataset.from_list(samples),
            "num_calibration_samples": len(samples),
            "max_seq_length": job.calibration.max_sequence_length,
            "shuffle_calibration_samples": False,
        }
    oneshot(model=model, recipe=modifiers_of(job.recipe), **options)
    model.save_pretrained(folder, save_compressed=True)


def chosen_samples(calibration: CalibrationInput) -> list[dict[str, Any]]:
    """The calibration samples: all, or as many as asked for, drawn by the seed and kept in the file's order."""
    path = Path(calibration.path)
    try:
        total = sum(1 for _ in read_calibration(path))
        count = min(total, calibration.samples)
        chosen = set(random.Random(calibration.seed).sample(range(total), count))  # noqa: S311 - a sample, no secret
        return [sample for number, sample in enumerate(read_calibration(path)) if number in chosen]
    except DataError as error:
        raise JobError(Reason.CALIBRATION_MALFORMED, f"{path}: {error}") from None


def _tokenized(calibration: CalibrationInput, source: Path) -> list[dict[str, list[int]]]:
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    tokenized = []
    for sample in chosen_samples(calibration):
        messages = sample.get("messages")
        text = tokenizer.apply_chat_template(messages, tokenize=False) if messages else next(iter(sample.values()))
        # a chat template writes the special tokens itself
        ids = tokenizer(text, add_special_tokens=not messages)["input_ids"][: calibration.max_sequence_length]
        if ids:
            tokenized.append({"input_ids": ids, "attention_mask": [1] * len(ids)})
    return tokenized


def _keep_texts(source: Path, folder: Path) -> None:
    """All but weights and config.json as the baseline has it: a rewritten template would be a different model."""
    for name in text_files(folder):
        if name not in (CONFIG, INDEX):
            (folder / name).unlink()
    (folder / TEMPLATES).mkdir(exist_ok=True)
    for name in text_files(source):
        if name not in (CONFIG, INDEX):
            shutil.copyfile(source / name, folder / name)
    if not any((folder / TEMPLATES).iterdir()):
        (folder / TEMPLATES).rmdir()
