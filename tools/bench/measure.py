"""What is measured, one after the other; each leaves the operator idle again."""

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from bench import audit, models
from bench.api import Api, Object, path_of
from bench.playground import Playground
from bench.process import Operator
from bench.report import Figure, percentile
from quantroll.adapters.watching import CHILDREN
from quantroll.constants import (
    API_VERSION,
    LABEL_COMPONENT,
    LABEL_MANAGED_BY,
    LABEL_OWNER,
    MANAGER,
    PLURAL,
    Component,
    Phase,
)

_CHILDREN = {
    "persistentvolumeclaims": "/api/v1/persistentvolumeclaims",
    "jobs": "/apis/batch/v1/jobs",
    "deployments": "/apis/apps/v1/deployments",
}
_CALM = 1.0  # seconds without a request and hardly any processor time after which the operator is taken to be idle
_HARDLY = 0.1  # of a core
_SOON, _BOOT = 60.0, 120.0  # seconds until given up

Key = tuple[str, str]


@dataclass(slots=True)
class Bench:
    """The measurements share what they watch."""

    api: Api
    place: Playground
    operator: Operator
    patience: float  # seconds for all models together to get to Steady
    first_child: dict[Key, float] = field(default_factory=dict)  # when, by model; monotonic seconds
    replicas: dict[Key, tuple[int, float]] = field(default_factory=dict)  # of its Deployment, and since when
    ready: dict[Key, int] = field(default_factory=dict)  # how many of them are
    phases: dict[Key, str] = field(default_factory=dict)
    began: float = 0  # when `many` were applied; monotonic seconds
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def watch(self, plural: str, path: str) -> None:
        """Note what comes of one kind."""
        own = {} if plural == PLURAL else {"labelSelector": f"{LABEL_MANAGED_BY}={MANAGER}"}
        async for kind, body in self.api.watch(path, **own):
            now, meta = time.monotonic(), body["metadata"]
            if plural == PLURAL:
                self.phases[_key(body)] = body.get("status", {}).get("phase", "")
            elif kind != "DELETED":
                owner = (meta["namespace"], meta["labels"][LABEL_OWNER])
                self.first_child.setdefault(owner, now)
                if plural == "deployments" and meta["labels"].get(LABEL_COMPONENT) == Component.SERVE:
                    self._served(owner, body, now)
            async with self._news:
                self._news.notify_all()

    def _served(self, owner: Key, deployment: Object, now: float) -> None:
        wanted = deployment["spec"]["replicas"]
        if wanted != self.replicas.get(owner, (None,))[0]:  # its controller writes to it as well, soon after
            self.replicas[owner] = (wanted, now)
        self.ready[owner] = deployment.get("status", {}).get("readyReplicas", 0)

    def watches(self) -> list[asyncio.Task[None]]:
        """All of them, begun."""
        paths = {**_CHILDREN, PLURAL: f"/apis/{API_VERSION}/{PLURAL}"}
        return [asyncio.create_task(self.watch(plural, path)) for plural, path in paths.items()]

    async def until(self, what: str, fulfilled: Callable[[], bool], seconds: float) -> None:
        """Wait for something that the watches show. Raises TimeoutError that names it."""
        try:
            async with asyncio.timeout(seconds), self._news:
                await self._news.wait_for(fulfilled)
        except TimeoutError:
            raise TimeoutError(f"{what}: not within {seconds:g} s") from None

    async def calm(self, seconds: float = _BOOT) -> float:
        """Wait until the operator is idle; returns since when, in monotonic seconds."""
        since, cpu, asked = time.monotonic(), self.operator.cpu, -1
        end = since + seconds
        while time.monotonic() < end:
            await asyncio.sleep(_CALM / 4)
            now, used, requests = time.monotonic(), self.operator.cpu, len(self.place.audit.requests())
            if requests != asked or used - cpu > _HARDLY * _CALM:
                since, cpu, asked = now, used, requests
            elif now - since >= _CALM:
                return since
        raise TimeoutError(f"the operator is not idle within {seconds:g} s")

    async def watching(self) -> None:
        """Wait until the operator, just started, watches all that it looks at."""
        kinds = {plural for _, _, plural in CHILDREN.values()} | {PLURAL}
        async with asyncio.timeout(_BOOT):
            while not kinds <= {r.resource for r in self.place.audit.requests() if r.verb == "watch"}:  # noqa: ASYNC110 - a file
                await asyncio.sleep(0.1)

    async def steady(self, create: list[Object], seconds: float) -> None:
        """Create these and wait until they are Steady; all that there are, if none. Raises TimeoutError."""
        await self.api.create(create)
        keys = {_key(model) for model in create} or self.phases.keys()

        def done() -> bool:
            return all(self.phases.get(key) == Phase.STEADY for key in keys)

        try:
            await self.until("Steady", done, seconds)
        except TimeoutError as late:
            phases = Counter(self.phases.get(key) or "nothing yet" for key in keys)
            told = ", ".join(f"{count} {phase}" for phase, count in phases.most_common())
            raise TimeoutError(f"{late}; there are {told}") from None

    async def alone(self) -> list[Figure]:
        """One whole rollout: how much is written for it."""
        self.place.audit.mark()
        model = models.alone()
        await self.steady([model], _SOON)
        await self.calm()
        own = [request for request in self.place.audit.requests() if request.namespace == models.ALONE]
        writes, events = audit.rollout_writes(own)
        return [
            Figure("writes of a rollout in 5 steps", len(writes), "", 25),
            Figure("  and events", len(events), ""),
            Figure("  from apply on, with 2 variants", sum(r.is_write and not r.is_event for r in own), ""),
        ]

    async def many(self, count: int) -> list[Figure]:
        """All at once, until each has its first child."""
        found = models.many(count)
        keys = {_key(model) for model in found}
        self.began, own, servers = time.monotonic(), self.operator.cpu, self.place.cpu
        await asyncio.gather(
            self.api.create(found), self.until("first children", lambda: keys <= self.first_child.keys(), self.patience)
        )
        own, servers = self.operator.cpu - own, self.place.cpu - servers
        last = max(self.first_child[key] for key in keys) - self.began
        return [
            Figure(f"{count} at once, each has its first child", last, "s", 15),
            Figure("  processor time of the operator in that", own, "s"),
            Figure("  and of the API server and its store", servers, "s"),
        ]

    async def settled(self) -> list[Figure]:
        """Those, on to Steady, since they were applied."""
        await self.steady([], self.patience)
        took = time.monotonic() - self.began
        await self.calm()
        return [Figure("  Steady", took, "s")]

    async def idle(self, seconds: float) -> list[Figure]:
        """Nothing happens: what that costs."""
        self.place.audit.mark()
        cpu, began = self.operator.cpu, time.monotonic()
        await asyncio.sleep(seconds)
        share = (self.operator.cpu - cpu) / (time.monotonic() - began)
        asked = self.place.audit.requests()
        renewed = sum(request.verb == "watch" for request in asked)
        writes = sum(request.is_write for request in asked)
        return [
            Figure("memory (RSS), idle", self.operator.resident, "MiB", 100),
            Figure(f"writes in {seconds:g} s", writes, "", 0),
            Figure(f"reads in {seconds:g} s", len(asked) - writes - renewed, "", 0),
            Figure("  and watches renewed", renewed, ""),
            Figure("processor, idle", share * 100, "% of a core"),
        ]

    async def edits(self, count: int) -> list[Figure]:
        """One model after the other gets another number of replicas: how long until its Deployment has it.

        The next one's turn is when its pods are ready: what comes of an edit is no part of the following one's time.
        """
        self.place.audit.mark()
        took, taken, begun = [], [], []
        for model in models.many(count):
            key, path = _key(model), f"{path_of(model)}/{model['metadata']['name']}"
            wanted = self.replicas[key][0] + 1
            began = time.monotonic()
            begun.append((model["metadata"]["name"], time.time()))
            await self.api.call("PATCH", path, {"spec": {"serving": {"replicas": wanted}}})
            taken.append((time.monotonic() - began) * 1000)
            await self.until("edited child", lambda k=key, w=wanted: self.replicas[k][0] == w, _SOON)  # type: ignore[misc]
            took.append((self.replicas[key][1] - began) * 1000)
            await self.until("pods of the edited child", lambda k=key, w=wanted: self.ready[k] == w, _SOON)  # type: ignore[misc]
        await self.calm()
        return [
            Figure("edit to changed child, p50", percentile(took, 0.5), "ms", 50),
            Figure("edit to changed child, p99", percentile(took, 0.99), "ms", 250),
            Figure("  of it until the edit is taken, p50", percentile(taken, 0.5), "ms"),
            *self._answers(begun),
        ]

    def _answers(self, begun: list[tuple[str, float]]) -> list[Figure]:
        """How long the API server takes for the two writes of the operator that follow an edit."""
        asked = self.place.audit.requests()
        writes = {"status": ("update", f"{PLURAL}/status"), "child": ("patch", "deployments")}
        found = []
        for what, (verb, resource) in writes.items():
            own = [audit.first(asked, verb, resource, name, at) for name, at in begun]
            median = percentile([request.took * 1000 for request in own if request], 0.5)
            found.append(Figure(f"  and until the API server has written the {what}, p50", median, "ms"))
        return found

    async def restart(self) -> list[Figure]:
        """Stopped and started: until it is idle again, and what it wrote in between."""
        self.operator.stop()
        self.place.audit.mark()
        began = time.monotonic()
        self.operator.start()
        await self.watching()
        quiet = await self.calm() - began
        writes = [request for request in self.place.audit.requests() if request.is_write]
        return [
            Figure("restart to idle", quiet, "s", 5),
            Figure("writes in that", len(writes), "", 0),
            Figure("memory (RSS) after it", self.operator.resident, "MiB", 100),
        ]


def _key(model: Object) -> Key:
    return model["metadata"]["namespace"], model["metadata"]["name"]
