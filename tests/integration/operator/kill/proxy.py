"""Stands between one operator and the API server: numbers the operator's writes, and cuts it off at one of them.

Plain HTTP towards the operator, the administrator's certificate towards the API server. Watches pass through as they
come. One model makes one worker write, so writes follow one another and their numbers mean the same in every run.
"""

import asyncio
import ssl
from collections import Counter
from collections.abc import Callable, Collection
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Self

import aiohttp
from aiohttp import web

from integration.operator.kill.oracles import undated

WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_HOP_BY_HOP = {"connection", "content-length", "host", "keep-alive", "transfer-encoding"}


class Moment(StrEnum):
    """When the operator is killed: a write then is never made, or is made and the operator never hears of it."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True)
class Fuse:
    """The write, counted from 1, at which the operator is killed."""

    write: int
    moment: Moment

    def __str__(self) -> str:
        return f"{self.moment} write {self.write}"


@dataclass(slots=True)
class Write:
    """One write as the operator asked for it; `status` is the API server's answer, 0 for one that it never saw."""

    method: str
    path: str
    status: int = 0

    def __str__(self) -> str:
        parts = self.path.split("/namespaces/")[-1].split("/", 1)
        return f"{self.method} {parts[-1]} {self.status or 'not sent'}"

    @property
    def is_event(self) -> bool:
        """Events tell about the state and are no part of it: one may be lost with the operator."""
        return "/events/" in f"{self.path}/"  # one that counts up has its name at the end


class Proxy:
    """Use as an async context manager; `url` is what the operator's kubeconfig names."""

    def __init__(self, upstream: str, context: ssl.SSLContext, fuse: Fuse | None, kill: Callable[[], None]) -> None:
        self._upstream, self._context, self._kill = upstream, context, kill
        self.fuse, self.fired = fuse, False
        self.writes: list[Write] = []
        self._watched: set[str] = set()  # resources that the running operator has a watch on
        self._news = asyncio.Condition()
        self.url = ""

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        connector = aiohttp.TCPConnector(ssl=self._context, limit=0)
        timeout = aiohttp.ClientTimeout(total=None)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False)
        runner = web.ServerRunner(web.Server(self._handle), handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        self._stack.push_async_callback(self._session.close)
        self._stack.push_async_callback(runner.cleanup)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def created(self) -> Counter[str]:
        """How often each object was made, events left out: a server-side apply answers 201 when it makes one."""
        made = (w for w in self.writes if w.status == HTTPStatus.CREATED and not w.is_event)
        return Counter(undated(write.path.rsplit("/namespaces/", 1)[-1].split("/", 1)[-1]) for write in made)

    async def watching(self, plurals: Collection[str]) -> None:
        """Until the running operator has a watch on all of these."""
        async with self._news:
            await self._news.wait_for(lambda: self.is_watched(plurals))

    def is_watched(self, plurals: Collection[str]) -> bool:
        """Whether the running operator has one on all of these; one that was killed has none."""
        return self._watched.issuperset(plurals)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        if request.method not in WRITES:
            return await self._pass_on(request, body)
        write = Write(request.method, request.path)
        self.writes.append(write)
        if self._burns(Moment.BEFORE):
            return self._cut(request)
        number = len(self.writes)
        async with self._forward(request, body) as answer:
            data = await answer.read()
        write.status = answer.status
        if self._burns(Moment.AFTER, number):
            return self._cut(request)
        return web.Response(status=answer.status, headers=_kept(answer.headers), body=data)

    def _burns(self, moment: Moment, number: int | None = None) -> bool:
        return not self.fired and self.fuse == Fuse(number or len(self.writes), moment)

    def _cut(self, request: web.BaseRequest) -> web.Response:
        self.fired = True
        self._watched.clear()
        self._kill()
        if request.transport:
            request.transport.abort()
        return web.Response(status=HTTPStatus.BAD_GATEWAY)  # to nobody

    async def _pass_on(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        async with self._forward(request, body) as answer:
            response = web.StreamResponse(status=answer.status, headers=_kept(answer.headers))
            with suppress(ConnectionResetError):  # the operator that asked is gone
                await response.prepare(request)
                if request.query.get("watch"):
                    async with self._news:
                        self._watched.add(request.path.rsplit("/", 1)[-1])
                        self._news.notify_all()
                async for chunk in answer.content.iter_any():
                    await response.write(chunk)
                await response.write_eof()
        return response

    def _forward(self, request: web.BaseRequest, body: bytes) -> aiohttp.client._RequestContextManager:
        url = f"{self._upstream}{request.raw_path}"
        headers, plain = _kept(request.headers), ("Content-Type",)  # a body of unknown type is refused
        return self._session.request(request.method, url, headers=headers, data=body or None, skip_auto_headers=plain)


def _kept(headers: "aiohttp.typedefs.LooseHeaders") -> dict[str, str]:
    return {name: value for name, value in headers.items() if name.lower() not in _HOP_BY_HOP}
