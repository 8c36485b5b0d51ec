"""Jobs that have just gone: another one of the same name is made a moment later.

A Job controller that comes upon the new one before it has seen the end of the old one goes on waiting for the old one's
pods: for five minutes nothing runs (kubernetes/kubernetes#142142).
"""

import time
from collections.abc import Callable

from quantroll.controller.queue import Key

PAUSE = 2.0  # seconds; the Job controller looks at a Job a second after there is news of it


class Departed:
    """Names of Jobs by the model they belonged to, for `PAUSE` seconds; `now` gives seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._until: dict[Key, dict[str, float]] = {}

    def note(self, owner: Key, name: str) -> None:
        """A model's Job has gone."""
        now = self._now()
        self._until.setdefault(owner, {})[name] = now + PAUSE
        self._until = {key: known for key, known in self._until.items() if max(known.values()) > now}

    def pause(self, owner: Key, name: str | None = None) -> float:
        """Seconds until a model's Job of this name may be made, or of any name; 0 for now."""
        known, now = self._until.get(owner, {}), self._now()
        until = max(known.values(), default=now) if name is None else known.get(name, now)
        return max(until - now, 0.0)
