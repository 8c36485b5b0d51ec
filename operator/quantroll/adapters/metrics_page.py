"""The operator's metrics page, on a port of its own: probes do not wait for it, and it does not hold up the loop."""

import asyncio
from collections.abc import Callable
from typing import Self

from aiohttp import web

from quantroll.adapters.telemetry import OperatorTelemetry
from quantroll.errors import ConfigurationError

_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_PATIENCE = 30  # seconds for a whole page: Prometheus itself gives up earlier
_SAMPLE = 1.0  # seconds between two looks at how late the loop is


class MetricsPage:
    """Serves `/metrics`; use as an async context manager. `look` notes what is now, before each page."""

    def __init__(self, telemetry: OperatorTelemetry, port: int, look: Callable[[], None]) -> None:
        self._telemetry, self._port, self._look = telemetry, port, look
        self._one = asyncio.Lock()  # whoever asks often waits, and takes no more than one thread
        app = web.Application()
        app.router.add_get("/metrics", self._page)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)  # a pod has 30 seconds to end

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, port=self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise ConfigurationError(f"metrics.port: cannot listen on {self._port}: {error.strerror}") from error
        self._sampling = asyncio.create_task(self._sample())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._sampling.cancel()
        await asyncio.gather(self._sampling, return_exceptions=True)
        await self._runner.cleanup()

    async def _page(self, request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": _TYPE})
        try:
            async with asyncio.timeout(_PATIENCE), self._one:
                self._look()
                pieces = self._telemetry.page()
                await response.prepare(request)
                while piece := await asyncio.to_thread(next, pieces, b""):
                    await response.write(piece)
                await response.write_eof()
        except (ConnectionError, TimeoutError):  # whoever asked has hung up, or does not read
            if request.transport:
                request.transport.abort()
        return response

    async def _sample(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            asked = loop.time() + _SAMPLE
            await asyncio.sleep(_SAMPLE)
            self._telemetry.lag.observe(max(0.0, loop.time() - asked))
