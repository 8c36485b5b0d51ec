"""The engine as the client sees it: an OpenAI-compatible server with vLLM's /health and /version."""

import asyncio
import random
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx
import openai

from quantroll.api.jobs import EvaluateInput
from quantroll.constants import Reason
from quantroll_jobs.datafiles import Item
from quantroll_jobs.digests import sha256_json
from quantroll_jobs.errors import JobError

ATTEMPTS = 4  # requests for one item
FIRST_PAUSE = 0.5  # seconds before the second request, doubled from then on, with jitter
POLL = 1.0  # seconds between looks at an engine that is loading
_PROBE_TIMEOUT = 30.0
_SHORTEST_PROBE = 5.0  # the last look may end later than the deadline, but knows why
_TOO_MANY_REQUESTS = 429
_VERSION_LIMIT = 128  # characters


class RequestFailedError(Exception):
    """An item got no answer. `refused`: the engine is well and does not take this request."""

    def __init__(self, cause: str, *, refused: bool) -> None:
        """`cause` is one line."""
        super().__init__(cause)
        self.refused = refused


@dataclass(frozen=True, slots=True)
class Reply:
    """What the engine answered."""

    text: str
    finish_reason: str


def request_body(job: EvaluateInput, item: Item) -> dict[str, Any]:
    """What is asked for an item, all but the model's name: the same for baseline and variant."""
    settings = {"temperature": job.temperature, "max_tokens": job.max_tokens}
    if item.prompt is None:
        return {"messages": list(item.messages), **settings}
    return {"prompt": item.prompt, **settings}


def request_digest(body: dict[str, Any]) -> str:
    """Identity of a request."""
    return sha256_json(body)


class Engine:
    """A connection to one engine; use as an asynchronous context manager."""

    def __init__(self, job: EvaluateInput) -> None:
        """Nothing is sent yet. Proxies of the environment are not used: the engine is in the same pod."""
        self._job = job
        limits = httpx.Limits(max_connections=job.concurrency + 2)
        self._http = httpx.AsyncClient(
            base_url=job.endpoint, trust_env=False, limits=limits, timeout=job.request_timeout_seconds
        )
        self._client = openai.AsyncOpenAI(
            base_url=f"{job.endpoint.rstrip('/')}/v1", api_key="none", max_retries=0, http_client=self._http
        )

    async def __aenter__(self) -> Self:
        """Open."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def wait_until_ready(self) -> None:
        """Wait for /health and then for a real completion: an engine can be healthy and die of its first request."""
        started = time.monotonic()
        said = started
        while True:
            left = started + self._job.ready_timeout_seconds - time.monotonic()
            try:
                await self._answers(min(max(left, _SHORTEST_PROBE), _PROBE_TIMEOUT))
            except (httpx.HTTPError, openai.OpenAIError, TimeoutError) as error:
                last = describe(error)
                if isinstance(error, openai.APIStatusError) and _is_refusal(error):
                    raise JobError(
                        Reason.ENGINE_NOT_READY, f"the engine at {self._job.endpoint} refuses a completion: {last}"
                    ) from None
            else:
                print(f"engine ready after {time.monotonic() - started:.0f} s", flush=True)
                return
            if left <= POLL:
                raise JobError(
                    Reason.ENGINE_NOT_READY,
                    f"the engine at {self._job.endpoint} did not answer within {self._job.ready_timeout_seconds:.0f} s;"
                    f" last: {last}",
                )
            if time.monotonic() - said > 15:
                said = time.monotonic()
                print(f"waiting for the engine since {said - started:.0f} s: {last}", flush=True)
            await asyncio.sleep(POLL)

    async def _answers(self, timeout: float) -> None:  # noqa: ASYNC109 - it covers two calls
        async with asyncio.timeout(timeout):
            response = await self._http.get("/health")
            response.raise_for_status()
            await self._client.completions.create(
                model=self._job.served_model, prompt="Hello", max_tokens=1, temperature=0
            )

    async def healthy(self) -> bool:
        """Whether /health says so now."""
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT):
                response = await self._http.get("/health")
        except (httpx.HTTPError, TimeoutError):
            return False
        return response.is_success

    async def version(self) -> str:
        """What GET /version says; empty where an engine has none."""
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT):
                response = await self._http.get("/version")
            return str(response.raise_for_status().json()["version"])[:_VERSION_LIMIT]
        except (httpx.HTTPError, TimeoutError, ValueError, KeyError, TypeError):
            return ""

    async def ask(self, body: dict[str, Any]) -> Reply:
        """The answer; transport faults, time-outs, 429 and 5xx are tried again. Raises RequestFailedError."""
        pause = FIRST_PAUSE
        for attempt in range(1, ATTEMPTS + 1):
            try:
                async with asyncio.timeout(self._job.request_timeout_seconds):
                    return await self._send(body)
            except (openai.OpenAIError, httpx.HTTPError, TimeoutError) as error:
                refused = isinstance(error, openai.APIStatusError) and _is_refusal(error)
                if refused or attempt == ATTEMPTS:
                    raise RequestFailedError(describe(error), refused=refused) from error
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
            pause *= 2
        raise AssertionError

    async def _send(self, body: dict[str, Any]) -> Reply:
        if "messages" in body:
            chat = await self._client.chat.completions.create(model=self._job.served_model, **body)
            first = chat.choices[0]
            return Reply(first.message.content or "", first.finish_reason or "")
        completion = await self._client.completions.create(model=self._job.served_model, **body)
        choice = completion.choices[0]
        return Reply(choice.text or "", choice.finish_reason or "")


def describe(error: Exception) -> str:
    """One line about what went wrong."""
    if isinstance(error, openai.APIConnectionError) and error.__cause__ is not None:
        error = error.__cause__ if isinstance(error.__cause__, Exception) else error
    text = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_refusal(error: openai.APIStatusError) -> bool:
    return error.status_code < 500 and error.status_code != _TOO_MANY_REQUESTS
