"""The artifact volume: results appear whole or not at all, and are found again by their key."""

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quantroll.api.jobs import (
    AnyJobInput,
    BenchmarkInput,
    ConfirmInput,
    EvaluateInput,
    PrepareInput,
    QuantizeInput,
    Report,
)
from quantroll.constants import Reason
from quantroll_jobs.errors import JobError

MODEL_MANIFEST = "quantroll-manifest.json"
MANIFEST = "manifest.json"
ITEMS = "items.jsonl"
_FOLDERS = {
    "prepare": "prepare",
    "quantize": "models",
    "evaluate": "evaluations",
    "confirm": "confirmations",
    "benchmark": "benchmarks",
}


def result_folder(store: Path, kind: str, key: str) -> Path:
    """Where the finished result of a Job stands."""
    return store / _FOLDERS[kind] / key


def finished(job: AnyJobInput) -> Report | None:
    """The report of an earlier run with the same key, if it ended well."""
    folder = result_folder(Path(job.store), job.kind, job.key)
    try:
        text = (folder / _manifest_name(job.kind)).read_bytes()
        report = Report.model_validate(json.loads(text)["report"])
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError, ValidationError):
        return None  # written by something else, or damaged: made anew
    return report if report.ok and report.key == job.key and report.kind == job.kind else None


def is_disturbed(report: Report) -> bool:
    """Whether requests of an evaluation failed, on either arm: its result may be another one now."""
    found = report.evaluate
    return found is not None and bool(found.errors or found.baseline_errors)


@contextmanager
def attempt(job: PrepareInput | QuantizeInput | BenchmarkInput) -> Iterator[Path]:
    """An empty folder for this attempt, removed if it is not committed; what dead attempts left goes away, too."""
    final = result_folder(Path(job.store), job.kind, job.key)
    _make_folder(final.parent)
    for left_over in final.parent.glob(f"{job.key}.tmp-*"):
        shutil.rmtree(left_over, ignore_errors=True)
    folder = final.with_name(f"{job.key}.tmp-{secrets.token_hex(4)}")
    _make_folder(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def commit(folder: Path, job: AnyJobInput, report: Report, *, replace: bool = False) -> Report:
    """Add the manifest and give the folder its final name.

    The report of a parallel run that was faster wins; with `replace`, or where that was disturbed, ours does.
    """
    final = result_folder(Path(job.store), job.kind, job.key)
    manifest = {"report": report.to_wire(), "input": job.to_wire()}
    write_json(folder / _manifest_name(job.kind), manifest)
    _publish_modes(folder)
    _fsync_tree(folder)
    if final.exists():
        first = finished(job)
        if first is not None and not (replace or is_disturbed(first)):
            return first
        shutil.rmtree(final)
    try:
        folder.rename(final)
    except OSError:
        first = finished(job)
        if first is None:
            raise
        return first
    _fsync(final.parent)
    return report


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One Job at a time past here for this folder; another one waits. The lock goes with the process that holds it."""
    _make_folder(folder.parent)
    with folder.with_name(f"{folder.name}.lock").open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def publish(folder: Path, final: Path) -> None:
    """Give a whole folder its final name, in place of what has that name."""
    _publish_modes(folder)
    _fsync_tree(folder)
    if final.exists():
        shutil.rmtree(final)
    folder.rename(final)
    _fsync(final.parent)


def write_json(path: Path, value: Any) -> None:
    """A JSON file for people and programs."""
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def resumable(job: EvaluateInput | ConfirmInput) -> Path:
    """The folder in which answers are gathered, kept from attempt to attempt."""
    final = result_folder(Path(job.store), job.kind, job.key)
    folder = final.with_name(f"{job.key}.tmp-answers")
    _make_folder(folder)
    return folder


def reopen(job: EvaluateInput, partial: Path) -> None:
    """Gather on from the answers of a finished evaluation, if there is one."""
    stored = result_folder(Path(job.store), job.kind, job.key) / ITEMS
    if stored.is_file() and not partial.exists():
        shutil.copyfile(stored, partial)


def check_mounted(store: Path) -> None:
    """A volume that is missing is the cluster's business, and may come: worth another try."""
    if not store.is_dir():
        raise JobError(Reason.VOLUME_MISSING, f"the artifact volume is not mounted at {store}", permanent=False)


def _manifest_name(kind: str) -> str:
    return MODEL_MANIFEST if kind == "quantize" else MANIFEST


def _make_folder(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    if folder.stat().st_uid == os.getuid():
        folder.chmod(0o755)


def _publish_modes(folder: Path) -> None:
    """Engines run as other users than Jobs do; some writers leave weights readable by their owner alone."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)


def _fsync_tree(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        _fsync(path)
    _fsync(folder)


def _fsync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
