"""What the watches have shown of the children, packed, by the model that owns them."""

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from quantroll.controller.departed import Departed
from quantroll.controller.packed import Packed, Packer
from quantroll.controller.queue import Key


@dataclass(frozen=True, slots=True)
class Shown:
    """A child as a watch shows it."""

    name: Key
    owner: str
    component: str
    text: bytes
    """The object as JSON."""


class Seen:
    """Children of all models. `news` is told the key of a model one of whose children came, changed or went."""

    def __init__(self, packer: Packer, news: Callable[[Key], None]) -> None:
        self._packer, self._news = packer, news
        self.departed = Departed()
        self._objects: dict[str, dict[Key, tuple[Key, Packed]]] = {}  # owner and object, by kind and name
        self._owned: dict[Key, list[tuple[str, Key]]] = {}  # kinds and names, by owner

    def put(self, kind: str, shown: Shown) -> None:
        """A child as it is now."""
        name, owner = shown.name, (shown.name[0], shown.owner)
        packed = self._packer.pack(kind, shown.component, shown.text)
        known = self._objects.setdefault(kind, {})
        before = known.get(name)
        if before == (owner, packed):
            return
        if before is None or before[0] != owner:
            self.drop(kind, name)
            self._owned.setdefault(owner, []).append((kind, name))
        known[name] = (owner, packed)
        self._news(owner)

    def drop(self, kind: str, name: Key) -> None:
        """A child is gone, or bears our label no longer."""
        found = self._objects.get(kind, {}).pop(name, None)
        if found is None:
            return
        owner = found[0]
        self._owned[owner].remove((kind, name))
        if not self._owned[owner]:
            del self._owned[owner]
        if kind == "Job":
            self.departed.note(owner, name[1])
        self._news(owner)

    def keep(self, kind: str, namespace: str | None, names: AbstractSet[Key]) -> None:
        """Of a kind, in a namespace or (None) in all, there is nothing but these: others went while nobody looked."""
        gone = [name for name in self._objects.get(kind, ()) if name not in names and namespace in (None, name[0])]
        for name in gone:
            self.drop(kind, name)

    def of(self, owner: Key) -> Iterator[tuple[str, dict[str, Any]]]:
        """The children of a model, each with its kind."""
        for kind, name in self._owned.get(owner, ()):
            yield kind, self._objects[kind][name][1].unpacked()
