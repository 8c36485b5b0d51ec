"""The API server as the administrator sees it: plain requests, many at once, and watches."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp

from cluster.kube import Client

Object = dict[str, Any]

_AT_ONCE = 32
_PLURALS = {"Namespace": "namespaces", "PersistentVolumeClaim": "persistentvolumeclaims", "Node": "nodes"}


class Api:
    """Made by `connected`."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self._session, self._slots = session, asyncio.Semaphore(_AT_ONCE)

    async def call(self, method: str, path: str, body: Object | None = None) -> Object:
        """The decoded answer. Raises aiohttp.ClientResponseError for any that is not 2xx."""
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        data = None if body is None else json.dumps(body)
        async with (
            self._slots,
            self._session.request(method, path, data=data, headers={"Content-Type": kind}) as answer,
        ):
            text = await answer.text()
            if not answer.ok:
                raise RuntimeError(f"{method} {path}: {answer.status}: {text[:1000]}")
            found: Object = json.loads(text)
        return found

    async def create(self, objects: Iterable[Object]) -> None:
        """Create objects, many at once."""
        async with asyncio.TaskGroup() as group:
            for body in objects:
                group.create_task(self.call("POST", path_of(body), body))

    async def watch(self, path: str, **query: str) -> AsyncIterator[tuple[str, Object]]:
        """Events of a kind, what is there already first; without end."""
        version = ""
        while True:
            more = {"resourceVersion": version} if version else {}
            with suppress(aiohttp.ClientPayloadError):
                async with self._session.get(path, params={"watch": "1", **query, **more}) as answer:
                    answer.raise_for_status()
                    async for line in answer.content:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            raise RuntimeError(f"watch of {path}: {event['object'].get('message')}")
                        version = event["object"]["metadata"]["resourceVersion"]
                        yield event["type"], event["object"]


def path_of(body: Object) -> str:
    """Where an object of a kind that the benchmark makes is created."""
    group = "/api" if "/" not in body["apiVersion"] else "/apis"
    namespace = body["metadata"].get("namespace")
    place = f"/namespaces/{namespace}" if namespace else ""
    return f"{group}/{body['apiVersion']}{place}/{_PLURALS.get(body['kind'], body['kind'].lower() + 's')}"


@asynccontextmanager
async def connected(client: Client) -> AsyncIterator[Api]:
    """A session with the administrator's certificate."""
    async with aiohttp.ClientSession(
        client.server,
        connector=aiohttp.TCPConnector(ssl=client.ssl, limit=0),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
        read_bufsize=2**21,  # an event is one line
    ) as session:
        yield Api(session)
