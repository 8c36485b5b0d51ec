"""kopf's storages that store nothing: without handlers of changes there is nothing to compare and no progress to keep.

kopf asks them at every event all the same, and its own copy the whole object several times: a third of all the
processor time that this operator would take.
"""

from typing import Any

import kopf


class NoDifferences(kopf.DiffBaseStorage):
    """Every object is, and was, without an essence."""

    def build(self, **_: Any) -> Any:
        """What is compared: nothing."""
        return {}

    def fetch(self, **_: Any) -> None:
        """What was stored: nothing."""

    def store(self, **_: Any) -> None:
        """Not stored."""


class NoProgress(kopf.ProgressStorage):
    """No handler has any progress."""

    def fetch(self, **_: Any) -> None:
        """What was stored: nothing."""

    def store(self, **_: Any) -> None:
        """Not stored."""

    def purge(self, **_: Any) -> None:
        """Nothing to remove."""

    def touch(self, **_: Any) -> None:
        """The object is left alone."""

    def clear(self, *, essence: Any) -> Any:
        """The essence as it is: nothing of it is progress."""
        return essence
