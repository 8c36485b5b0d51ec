"""One question to Prometheus, bounded in time and size. Whatever is not a clean vector is a `NoAnswer`."""

import io
import json
import logging
import math
import re
import ssl
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import requests
import urllib3
from prometheus_api_client import PrometheusConnect
from prometheus_api_client.exceptions import PrometheusApiClientException
from pydantic import BaseModel, ValidationError
from requests.auth import AuthBase

from quantroll.errors import QuantrollError

BYTES_LIMIT = 2**20
SERIES_LIMIT = 200
_CONNECT_TIMEOUT = 3.0
_CHUNK = 2**16
_LATE = (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
# a line for every try, with the whole question in it; the cause is told all the same
logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)
_NO_JSON = (ValueError, RecursionError)  # a deep nesting is the latter


class NoAnswer(QuantrollError):
    """Prometheus did not bring what was asked for; the message is one line for people, and the same every time."""


class Series(BaseModel):
    """One series of an instant vector. `value` is as Prometheus writes it: NaN and +Inf are possible."""

    metric: dict[str, str]
    value: tuple[float, str]

    @property
    def at(self) -> float:
        """Unix time, by Prometheus' clock, for which the question was answered."""
        return self.value[0]

    @property
    def number(self) -> float:
        """The value; raises NoAnswer where it is not a finite number of zero or more."""
        if not self.is_count:
            raise NoAnswer(f"Prometheus has {_line(self.value[1], 30)!r} where a count belongs")
        return float(self.value[1])

    @property
    def is_count(self) -> bool:
        """Whether it is a finite number of zero or more."""
        try:
            number = float(self.value[1])
        except ValueError:
            return False
        return math.isfinite(number) and number >= 0


class _Vector(BaseModel):
    resultType: Literal["vector"]  # noqa: N815 - as Prometheus writes it
    result: list[Series]


class _Answer(BaseModel):
    status: Literal["success"]
    data: _Vector
    warnings: list[str] | None = None


