"""An engine as its clients see it: an OpenAI-compatible server with vLLM's /health and /version.

Asked through aiohttp: docs/adr/0033-engines-are-asked-through-aiohttp.md says why not through the openai library.
"""

import asyncio
import json
import random
import time
from dataclasses import dataclass
from typing import Any

import aiohttp

from quantroll.api.jobs import Asking
from quantroll.api.spec import ScorerName
from quantroll.constants import Reason
from quantroll_jobs.datafiles import Item
from quantroll_jobs.digests import sha256_json
from quantroll_jobs.errors import JobError
from quantroll_jobs.evaluate import bounded, likely

ATTEMPTS = 4  # requests for one item
FIRST_PAUSE = 0.5  # seconds before the second request, doubled from then on, with jitter
POLL = 1.0  # seconds between looks at an engine that is loading
_PROBE_TIMEOUT = 30.0
_SHORTEST_PROBE = 5.0  # the last look may end later than the deadline, but knows why
_TOO_MANY_REQUESTS = 429
_VERSION_LIMIT = 128  # characters
# What came is read without a look at its form first: this is how garbage shows itself.
_NO_COMPLETION = (AttributeError, LookupError, TypeError, ValueError, RecursionError)
_KEPT = 4.0  # seconds that an idle connection is kept: vLLM's server closes it after 5


class RequestFailedError(Exception):
    """An item got no answer. `refused`: the engine is well and does not take this request."""

    def __init__(self, cause: str, *, refused: bool, status: int | None = None) -> None:
        """`cause` is one line; `status` is HTTP's, where the engine said one."""
        super().__init__(cause)
        self.refused = refused
        self.status = status


class GarbledReplyError(Exception):
    """HTTP 200 with something that is no completion."""


