"""`history`: the transitions that the status remembers, with what came of commands in between, oldest first."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from quantroll.standing import moments
from quantroll.standing.tree import Style, columns, wrapped
from quantroll.standing.view import View


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened."""

    at: datetime
    what: str
    """The phase that was entered, or the command with its answer."""
    message: str

    def to_wire(self) -> dict[str, Any]:
        """For programs."""
        return {"at": self.at.isoformat(), "what": self.what, "message": self.message}


def happenings(view: View) -> list[Happening]:
    """Transitions and answered commands, by time."""
    found = [Happening(entry.at, entry.phase.value, entry.message) for entry in view.status.history]
    found += [
        Happening(command.at, f"{command.verb} {'accepted' if command.accepted else 'refused'}", command.message)
        for command in view.status.commands
    ]
    return sorted(found, key=lambda one: one.at)


def told(view: View, style: Style) -> list[str]:
    """A line for each; the last phase lasts until now."""
    found = happenings(view)
    heads = columns([(moments.stamp(one.at), _lasted(found, at, view), one.what) for at, one in enumerate(found)])
    width = max((len(head) for head in heads), default=0)
    lines: list[str] = []
    for head, one in zip(heads, found, strict=True):
        lines += wrapped(one.message, style, f"{head.ljust(width)}  ", " " * 6)
    return lines or ["nothing has happened yet"]


def _lasted(found: list[Happening], at: int, view: View) -> str:
    following = found[at + 1].at if at + 1 < len(found) else view.now
    return moments.span(following - found[at].at)
