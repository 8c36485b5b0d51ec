"""What the controller needs from the outside, as it would like to see it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from quantroll.domain.events import Event
from quantroll.domain.snapshot import QualityCounts, RequestCounts, Unknown

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


class Clock(Protocol):
    """The time."""

    def now(self) -> datetime:
        """Now, in UTC, with whole seconds: as status keeps it."""
