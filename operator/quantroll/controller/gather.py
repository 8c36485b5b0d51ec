"""Everything a decision may look at, put together from the watches and a few questions."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import QuantizedModelStatus
from quantroll.builders import names
from quantroll.constants import LABEL_COMPONENT, Component
from quantroll.controller import views
from quantroll.controller.children import Children
from quantroll.controller.recover import recovered
from quantroll.domain.snapshot import ServerView, Snapshot
from quantroll.ports import Cluster, Engines
from quantroll.settings import Settings

Body = Mapping[str, Any]

LOST = (
    "the status is lost, and which of the Deployments is the stable one cannot be told: nothing is touched; delete"
    " those that nobody needs, this goes on by itself"
)


async def gather(
    model: Body, children: Children, settings: Settings, cluster: Cluster, engines: Engines, now: datetime
) -> Snapshot:
    """The snapshot of one QuantizedModel."""
    spec, error = parse_spec(model)
    name, pods = model["metadata"]["name"], list(children.of("Pod"))
    status = parse_status(model) or recovered(name, children, now)
    lost = "" if status else LOST
    status = status or QuantizedModelStatus()
    jobs = [views.job_view(job, pods) for job in children.of("Job") if not job["metadata"].get("deletionTimestamp")]
    route = children.get("HTTPRoute", names.route(name))
    return Snapshot(
        name=name,
        generation=model["metadata"]["generation"],
        spec=spec,
        spec_error=error,
        status=status,
        engines=settings.engines,
        backends=settings.images.backends,
        jobs={job.key: job for job in jobs},
        servers=await _servers(pods, status, engines),
        route=views.route_view(route, name) if route else None,
        gateway_api=await cluster.has_gateway_api(),
        lost=lost,
    )


async def _servers(pods: list[Body], status: QuantizedModelStatus, engines: Engines) -> dict[str, ServerView]:
    serving: dict[str, list[Body]] = {}
    for pod in pods:
        if pod["metadata"].get("labels", {}).get(LABEL_COMPONENT) == Component.SERVE:
            serving.setdefault(views.revision_of(pod), []).append(pod)
    leaving = _leaving(status)
    found = {}
    for revision, own in serving.items():
        in_flight = None
        if revision == leaving:  # nobody else's load matters, and asking costs
            addresses = [p["status"]["podIP"] for p in own if views.is_ready(p) and p["status"].get("podIP")]
            in_flight = await engines.in_flight(addresses)
        found[revision] = views.server_view(own, in_flight)
    return found


def _leaving(status: QuantizedModelStatus) -> str | None:
    """The revision whose requests are waited for."""
    rollout, candidate = status.rollout, status.candidate
    if rollout is None:
        return None
    return rollout.draining or (candidate.revision if rollout.reason and candidate else None)


def parse_spec(model: Body) -> tuple[QuantizedModelSpec | None, str]:
    """The spec, or in words why it is none: the API server checks most, but not what another version stored."""
    try:
        return QuantizedModelSpec.model_validate(model.get("spec", {})), ""
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return None, f"spec.{where}: {first['msg']}; correct it, what serves is not touched meanwhile"


def parse_status(model: Body) -> QuantizedModelStatus | None:
    """The status; None where there is none that can be read. What a newer operator added to it is passed over."""
    try:
        found = model.get("status")
        return QuantizedModelStatus.model_validate(found, extra="ignore") if found else None
    except ValidationError:
        return None
