"""`quantroll status --watch`: one look after the other, until Ctrl-C or for as long as is asked.

It looks again instead of holding a watch open: clocks go on between changes, pods change without a change of the
resource, and a connection that breaks is a look that is made again.
"""

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import typer

from quantroll.cli import terminal
from quantroll.cli.access import Place
from quantroll.errors import Unreachable
from quantroll.report.subject import clean
from quantroll.standing import moments
from quantroll.standing.changes import changes
from quantroll.standing.overview import overview
from quantroll.standing.tree import draw
from quantroll.standing.view import View

PAUSE = 2  # seconds between two looks


@dataclass(frozen=True, slots=True)
class Look:
    """What was seen, after what; and why that is not new, if something was in the way."""

    before: View | None
    view: View
    trouble: str = ""
    new: bool = False
    """Whether the trouble has just begun."""


def watch(place: Place, timeout: timedelta | None, pause: float = PAUSE) -> None:
    """Show it until Ctrl-C, or until the time is over.

    Raises what the first look raises; later on NotFound when it is gone, and Refused.
    """
    drawing = terminal.is_terminal()
    last = place.look()
    try:
        with terminal.screen() if drawing else nullcontext():
            for look in _looks(place, last, timeout, pause):
                (_redraw if drawing else _append)(look)
                last = look.view
    except KeyboardInterrupt:
        pass
    if drawing:  # the last picture stays in the terminal
        typer.echo("\n".join(draw(overview(last), terminal.style())))


def _looks(place: Place, first: View, timeout: timedelta | None, pause: float) -> Iterator[Look]:
    end = time.monotonic() + timeout.total_seconds() if timeout is not None else None
    look = Look(None, first)
    while True:
        yield look
        left = end - time.monotonic() if end is not None else pause
        if left <= 0:
            return
        time.sleep(min(pause, left))
        try:
            look = Look(look.view, place.look())
        except Unreachable as error:
            stale = replace(look.view, now=datetime.now(UTC))
            look = Look(look.view, stale, clean(str(error)), new=not look.trouble)


def _redraw(look: Look) -> None:
    lines = draw(overview(look.view), terminal.style())
    terminal.redraw([*([f"as it was last seen; {_trying(look)}"] if look.trouble else []), *lines])


def _append(look: Look) -> None:
    told = changes(look.before, look.view) if not look.trouble else [_trying(look)] if look.new else []
    for sentence in told:
        typer.echo(f"{moments.stamp(look.view.now)}  {sentence}")


def _trying(look: Look) -> str:
    return f"trying again: {look.trouble}"
