"""The evaluate Job: asks the engine every item of the eval set, and joins with the baseline's stored answers."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from pydantic import ValidationError

from quantroll.api.jobs import EvaluateInput, EvaluateResult, Report
from quantroll.constants import Reason
from quantroll_jobs import store
from quantroll_jobs.datafiles import DataError, EvalSet, Item
from quantroll_jobs.digests import sha256_file
from quantroll_jobs.errors import JobError
from quantroll_jobs.evaluate.answers import (
    PARTIAL,
    Answer,
    Outcome,
    PartialAnswers,
    join,
    prompts_digest,
    read_answers,
    write_answers,
)
from quantroll_jobs.evaluate.engine import Engine, RequestFailedError, request_body, request_digest
from quantroll_jobs.scorers import SCORERS

PROGRESS_INTERVAL = 5.0  # seconds
FAILURES_IN_A_ROW = 32  # items without an answer, none in between: that is the engine, not the items


def run(job: EvaluateInput) -> Report:
    """Evaluate; raises JobError. What was answered is kept for the next attempt."""
    started = time.monotonic()
    items = _pinned_items(job)
    baseline = None if job.baseline_key is None else _stored_answers(job, job.baseline_key)
    folder = store.resumable(job)
    answers, version = asyncio.run(_Evaluation(job, items, folder).run())
    result = EvaluateResult(
        **_summary(answers, baseline), engine_version=version, seconds=round(time.monotonic() - started, 1)
    )
    write_answers(folder / store.ITEMS, answers.values())
    (folder / PARTIAL).unlink()
    return store.commit(folder, job, Report(kind="evaluate", key=job.key, evaluate=result))


def _pinned_items(job: EvaluateInput) -> list[Item]:
    path = Path(job.eval_set.path)
    digest = sha256_file(path) if path.is_file() else "none: the file is gone"
    if digest != job.eval_set.sha256:
        raise JobError(Reason.INPUT_CHANGED, f"{path} has sha256 {digest}, and had {job.eval_set.sha256} when prepared")
    try:
        return list(EvalSet(path, job.eval_set.id_field))
    except DataError as error:
        raise JobError(Reason.EVAL_SET_MALFORMED, f"{path}: {error}") from None


def _stored_answers(job: EvaluateInput, key: str) -> dict[str, Answer]:
    path = store.result_folder(Path(job.store), "evaluate", key) / store.ITEMS
    try:
        return {answer.id: answer for answer in read_answers(path)}
    except FileNotFoundError:
        message = f"the baseline's answers are not at {path}: evaluate the baseline again"
    except (OSError, ValidationError) as error:
        message = f"the baseline's answers at {path} cannot be read: {' '.join(str(error).split())[:300]}"
    raise JobError(Reason.BASELINE_RESULTS_MISSING, message)


def _summary(answers: dict[str, Answer], baseline: dict[str, Answer] | None) -> dict[str, int | bool | str]:
    outcomes = [answer.outcome for answer in answers.values()]
    summary: dict[str, int | bool | str] = {
        "items": len(answers),
        "correct": outcomes.count(Outcome.RIGHT),
        "errors": outcomes.count(Outcome.ERROR),
        "truncated": sum(answer.finish_reason == "length" for answer in answers.values()),
        "prompts_digest": prompts_digest(answers.values()),
    }
    if baseline is not None:
        cells, match = join(baseline, answers)
        errors = sum(answer.outcome is Outcome.ERROR for answer in baseline.values())
        summary |= {**cells.model_dump(), "prompts_match": match, "baseline_errors": errors}
    return summary


class _Evaluation:
    """One attempt: `concurrency` workers take items from a common iterator."""

    def __init__(self, job: EvaluateInput, items: list[Item], folder: Path) -> None:
        self._job = job
        self._items = items
        self._partial = PartialAnswers(folder / PARTIAL)
        self._score = SCORERS[job.scorer]
        self._failures = 0

    async def run(self) -> tuple[dict[str, Answer], str]:
        """All answers in the order of the eval set, and the engine's version."""
        answered = {name: answer for name, answer in self._partial.done.items() if answer.outcome is not Outcome.ERROR}
        waiting = iter([item for item in self._items if not self._is_answered(item, answered)])
        try:
            async with Engine(self._job) as engine:
                await engine.wait_until_ready()
                version = await engine.version()
                async with self._progress():
                    await self._work(engine, waiting)
        finally:
            self._partial.close()
        return {item.id: self._partial.done[item.id] for item in self._items}, version

    def _is_answered(self, item: Item, answered: dict[str, Answer]) -> bool:
        found = answered.get(item.id)
        return found is not None and found.request == request_digest(request_body(self._job, item))

    async def _work(self, engine: Engine, waiting: Iterator[Item]) -> None:
        async def worker() -> None:
            for item in waiting:
                self._partial.add(await self._answer(engine, item))

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._job.concurrency):
                    group.create_task(worker())
        except ExceptionGroup as group:
            failures = [error for error in group.exceptions if isinstance(error, JobError)]
            raise (failures or group.exceptions)[0] from None

    async def _answer(self, engine: Engine, item: Item) -> Answer:
        body = request_body(self._job, item)
        digest = request_digest(body)
        started = time.monotonic()
        try:
            reply = await engine.ask(body)
        except RequestFailedError as error:
            await self._blame(engine, error)
            return Answer(id=item.id, request=digest, outcome=Outcome.ERROR, error=str(error))
        self._failures = 0
        return Answer(
            id=item.id,
            request=digest,
            outcome=Outcome.RIGHT if self._score(reply.text, item.expected) else Outcome.WRONG,
            answer=reply.text,
            finish_reason=reply.finish_reason,
            seconds=round(time.monotonic() - started, 4),
        )

    async def _blame(self, engine: Engine, error: RequestFailedError) -> None:
        """An item without an answer is an error of the item, unless the engine has gone: that is no wrong answer."""
        if error.refused:
            return
        self._failures += 1
        if not await engine.healthy():
            raise JobError(
                Reason.ENGINE_FAILED, f"the engine answered before and does not any more: {error}", permanent=False
            ) from None
        if self._failures >= FAILURES_IN_A_ROW:
            raise JobError(
                Reason.ENGINE_FAILED,
                f"{self._failures} items in a row got no answer although /health is well; the last: {error}",
                permanent=False,
            ) from None

    @asynccontextmanager
    async def _progress(self) -> AsyncIterator[None]:
        started, before = time.monotonic(), len(self._partial.done)

        async def say() -> None:
            while True:
                await asyncio.sleep(PROGRESS_INTERVAL)
                self._partial.sync()
                done, seconds = len(self._partial.done), time.monotonic() - started
                rate = (done - before) / seconds
                print(f"{done} of {len(self._items)} items after {seconds:.0f} s, {rate:.1f} a second", flush=True)

        task = asyncio.create_task(say())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
