"""`quantroll`, which is also the kubectl plugin: what the operator decides by, and what it has found."""

import typer

from quantroll import __version__
from quantroll.cli.estimate import estimate
from quantroll.cli.gate import gate
from quantroll.cli.report import report
from quantroll.cli.samples import samples
from quantroll.cli.usage import Commands

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    help="Rolls out quantized LLMs that are proven good enough.",
)

app.command()(report)
app.command()(gate)
app.command()(samples)
app.command()(estimate)


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)