class StatusError(Exception):
    """An HTTP status that is no success, with what the engine said beside it."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"HTTP {status}: {said}" if said else f"HTTP {status}")
        self.status = status

    @property
    def is_refusal(self) -> bool:
        """Whether the same request would be refused again."""
        return self.status < 500 and self.status != _TOO_MANY_REQUESTS


_FAILED = (StatusError, GarbledReplyError, aiohttp.ClientError, OSError)  # a TimeoutError is an OSError


@dataclass(frozen=True, slots=True)
class Reply:
    """What the engine answered."""

    text: str
    finish_reason: str
    prompt: str  # sha256 of the rendered prompt's token ids; empty where the engine does not tell them


def request_body(job: Asking, item: Item) -> dict[str, Any]:
    """What is asked for an item, all but the model's name: the same for all that are compared.

    With `choices`, no answer is asked for: see `likely`.
    """
    found = job.scoring.multiple_choice if job.scoring and job.scorer is ScorerName.MULTIPLE_CHOICE else None
    if found and found.by != "Answer":
        return {"prompt": item.prompt, "choices": list(item.choices), "by": found.by}
    settings = {"temperature": job.temperature, "max_tokens": job.max_tokens}
    if item.prompt is None:
        before = [] if job.system_prompt is None else [{"role": "system", "content": job.system_prompt}]
        return {"messages": [*before, *item.messages], **settings}
    return {"prompt": item.prompt, **settings}


def request_digest(body: dict[str, Any]) -> str:
    """Identity of a request."""
    return sha256_json(body)


class Engine:
    """A connection to one engine, which has to be closed."""

    def __init__(
        self,
        endpoint: str,
        served_model: str,
        *,
        connections: int,
        request_timeout: float,
        who: str = "the engine",
        single_shot: bool = False,
        prompt_ids: bool = False,
    ) -> None:
        """Nothing is sent yet, but a loop is running; `request_timeout` is in seconds.

        `who` names the engine in messages. `single_shot`: every question is sent once, and over a connection of its
        own. `prompt_ids`: ask for the rendered prompt's token ids, if the engine takes that. Proxies of the environment
        are not used: engines are inside the cluster.
        """
        self._who = f"{who} at {endpoint}"
        self._served_model = served_model
        self._request_timeout = request_timeout
        self._single_shot = single_shot
        self._extra = {"return_token_ids": True} if prompt_ids else None  # vLLM's, beside OpenAI's parameters
        self._endpoint = endpoint.rstrip("/")
        connector = (
            aiohttp.TCPConnector(limit=connections + 2, force_close=True)
            if single_shot
            else aiohttp.TCPConnector(limit=connections + 2, keepalive_timeout=_KEPT)
        )
        self._http = aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=None),  # whoever asks has a deadline
            headers={"Accept-Encoding": "identity"},
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def wait_until_ready(self, seconds: float) -> None:
        """Wait for /health and then for a real completion: an engine can be healthy and die of its first request.

        Raises JobError after `seconds`, or as soon as the engine refuses.
        """
        started = time.monotonic()
        said = started
        while True:
            left = started + seconds - time.monotonic()
            try:
                await self._answers(min(max(left, _SHORTEST_PROBE), _PROBE_TIMEOUT))
            except (*_FAILED, *_NO_COMPLETION) as error:
                last = describe(error)
                if isinstance(error, StatusError) and error.is_refusal:
                    raise JobError(Reason.ENGINE_NOT_READY, f"{self._who} refuses a completion: {last}") from None
            else:
                print(f"{self._who} is ready after {time.monotonic() - started:.0f} s", flush=True)
                return
            if left <= POLL:
                raise JobError(
                    Reason.ENGINE_NOT_READY,
                    f"{self._who} did not answer within {seconds:.0f} s; last: {last}",
                )
            if time.monotonic() - said > 15:
                said = time.monotonic()
                print(f"waiting for {self._who} since {said - started:.0f} s: {last}", flush=True)
            await asyncio.sleep(POLL)

    async def _answers(self, timeout: float) -> None:  # noqa: ASYNC109 - it covers two calls
        async with asyncio.timeout(timeout):
            await self._get("/health")
            try:
                await self._complete(self._extra)
            except StatusError as error:
                if self._extra is None or not error.is_refusal:
                    raise
                await self._complete(None)
                self._extra = None

    async def _complete(self, extra: dict[str, bool] | None) -> None:
        question = {"prompt": "Hello", "max_tokens": 1, "temperature": 0}
        await self._post("/completions", question | (extra or {}))

    async def healthy(self) -> bool:
        """Whether /health says so now."""
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT):
                await self._get("/health")
        except _FAILED:
            return False
        return True

    async def version(self) -> str:
        """What GET /version says; empty where an engine has none."""
        try:
            async with asyncio.timeout(_PROBE_TIMEOUT):
                told = json.loads(await self._get("/version"))
            return str(told["version"])[:_VERSION_LIMIT]
        except (*_FAILED, *_NO_COMPLETION):
            return ""

    async def ask(self, body: dict[str, Any]) -> Reply:
        """The answer; transport faults, time-outs, 429, 5xx and garbled replies are tried again, unless `single_shot`.

        Raises RequestFailedError.
        """
        attempts, pause = 1 if self._single_shot else ATTEMPTS, FIRST_PAUSE
        for attempt in range(1, attempts + 1):
            try:
                async with asyncio.timeout(self._request_timeout):
                    return await self._send(body)
            except _FAILED as error:
                refused = isinstance(error, StatusError) and error.is_refusal
                if refused or attempt == attempts:
                    raise RequestFailedError(describe(error), refused=refused, status=_status(error)) from error
            await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, no secret
            pause *= 2
        raise AssertionError

    async def _send(self, body: dict[str, Any]) -> Reply:
        chat = "messages" in body
        try:
            if "choices" in body:
                return await self._choose(body)
            told = await self._post("/chat/completions" if chat else "/completions", body | (self._extra or {}))
            choice = told["choices"][0]
            text = choice["message"]["content"] if chat else choice["text"]
            return _reply(text, choice.get("finish_reason"), (told if chat else choice).get("prompt_token_ids"))
        except _NO_COMPLETION as error:
            raise GarbledReplyError(f"no completion came: {type(error).__name__}: {error}") from error

    async def _choose(self, body: dict[str, Any]) -> Reply:
        """The choice that the model finds most likely, as an answer."""
        told = [await self._post("/completions", question) for question in likely.questions(body)]
        echoes = [likely.echo_of(reply) for reply in told]
        chosen = likely.most_likely(echoes, body["choices"], per_byte=body["by"] == "LogprobPerByte")
        return Reply(chosen, "", sha256_json([list(echo.tokens) for echo in echoes]))

    async def _post(self, path: str, body: dict[str, Any]) -> Any:
        """The reply's JSON, as it came."""
        sent = {"model": self._served_model, **body}
        async with self._http.post(f"{self._endpoint}/v1{path}", json=sent, allow_redirects=False) as response:
            try:
                content = await bounded.read(response)
            except bounded.UnboundedReplyError as error:
                if _is_success(response):
                    raise GarbledReplyError(str(error)) from error
                raise StatusError(response.status, str(error)) from error
        if not _is_success(response):
            raise StatusError(response.status, _said(content))
        return json.loads(content)

    async def _get(self, path: str) -> bytes:
        async with self._http.get(f"{self._endpoint}{path}", allow_redirects=False) as response:
            if not _is_success(response):
                # no StatusError: /health that says no is no refusal
                raise aiohttp.ClientError(f"{path} said HTTP {response.status}")
            try:
                return await bounded.read(response)
            except bounded.UnboundedReplyError as error:
                raise GarbledReplyError(str(error)) from error


def _is_success(response: aiohttp.ClientResponse) -> bool:
    return response.status // 100 == 2


def _said(content: bytes) -> str:
    """What a reply that is no success says, in OpenAI's form or in any other."""
    try:
        return str(json.loads(content)["error"]["message"])
    except _NO_COMPLETION:
        return content.decode(errors="replace")


def _reply(text: Any, finish_reason: Any, ids: Any) -> Reply:
    if text is not None and not isinstance(text, str):
        raise TypeError("the answer is not a text")
    readable = (text or "").encode(errors="replace").decode()  # half of a surrogate pair cannot be written
    told = isinstance(ids, list) and bool(ids) and all(isinstance(number, int) for number in ids)
    return Reply(readable, str(finish_reason or ""), sha256_json(ids) if told else "")


def _status(error: Exception) -> int | None:
    if isinstance(error, GarbledReplyError):
        return 200
    return error.status if isinstance(error, StatusError) else None


def describe(error: Exception) -> str:
    """One line about what went wrong."""
    text = " ".join(str(error).split())[:300]
    if isinstance(error, StatusError | GarbledReplyError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
