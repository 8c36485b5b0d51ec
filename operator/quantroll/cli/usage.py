"""Wrong use of the command line: a status of its own, because 2, the parser's, is a verdict here."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import typer
from typer.core import TyperGroup

WRONG_USE = 64  # EX_USAGE of sysexits.h

# What the parser raises about a command line: typer exports only this one child of it.
_COMPLAINT = cast("type[Exception]", typer.BadParameter.__base__)


class Commands(TyperGroup):
    """A group whose commands end with WRONG_USE when they are called wrongly."""

    def make_context(self, *args: Any, **kwargs: Any) -> Any:
        """Read what stands before the command."""
        with _wrong_use():
            return super().make_context(*args, **kwargs)

    def invoke(self, *args: Any, **kwargs: Any) -> Any:
        """Read the command's options, and run it."""
        with _wrong_use():
            return super().invoke(*args, **kwargs)


@contextmanager
def _wrong_use() -> Iterator[None]:
    """Give the parser's complaints their status."""
    try:
        yield
    except _COMPLAINT as error:
        error.exit_code = WRONG_USE  # type: ignore[attr-defined]
        raise
