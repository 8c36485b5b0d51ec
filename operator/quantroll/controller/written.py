"""What was written and the watches do not show yet, so that it is not decided and written once more."""

import time
from collections.abc import Callable, Mapping
from typing import Any

LAG = 2.0  # seconds after which a watch that shows nothing is no longer waited for


class Written:
    """Versions that a write of ours has replaced, by uid, for `LAG` seconds; `now` gives seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._over: dict[str, tuple[str, str, float]] = {}  # version written over, what was written, until when

    def note(self, body: Mapping[str, Any], what: str = "") -> None:
        """The object was written over, as it was seen."""
        self._over = {uid: entry for uid, entry in self._over.items() if self._now() < entry[2]}
        meta = body["metadata"]
        if version := meta.get("resourceVersion"):
            self._over[meta["uid"]] = (version, what, self._now() + LAG)

    def pending(self, body: Mapping[str, Any], what: str = "") -> float:
        """Seconds for which a write of `what` over the object as it is seen may still be on its way; 0 for none."""
        meta = body["metadata"]
        version, written, until = self._over.get(meta.get("uid", ""), ("", "", 0.0))
        known = version == meta.get("resourceVersion") and written == what
        return max(until - self._now(), 0.0) if known else 0.0
