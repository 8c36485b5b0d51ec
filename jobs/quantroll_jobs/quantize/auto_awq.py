"""The backend AutoAWQ, which writes AWQ's own format (GEMM); archived upstream, for those who need that format.

The same input gives the same bytes: seeds are set, and AutoAWQ keeps the order of samples that it is given.
"""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pathlib import Path
from typing import Any

import torch
from awq import AutoAWQForCausalLM
from awq.quantize.quantizer import AwqQuantizer
from transformers import AutoTokenizer

from quantroll.api.jobs import QuantizeInput
from quantroll.constants import Reason
from quantroll_jobs.checkpoint import Checkpoint
from quantroll_jobs.errors import JobError
from quantroll_jobs.quantize import common

_PARALLEL = 16  # blocks that go through a layer at once: with all of them, memory grows with the calibration set


class Quantizer(AwqQuantizer):  # type: ignore[misc]  # it comes without types
    """AutoAWQ's own, mended for layers on the CPU.

    While it tries scales it keeps a layer's weights with `.cpu()`. That is a copy for weights on a GPU; others are the
    weights themselves, which then carry the scales of the first try for good: the artifact answers nonsense.
    """

    def _compute_best_scale(self, x: Any, w_mean: Any, x_mean: Any, inspected: torch.nn.Module, *rest: Any) -> Any:
        hook = inspected.register_state_dict_post_hook(_copied)
        try:
            return super()._compute_best_scale(x, w_mean, x_mean, inspected, *rest)
        finally:
            hook.remove()


def _copied(_module: torch.nn.Module, state: dict[str, torch.Tensor], _prefix: str, _metadata: Any) -> None:
    for name, tensor in state.items():
        state[name] = tensor.clone()


def make_artifact(job: QuantizeInput, baseline: Checkpoint, folder: Path) -> None:
    """Write the compressed checkpoint into `folder`, with the baseline's tokenizer, template and generation config."""
    with common.failures_told("AutoAWQ"):
        _compress(job, baseline.folder, folder)
    common.keep_texts(baseline.folder, folder)


def _compress(job: QuantizeInput, source: Path, folder: Path) -> None:
    if job.calibration is None:
        raise JobError(Reason.QUANTIZATION_FAILED, "AutoAWQ needs calibration data")
    common.seed_all(job)
    samples = common.tokenized(job.calibration, source)
    # AutoAWQ joins the samples and cuts blocks of this length: what is shorter than one block would be dropped
    block = min(job.calibration.max_sequence_length, sum(map(len, samples)))
    model = AutoAWQForCausalLM.from_pretrained(
        str(source), device_map="cpu", torch_dtype="auto", trust_remote_code=False
    )
    model.quantize(
        AutoTokenizer.from_pretrained(source, local_files_only=True),
        quant_config={
            "zero_point": True,
            "q_group_size": job.recipe.group_size,
            "w_bit": job.recipe.scheme.weight_bits,
            "version": "GEMM",
        },
        calib_data=samples,
        max_calib_samples=len(samples),
        max_calib_seq_len=block,
        n_parallel_calib_samples=_PARALLEL,
        quantizer_cls=Quantizer,
    )
    model.save_quantized(str(folder))
