"""The children of one QuantizedModel as the watches last showed them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Children:
    """Bodies by kind and name."""

    by_kind: Mapping[str, Mapping[str, Body]] = field(default_factory=dict)

    def get(self, kind: str, name: str) -> Body | None:
        """One child; None if there is none of that name."""
        return self.by_kind.get(kind, {}).get(name)

    def of(self, kind: str) -> Iterable[Body]:
        """All children of a kind."""
        return self.by_kind.get(kind, {}).values()
