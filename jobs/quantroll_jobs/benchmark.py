"""The benchmark Job: reads what the load generator beside it has left, and reports the sweep.

`vllm bench serve` writes one JSON object a level, with times in milliseconds.
"""

import json
import math
import shutil
from pathlib import Path
from typing import Any

from quantroll.api.jobs import BenchmarkInput, BenchmarkResult, Report
from quantroll.constants import Reason
from quantroll_jobs import store
from quantroll_jobs.errors import JobError
from quantroll_jobs.report import cut

_NOTES_LIMIT = 480  # characters
_NOTE_LIMIT = 160
_FIELDS = (
    "median_ttft_ms", "p99_ttft_ms", "median_itl_ms", "p99_itl_ms", "output_throughput", "request_throughput",
)  # fmt: skip


def run(job: BenchmarkInput) -> Report:
    """Report the sweep; raises JobError when the engine never answered, or no level came to an end."""
    folder = Path(job.results)
    if (why := _said(folder / "engine.failed")) is not None:
        raise JobError(
            Reason.ENGINE_NOT_READY,
            f"the engine at {job.endpoint} gave no completion within {job.ready_timeout_seconds:.0f} s; last: {why}",
        )
    levels, notes = [], []
    for concurrency in job.concurrency:
        level, note = _level(folder, concurrency)
        notes += [f"{concurrency} at once: {note}"] if note else []
        levels.append(level)
    if not any(level[5] for level in levels):
        raise JobError(Reason.ENGINE_FAILED, f"no level of the benchmark came to an end: {cut('; '.join(notes), 480)}")
    result = BenchmarkResult(levels=levels, seconds=_seconds(folder), notes=cut("; ".join(notes), _NOTES_LIMIT))
    report = Report(kind="benchmark", key=job.key, benchmark=result)
    with store.attempt(job) as attempt:
        for path in sorted(folder.glob("*.json")):
            shutil.copyfile(path, attempt / path.name)
        return store.commit(attempt, job, report)


def _level(folder: Path, concurrency: int) -> tuple[list[float], str]:
    """The numbers of one level, and what went wrong with it."""
    lost = [float(concurrency), 0, 0, 0, 0, 0, 0, 1, 1]
    path = folder / f"{concurrency}.json"
    try:
        found: dict[str, Any] = json.loads(path.read_bytes())
        numbers = [_number(found[field]) for field in _FIELDS]
        completed, sent = _number(found["completed"]), _number(found["num_prompts"])
    except FileNotFoundError:
        return lost, _said(path.with_suffix(".failed")) or "it left no result"
    except (ValueError, KeyError, TypeError) as error:
        return lost, f"its result cannot be read: {type(error).__name__}: {error}"
    failed = max(sent - completed, 0)
    if not completed:
        return [float(concurrency), 0, 0, 0, 0, 0, 0, failed, sent], "every request failed"
    return [float(concurrency), *(round(number, 3) for number in numbers), failed, sent], ""


def _number(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number) or number < 0:
        raise ValueError(f"{value} is no measurement")
    return number


def _said(path: Path) -> str | None:
    """The last line that a failed process left; None where none failed."""
    try:
        lines = [line for line in path.read_text(errors="replace").splitlines() if line.strip()]
    except FileNotFoundError:
        return None
    return cut(" ".join(lines[-1].split()), _NOTE_LIMIT) if lines else "it said nothing"


def _seconds(folder: Path) -> float:
    """How long the load generator ran."""
    try:
        return float((folder / "ended").read_text()) - float((folder / "started").read_text())
    except (OSError, ValueError):
        return 0.0
