"""`quantroll status`, `why` and `history`: where a QuantizedModel stands, from a cluster or from a file."""

import json
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from quantroll.cli import terminal
from quantroll.cli.access import Context, Kubeconfig, Namespace, duration, place
from quantroll.cli.completing import names
from quantroll.cli.document import document
from quantroll.cli.exits import fail, fail_with
from quantroll.cli.usage import WRONG_USE
from quantroll.cli.watching import watch
from quantroll.errors import QuantrollError
from quantroll.report.subject import read
from quantroll.standing import history as past
from quantroll.standing import wire
from quantroll.standing.overview import overview
from quantroll.standing.tree import draw
from quantroll.standing.view import View
from quantroll.standing.why import explained, needs_a_person
from quantroll.standing.why import why as reasons

NEEDS_A_PERSON = 1


class Output(StrEnum):
    """What is printed."""

    TEXT = "text"
    JSON = "json"


Name = Annotated[
    str | None, typer.Argument(help="Name of the QuantizedModel; or give a file with -f.", autocompletion=names)
]
File = Annotated[
    Path | None, typer.Option("-f", "--filename", help="The QuantizedModel as YAML or JSON; - reads it from stdin.")
]
Form = Annotated[Output, typer.Option("-o", "--output")]


def status(
    name: Name = None,
    *,
    watching: Annotated[
        bool, typer.Option("--watch", "-w", help="Go on looking: redrawn in a terminal, else a line for what is new.")
    ] = False,
    timeout: Annotated[
        timedelta | None,
        typer.Option(parser=duration, metavar="DURATION", help="End --watch after so long. Default: at Ctrl-C."),
    ] = None,
    file: File = None,
    output: Form = Output.TEXT,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show where a QuantizedModel stands: what it waits for, what serves, steps and clocks, traffic, verdicts, drift.

    Exit status: 0 shown, whatever it says; 64 wrong use; 65 no QuantizedModel that this version understands; 66 no such
    object, kind or file; 69 the cluster does not answer; 77 no access; 78 no usable kubeconfig.
    """
    if timeout is not None and not watching:
        fail("--timeout is for --watch", WRONG_USE)
    if watching and (file or output is Output.JSON):
        fail("--watch is for a cluster, and for text; kubectl get qm NAME -w -o json is for programs", WRONG_USE)
    try:
        if watching and name:
            watch(place(name, namespace, context, kubeconfig), timeout)
            return
        view = _view(name, file, namespace, context, kubeconfig)
        style = terminal.style()
        _print(wire.status(view) if output is Output.JSON else draw(overview(view), style))
    except QuantrollError as error:
        fail_with(error)


def why(
    name: Name = None,
    *,
    file: File = None,
    output: Form = Output.TEXT,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Tell what a QuantizedModel waits for, since when, and what would unblock it.

    Exit status: 0 nothing, or it goes on by itself; 1 a person has to do something; 64 and above as for status.
    """
    try:
        view = _view(name, file, namespace, context, kubeconfig)
    except QuantrollError as error:
        fail_with(error)
    _print(wire.waits(view) if output is Output.JSON else explained(view, terminal.style()))
    raise typer.Exit(NEEDS_A_PERSON if needs_a_person(reasons(view)) else 0)


def history(
    name: Name = None,
    *,
    file: File = None,
    output: Form = Output.TEXT,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """List the latest transitions and answered commands: when, how long until the next, what and why.

    Exit status: 0; 64 and above as for status.
    """
    try:
        view = _view(name, file, namespace, context, kubeconfig)
    except QuantrollError as error:
        fail_with(error)
    found = past.happenings(view)
    _print([one.to_wire() for one in found] if output is Output.JSON else past.told(view, terminal.style()), output)


def _view(
    name: str | None, file: Path | None, namespace: str | None, context: str | None, kubeconfig: Path | None
) -> View:
    """One look, at a file or at a cluster."""
    if (name is None) == (file is None):
        fail("give the name of a QuantizedModel, or a file with -f: one of the two", WRONG_USE)
    if file and (namespace or context or kubeconfig):
        fail("--namespace, --context and --kubeconfig are for a cluster, not for a file", WRONG_USE)
    if file:
        return View(read(document(file)), datetime.now(UTC))
    return place(name or "", namespace, context, kubeconfig).look()


def _print(told: Any, output: Output = Output.TEXT) -> None:
    lines = isinstance(told, list) and output is Output.TEXT
    typer.echo("\n".join(told) if lines else json.dumps(told, indent=2))
