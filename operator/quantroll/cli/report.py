"""`quantroll report`: the table, the charts and the choice, of a QuantizedModel in a cluster or in a file."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from quantroll.cli import terminal
from quantroll.cli.completing import names
from quantroll.cli.document import document
from quantroll.cli.exits import fail, fail_with
from quantroll.cli.items import print_items
from quantroll.cli.usage import WRONG_USE
from quantroll.errors import QuantrollError
from quantroll.report.report import Report, report_on
from quantroll.report.subject import read
from quantroll.report.text import markdown, text


class Output(StrEnum):
    """What the report is written as."""

    TABLE = "table"
    MARKDOWN = "md"
    JSON = "json"
    HTML = "html"


def report(
    name: Annotated[
        str | None, typer.Argument(help="Name of the QuantizedModel; or give a file with -f.", autocompletion=names)
    ] = None,
    *,
    file: Annotated[
        Path | None, typer.Option("-f", "--filename", help="The QuantizedModel as YAML or JSON; - reads it from stdin.")
    ] = None,
    output: Annotated[Output, typer.Option("-o", "--output", help="html is one file that needs nothing else.")] = (
        Output.TABLE
    ),
    namespace: Annotated[str | None, typer.Option("-n", "--namespace", help="Default: the context's own.")] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig. Default: the current one.")] = None,
    kubeconfig: Annotated[Path | None, typer.Option(help="Default: $KUBECONFIG, else ~/.kube/config.")] = None,
    items: Annotated[
        str | None,
        typer.Option(
            metavar="VARIANT",
            help="Instead of the report: the items on which this variant and the baseline differ, as JSON lines. A"
            " small Job reads them from the artifact volume, with your rights, and is deleted.",
        ),
    ] = None,
    image: Annotated[str | None, typer.Option(help="Image of that Job. Default: that of the model's prober.")] = None,
) -> None:
    """Tell what was tried, what was proven, what it costs, and what serves and why: from spec and status alone.

    Exit status: 0; 64 wrong use; 65 no QuantizedModel that this version understands; 66 no such object, kind or file;
    69 the cluster does not answer; 77 no access; 78 no usable kubeconfig.
    """
    if (name is None) == (file is None):
        fail("give the name of a QuantizedModel, or a file with -f: one of the two", WRONG_USE)
    if file and (namespace or context or kubeconfig or items):
        fail("--namespace, --context, --kubeconfig and --items are for a cluster, not for a file", WRONG_USE)
    if image and not items:
        fail("--image is for --items", WRONG_USE)
    try:
        if file:
            typer.echo(_written(report_on(read(document(file))), output), nl=False)
            return
        from quantroll.adapters.onlooker import Onlooker  # noqa: PLC0415 - takes a second to load; a file needs none

        cluster = Onlooker(namespace=namespace, context=context, kubeconfig=kubeconfig)
        subject = read(cluster.model(name or ""))
        if items:
            print_items(cluster, subject, items, image)
        else:
            typer.echo(_written(report_on(subject), output), nl=False)
    except QuantrollError as error:
        fail_with(error)


def _written(found: Report, output: Output) -> str:
    match output:
        case Output.MARKDOWN:
            return markdown(found)
        case Output.JSON:
            return json.dumps(found.to_wire(), indent=2, ensure_ascii=False) + "\n"
        case Output.HTML:
            from quantroll.report.page import html  # noqa: PLC0415 - the plotting library takes a second to load

            return html(found)
    style = terminal.style()
    return text(found, width=style.width, styled=style.coloured)
