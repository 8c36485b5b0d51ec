"""Reading eval sets and calibration sets: JSON lines, as a stream, every line checked.

A malformed file raises `DataError` with the line's number and what is wrong. To find repetitions the reader keeps
digests and ids of what it has read; whoever asks for the items keeps those.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantroll_jobs.digests import sha256_json

LINE_LIMIT = 16 << 20  # bytes: beyond this it is not a prompt
SLICE_BYTES = 63  # so that the counts of all slices fit into a termination message
_BYTE_ORDER_MARKS = (b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff")
Message = dict[str, str]


class DataError(ValueError):
    """A data file is malformed; the text names the line."""


@dataclass(frozen=True, slots=True)
class Item:
    """One question with its known answer: either a `prompt` or `messages`."""

    id: str
    prompt: str | None
    messages: tuple[Message, ...]
    expected: str
    line: int
    slice: str = ""
    cluster: str = ""  # empty: one of its own
    choices: tuple[str, ...] = ()

    @property
    def question(self) -> str:
        """What is asked, as text: the prompt, or the last message of the user."""
        if self.prompt is not None:
            return self.prompt
        return next(
            (m["content"] for m in reversed(self.messages) if m["role"] == "user"), self.messages[-1]["content"]
        )

    @property
    def shown(self) -> str:
        """All that the model is shown, as text."""
        return self.prompt if self.prompt is not None else "\n".join(message["content"] for message in self.messages)

    @property
    def identity(self) -> str:
        """Digest of all that the model is shown and may choose; two items with the same identity are one."""
        shown = self.prompt if self.prompt is not None else list(self.messages)
        return sha256_json([shown, self.choices] if self.choices else shown)


@dataclass(frozen=True, slots=True)
class ItemForm:
    """How a line becomes an item, and what an item has to have.

    A slice field that was asked for has to hold short texts; `slice`, which the prober looks at otherwise, may hold
    anything.
    """

    id_field: str = "id"
    slice_field: str | None = None
    cluster_field: str | None = None
    check: Callable[[Item], None] | None = None
    """Raises DataError for an item that cannot be asked, or not be judged."""


@dataclass(slots=True)
class EvalSet:
    """The distinct items of a file; iterate once. `duplicates` counts what was left out, as (line, first line)."""

    path: Path
    form: ItemForm
    duplicates: int = 0
    first_duplicate: tuple[int, int] | None = None
    _ids: dict[str, int] = field(default_factory=dict)
    _seen: dict[bytes, tuple[int, bytes]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Item]:
        """Yield each distinct item; raise DataError at a malformed line, a repeated id or contradicting answers."""
        for number, value in read_lines(self.path):
            item = item_of(value, number, self.form)
            first = self._ids.setdefault(item.id, number)
            if first != number:
                raise DataError(f"lines {first} and {number} have the same {self.form.id_field}, {item.id!r}")
            if not self._repeats(item):
                yield item
        if not self._ids:
            raise DataError("it has no items")

    def _repeats(self, item: Item) -> bool:
        expected = bytes.fromhex(sha256_json(item.expected))[:16]
        line, answer = self._seen.setdefault(bytes.fromhex(item.identity)[:16], (item.line, expected))
        if line == item.line:
            return False
        if answer != expected:
            raise DataError(f"lines {line} and {item.line} ask the same and expect different answers")
        self.duplicates += 1
        self.first_duplicate = self.first_duplicate or (item.line, line)
        return True


def read_calibration(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the samples of a calibration set: objects with `text`, `prompt` or `messages`, checked."""
    count = 0
    for number, value in read_lines(path):
        given = [name for name in ("text", "prompt", "messages") if name in value]
        if not given:
            raise DataError(f"line {number}: needs text, prompt or messages")
        if given[0] == "messages":
            _messages_of(value["messages"], number)
        else:
            _text_of(value[given[0]], given[0], number)
        count += 1
        yield {given[0]: value[given[0]]}
    if not count:
        raise DataError("it has no samples")


def calibration_text(sample: dict[str, Any]) -> str:
    """All that a calibration sample shows the model, as one text."""
    if "messages" in sample:
        return "\n".join(message["content"] for message in sample["messages"])
    return str(sample.get("text", sample.get("prompt")))


def read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield (line number, object) of a JSON-lines file; blank lines are skipped."""
    with path.open("rb") as file:
        number = 0
        while line := file.readline(LINE_LIMIT + 1):
            number += 1
            if number == 1 and line.startswith(_BYTE_ORDER_MARKS):
                raise DataError("line 1: starts with a byte order mark; save it as UTF-8 without one")
            if len(line) > LINE_LIMIT:
                raise DataError(f"line {number}: longer than {LINE_LIMIT >> 20} MiB")
            if line.strip():
                yield number, _object_of(line, number)


def _object_of(line: bytes, number: int) -> dict[str, Any]:
    try:
        value = json.loads(line.decode())
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeDecodeError:
        raise DataError(f"line {number}: not UTF-8") from None
    except UnicodeEncodeError:
        raise DataError(f"line {number}: half of a surrogate pair stands alone in it") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"line {number}: not JSON: {error}") from None
    if not isinstance(value, dict):
        raise DataError(f"line {number}: not a JSON object")
    return value


def item_of(value: dict[str, Any], number: int, form: ItemForm) -> Item:
    """The item of one line; raises DataError."""
    if ("prompt" in value) == ("messages" in value):
        raise DataError(f"line {number}: needs either prompt or messages")
    item = Item(
        id=_name_of(value.get(form.id_field), form.id_field, number),
        prompt=_text_of(value["prompt"], "prompt", number) if "prompt" in value else None,
        messages=_messages_of(value["messages"], number) if "messages" in value else (),
        expected=_text_of(value.get("expected"), "expected", number),
        line=number,
        slice=_slice_of(value, form.slice_field, number),
        cluster=_cluster_of(value, form.cluster_field, number),
        choices=_choices_of(value.get("choices")),
    )
    if form.check is not None:
        form.check(item)
    return item


def _name_of(value: Any, field: str, number: int) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise DataError(f"line {number}: {field} must be a text or a whole number")
    return str(value)


def _slice_of(value: dict[str, Any], declared: str | None, number: int) -> str:
    found = value.get(declared or "slice")
    if declared is None or found is None:
        return found if isinstance(found, str) else ""
    if not isinstance(found, str) or not found.isprintable() or not 0 < len(found.encode()) <= SLICE_BYTES:
        raise DataError(f"line {number}: {declared} must be a text of 1 to {SLICE_BYTES} bytes that all show")
    return found


def _cluster_of(value: dict[str, Any], field: str | None, number: int) -> str:
    return "" if field is None or value.get(field) is None else _name_of(value[field], field, number)


def _choices_of(value: Any) -> tuple[str, ...]:
    """What is no list of texts is no choices: only MultipleChoice asks for them."""
    return tuple(value) if isinstance(value, list) and all(isinstance(choice, str) for choice in value) else ()


def _text_of(value: Any, name: str, number: int) -> str:
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"line {number}: {name} must be a text that is not empty")
    return value


def _messages_of(value: Any, number: int) -> tuple[Message, ...]:
    if not isinstance(value, list) or not value:
        raise DataError(f"line {number}: messages must be a list that is not empty")
    for message in value:
        if not isinstance(message, dict) or not all(isinstance(message.get(k), str) for k in ("role", "content")):
            raise DataError(f"line {number}: every message needs role and content, both texts")
    return tuple({"role": message["role"], "content": message["content"]} for message in value)
