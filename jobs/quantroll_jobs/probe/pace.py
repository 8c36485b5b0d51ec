"""When the prober asks, and in which order."""

import hashlib
import math
import random
import time
from collections.abc import Sequence

from quantroll_jobs.datafiles import Item

JITTER = 0.2  # share of an interval by which a question may come later than its slot begins


class Pace:
    """Slots at even distances.

    A slot that has begun is over: whatever takes long makes questions fewer, and never closer to each other than 80 %
    of the interval.
    """

    def __init__(self, items_per_hour: int, name: str) -> None:
        """Probers of different names have their slots at different times."""
        self.interval = 3600 / items_per_hour  # seconds
        self._phase = self.interval * int.from_bytes(hashlib.sha256(name.encode()).digest()[:4]) / 2**32
        self._epoch = time.time() - time.monotonic()  # a clock that is set while this runs changes nothing
        self._last = -1

    def seconds(self) -> float:
        """From now until the next question is due; call it once for each."""
        now = self._now()
        self._last = max(self._last + 1, math.ceil(now / self.interval))
        later = random.uniform(0, JITTER)  # noqa: S311 - jitter, no secret
        return (self._last + later) * self.interval - now

    def position(self) -> int:
        """Slots from the epoch until now: a new process begins about where the last one ended."""
        return math.ceil(self._now() / self.interval)

    def _now(self) -> float:
        return self._epoch + time.monotonic() - self._phase


def rotation(items: Sequence[Item], name: str) -> list[Item]:
    """The items in a shuffled order, always the same for one name: any `len(items)` in a row are distinct."""
    order = list(items)
    random.Random(name).shuffle(order)  # noqa: S311 - an order, no secret
    return order
