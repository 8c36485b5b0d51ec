"""The two parts of a set of items: one for the probe, one for confirmations; no item is in both.

An item's part is the lowest bit of the first byte of SHA-256("quantroll split 1" + line feed + id): half of the items
each, the same on every machine and in every version, whatever the order of the file and whatever else is in it. The
bytes after the first are the item's rank: where not all items of a part are wanted, those of the lowest ranks are
taken, so that a smaller sample is a part of a larger one.
"""

import hashlib
import heapq
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

from quantroll_jobs.datafiles import DataError, Item, ItemForm, item_of, read_lines
from quantroll_jobs.digests import sha256_file

TEXT_LIMIT = 64 << 20  # characters of all items that are kept
_SALT = "quantroll split 1\n"


class Part(IntEnum):
    """Who asks an item."""

    PROBE = 0
    CONFIRM = 1


def place(item_id: str) -> tuple[Part, int]:
    """The part of an item, and its rank in it."""
    digest = hashlib.sha256((_SALT + item_id).encode()).digest()
    return Part(digest[0] & 1), int.from_bytes(digest[1:16])


Stamp = tuple[int, int, int, int]


class ChangingError(Exception):
    """The file changed while it was read."""


@dataclass(frozen=True, slots=True)
class Portion:
    """Items of one state of a file."""

    sha256: str
    stamp: Stamp
    items: list[Item]


def stamp_of(path: Path) -> Stamp:
    """What differs as soon as a file is replaced or written to; raises OSError."""
    status = path.stat()
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def read_portion(path: Path, form: ItemForm, part: Part, limit: int) -> Portion:
    """Digest and items of the same bytes; raises DataError, ChangingError and OSError. See `read_part`."""
    stamp = stamp_of(path)
    try:
        digest = sha256_file(path)
        items = read_part(path, form, part, limit)
    except DataError:
        if stamp_of(path) != stamp:
            raise ChangingError(f"{path} changed while it was read") from None
        raise
    if stamp_of(path) != stamp:
        raise ChangingError(f"{path} changed while it was read")
    return Portion(digest, stamp, items)


def read_part(path: Path, form: ItemForm, part: Part, limit: int) -> list[Item]:
    """At most `limit` items of one part of a file, ordered by rank; raises DataError and OSError.

    The file is read as a stream, every line is checked, and only the items that are returned stay in memory. A question
    that stands there several times counts once; if that is under ids of both parts, it belongs to the probe, and the
    confirmation goes without.
    """
    sample = _Sample(limit, form.id_field)
    others: set[bytes] = set()
    for number, value in read_lines(path):
        item = item_of(value, number, form)
        found, rank = place(item.id)
        if found is part:
            sample.add(item, rank)
        elif part is Part.CONFIRM:
            others.add(bytes.fromhex(item.identity)[:16])
    return [item for item in sample.items() if not others or bytes.fromhex(item.identity)[:16] not in others]


@dataclass(slots=True)
class _Sample:
    """The items of the lowest ranks so far."""

    limit: int
    id_field: str
    _kept: dict[int, Item] = field(default_factory=dict)  # by rank
    _ranks: dict[str, int] = field(default_factory=dict)  # by identity
    _highest: list[int] = field(default_factory=list)  # heap of the negated ranks
    _bound: int | None = None  # the lowest rank that had to go
    _text: int = 0

    def add(self, item: Item, rank: int) -> None:
        """Take the item, if its rank is low enough."""
        if (self._bound is not None and rank >= self._bound) or self._repeats(item, rank):
            return
        self._kept[rank] = item
        self._ranks[item.identity] = rank
        heapq.heappush(self._highest, -rank)
        self._text += _length(item)
        while len(self._kept) > self.limit or self._text > TEXT_LIMIT:
            self._bound = -heapq.heappop(self._highest)
            gone = self._kept.pop(self._bound)
            del self._ranks[gone.identity]
            self._text -= _length(gone)

    def _repeats(self, item: Item, rank: int) -> bool:
        same = self._kept.get(rank)
        if same is not None:
            raise DataError(f"lines {same.line} and {item.line} have the same {self.id_field}, {item.id!r}")
        first = self._ranks.get(item.identity)
        if first is None:
            return False
        if self._kept[first].expected != item.expected:
            raise DataError(f"lines {self._kept[first].line} and {item.line} ask the same and expect different answers")
        return True

    def items(self) -> list[Item]:
        """What was taken, by rank."""
        return [self._kept[rank] for rank in sorted(self._kept)]


def _length(item: Item) -> int:
    asked = len(item.prompt) if item.prompt is not None else sum(len(m["content"]) for m in item.messages)
    return asked + len(item.expected)
