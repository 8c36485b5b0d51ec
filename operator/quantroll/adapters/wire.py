"""What the API server lists and streams, read as far as somebody needs it: the rest of an object stays as text."""

from sys import intern
from typing import Any

import msgspec

from quantroll.constants import LABEL_COMPONENT, LABEL_OWNER
from quantroll.controller.queue import Key
from quantroll.controller.seen import Shown
from quantroll.errors import Unreachable

Unread = dict[str, msgspec.Raw]


class _ListMeta(msgspec.Struct, rename={"resource_version": "resourceVersion", "more": "continue"}):
    resource_version: str
    more: str = ""


class _List(msgspec.Struct):
    metadata: _ListMeta
    items: list[Unread] | None = None


class _Meta(msgspec.Struct):
    namespace: str
    name: str
    labels: dict[str, str] = {}


class Page(msgspec.Struct):
    """A part of a listing."""

    shown: list[Shown]
    version: str
    """What a watch goes on from, once all pages are read."""
    more: str
    """Where the next page begins; empty after the last."""


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Status(msgspec.Struct):
    code: int = 0
    message: str = ""


class _Marked(msgspec.Struct, rename="camel"):
    resource_version: str


class _Bookmark(msgspec.Struct):
    metadata: _Marked


class News(msgspec.Struct):
    """One line of a watch: an object that came or changed, or the name of one that went, or neither."""

    version: str
    shown: Shown | None = None
    gone: Key | None = None


class Expired(Unreachable):
    """The API server no longer knows the version from which a watch or a listing should go on."""


_list = msgspec.json.Decoder(_List)
_line = msgspec.json.Decoder(_Line)
_status = msgspec.json.Decoder(_Status)
_bookmark = msgspec.json.Decoder(_Bookmark)
_unread = msgspec.json.Decoder(Unread)
_meta = msgspec.json.Decoder(_Meta)


def page(data: bytes) -> Page:
    """A page of a listing; raises Unreachable for what is none."""
    try:
        found = _list.decode(data)
        shown = [_shown(item) for item in found.items or ()]
        return Page(shown, found.metadata.resource_version, found.metadata.more)
    except msgspec.MsgspecError as error:
        raise Unreachable(f"what was listed is not readable: {error}") from error


def news(data: bytes) -> News:
    """A line of a watch; raises Expired where it says so, and Unreachable for what is none."""
    try:
        line = _line.decode(data)
        if line.type == "ERROR":
            status = _status.decode(line.object)
            raise (Expired if status.code == 410 else Unreachable)(f"the watch ends: {status.message}")
        version = _bookmark.decode(line.object).metadata.resource_version
        if line.type in ("ADDED", "MODIFIED"):
            return News(version, shown=_shown(_unread.decode(line.object)))
        return News(version, gone=_shown(_unread.decode(line.object)).name if line.type == "DELETED" else None)
    except msgspec.MsgspecError as error:
        raise Unreachable(f"what was streamed is not readable: {error}") from error


def _shown(item: Unread) -> Shown:
    told = item.get("metadata", msgspec.Raw(b"{}"))
    meta, kept = _meta.decode(told), _unread.decode(told)
    kept.pop("managedFields", None)
    body: dict[str, Any] = {**item, "metadata": kept}
    return Shown(
        name=(intern(meta.namespace), meta.name),  # most objects share it, and they are kept
        owner=intern(meta.labels.get(LABEL_OWNER, "")),
        component=meta.labels.get(LABEL_COMPONENT, ""),
        text=msgspec.json.encode(body),
    )
