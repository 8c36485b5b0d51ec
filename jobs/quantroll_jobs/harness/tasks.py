"""Tasks of lm-eval: their items as prepare counts them, and a digest of all that is asked.

A definition may name functions of its own, which run in this process: it is the user's code, as the data are.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lm_eval.api.metrics import mean
from lm_eval.tasks import TaskManager
from lm_eval.utils import handle_non_serializable, hash_string

from quantroll.api.jobs import DataFile, Judging
from quantroll.api.spec import LMEval, LMEvalTask
from quantroll.constants import Reason
from quantroll_jobs.datafiles import Item
from quantroll_jobs.digests import sha256_json
from quantroll_jobs.errors import JobError

_LONGEST = 300  # characters of what lm-eval says


@dataclass(frozen=True, slots=True)
class Chosen:
    """One task, alone or of a group, and what of it gates."""

    task: Any
    part: str
    """The name in the spec that it was chosen by: its slice."""
    metric: str
    filter: str

    @property
    def name(self) -> str:
        """The task's own name."""
        return str(self.task.task_name)


@dataclass(frozen=True, slots=True)
class Loaded:
    """All that is asked."""

    tasks: list[Chosen]
    items: list[Item]
    """Distinct ones, in the tasks' order; `line` is the document's place in its task."""
    duplicates: int
    digest: str
    manager: Any
    """What lm-eval finds tasks with; making one takes it seconds."""


def load(file: DataFile, job: Judging) -> Loaded:
    """The tasks that a Job names, with their data; raises JobError that names the task."""
    settings = settings_of(job)
    folder = file.path or None
    if folder is not None:
        if not Path(folder).is_dir():
            raise JobError(Reason.EVAL_SET_MISSING, f"there is no folder {folder}: check qualityGate.evalSet.source")
        os.chdir(folder)  # definitions name their files as seen from there
    manager = _manager(folder, {wanted.name for wanted in settings.tasks})
    tasks = [chosen for wanted in settings.tasks for chosen in _chosen(manager, wanted)]
    names = [chosen.name for chosen in tasks]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise JobError(Reason.EVAL_SET_MALFORMED, f"scoring.lmEval.tasks asks {twice} twice, alone or in a group")
    return _read(tasks, manager)


def _manager(folder: str | None, wanted: set[str]) -> Any:
    """Knows the tasks of the folder and, where these are not all that is wanted, the thousands of lm-eval's own."""
    if folder is not None:
        alone = TaskManager(include_path=folder, include_defaults=False)
        if wanted <= set(alone.all_subtasks):
            return alone
    return TaskManager(include_path=folder)


def settings_of(job: Judging) -> LMEval:
    """The tasks of a Job; the API server has seen to it that there are some."""
    if job.scoring is None or job.scoring.lm_eval is None:
        raise JobError(Reason.SPEC_INVALID, "qualityGate.scoring.lmEval: scorer LMEval needs tasks")
    return job.scoring.lm_eval


def _chosen(manager: Any, wanted: LMEvalTask) -> list[Chosen]:
    if wanted.name not in manager.all_tasks:
        raise JobError(
            Reason.EVAL_SET_MISSING,
            f"lm-eval knows no task {wanted.name!r}: correct scoring.lmEval.tasks, or put its definition into the"
            " folder that qualityGate.evalSet.source names",
        )
    try:
        tasks = list(manager.load(wanted.name)["tasks"].values())
    except Exception as error:
        raise _malformed(wanted.name, error) from error
    return [Chosen(task, wanted.name, _metric(task, wanted), _filter(task, wanted)) for task in tasks]


def _malformed(name: str, error: Exception) -> JobError:
    """A definition or its data can be wrong in any way, and can be mended without another spec."""
    said = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
    return JobError(Reason.EVAL_SET_MALFORMED, f"lm-eval cannot load task {name}: {said}")


def _metric(task: Any, wanted: LMEvalTask) -> str:
    """The metric that gates: a mean over items, of which more is better."""
    aggregations, directions = task.aggregation(), task.higher_is_better()
    metric = wanted.metric or next(iter(aggregations), "")
    fit = [name for name, how in aggregations.items() if how is mean and directions.get(name)]
    if metric not in fit:
        raise JobError(
            Reason.EVAL_SET_MALFORMED,
            f"metric {metric!r} of task {task.task_name} is no mean over items of which more is better; choose another"
            f" as scoring.lmEval.tasks[].metric (there are: {', '.join(fit) or 'none'})",
        )
    return metric


def _filter(task: Any, wanted: LMEvalTask) -> str:
    names = [str(each.name) for each in task._filters]  # noqa: SLF001 - nothing else tells
    if wanted.filter is not None and wanted.filter not in names:
        raise JobError(
            Reason.EVAL_SET_MALFORMED,
            f"task {task.task_name} has no filter {wanted.filter!r} (there are: {', '.join(names)}); correct"
            " scoring.lmEval.tasks[].filter",
        )
    return wanted.filter or names[0]


def _read(tasks: list[Chosen], manager: Any) -> Loaded:
    items: list[Item] = []
    asked: list[Any] = []
    seen: set[tuple[str, str]] = set()
    duplicates = 0
    for chosen in tasks:
        try:
            config = json.dumps(chosen.task.dump_config(), default=str, sort_keys=True)
            found = list(_documents(chosen))
        except Exception as error:
            raise _malformed(chosen.name, error) from error
        asked.append([chosen.name, config])
        for item, digest in found:
            asked.append([item.id, digest, item.prompt, item.expected])
            if (chosen.name, digest) in seen:
                duplicates += 1
            else:
                seen.add((chosen.name, digest))
                items.append(item)
    if not items:
        raise JobError(Reason.EVAL_SET_MALFORMED, "the tasks have no items")
    return Loaded(tasks, items, duplicates, sha256_json(asked), manager)


def _documents(chosen: Chosen) -> Iterator[tuple[Item, str]]:
    task = chosen.task
    for number, document in task.doc_iterator():
        text, target = task.doc_to_text(document), task.doc_to_target(document)
        item = Item(
            id=item_id(chosen.name, number),
            prompt=str(text),
            messages=(),
            expected=str(target),
            line=number,
            slice=chosen.part,
        )
        yield item, document_hash(document)


def item_id(task: str, number: int) -> str:
    """Name of a document: its task, and its place there."""
    return f"{task}/{number}"


def document_hash(document: Any) -> str:
    """`doc_hash` as lm-eval computes it."""
    text = json.dumps(document, indent=2, default=handle_non_serializable, ensure_ascii=False)
    return str(hash_string(text))
