"""Exit statuses, as sysexits.h names them, and errors as one line on stderr."""

from typing import NoReturn

import typer

from quantroll.errors import ConfigurationError, NotFound, QuantrollError, Refused, Unreachable
from quantroll.report.subject import NotAQuantizedModel, clean

_STATUSES: dict[type[QuantrollError], int] = {
    NotAQuantizedModel: 65,
    NotFound: 66,
    Unreachable: 69,
    Refused: 77,
    ConfigurationError: 78,
}


def fail(message: str, status: int) -> NoReturn:
    """End with this status, and the message on stderr."""
    typer.echo(f"error: {clean(message)}", err=True)
    raise typer.Exit(status)


def fail_with(error: QuantrollError) -> NoReturn:
    """End with the error's message and status; 70 where it has none of its own."""
    fail(str(error), _STATUSES.get(type(error), 70))
