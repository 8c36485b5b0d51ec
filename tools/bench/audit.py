"""What a client asked of the API server, by the API server's own audit log. Pure but for reading the file."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

CREATED = 201  # HTTP
_WRITES = frozenset({"create", "update", "patch", "delete", "deletecollection"})


@dataclass(frozen=True, slots=True)
class Request:
    """One request."""

    at: float
    """When the API server got it, in seconds since 1970."""
    verb: str
    namespace: str
    resource: str  # with its subresource
    name: str
    code: int
    took: float = 0.0
    """Seconds until it was answered; of a watch, until it began."""

    @property
    def is_write(self) -> bool:
        return self.verb in _WRITES

    @property
    def is_event(self) -> bool:
        return self.resource == "events"


def policy(user: str) -> dict[str, object]:
    """The audit policy: requests of one user, without bodies."""
    return {
        "apiVersion": "audit.k8s.io/v1",
        "kind": "Policy",
        "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "users": [user]}, {"level": "None"}],
    }


def parse(lines: Iterable[str]) -> Iterator[Request]:
    """The requests of audit lines, each once: a watch is told of when it begins, and again when it ends."""
    seen = set()
    for line in lines:
        told = json.loads(line)
        if told["auditID"] in seen:
            continue
        seen.add(told["auditID"])
        about = told.get("objectRef", {})
        parts = (about.get("resource", told["requestURI"]), about.get("subresource"))
        received, answered = (_seconds(told[name]) for name in ("requestReceivedTimestamp", "stageTimestamp"))
        yield Request(
            at=received,
            verb=told["verb"],
            namespace=about.get("namespace", ""),
            resource="/".join(part for part in parts if part),
            name=about.get("name", ""),
            code=told.get("responseStatus", {}).get("code", 0),
            took=answered - received,
        )


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def first(requests: Iterable[Request], verb: str, resource: str, name: str, at: float) -> Request | None:
    """The first of its kind that the API server got at `at` or later; of an object whose name begins like this."""
    kind = (verb, resource)
    return next((r for r in requests if r.at >= at and (r.verb, r.resource) == kind and r.name.startswith(name)), None)


def rollout_writes(requests: Iterable[Request]) -> tuple[list[Request], list[Request]]:
    """Of all that was asked for one model, what was written for its latest rollout; and of that, the events.

    A rollout begins with the status write that decides it: the one right before the candidate's Deployment is made,
    which is the last one to be made.
    """
    writes = [request for request in requests if request.is_write]
    made = [i for i, write in enumerate(writes) if write.resource == "deployments" and write.code == CREATED]
    decided = max(i for i, write in enumerate(writes[: made[-1]]) if write.resource.endswith("/status"))
    own = writes[decided:]
    return [write for write in own if not write.is_event], [write for write in own if write.is_event]


class Log:
    """The growing file; `requests` is all that was asked since the last `mark`."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def mark(self) -> None:
        """Forget what was asked until now."""
        self._offset = self._path.stat().st_size

    def requests(self) -> list[Request]:
        """In the order in which they were answered. A line that is being written is left for the next time."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole = file.read().rpartition(b"\n")[0]
        return list(parse(whole.decode().splitlines()))
