"""Everything a decision may look at, put together from the watches and a few questions."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from quantroll.api.spec import PROBE_METRIC, QuantizedModelSpec
from quantroll.api.status import QuantizedModelStatus
from quantroll.builders import names
from quantroll.constants import ANNOTATION_COMMAND, LABEL_COMPONENT, Component
from quantroll.controller import views
from quantroll.controller.canary import canary_counts
from quantroll.controller.children import Children
from quantroll.controller.recover import recovered
from quantroll.domain import progress, schedule, windows
from quantroll.domain.questions import Window, questions
from quantroll.domain.snapshot import QualityCounts, ServerView, Snapshot, Unknown
from quantroll.ports import Cluster, Engines, Metrics, Telemetry
from quantroll.settings import Settings

Body = Mapping[str, Any]

LOST = (
    "the status is lost, and which of the Deployments is the stable one cannot be told: nothing is touched; delete"
    " those that nobody needs, this goes on by itself"
)


@dataclass(frozen=True, slots=True)
class Outside:
    """Whom a pass may ask, and whom it tells."""

    cluster: Cluster
    engines: Engines
    metrics: Metrics
    telemetry: Telemetry = field(default_factory=Telemetry)


async def gather(model: Body, children: Children, settings: Settings, outside: Outside, now: datetime) -> Snapshot:
    """The snapshot of one QuantizedModel."""
    spec, error = parse_spec(model)
    namespace, name = model["metadata"]["namespace"], model["metadata"]["name"]
    pods = list(children.of("Pod"))
    status = parse_status(model) or recovered(name, children, now)
    lost = "" if status else LOST
    status = status or QuantizedModelStatus()
    far = await _progress(pods, outside.engines, now)
    jobs = [
        views.job_view(job, pods, far) for job in children.of("Job") if not job["metadata"].get("deletionTimestamp")
    ]
    route = children.get("HTTPRoute", names.route(name))
    service = children.get("Service", names.stable_service(name))
    asked = questions(status, spec, now)
    requests, quality = asked.requests, asked.quality
    return Snapshot(
        namespace=namespace,
        name=name,
        generation=model["metadata"]["generation"],
        spec=spec,
        spec_error=error,
        status=status,
        engines=settings.engines,
        backends=settings.images.backends,
        scorers=settings.images.scorers,
        prices=settings.prices,
        queries=frozenset(settings.prometheus.queries),
        jobs={job.key: job for job in jobs},
        servers=await _servers(pods, asked.in_flight, outside.engines),
        services=frozenset(filter(None, map(views.revision_of, children.of("Service")))),
        route=views.route_view(route, name) if route else None,
        selected=views.selected_revision(service) if service else None,
        gateway_api=await outside.cluster.has_gateway_api(),
        commands=commands_of(model),
        requests=await outside.metrics.requests(namespace, name, requests.revision, requests.seconds)
        if requests
        else None,
        canary=await canary_counts(asked.canary, namespace, name, outside.metrics),
        quality=await _quality(namespace, name, quality, outside.metrics) if quality else None,
        lost=lost,
    )


async def _quality(namespace: str, name: str, window: Window, metrics: Metrics) -> QualityCounts | Unknown:
    if window.metric == PROBE_METRIC:
        return await metrics.quality(namespace, name, window.revision, window.seconds)
    return await metrics.counted(window.metric, namespace, name, window.revision, window.seconds)


async def _progress(pods: list[Body], engines: Engines, now: datetime) -> dict[str, float | None]:
    """How far evaluations are that have run for a while, by key: those that are over soon are not asked."""
    asked = views.evaluating(pods, now - progress.LOOK)
    return {key: await engines.progress(address) for key, address in asked.items()}


async def _servers(pods: list[Body], leaving: str | None, engines: Engines) -> dict[str, ServerView]:
    serving: dict[str, list[Body]] = {}
    for pod in pods:
        if pod["metadata"].get("labels", {}).get(LABEL_COMPONENT) == Component.SERVE:
            serving.setdefault(views.revision_of(pod), []).append(pod)
    found = {}
    for revision, own in serving.items():
        in_flight = None
        if revision == leaving:  # nobody else's load matters, and asking costs
            # One that is not ready takes no requests any more, and may have some yet.
            addresses = [p["status"]["podIP"] for p in own if views.has_begun(p) and p["status"].get("podIP")]
            in_flight = await engines.in_flight(addresses)
        found[revision] = views.server_view(own, in_flight)
    return found


def commands_of(model: Body) -> dict[str, str]:
    """Values of the command annotations, by verb."""
    prefix = f"{ANNOTATION_COMMAND}/"
    notes = model["metadata"].get("annotations", {})
    return {name.removeprefix(prefix): value for name, value in notes.items() if name.startswith(prefix)}


def parse_spec(model: Body) -> tuple[QuantizedModelSpec | None, str]:
    """The spec, and in words what keeps it from being taken up: the API server checks most of it.

    None where it cannot be read: what another version stored may mean anything.
    """
    try:
        spec = QuantizedModelSpec.model_validate(model.get("spec", {}))
    except ValidationError as error:
        first = error.errors()[0]
        return None, _wrong(".".join(str(part) for part in first["loc"]), first["msg"], meanwhile="is not touched")
    if found := schedule.problem(spec.drift_check.schedule):
        return spec, _wrong("driftCheck.schedule", found)
    if zone := windows.problem(spec.rollout.windows):
        return spec, _wrong(f"rollout.windows.{zone[0]}.timeZone", zone[1])
    return spec, ""


def _wrong(where: str, what: str, meanwhile: str = "goes on") -> str:
    return f"spec.{where}: {what}; correct it, what serves {meanwhile} meanwhile"


def parse_status(model: Body) -> QuantizedModelStatus | None:
    """The status; None where there is none that can be read. What a newer operator added to it is passed over."""
    try:
        found = model.get("status")
        return QuantizedModelStatus.model_validate(found, extra="ignore") if found else None
    except ValidationError:
        return None
