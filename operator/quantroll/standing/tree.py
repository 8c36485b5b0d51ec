"""Lines of a tree for a terminal or a file: marks, branches, aligned cells, long text continued below itself."""

import re
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from quantroll.report.text import width_of

_COMMAND, _GLUE = re.compile(r"\bkubectl [^`]*"), "\N{NO-BREAK SPACE}"
_LEAST = 30  # columns that text gets, however narrow the terminal and deep the branch


class Mark(Enum):
    """What stands before a line: a sign, the same in ASCII, and a colour."""

    NONE = ("", "", "")
    GOOD = ("✔", "+", "32")
    BAD = ("✖", "x", "31")
    WORKING = ("▶", ">", "36")
    HELD = ("⏸", "=", "33")
    LATER = ("·", ".", "2")
    WARNING = ("⚠", "!", "33")


@dataclass(frozen=True, slots=True)
class Node:
    """A line, and what hangs below it."""

    text: str
    mark: Mark = Mark.NONE
    below: Sequence["Node"] = field(default=())
    bold: bool = False


@dataclass(frozen=True, slots=True)
class Style:
    """What the reader's end can show."""

    width: int | None = None
    """Columns; None: as long as a line is."""
    coloured: bool = False
    """Whether escape codes do anything there."""
    ascii: bool = False
    """Whether nothing but ASCII can be written."""


_BRANCHES = {False: ("├─ ", "└─ ", "│  ", "   "), True: ("|- ", "`- ", "|  ", "   ")}


def draw(root: Node, style: Style) -> list[str]:
    """The root, and below it its branches."""
    return [*_text(root, "", "", style), *_children(root.below, "", style)]


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Rows of cells as lines, the cells of a column below each other; empty columns are left out."""
    widths = [max((width_of(cell) for cell in column), default=0) for column in zip(*rows, strict=True)]
    kept = [at for at, width in enumerate(widths) if width]
    return ["  ".join(row[at] + " " * (widths[at] - width_of(row[at])) for at in kept).rstrip() for row in rows]


def wrapped(text: str, style: Style, first: str = "", rest: str = "") -> list[str]:
    """Text behind `first`, continued behind `rest` where it is too long; a command stays in one piece to be copied."""
    if style.width is None:
        return [first + text]
    room = max(_LEAST, style.width - max(width_of(first), width_of(rest)))
    whole = _COMMAND.sub(lambda found: found[0].replace(" ", _GLUE), text)
    parts = textwrap.wrap(whole, room, break_long_words=False, break_on_hyphens=False) or [""]
    told = [part.replace(_GLUE, " ") for part in parts]
    return [first + told[0], *(rest + part for part in told[1:])]


def _children(nodes: Sequence[Node], prefix: str, style: Style) -> Iterable[str]:
    inner, last, below_inner, below_last = _BRANCHES[style.ascii]
    for at, node in enumerate(nodes):
        final = at == len(nodes) - 1
        own, under = prefix + (last if final else inner), prefix + (below_last if final else below_inner)
        yield from _text(node, own, under, style)
        yield from _children(node.below, under, style)


def _text(node: Node, first: str, rest: str, style: Style) -> list[str]:
    sign, plain, colour = node.mark.value
    mark = plain if style.ascii else sign
    gap = f"{mark} " if mark else ""
    continued = rest + ("│  " if node.below and not style.ascii else "|  " if node.below else "   ")
    lines = wrapped(gap + node.text, style, first, continued if first else "   ")
    if not style.coloured:
        return lines
    begin = len(first)
    told = lines[0][begin:]
    if colour and gap:
        told = f"\033[{colour}m{mark}\033[0m{told[len(mark) :]}"
    if node.bold:
        told = f"\033[1m{told}\033[0m"
    return [lines[0][:begin] + told, *lines[1:]]
