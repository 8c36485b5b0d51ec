"""A keyed work queue: a key is at most once in line, never in two workers, and pauses ever longer after errors.

Among those that are due, the ones that are preferred come first, and of these the one that has waited longest.
"""

import asyncio
import heapq
import logging
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

from quantroll.ports import Telemetry

log = logging.getLogger(__name__)

FIRST_PAUSE, LONGEST_PAUSE = 0.25, 60.0  # seconds after errors of one key

Key = tuple[str, str]
Pass = Callable[[Key], Awaitable[float | None]]


class WorkQueue:
    """Runs one function over keys as they come.

    `run_pass` returns after how many seconds the key wants to be looked at again (infinity: only on news), or None when
    it is gone. A raised exception puts the key back after a pause that doubles with every failure in a row. Without any
    news a key comes again after about `resync` seconds.
    """

    def __init__(self, run_pass: Pass, *, workers: int, resync: float, telemetry: Telemetry | None = None) -> None:
        self._pass, self._workers, self._resync = run_pass, workers, resync
        self._telemetry = telemetry or Telemetry()
        self._later: list[tuple[float, int, Key]] = []
        self._due: list[tuple[bool, float, int, Key]] = []  # False, preferred, comes before True
        self._at: dict[Key, float] = {}  # when a waiting key is due; entries of the heaps with another time are void
        self._preferred: set[Key] = set()
        self._running: set[Key] = set()
        self._again: dict[Key, float] = {}  # touched while running: when it is due then
        self._failures: dict[Key, int] = {}
        self._count = 0
        self._wake = asyncio.Event()

    def add(self, key: Key, delay: float = 0) -> None:
        """Have a key looked at, `delay` seconds from now or earlier: if it is in line already, or being looked at."""
        at = asyncio.get_running_loop().time() + delay
        if key in self._running:
            self._again[key] = min(at, self._again.get(key, at))
            return
        if at >= self._at.get(key, float("inf")):
            return
        self._at[key] = at
        self._count += 1
        heapq.heappush(self._later, (at, self._count, key))
        self._telemetry.queued()
        self._wake.set()

    def prefer(self, key: Key, *, preferred: bool) -> None:
        """Have a key come before others that are due, or no longer; where it stands in line already, too."""
        if not preferred:
            self._preferred.discard(key)
        elif key not in self._preferred:
            self._preferred.add(key)
            if key in self._at:
                self._count += 1
                heapq.heappush(self._later, (self._at[key], self._count, key))
                self._wake.set()

    def forget(self, key: Key) -> None:
        """The object is gone: no more passes."""
        self._preferred.discard(key)
        self._at.pop(key, None)
        self._again.pop(key, None)
        self._failures.pop(key, None)
        self._telemetry.gone(key)

    @property
    def waiting(self) -> int:
        """Keys in line, due or not."""
        return len(self._at)

    @property
    def depth(self) -> int:
        """Keys that are due and wait for a worker."""
        now = asyncio.get_running_loop().time()
        return sum(at <= now for at in self._at.values())

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            key = await self._next()
            self._running.add(key)
            try:
                delay = await self._one(key)
            finally:
                self._running.discard(key)
            if (at := self._again.pop(key, None)) is not None:
                self.add(key, at - asyncio.get_running_loop().time())
            if delay is not None:
                self.add(key, delay)

    async def _one(self, key: Key) -> float | None:
        began = asyncio.get_running_loop().time()
        try:
            delay = await self._pass(key)
        except Exception:  # whatever one object brings about, the others go on
            failures = self._failures[key] = self._failures.get(key, 0) + 1
            pause: float = min(FIRST_PAUSE * 2 ** min(failures - 1, 16), LONGEST_PAUSE) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            self._telemetry.ended(key, asyncio.get_running_loop().time() - began, failed=True)
            log.exception("%s/%s: pass failed %d times in a row; again in %.1f s", *key, failures, pause)
            return pause
        self._failures.pop(key, None)
        self._telemetry.ended(key, asyncio.get_running_loop().time() - began, failed=False)
        if delay is None:
            return None
        jitter: float = self._resync * random.uniform(0.8, 1.2)  # noqa: S311 - spreads load, keeps no secret
        return min(delay, jitter)

    async def _next(self) -> Key:
        loop = asyncio.get_running_loop()
        while True:
            now = loop.time()
            while self._later and (self._later[0][0] <= now or self._at.get(self._later[0][2]) != self._later[0][0]):
                at, count, key = heapq.heappop(self._later)
                heapq.heappush(self._due, (key not in self._preferred, at, count, key))
            while self._due:
                _, at, _, key = heapq.heappop(self._due)
                if self._at.get(key) == at:  # else superseded by an earlier time, taken up already, or forgotten
                    del self._at[key]
                    self._telemetry.started(key, now - at)
                    return key
            self._wake.clear()
            timeout = self._later[0][0] - now if self._later else None
            # not wait_for: until Python 3.12 that swallows a cancellation that comes together with what it waits for
            with suppress(TimeoutError):
                async with asyncio.timeout(None if timeout is None else max(timeout, 0.01)):
                    await self._wake.wait()
