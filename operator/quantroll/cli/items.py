"""`quantroll report NAME --items VARIANT`: the items on which a variant and the baseline differ."""

import json
import re
from typing import Any, Protocol

import typer

from quantroll.api.status import Evaluation
from quantroll.builders import names
from quantroll.builders.items import CONTAINER, items_job
from quantroll.builders.meta import Manifest
from quantroll.errors import NotFound, QuantrollError, Unreachable
from quantroll.report.subject import NotAQuantizedModel, Subject

_WAIT = 300  # seconds for the Job to start, read and end
_KEY = re.compile("[0-9a-f]{64}")


class Cluster(Protocol):
    """What is needed of the cluster."""

    namespace: str

    def client_image(self, name: str) -> str:
        """The image of small Jobs."""

    def run(self, job: Manifest, container: str, *, limit: int) -> tuple[bool, str]:
        """Whether a Job ended well, and what it said."""


def print_items(cluster: Cluster, subject: Subject, variant: str, image: str | None) -> None:
    """Print a JSON line for each item that only one of the two got right; how many to stderr.

    Raises NotFound where there is no such variant, evaluation or file, Unreachable where lines were lost, and what the
    cluster raises.
    """
    status = subject.status
    row = next((row for row in status.variants if row.name == variant), None)
    if row is None:
        known = ", ".join(row.name for row in status.variants) or "none"
        raise NotFound(f"{subject.name} has no variant {variant} in its status; known: {known}")
    job = items_job(
        subject.name,
        cluster.namespace,
        store=names.artifacts_claim(subject.name, subject.spec.storage),
        image=image or _image(cluster, subject.name),
        key=_key(variant, row.evaluation),
        baseline_key=_key("the baseline", status.baseline.evaluation if status.baseline else None),
    )
    ended_well, said = cluster.run(job, CONTAINER, limit=_WAIT)
    lines = [_parsed(line) for line in said.splitlines() if line.strip()]
    last = lines.pop() if lines else {}
    if not ended_well or "items" not in last:
        raise NotFound(f"the Job could not read the items: {last.get('error') or said[-500:] or 'it said nothing'}")
    if last["items"] != len(lines):
        raise Unreachable(f"{last['items']} items were printed and {len(lines)} arrived: the node cut the Job's log")
    for line in lines:
        typer.echo(json.dumps(line))  # in ASCII: answers steer no terminal
    typer.echo(f"{len(lines)} items differ", err=True)


def _key(arm: str, evaluation: Evaluation | None) -> str:
    if evaluation is None:
        raise NotFound(f"{arm} is not evaluated: there are no items")
    if not _KEY.fullmatch(evaluation.key):
        raise NotAQuantizedModel(f"the key of {arm}'s evaluation is no digest: {evaluation.key}")
    return evaluation.key


def _image(cluster: Cluster, name: str) -> str:
    try:
        return cluster.client_image(name)
    except NotFound as error:
        raise QuantrollError(f"{error}, whose image the Job would have: name one with --image") from error


def _parsed(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    return found if isinstance(found, dict) else {"error": line}
