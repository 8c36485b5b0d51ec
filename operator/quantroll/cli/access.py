"""Flags that kubectl has, too, and the look at a QuantizedModel that they lead to."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Protocol

import typer

from quantroll.api.base import parse_duration
from quantroll.cli.completing import names, revisions
from quantroll.errors import NotFound, Refused
from quantroll.report.subject import read
from quantroll.standing.view import Pods, View

_DURATION = re.compile("([0-9]{1,4}d)?([0-9]{1,5}h)?([0-9]{1,5}m)?([0-9]{1,5}s)?")


def duration(text: str) -> timedelta:
    """A flag's 30s, 5m or 1h30m."""
    if not text or not _DURATION.fullmatch(text):
        raise typer.BadParameter(f"{text!r} is no duration such as 30s, 5m or 1h30m")
    return parse_duration(text)


Name = Annotated[str, typer.Argument(help="Name of the QuantizedModel.", autocompletion=names)]
Namespace = Annotated[str | None, typer.Option("-n", "--namespace", help="Default: the context's own.")]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig. Default: the current one.")]
Kubeconfig = Annotated[Path | None, typer.Option(help="Default: $KUBECONFIG, else ~/.kube/config.")]
Revision = Annotated[
    str | None, typer.Option("--to", metavar="REVISION|VARIANT", help="Where to.", autocompletion=revisions)
]


class Cluster(Protocol):
    """What is needed of the cluster."""

    namespace: str

    def model(self, name: str) -> Any:
        """A QuantizedModel."""

    def change(self, name: str, patch: Any) -> Any:
        """It after a merge patch."""

    def servers(self, name: str) -> dict[str, tuple[int, int]]:
        """Ready and wanted pods by revision."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a QuantizedModel is looked at."""

    cluster: Cluster
    name: str
    flags: tuple[str, ...]

    def look(self, *, pods: bool = True) -> View:
        """It as it is now. Pods are left out where the person may not list Deployments."""
        return self.viewed(self.cluster.model(self.name), self._pods() if pods else None)

    def viewed(self, document: Any, pods: dict[str, Pods] | None = None) -> View:
        """A document of this place."""
        return View(read(document), datetime.now(UTC), pods, self.flags)

    def _pods(self) -> dict[str, Pods] | None:
        try:
            return {revision: Pods(*count) for revision, count in self.cluster.servers(self.name).items()}
        except (Refused, NotFound):
            return None


def place(name: str, namespace: str | None, context: str | None, kubeconfig: Path | None) -> Place:
    """The QuantizedModel of this name by these flags. Raises ConfigurationError."""
    from quantroll.adapters.onlooker import Onlooker  # noqa: PLC0415 - takes a second to load; a file needs none

    given = {"--context": context, "--kubeconfig": str(kubeconfig) if kubeconfig else None}
    flags = tuple(word for flag, value in given.items() if value for word in (flag, value))
    return Place(Onlooker(namespace=namespace, context=context, kubeconfig=kubeconfig), name, flags)
