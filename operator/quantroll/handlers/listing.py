"""Makes the first listing of many objects linear in their number.

kopf holds every listed object back until all of them are indexed, and whenever one is, it wakes each of those that
wait: a thousand models would wake one another half a million times. Here they are woken when what they wait for has
come about. This replaces methods of kopf's own, so its version is pinned, and a test compares what is replaced with
what it was written for.
"""

from collections.abc import Iterable

from kopf._cogs.aiokits.aiotoggles import Toggle, ToggleSet


def patch() -> None:
    """Replace the methods; a second time does nothing more."""
    ToggleSet.make_toggle = make_toggle  # type: ignore[method-assign]
    ToggleSet.drop_toggle = drop_toggle  # type: ignore[method-assign]
    ToggleSet.drop_toggles = drop_toggles  # type: ignore[method-assign]


async def make_toggle(self: ToggleSet, val: bool = False, *, name: str | None = None) -> Toggle:
    """Add a toggle to the set."""
    toggle = Toggle(val, name=name, condition=self._condition)
    async with self._condition:
        before = self.is_on()
        self._toggles.add(toggle)
        _tell(self, before)
    return toggle


async def drop_toggle(self: ToggleSet, toggle: Toggle) -> None:
    """Remove one toggle from the set."""
    await drop_toggles(self, [toggle])


async def drop_toggles(self: ToggleSet, toggles: Iterable[Toggle]) -> None:
    """Remove toggles from the set."""
    async with self._condition:
        before = self.is_on()
        self._toggles.difference_update(toggles)
        _tell(self, before)


def _tell(toggles: ToggleSet, before: bool) -> None:
    if toggles.is_on() != before:
        toggles._condition.notify_all()  # noqa: SLF001 - as the method that this is a part of
