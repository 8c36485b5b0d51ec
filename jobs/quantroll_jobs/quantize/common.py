"""What the backends have in common: seeds, calibration samples, texts, and how a failure is told."""

import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer

from quantroll.api.jobs import CalibrationInput, QuantizeInput
from quantroll.constants import Reason
from quantroll_jobs.checkpoint import CONFIG, INDEX, TEMPLATES, text_files
from quantroll_jobs.datafiles import DataError, read_calibration
from quantroll_jobs.errors import JobError


@contextmanager
def failures_told(backend: str) -> Iterator[None]:
    """Whatever goes wrong in a library becomes a JobError; what is wrong with files stays an OSError."""
    try:
        yield
    except (JobError, OSError):
        raise
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise JobError(Reason.OUT_OF_MEMORY, f"quantization ran out of memory: {error}") from error
    except Exception as error:
        cause = f"{type(error).__name__}: {error}"
        raise JobError(Reason.QUANTIZATION_FAILED, f"{backend} stopped with {cause}") from error


def seed_all(job: QuantizeInput) -> None:
    """The same input gives the same bytes."""
    seed = job.calibration.seed if job.calibration else 0
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002 - the libraries draw from the global generator
    torch.manual_seed(seed)


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


def tokenized(calibration: CalibrationInput, source: Path) -> list[list[int]]:
    """The chosen samples as token ids, each cut at the length that was asked for."""
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    found = []
    for sample in chosen_samples(calibration):
        messages = sample.get("messages")
        text = tokenizer.apply_chat_template(messages, tokenize=False) if messages else next(iter(sample.values()))
        # a chat template writes the special tokens itself
        ids = tokenizer(text, add_special_tokens=not messages)["input_ids"][: calibration.max_sequence_length]
        if ids:
            found.append(ids)
    print(f"quantizing with {len(found)} calibration samples", flush=True)
    return found


def keep_texts(source: Path, folder: Path) -> None:
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
