"""`quantroll`, which is also the kubectl plugin: what the operator decides by, what it found, and how to steer it."""

from collections.abc import Callable

import typer

from quantroll import __version__
from quantroll.cli import steering
from quantroll.cli.completion import completion
from quantroll.cli.estimate import estimate
from quantroll.cli.gate import gate
from quantroll.cli.report import report
from quantroll.cli.samples import samples
from quantroll.cli.status import history, status, why
from quantroll.cli.usage import Commands

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    help="Rolls out quantized LLMs that are proven good enough.",
)

_PANELS: dict[str, tuple[Callable[..., None], ...]] = {
    "Watch": (status, why, history, report),
    "Steer": (
        steering.approve,
        steering.promote,
        steering.abort,
        steering.retry,
        steering.rollback,
        steering.suspend,
        steering.resume,
    ),
    "Without a cluster": (gate, samples, estimate, completion),
}
for panel, commands in _PANELS.items():
    for command in commands:
        app.command(rich_help_panel=panel)(command)


@app.command(rich_help_panel="Without a cluster")
def version() -> None:
    """Print the version."""
    typer.echo(__version__)
