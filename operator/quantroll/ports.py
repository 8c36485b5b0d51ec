"""What the controller needs from the outside, as it would like to see it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from quantroll.api.looks import MetricName
from quantroll.api.status import QuantizedModelStatus
from quantroll.domain.events import Event
from quantroll.domain.snapshot import Histogram, PairCounts, QualityCounts, RequestCounts, Unknown

Manifest = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """One object in the cluster; with a uid, exactly that one and not a later one of the same name."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str = ""

    @classmethod
    def of(cls, manifest: Manifest) -> "ObjectRef":
        """The object that a manifest describes."""
        meta = manifest["metadata"]
        return cls(manifest["apiVersion"], manifest["kind"], meta["namespace"], meta["name"], meta.get("uid", ""))


class Cluster(Protocol):
    """Writes to the Kubernetes API. All raise the errors of `quantroll.errors`."""

    async def write_status(self, ref: ObjectRef, resource_version: str, status: Manifest) -> None:
        """Replace the status if the object is still at this version; Conflict otherwise."""

    async def apply(self, manifest: Manifest, *, force: bool) -> None:
        """Server-side apply: own exactly the fields given. Without `force`, Conflict where somebody else owns one."""

    async def put_back(self, manifest: Manifest, resource_version: str) -> None:
        """Replace the spec if the object is still at this version, whoever owns what is in it; Conflict otherwise."""

    async def read(self, ref: ObjectRef) -> Manifest | None:
        """The object as it is; None if there is none of that name."""

    async def delete(self, ref: ObjectRef) -> None:
        """Delete with what it owns, in the background; gone already is fine."""

    async def emit(self, about: ObjectRef, event: Event) -> None:
        """Post an event about an object."""

    async def has_gateway_api(self) -> bool:
        """Whether HTTPRoutes can be made here."""


class Engines(Protocol):
    """Questions to serving pods."""

    async def in_flight(self, pod_ips: list[str]) -> int | None:
        """Requests running and waiting on these pods; None when any of them does not tell."""

    async def progress(self, pod_ip: str) -> float | None:
        """Share of the questions that the evaluation in this pod has answered; None when it does not tell."""


class Metrics(Protocol):
    """Counts from Prometheus. Nothing is raised: whatever is not a clean count is Unknown, with its cause.

    `seconds` is how far back from now counts go.
    """

    async def requests(self, namespace: str, name: str, revision: str, seconds: int) -> RequestCounts | Unknown:
        """Requests that users sent to a revision, from its engine's own metrics."""

    async def quality(self, namespace: str, name: str, revision: str, seconds: int) -> QualityCounts | Unknown:
        """Answers that the prober got from a revision; Unknown, too, where it has stopped telling."""

    async def pairs(
        self, namespace: str, name: str, revision: str, reference: str, seconds: int, ago: int
    ) -> PairCounts | Unknown:
        """Items of the prober that both revisions answered, in so many seconds that end `ago` seconds before now."""

    async def latency(
        self, metric: MetricName, namespace: str, name: str, revision: str, seconds: int
    ) -> Histogram | Unknown:
        """The histogram of a revision's engines that a metric is about."""

    async def counted(
        self, query: str, namespace: str, name: str, revision: str, seconds: int
    ) -> QualityCounts | Unknown:
        """Answers of a revision as a query of the admin's counts them; Unknown, too, where there is no such query."""


class Clock(Protocol):
    """The time."""

    def now(self) -> datetime:
        """Now, in UTC, with whole seconds: as status keeps it."""


class Telemetry:
    """Is told what goes on, for the operator's own metrics: in the event loop, so that each method returns at once.

    This one does not listen. A key is namespace and name of a QuantizedModel; times are in seconds.
    """

    def queued(self) -> None:
        """A key was put in line, or is due earlier than it was."""

    def started(self, key: tuple[str, str], waited: float) -> None:
        """A worker took a key up, so long after it was due."""

    def ended(self, key: tuple[str, str], took: float, *, failed: bool) -> None:
        """The pass of a key is over; one that failed is tried again."""

    def requested(self, method: str, code: str, took: float) -> None:
        """The API server answered a request, with an HTTP status or `<error>` where it did not."""

    def asked(self, result: str, took: float) -> None:
        """Prometheus was asked: ok, empty, timeout or error."""

    def stands(self, key: tuple[str, str], status: QuantizedModelStatus) -> None:
        """Where a model stands, after every pass."""

    def changed(self, before: QuantizedModelStatus, after: QuantizedModelStatus) -> None:
        """A changed status was written."""

    def gone(self, key: tuple[str, str]) -> None:
        """The model is no more, and nothing is told of it any longer."""
