"""The quantize Job: one variant's artifact, made by a backend and then inspected."""

import time
from collections.abc import Callable
from pathlib import Path

from quantroll.api.jobs import QuantizeInput, QuantizeResult, Report
from quantroll.api.spec import Backend
from quantroll.constants import Reason
from quantroll_jobs import store
from quantroll_jobs.checkpoint import Checkpoint, CheckpointError, read_checkpoint
from quantroll_jobs.digests import sha256_file, sha256_tree
from quantroll_jobs.errors import JobError
from quantroll_jobs.inspection import inspect_artifact


def run(job: QuantizeInput) -> Report:
    """Make the artifact `models/KEY`; raises JobError where it cannot be made, or is not what the recipe says."""
    started = time.monotonic()
    baseline = _unchanged_model(job)
    _check_calibration(job)
    with store.attempt(job) as folder:
        _backend(job.recipe.backend)(job, baseline, folder)
        artifact = _readable(folder)
        found = inspect_artifact(baseline, artifact, job.recipe)
        result = QuantizeResult(
            path=str(store.result_folder(Path(), job.kind, job.key)),
            digest=sha256_tree(folder, artifact.files),
            weight_bytes=artifact.weight_bytes,
            size_ratio=round(artifact.weight_bytes / baseline.weight_bytes, 4),
            quantized_layers=found.quantized,
            skipped_layers=found.skipped,
            seconds=round(time.monotonic() - started, 1),
        )
        return store.commit(folder, job, Report(kind="quantize", key=job.key, quantize=result))


def _backend(backend: Backend) -> Callable[[QuantizeInput, Checkpoint, Path], None]:
    """Writes an artifact into a folder. Each backend has an image of its own, without the other's packages."""
    if backend is Backend.AUTO_AWQ:
        from quantroll_jobs.quantize import auto_awq  # noqa: PLC0415 - as said

        return auto_awq.make_artifact
    from quantroll_jobs.quantize import llm_compressor  # noqa: PLC0415 - as said

    return llm_compressor.make_artifact


def _unchanged_model(job: QuantizeInput) -> Checkpoint:
    folder = Path(job.model_path)
    try:
        checkpoint = read_checkpoint(folder)
    except (CheckpointError, OSError) as error:
        raise JobError(Reason.INPUT_CHANGED, f"the model cannot be read any more: {error}") from None
    digest = sha256_tree(folder, checkpoint.files)
    if digest != job.model_digest:
        raise JobError(Reason.INPUT_CHANGED, f"the model has digest {digest}, and had {job.model_digest} when prepared")
    return checkpoint


def _check_calibration(job: QuantizeInput) -> None:
    if job.calibration is None:
        return
    path = Path(job.calibration.path)
    digest = sha256_file(path) if path.is_file() else "none: the file is gone"
    if digest != job.calibration.sha256:
        raise JobError(
            Reason.INPUT_CHANGED,
            f"{path} has sha256 {digest}, and had {job.calibration.sha256} when prepared",
        )


def _readable(folder: Path) -> Checkpoint:
    try:
        return read_checkpoint(folder)
    except CheckpointError as error:
        raise JobError(Reason.QUANTIZATION_FAILED, f"the backend wrote no whole checkpoint: {error}") from None
