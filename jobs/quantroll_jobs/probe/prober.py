"""The prober's two loops: one looks after the file with the items, the other asks."""

import asyncio
import time
import traceback
from contextlib import AsyncExitStack, aclosing

from quantroll.api.jobs import ProbeInput
from quantroll_jobs.asked import form_of, scorer_of
from quantroll_jobs.datafiles import Item
from quantroll_jobs.evaluate.answers import Outcome
from quantroll_jobs.evaluate.engine import Engine, RequestFailedError, request_body
from quantroll_jobs.probe.exporter import Exporter
from quantroll_jobs.probe.pace import Pace, rotation
from quantroll_jobs.probe.source import Source
from quantroll_jobs.scorers import is_right

LOOK_INTERVAL = 3.0  # seconds between looks at the file
HELD_UP = 5.0  # seconds that one target may hold up the others
BEAT = 1.0  # seconds between signs of life
_MARGIN = 60.0  # seconds that a question may take on top of its time-out

End = tuple[Outcome, int | None]


class Prober:
    """Asks all targets the same item at the same time; a slot passes unused while the last question is in flight.

    One that takes long is left behind: its target is passed over until it has ended, and the others are asked on.
    """

    def __init__(self, job: ProbeInput, exporter: Exporter) -> None:
        """Nothing is read or asked yet; raises JobError where the scorer's settings cannot be used."""
        self._job = job
        self._exporter = exporter
        self._name = f"{job.namespace}/{job.name}"
        self._source = Source(job.source, form_of(job.source, job))
        self._order: list[Item] = []
        self._score = scorer_of(job).score
        self._busy: set[str] = set()  # revisions that were left behind
        self._failing: dict[str, int] = {}  # questions in a row without an answer, by revision
        self._beat = time.monotonic()

    def is_alive(self) -> bool:
        """Whether the loop that asks is running; what engines and files do has no part in it."""
        return time.monotonic() - self._beat < self._job.request_timeout_seconds + _MARGIN

    async def run(self) -> None:
        """Ask until cancelled."""
        async with AsyncExitStack() as stack:
            engines = [
                await stack.enter_async_context(
                    aclosing(
                        Engine(
                            target.endpoint,
                            self._job.name,
                            connections=1,
                            request_timeout=self._job.request_timeout_seconds,
                            single_shot=True,
                        )
                    )
                )
                for target in self._job.targets
            ]
            group = await stack.enter_async_context(asyncio.TaskGroup())
            group.create_task(self._watch())
            group.create_task(self._ask_on(engines, group))

    async def _watch(self) -> None:
        while True:
            if await asyncio.to_thread(self._source.look):
                self._exporter.declare(item.slice for item in self._source.items)
                self._order = rotation(self._source.items, self._name)
            self._exporter.source(ok=self._source.ok, items=len(self._order))
            await asyncio.sleep(LOOK_INTERVAL)

    async def _ask_on(self, engines: list[Engine], group: asyncio.TaskGroup) -> None:
        pace = Pace(self._job.items_per_hour, self._name)
        position = pace.position()
        while True:
            await self._sleep(pace.seconds())
            order = self._order
            targets = zip(self._job.targets, engines, strict=True)
            free = [(target.revision, engine) for target, engine in targets if target.revision not in self._busy]
            if order and free and not self._exporter.unread():
                item = order[position % len(order)]
                position += 1
                await self._question(item, free, group)

    async def _sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._beat = time.monotonic()
            await asyncio.sleep(min(left, BEAT))
        self._beat = time.monotonic()

    async def _question(self, item: Item, targets: list[tuple[str, Engine]], group: asyncio.TaskGroup) -> None:
        asked = {revision: group.create_task(self._ask(revision, engine, item)) for revision, engine in targets}
        done, late = await asyncio.wait(asked.values(), timeout=HELD_UP)
        for revision, task in asked.items():
            if task in done:
                self._exporter.count(item.slice, revision, *task.result())
            else:
                self._busy.add(revision)
                group.create_task(self._leave_behind(item, revision, task))
        if not late:
            self._exporter.pair(item.slice, [task.result()[0] for task in asked.values()])

    async def _leave_behind(self, item: Item, revision: str, task: asyncio.Task[End]) -> None:
        self._exporter.count(item.slice, revision, *await task)
        self._busy.discard(revision)

    async def _ask(self, revision: str, engine: Engine, item: Item) -> End:
        try:
            reply = await engine.ask(request_body(self._job, item))
        except RequestFailedError as error:
            self._failed(revision, str(error))
            return Outcome.ERROR, error.status
        except Exception as error:  # noqa: BLE001 - nothing that an engine does ends the prober
            traceback.print_exception(error)
            self._failed(revision, type(error).__name__)
            return Outcome.ERROR, None
        failed = self._failing.pop(revision, 0)
        if failed:
            print(f"{revision} answers again, after {failed} questions without an answer", flush=True)
        return Outcome.RIGHT if is_right(self._score(reply.text, item)) else Outcome.WRONG, 200

    def _failed(self, revision: str, cause: str) -> None:
        """Say the first failure of a row, and then one in a hundred."""
        count = self._failing[revision] = self._failing.get(revision, 0) + 1
        if count % 100 == 1:
            print(f"{revision} gave no answer, {count} in a row: {cause}", flush=True)
