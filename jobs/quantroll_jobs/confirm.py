"""The confirm Job: asks the serving revision and the one to go back to the same items, which the probe never uses.

Both are asked through their Services while they serve, each item at about the same time. Only items that both answered
are counted, so that a restart of one engine looks neither like bad quality nor like good.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from quantroll.api.jobs import Arm, ConfirmInput, ConfirmResult, Report
from quantroll.constants import Reason
from quantroll_jobs import store
from quantroll_jobs.asked import form_of
from quantroll_jobs.datafiles import DataError
from quantroll_jobs.errors import JobError
from quantroll_jobs.evaluate.answers import Answer, Outcome, cell
from quantroll_jobs.evaluate.interview import Interview, hold, progress
from quantroll_jobs.split import ChangingError, Part, Portion, read_portion

MIN_ITEMS = 20  # fewer say nothing about a service
_PARTIAL = "{arm}-{digest}.jsonl.partial"
Pair = tuple[Answer, Answer]


def run(job: ConfirmInput) -> Report:
    """Confirm; raises JobError. What was answered is kept for the next attempt."""
    started = time.monotonic()
    source = _read(job)
    folder = store.resumable(job)
    pairs = asyncio.run(_ask(job, source, folder))
    result = _count(pairs, source, round(time.monotonic() - started, 1))
    _write(folder / store.ITEMS, pairs)
    for partial in folder.glob(_PARTIAL.format(arm="*", digest="*")):
        partial.unlink()
    return store.commit(folder, job, Report(kind="confirm", key=job.key, confirm=result))


def _read(job: ConfirmInput) -> Portion:
    """The items to ask: those of the lowest ranks in the confirmation's part."""
    path = Path(job.eval_set.path)
    if not path.is_file():
        raise JobError(Reason.EVAL_SET_MISSING, f"there is no file {path} to take questions from")
    try:
        source = read_portion(path, form_of(job.eval_set, job), Part.CONFIRM, max(job.items, MIN_ITEMS))
    except DataError as error:
        raise JobError(Reason.EVAL_SET_MALFORMED, f"{path}: {error}") from None
    except ChangingError as error:
        raise JobError(Reason.INPUT_CHANGED, str(error), permanent=False) from None
    if job.eval_set.sha256 not in (None, source.sha256):
        raise JobError(
            Reason.INPUT_CHANGED, f"{path} has sha256 {source.sha256}, and had {job.eval_set.sha256} when prepared"
        )
    if len(source.items) < MIN_ITEMS:
        raise JobError(
            Reason.EVAL_SET_TOO_SMALL,
            f"{path} has {len(source.items)} items for confirmations, which are about half of all;"
            f" at least {MIN_ITEMS} are needed",
        )
    return Portion(source.sha256, source.stamp, source.items[: job.items])


async def _ask(job: ConfirmInput, source: Portion, folder: Path) -> list[Pair]:
    async with _interviews(job, source, folder) as (serving, target):
        await _both_ready(serving, target)
        waiting = [{item.id for item, _ in arm.open_questions(source.items)} for arm in (serving, target)]
        questions = [
            (arm, (item, 0))
            for item in source.items
            for arm, ids in zip((serving, target), waiting, strict=True)
            if item.id in ids
        ]
        async with progress([serving, target], 2 * len(source.items)):
            await hold(questions, job.concurrency)
        return [(serving.answers[item.id, 0], target.answers[item.id, 0]) for item in source.items]


@asynccontextmanager
async def _interviews(job: ConfirmInput, source: Portion, folder: Path) -> AsyncIterator[tuple[Interview, Interview]]:
    async with AsyncExitStack() as stack:

        async def start(arm: Arm, name: str, who: str) -> Interview:
            # answers to another state of the file may have been judged by other expectations
            partial = folder / _PARTIAL.format(arm=name, digest=source.sha256[:16])
            interview = Interview(job, arm.endpoint, partial, f"{who} {arm.revision}")
            return await stack.enter_async_context(interview)

        yield (
            await start(job.serving, "serving", "the serving revision"),
            await start(job.target, "target", "the target revision"),
        )


async def _both_ready(*interviews: Interview) -> None:
    results = await asyncio.gather(*[each.wait_until_ready() for each in interviews], return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures:
        raise failures[0]


def _count(pairs: Iterable[Pair], source: Portion, seconds: float) -> ConfirmResult:
    cells: Counter[str] = Counter()
    for serving, target in pairs:
        if Outcome.ERROR in (serving.outcome, target.outcome):
            cells["errors"] += 1
        else:
            cells[cell(serving.outcome is Outcome.RIGHT, target.outcome is Outcome.RIGHT)] += 1
    return ConfirmResult(
        items=cells.total() - cells["errors"],
        errors=cells["errors"],
        both=cells["both"],
        serving_only=cells["harm"],
        target_only=cells["gain"],
        neither=cells["neither"],
        source_sha256=source.sha256,
        seconds=seconds,
    )


def _write(path: Path, pairs: Iterable[Pair]) -> None:
    """Both answers to each item, one item a line."""
    with path.open("w", encoding="utf-8") as file:
        for serving, target in pairs:
            line = {"id": serving.id, "serving": serving.model_dump(), "target": target.model_dump()}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
