"""One namespace of a run: plays its node, gateway and user as soon as something changes, and watches the invariants."""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Self

import aiohttp

from cluster.kube import Client
from integration.operator.kill.oracles import Invariants, normal, undated
from integration.operator.kill.stories import NAME, Story
from integration.operator.player import Player
from quantroll.constants import ANNOTATION_KEY, API_VERSION, LABEL_COMPONENT, PLURAL, Component

Object = dict[str, Any]

KINDS = {
    "pods": "/api/v1",
    "services": "/api/v1",
    "persistentvolumeclaims": "/api/v1",
    "jobs": "/apis/batch/v1",
    "deployments": "/apis/apps/v1",
    "httproutes": "/apis/gateway.networking.k8s.io/v1",
    PLURAL: f"/apis/{API_VERSION}",
}
SEEN = ("pods", "httproutes", "jobs", PLURAL)  # the watches of this side


class World:
    """Use as an async context manager: makes the namespace, and lets it go in the background at the end."""

    def __init__(self, client: Client, namespace: str, story: Story) -> None:
        self.namespace, self._story = namespace, story
        self.invariants = Invariants(NAME, story.spec["serving"]["replicas"])
        self.model: Object = {}
        self.counts: Callable[[], int] = int  # what is noted of a phase: how many writes there were before it
        self._seen: dict[str, int] = {}  # that, by phase of the model
        self._client, self._player = client, Player(client, namespace)
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            self._client.server,
            connector=aiohttp.TCPConnector(ssl=self._client.ssl, limit=0),
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=2**21,  # an event is one line
        )
        await self.call("POST", "/api/v1/namespaces", {"metadata": {"name": self.namespace}})
        account = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/default"
        async with asyncio.timeout(30):
            # without it no pod can be made; and a watch for it would be longer than this
            while (await self.call("GET", account)).get("kind") == "Status":  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        self._tasks = [asyncio.create_task(self._watch(plural)) for plural in SEEN]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._tasks:
            task.cancel()
        done = await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.call("DELETE", f"/api/v1/namespaces/{self.namespace}")
        await self._session.close()
        if failed := [error for error in done if error and not isinstance(error, asyncio.CancelledError)]:
            raise failed[0]

    async def call(self, method: str, path: str, body: Object | None = None) -> Object:
        """One request as the administrator; the decoded answer, whatever it says."""
        kinds = {"PATCH": "application/merge-patch+json"}
        headers = {"Content-Type": kinds.get(method, "application/json")}
        data = None if body is None else json.dumps(body)
        async with self._session.request(method, path, data=data, headers=headers) as answer:
            found: Object = await answer.json()
        return found

    def path(self, plural: str) -> str:
        """The objects of one kind in this namespace."""
        return f"{KINDS[plural]}/namespaces/{self.namespace}/{plural}"

    async def apply(self) -> None:
        """Create the model."""
        manifest = {
            "apiVersion": API_VERSION,
            "kind": "QuantizedModel",
            "metadata": {"name": NAME},
            "spec": self._story.spec,
        }
        answer = await self.call("POST", self.path(PLURAL), manifest)
        assert answer["kind"] == "QuantizedModel", answer

    async def wait(self, phase: str, seconds: float) -> int:
        """Until the model is in a phase, or has been: one may pass before whoever waits for it has a turn.

        Returns what was counted when it came. Raises AssertionError that says where the model stands.
        """
        try:
            async with asyncio.timeout(seconds):
                while phase not in self._seen:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            status = self.model.get("status", {})
            drift = status.get("drift", {})
            stands = f"{status.get('phase')}: {status.get('message')}; drift {drift.get('verdict')}: {drift}"
            raise AssertionError(f"{phase} not within {seconds} s: {stands}") from None
        return self._seen[phase]

    async def end_state(self) -> Object:
        """Every child and the status, in normal form."""
        listed = {plural: (await self.call("GET", self.path(plural)))["items"] for plural in KINDS if plural != "pods"}
        dated = {
            job["metadata"]["annotations"][ANNOTATION_KEY]
            for job in listed["jobs"]
            if job["metadata"]["labels"][LABEL_COMPONENT] == Component.CONFIRM
        }
        found: Object = {}
        for plural, items in listed.items():  # pods are made by others, under random names
            for item in items:
                if item["metadata"].get("deletionTimestamp"):
                    continue
                parts = ("metadata", "spec", "status") if plural == PLURAL else ("metadata", "spec")
                kept = {part: item.get(part) for part in parts}
                found[f"{plural}/{undated(item['metadata']['name'])}"] = normal(kept, self.namespace, dated)
        return found

    async def _watch(self, plural: str) -> None:
        """Act on every event; a watch that ends is begun again."""
        act = getattr(self, f"_{plural}")
        while True:
            with suppress(aiohttp.ClientPayloadError):
                async with self._session.get(self.path(plural), params={"watch": "1"}) as answer:
                    async for line in answer.content:
                        event = json.loads(line)
                        if event["type"] in ("ADDED", "MODIFIED", "DELETED"):
                            await act(event["object"], event["type"] == "DELETED")

    async def _pods(self, pod: Object, gone: bool) -> None:
        served = pod["metadata"].get("labels", {}).get(LABEL_COMPONENT) == Component.SERVE
        if served:
            self.invariants.pod(pod, gone=gone)
        waits = pod["status"].get("phase") == "Pending" and not pod["metadata"].get("deletionTimestamp")
        status = (self._player._served(pod) if served else self._player._ran(pod)) if waits and not gone else None
        if status:
            if served:  # before anybody else can know
                self.invariants.pod({**pod, "status": status})
            await self.call("PATCH", f"{self.path('pods')}/{pod['metadata']['name']}/status", {"status": status})

    async def _httproutes(self, route: Object, gone: bool) -> None:
        if gone:
            return
        self.invariants.route(route)
        if status := self._player.answer(route):
            path = f"{self.path('httproutes')}/{route['metadata']['name']}/status"
            await self.call("PATCH", path, {"status": status})

    async def _jobs(self, job: Object, gone: bool) -> None:
        self.invariants.job(job)

    async def _quantizedmodels(self, model: Object, gone: bool) -> None:
        self.model = {} if gone else model
        self.invariants.model(self.model)
        status = self.model.get("status", {})
        self._seen.setdefault(status.get("phase", ""), self.counts())
        asked = self._story.asks(status)
        if not asked.items() <= self.model.get("metadata", {}).get("annotations", {}).items():
            answer = await self.call("PATCH", f"{self.path(PLURAL)}/{NAME}", {"metadata": {"annotations": asked}})
            assert answer["kind"] == "QuantizedModel", answer
        self._changed.set()
