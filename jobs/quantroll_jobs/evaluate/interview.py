"""Asking engines many items: one queue of questions, a bound on what is in flight, every answer kept as it comes."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Self

from quantroll.api.jobs import ConfirmInput, EvaluateInput
from quantroll.constants import Reason
from quantroll_jobs.asked import scorer_of
from quantroll_jobs.datafiles import Item
from quantroll_jobs.errors import JobError
from quantroll_jobs.evaluate.answers import Answer, Outcome, PartialAnswers
from quantroll_jobs.evaluate.engine import Engine, RequestFailedError, request_body, request_digest
from quantroll_jobs.scorers import is_right

PROGRESS_INTERVAL = 5.0  # seconds
FAILURES_IN_A_ROW = 32  # items without an answer, none in between: that is the engine, not the items
Question = tuple[Item, int]  # for the how-manieth time it is asked, from 0 on


class Interview:
    """One engine and its answers, those of an earlier attempt included; use as an asynchronous context manager.

    `who` names the engine in messages.
    """

    def __init__(
        self, job: EvaluateInput | ConfirmInput, endpoint: str, partial: Path, who: str = "the engine"
    ) -> None:
        """Continue the file `partial`, or begin it; nothing is asked yet."""
        self._job = job
        self._who = who
        self._partial = PartialAnswers(partial)
        self._scorer = scorer_of(job)
        self._failures = 0
        self.engine = Engine(
            endpoint,
            job.served_model,
            connections=job.concurrency,
            request_timeout=job.request_timeout_seconds,
            who=who,
            prompt_ids=isinstance(job, EvaluateInput),
        )

    async def __aenter__(self) -> Self:
        """Open."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close connections and file; what was answered stays."""
        self._partial.close()
        await self.engine.aclose()

    @property
    def answers(self) -> dict[tuple[str, int], Answer]:
        """What is answered so far, by id and repeat."""
        return self._partial.done

    async def wait_until_ready(self) -> None:
        """Wait for the engine; raises JobError after the Job's `ready_timeout_seconds`."""
        await self.engine.wait_until_ready(self._job.ready_timeout_seconds)

    def open_questions(self, items: Iterable[Item], repeats: int = 1, *, first: int = 0) -> list[Question]:
        """The items without an answer to exactly this request, each as often as asked for; an error is no answer.

        `first` is how often they are asked without this.
        """
        asked = [(item, repeat) for repeat in range(first, repeats) for item in items]
        return [question for question in asked if not self._is_answered(question)]

    def _is_answered(self, question: Question) -> bool:
        item, repeat = question
        found = self.answers.get((item.id, repeat))
        if found is None or found.outcome is Outcome.ERROR:
            return False
        return found.request == request_digest(request_body(self._job, item))

    def sync(self) -> None:
        """Have the answers on the disk."""
        self._partial.sync()

    async def ask(self, question: Question) -> None:
        """Ask and keep what comes; raises JobError when the engine has gone."""
        self._partial.add(await self._answer(*question))

    async def _answer(self, item: Item, repeat: int) -> Answer:
        body = request_body(self._job, item)
        answer = partial(Answer, id=item.id, repeat=repeat, cluster=item.cluster, request=request_digest(body))
        started = time.monotonic()
        try:
            reply = await self.engine.ask(body)
        except RequestFailedError as error:
            await self._blame(error)
            return answer(outcome=Outcome.ERROR, error=str(error))
        self._failures = 0
        score = self._scorer.score(reply.text, item)
        return answer(
            prompt=reply.prompt,
            outcome=Outcome.RIGHT if is_right(score) else Outcome.WRONG,
            score=score if self._scorer.graded else None,
            answer=reply.text,
            finish_reason=reply.finish_reason,
            seconds=round(time.monotonic() - started, 4),
        )

    async def _blame(self, error: RequestFailedError) -> None:
        """An item without an answer is an error of the item, unless the engine has gone: that is no wrong answer."""
        if error.refused:
            return
        self._failures += 1
        if not await self.engine.healthy():
            raise JobError(
                Reason.ENGINE_FAILED, f"{self._who} answered before and does not any more: {error}", permanent=False
            ) from None
        if self._failures >= FAILURES_IN_A_ROW:
            raise JobError(
                Reason.ENGINE_FAILED,
                f"{self._failures} items in a row got no answer from {self._who} although /health is well;"
                f" the last: {error}",
                permanent=False,
            ) from None


async def hold(questions: Iterable[tuple[Interview, Question]], concurrency: int) -> None:
    """Ask all questions in their order, at most `concurrency` at a time; raises JobError."""
    waiting = iter(questions)

    async def worker() -> None:
        for interview, question in waiting:
            await interview.ask(question)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(worker())
    except ExceptionGroup as group:
        failures = [error for error in group.exceptions if isinstance(error, JobError)]
        raise (failures or group.exceptions)[0] from None


@asynccontextmanager
async def progress(interviews: list[Interview], total: int) -> AsyncIterator[None]:
    """Say every few seconds how far it is, and have the answers on the disk."""

    def answered() -> int:
        return sum(len(interview.answers) for interview in interviews)

    started, before = time.monotonic(), answered()

    async def say() -> None:
        while True:
            await asyncio.sleep(PROGRESS_INTERVAL)
            for interview in interviews:
                interview.sync()
            done, seconds = answered(), time.monotonic() - started
            rate = (done - before) / seconds
            print(f"{done} of {total} questions after {seconds:.0f} s, {rate:.1f} a second", flush=True)

    task = asyncio.create_task(say())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