class _Token(AuthBase):
    """The bearer token as its file has it now: such tokens are replaced while we run."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        try:
            token = self._file.read_text(encoding="ascii").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise NoAnswer(f"the bearer token in {self._file} cannot be read") from error
        if not re.fullmatch(r"[!-~]+", token):
            raise NoAnswer(f"there is no bearer token in {self._file}")
        request.headers["Authorization"] = f"Bearer {token}"
        return request


class Prometheus:
    """The query API below one URL. Can be used by several threads at once."""

    def __init__(self, url: str, *, ca_file: str = "", token_file: str = "", timeout: float = 10) -> None:
        """`timeout` in seconds is for a whole question; without `ca_file` the public authorities are trusted."""
        self._where, self._timeout, self._ca_file = url.rstrip("/"), timeout, ca_file
        session = requests.Session()
        session.trust_env = False  # neither a proxy nor a netrc nor a CA bundle that somebody set for something else
        session.verify = ca_file or True
        session.stream = True  # the body is read in `_bounded`
        session.hooks["response"].append(self._bounded)
        session.headers["Accept-Encoding"] = "identity"  # a limit of bytes means something only without compression
        if token_file:
            session.auth = _Token(Path(token_file))
        retry = urllib3.Retry(
            total=2,
            read=0,  # a question that took too long once is not asked again
            status=1,
            status_forcelist=(502, 503, 504),
            backoff_factor=0.1,
            raise_on_status=False,
            respect_retry_after_header=False,
        )
        self._client = PrometheusConnect(self._where, session=session, retry=retry)

    def close(self) -> None:
        """Let go of its connections."""
        self._client.close()

    def ask(self, query: str) -> list[Series]:
        """The instant vector that a PromQL expression has now; raises NoAnswer and nothing else."""
        limits = {"timeout": f"{self._timeout:g}s", "limit": str(SERIES_LIMIT + 1)}
        patience: Any = (min(_CONNECT_TIMEOUT, self._timeout), self._timeout)
        try:
            result = self._client.custom_query(query, params=limits, timeout=patience)
            return [Series.model_validate(series) for series in result]
        except NoAnswer as error:
            raise NoAnswer(f"Prometheus at {self._where}: {error}") from error
        except (OSError, ValueError, urllib3.exceptions.HTTPError, PrometheusApiClientException) as error:
            raise NoAnswer(f"Prometheus at {self._where}: {self._cause(error)}") from error

    def _bounded(self, response: requests.Response, **_: Any) -> requests.Response:
        """The response with its body, once that is known to be an answer; raises NoAnswer with what else it is."""
        with response:
            body = self._body(response)
        kind = _line(response.headers.get("Content-Type", "no type"), 40).split(";")[0]
        try:
            document = json.loads(body)
        except _NO_JSON:
            document = None
        if response.status_code != 200:
            raise NoAnswer(_refusal(response, document))
        if not isinstance(document, dict):
            raise NoAnswer(f"its answer is {kind} and not JSON: is it a Prometheus?")
        _check(document)
        known = requests.Response()
        known.status_code, known.url, known.request = response.status_code, response.url, response.request
        known.raw = io.BytesIO(body)
        return known

    def _body(self, response: requests.Response) -> bytes:
        """All of the body, decompressed, as long as it comes in time and is not too large."""
        end = time.monotonic() + self._timeout - response.elapsed.total_seconds()
        body = bytearray()
        while chunk := response.raw.read1(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > BYTES_LIMIT:
                raise NoAnswer(f"its answer is longer than {BYTES_LIMIT // 2**20} MiB")
            if time.monotonic() > end:
                raise NoAnswer(self._late())
        return bytes(body)

    def _late(self) -> str:
        return f"no answer within {self._timeout:g} s"

    def _cause(self, error: Exception) -> str:
        """What went wrong on the way, without the addresses and object ids that client errors are full of."""
        if self._ca_file and not Path(self._ca_file).is_file():
            return f"the CA file {self._ca_file} is not there"
        for cause in _chain(error):
            if isinstance(cause, ssl.SSLError):
                return f"no trusted connection: {_line(getattr(cause, 'verify_message', '') or cause.reason or 'TLS')}"
            if isinstance(cause, urllib3.exceptions.NameResolutionError):
                return "its host name is not known"
            if isinstance(cause, _LATE) and not isinstance(cause, urllib3.exceptions.NewConnectionError):
                return self._late()  # urllib3 derives a refused connection from a late one
            if isinstance(cause, OSError) and cause.strerror:
                return _line(cause.strerror)
        return f"the question could not be asked ({type(error).__name__})"


def _check(document: dict[str, Any]) -> None:
    """Refuse what is no whole vector. Some servers answer with a part and a warning when a store of theirs is away."""
    try:
        answer = _Answer.model_validate(document)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"][:4])
        raise NoAnswer(f"its answer is not what Prometheus answers ({_line(where)})") from error
    if answer.warnings:
        raise NoAnswer(f"its answer is incomplete: {_line(answer.warnings[0])}")
    if len(answer.data.result) > SERIES_LIMIT:
        raise NoAnswer(f"it has more than {SERIES_LIMIT} series for this question")


def _refusal(response: requests.Response, document: Any) -> str:
    """A status other than 200, with Prometheus' own words where it has some."""
    status = response.status_code
    if response.is_redirect:
        return f"HTTP {status}: it sends us elsewhere; is there a login in front of it?"
    if status in (401, 403):
        return f"HTTP {status}: it wants a bearer token, or another one (prometheus.bearerTokenSecret)"
    said = document.get("error") if isinstance(document, dict) else None
    return f"HTTP {status}: {_line(said)}" if isinstance(said, str) and said else f"HTTP {status}"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and those that led to it, the outermost first."""
    for _ in range(10):
        if error is None:
            return
        yield error
        inner = getattr(error, "reason", None) or (error.args[0] if error.args else None)
        error = inner if isinstance(inner, BaseException) else error.__cause__ or error.__context__


def _line(text: object, limit: int = 200) -> str:
    """Foreign text as a part of one line."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(text)[: 2 * limit]).split())[:limit]
