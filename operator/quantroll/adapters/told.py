"""Which events have been posted, so that the same one again counts up and one that flaps falls silent.

As client-go's recorder does it, with its figures; but what is held back is one reason of one object, so that a pod that
comes and goes does not drown the rollback that it leads to.
"""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from quantroll.domain.events import Event

BURST = 25  # events of one reason about one object, at once
REFILL = 300.0  # seconds until it may have another one
_REMEMBERED = 2048  # events, and reasons of objects; the oldest are forgotten
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Posted:
    """An Event object in the cluster."""

    name: str
    count: int


class Told:
    """Bookkeeping alone; `now` is a clock in seconds that never goes back."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._posted: OrderedDict[int, Posted] = OrderedDict()
        self._left: OrderedDict[int, tuple[float, float]] = OrderedDict()  # events that may be told, as of when

    def may(self, uid: str, event: Event) -> bool:
        """Whether the event may be told now, and if so that it will be."""
        key, now = hash((uid, event.reason)), self._now()
        left, at = self._left.pop(key, (float(BURST), now))
        left = min(float(BURST), left + (now - at) / REFILL)
        allowed = left >= 1
        _keep(self._left, key, (left - 1 if allowed else left, now))
        return allowed

    def posted(self, uid: str, event: Event) -> Posted | None:
        """The object that already tells exactly this."""
        return self._posted.get(_identity(uid, event))

    def note(self, uid: str, event: Event, posted: Posted) -> None:
        """It has been posted, or counted up."""
        key = _identity(uid, event)
        self._posted.pop(key, None)
        _keep(self._posted, key, posted)


def _identity(uid: str, event: Event) -> int:
    return hash((uid, event.type, event.reason, event.message))


def _keep(book: "OrderedDict[int, T]", key: int, value: T) -> None:
    book[key] = value
    if len(book) > _REMEMBERED:
        book.popitem(last=False)
