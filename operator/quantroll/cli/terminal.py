"""What stdout is: a person's terminal, or a file or pipe, into which no escape code goes."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from quantroll.standing.tree import Style

_NEEDED = "✔├⏸"
_ENTER, _LEAVE = "\033[?1049h\033[?25l", "\033[?25h\033[?1049l"  # another screen without a cursor, and back
_HOME, _TO_END_OF_LINE, _TO_END = "\033[H", "\033[K", "\033[J"


def is_terminal() -> bool:
    """Whether escape codes move a cursor there."""
    return sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def style() -> Style:
    """Width, colours and signs of stdout."""
    return Style(
        width=shutil.get_terminal_size().columns if sys.stdout.isatty() else None,
        coloured=is_terminal() and not os.environ.get("NO_COLOR"),
        ascii=not _can_write(_NEEDED),
    )


def _can_write(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


@contextmanager
def screen() -> Iterator[None]:
    """A screen to draw on; what was there before comes back, whatever happens."""
    typer.echo(_ENTER, nl=False, color=True)
    try:
        yield
    finally:
        typer.echo(_LEAVE, nl=False, color=True)


def redraw(lines: list[str]) -> None:
    """Replace what the screen shows; what does not fit is left out, and said."""
    height = shutil.get_terminal_size().lines
    if len(lines) > height:
        left = len(lines) - height + 1
        lines = [*lines[: height - 1], f"... {left} more lines; a larger terminal shows them"]
    typer.echo(_HOME + "\n".join(line + _TO_END_OF_LINE for line in lines) + _TO_END, nl=False, color=True)
