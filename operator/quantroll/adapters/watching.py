"""Watches of the children: each keeps `Seen` true for one kind, whatever becomes of its connection.

kopf watches the QuantizedModels. Of their fifteen times as many children it would hold a task, a queue and a memory
each, and would not notice what went while its connection was away: docs/adr/0022-children-are-watched-by-us.md.
"""

import asyncio
import logging
import random
import time
from collections.abc import Iterable
from typing import Any, Self

import aiohttp
from kubernetes.aio.client import ApiClient, ApiException

from quantroll.adapters import wire
from quantroll.adapters.cluster import access, refusal
from quantroll.constants import LABEL_MANAGED_BY, MANAGER
from quantroll.controller.queue import Key
from quantroll.controller.seen import Seen
from quantroll.errors import NotFound, QuantrollError

log = logging.getLogger(__name__)

CHILDREN = {
    "Job": ("batch", "v1", "jobs"),
    "Pod": ("", "v1", "pods"),
    "Deployment": ("apps", "v1", "deployments"),
    "Service": ("", "v1", "services"),
    "PersistentVolumeClaim": ("", "v1", "persistentvolumeclaims"),
    "HTTPRoute": ("gateway.networking.k8s.io", "v1", "httproutes"),
}
PAGE = 100  # objects of a listing that are in memory at once
LASTS = 300  # seconds after which the API server ends a watch, about
SILENCE = 90.0  # seconds without a word, a bookmark comes every minute, after which nobody is taken to be there
ABSENT = 15.0  # seconds until a kind that the cluster does not know is looked for again
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 15.0  # seconds after failures in a row
PATIENCE = 3  # failures in a row after which all is listed again: what the API server says may be about the version
_FAULTS = (QuantrollError, ApiException, aiohttp.ClientError, TimeoutError, OSError, ValueError)


class Watches:
    """All watches with their connections. Use as an async context manager."""

    def __init__(self, seen: Seen, namespaces: Iterable[str]) -> None:
        """Of some namespaces, or, for none, of the whole cluster."""
        self._seen = seen
        self._namespaces: list[str | None] = [*namespaces] or [None]
        self._api: ApiClient | None = None
        self._watches: list[Watch] = []

    async def __aenter__(self) -> Self:
        configuration = await access()
        configuration.connection_pool_maxsize = 0  # without a limit: each has a connection for as long as it lasts
        api = self._api = ApiClient(configuration=configuration)
        turn = asyncio.Semaphore(1)  # one listing after the other, for the memory that they take
        self._watches = [Watch(api, kind, space, self._seen, turn) for space in self._namespaces for kind in CHILDREN]
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._api:
            await self._api.close()

    async def run(self) -> None:
        """Watch until cancelled."""
        async with asyncio.TaskGroup() as group:
            for watch in self._watches:
                group.create_task(watch.run())

    def heard_at(self) -> dict[str, float]:
        """Unix time of the last word on each kind, be it that nothing has changed; kinds that are absent are left out.

        Of several namespaces, that of the one that has been silent longest.
        """
        found: dict[str, float] = {}
        for watch in self._watches:
            if watch.heard_at is not None:
                found[watch.kind] = min(watch.heard_at, found.get(watch.kind, watch.heard_at))
        return found

    async def listed(self) -> None:
        """Wait until everything that is there has been seen once."""
        for watch in self._watches:
            await watch.listed.wait()


class Watch:
    """Keeps what is seen of one kind true, in a namespace or (None) in all."""

    def __init__(self, api: ApiClient, kind: str, namespace: str | None, seen: Seen, turn: asyncio.Semaphore) -> None:
        group, version, plural = CHILDREN[kind]
        root = f"/apis/{group}/{version}" if group else f"/api/{version}"
        self._path = f"{root}/namespaces/{namespace}/{plural}" if namespace else f"{root}/{plural}"
        self._api, self.kind, self._namespace, self._seen, self._turn = api, kind, namespace, seen, turn
        self.heard_at: float | None = time.time()  # Unix time; None: the cluster does not know the kind
        self._version = ""  # from which to go on; empty: list first
        self._heard = False  # whether anything came of the last try
        self.listed = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        failures = 0
        while True:
            self._heard = False
            try:
                await self._once()
            except NotFound:
                self._is_absent()
                await asyncio.sleep(ABSENT)
                continue
            except wire.Expired as error:
                log.info("%s: listed again: %s", self._path, error)
                self._version = ""
            except _FAULTS as error:
                log.warning("%s: watch interrupted: %s", self._path, error or type(error).__name__)
            failures = 0 if self._heard else failures + 1
            if failures and failures % PATIENCE == 0:
                self._version = ""
            await asyncio.sleep(pause(failures))

    async def _once(self) -> None:
        """List if need be, and follow until the connection ends."""
        if not self._version:
            async with self._turn:
                self._version = await self._list()
            self.listed.set()
        await self._follow()

    async def _list(self) -> str:
        """Everything there is, and the version that this is of."""
        names: set[Key] = set()
        more = ""
        while True:
            query = {"limit": str(PAGE), **({"continue": more} if more else {})}
            async with await self._ask(query, aiohttp.ClientTimeout(30)) as answer:
                page = wire.page(await answer.read())
            for shown in page.shown:
                names.add(shown.name)
                self._seen.put(self.kind, shown)
            more = page.more
            if not more:
                self._seen.keep(self.kind, self._namespace, names)
                self.heard_at = time.time()
                return page.version

    async def _follow(self) -> None:
        """What changes from the known version on, until the connection ends."""
        lasts = int(LASTS * random.uniform(0.9, 1.1))  # noqa: S311 - spreads load, keeps no secret
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version,
            "timeoutSeconds": str(lasts),
        }
        patience = aiohttp.ClientTimeout(total=lasts + SILENCE, sock_connect=10, sock_read=SILENCE)
        async with await self._ask(query, patience) as answer:
            async for line in answer.content:
                news = wire.news(line)
                self._heard, self.heard_at = True, time.time()
                if news.shown:
                    self._seen.put(self.kind, news.shown)
                elif news.gone:
                    self._seen.drop(self.kind, news.gone)
                self._version = news.version

    def _is_absent(self) -> None:
        """The cluster does not know the kind, or no longer."""
        self._version, self.heard_at = "", None
        self._seen.keep(self.kind, self._namespace, frozenset())
        self.listed.set()

    async def _ask(self, query: dict[str, str], patience: aiohttp.ClientTimeout) -> aiohttp.ClientResponse:
        """The answer to a GET, its body unread; raises NotFound, Expired, Refused or Unreachable."""
        query = {"labelSelector": f"{LABEL_MANAGED_BY}={MANAGER}", **query}
        request: Any = await self._api.param_serialize(
            "GET",
            self._path,
            query_params=list(query.items()),
            header_params={"Accept": "application/json"},
            auth_settings=["BearerToken"],
        )
        answer: aiohttp.ClientResponse = (await self._api.call_api(*request, _request_timeout=patience)).response
        if answer.status == 200:
            return answer
        async with answer:
            error = refusal(answer.status, f"GET {self._path}", await answer.read())
        raise wire.Expired(str(error)) if answer.status == 410 else error


def pause(failures: int) -> float:
    """Seconds until the next try, after so many failures in a row."""
    if not failures:
        return 0.0
    return min(FIRST_PAUSE * 2.0 ** min(failures - 1, 16), LONGEST_PAUSE) * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
