#!/usr/bin/env python3
"""An engine that plays: it is started, asked and watched as vLLM is, and does what a script says.

`vllm serve MODEL --served-model-name=NAME --port=8000 …`. It knows the answers to the tiny model's sums and reversals:
how many of them are right is settable, as are latency, errors and crashes. Python's own library alone: it answers
within half a second of its start, and needs 15 MiB.

The script comes from ENGINE_SCRIPT: settings by what is served, `baseline` or the bits of the weights, such as `8`:

    {"8": {"wrong": {"add": 0.4}, "seconds": 0.01}}

`POST /script` sets some of them anew in one pod, also for its containers that start later. See `Script` for all.
"""

import bisect
import hashlib
import itertools
import json
import os
import re
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

VERSION = "scripted-1"
KEPT = Path(os.environ.get("ENGINE_KEPT", "/tmp/script.json"))  # a volume of the pod, which outlives its containers
ASKED = ("/v1/completions", "/v1/chat/completions")

# vLLM's own
FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
               80.0, 160.0, 640.0, 2560.0)  # fmt: skip
BETWEEN_TOKENS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
                  80.0)  # fmt: skip


@dataclass
class Script:
    """What the engine does."""

    wrong: dict[str, float] = field(default_factory=dict)
    """Share of the questions of a kind (add, rev) that get a wrong answer: the same ones in each engine, always."""
    failing: float = 0.0
    """Share of the requests that get HTTP 500."""
    seconds: float = 0.0
    """Until the first token."""
    token_seconds: float = 0.0
    """Between two tokens."""
    loading: float = 0.0
    """Seconds from the start until it answers; before that connections are refused."""
    ready: bool = True
    """False: /health and all questions get HTTP 503."""
    hang: bool = False
    """Questions are taken and never answered."""
    exit: int | None = None
    """Ends at once with this status: when told to, and at every start from then on."""

    def told(self, changes: dict[str, Any]) -> "Script":
        """With some settings changed; raises ValueError for what is none."""
        if unknown := changes.keys() - {each.name for each in fields(self)}:
            raise ValueError(f"no such setting: {', '.join(sorted(unknown))}")
        return Script(**{**{each.name: getattr(self, each.name) for each in fields(self)}, **changes})


def served_as(model: Path) -> str:
    """`baseline`, or the bits of the weights of a quantized checkpoint."""
    config = json.loads((model / "config.json").read_text())
    groups = config.get("quantization_config", {}).get("config_groups", {})
    bits = {str(group["weights"]["num_bits"]) for group in groups.values()}
    return bits.pop() if len(bits) == 1 else "baseline"


def kind_and_answer(prompt: str) -> tuple[str, str]:
    """What kind of question it is, and the right answer."""
    if found := re.fullmatch(r"Q:(\d+)\+(\d+)\nA:", prompt):
        return "add", f"{int(found[1]) + int(found[2]):0{len(found[1]) + 1}d}"
    if found := re.fullmatch(r"Q:rev (\w+)\nA:", prompt):
        return "rev", found[1][::-1]
    return "other", "?"


def answer(prompt: str, script: Script) -> str:
    """The right answer, or a wrong one: the question decides, so that all engines of one script agree."""
    kind, right = kind_and_answer(prompt)
    place = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4]) / 2**32
    return right if place >= script.wrong.get(kind, 0.0) else f"not {right}"


class Histogram:
    """Values by upper bound, as Prometheus counts them."""

    def __init__(self, name: str, bounds: tuple[float, ...]) -> None:
        """`bounds` are in rising order."""
        self._name, self._bounds = name, bounds
        self._counts, self._sum = [0] * (len(bounds) + 1), 0.0

    def add(self, value: float) -> None:
        """One value more."""
        self._counts[bisect.bisect_left(self._bounds, value)] += 1
        self._sum += value

    def lines(self, labels: str) -> list[str]:
        """In Prometheus' text format."""
        counts = list(itertools.accumulate(self._counts))
        buckets = zip([*map(str, self._bounds), "+Inf"], counts, strict=True)
        return [
            f"# TYPE {self._name} histogram",
            *(f'{self._name}_bucket{{{labels},le="{bound}"}} {count}' for bound, count in buckets),
            f"{self._name}_sum{{{labels}}} {self._sum}",
            f"{self._name}_count{{{labels}}} {counts[-1]}",
        ]


class Figures:
    """The page of metrics: vLLM's names and labels."""

    def __init__(self, served_name: str) -> None:
        """`served_name` is the value of the label model_name."""
        self._labels = f'engine="0",model_name="{served_name}"'
        self._lock = threading.Lock()
        self._running = 0
        self._ended: Counter[str] = Counter()
        self._http: Counter[tuple[str, str, str]] = Counter()
        self._tokens: Counter[str] = Counter()
        self._first = Histogram("vllm:time_to_first_token_seconds", FIRST_TOKEN)
        self._between = Histogram("vllm:inter_token_latency_seconds", BETWEEN_TOKENS)

    @contextmanager
    def running(self) -> Iterator[None]:
        """One request more, while the block runs."""
        with self._lock:
            self._running += 1
        try:
            yield
        finally:
            with self._lock:
                self._running -= 1

    @property
    def in_flight(self) -> int:
        """Requests that are worked on."""
        return self._running

    def finished(self, reason: str, prompt: int, tokens: int, first: float, between: list[float]) -> None:
        """A request that was answered: tokens of both sides, and seconds."""
        with self._lock:
            self._ended[reason] += 1
            self._tokens.update(prompt=prompt, generation=tokens)
            self._first.add(first)
            for seconds in between:
                self._between.add(seconds)

    def responded(self, handler: str, method: str, status: int) -> None:
        """A response of the HTTP server."""
        with self._lock:
            self._http[handler, method, f"{status // 100}xx"] += 1

    def page(self) -> str:
        """In Prometheus' text format."""
        with self._lock:
            lines = [
                *_gauge("vllm:num_requests_running", self._labels, self._running),
                *_gauge("vllm:num_requests_waiting", self._labels, 0),
                "# TYPE vllm:request_success_total counter",
                *(
                    f'vllm:request_success_total{{{self._labels},finished_reason="{reason}"}} {self._ended[reason]}'
                    for reason in ("stop", "length", "abort")
                ),
                *(
                    line
                    for side in ("prompt", "generation")
                    for line in (
                        f"# TYPE vllm:{side}_tokens_total counter",
                        f"vllm:{side}_tokens_total{{{self._labels}}} {self._tokens[side]}",
                    )
                ),
                *self._first.lines(self._labels),
                *self._between.lines(self._labels),
                "# TYPE http_requests_total counter",
                *(
                    f'http_requests_total{{handler="{handler}",method="{method}",status="{status}"}} {count}'
                    for (handler, method, status), count in sorted(self._http.items())
                ),
            ]
        return "\n".join(lines) + "\n"


def _gauge(name: str, labels: str, value: float) -> list[str]:
    return [f"# TYPE {name} gauge", f"{name}{{{labels}}} {value}"]


class Engine:
    """The script as it stands, and what was counted."""

    def __init__(self, served_name: str, script: Script) -> None:
        """Settings that were kept by an earlier container of the pod go before those of the profile."""
        self.served_name, self.figures = served_name, Figures(served_name)
        self.script = script.told(json.loads(KEPT.read_text()) if KEPT.exists() else {})
        self._asked = 0
        self._lock = threading.Lock()

    def direct(self, changes: dict[str, Any]) -> None:
        """Settings from now on; raises ValueError."""
        with self._lock:
            self.script = self.script.told(changes)
            kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
            KEPT.write_text(json.dumps(kept | changes))

    def fails(self) -> bool:
        """Whether this request does: as many of all requests as the script says, evenly."""
        with self._lock:
            before, self._asked = self._asked, self._asked + 1
            share = self.script.failing
        return int((before + 1) * share) > int(before * share)


class Handler(BaseHTTPRequestHandler):
    """The OpenAI API as far as vLLM's clients here use it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # head and body are two writes
    engine: Engine

    def do_GET(self) -> None:
        """vLLM's pages."""
        if self.path == "/metrics":
            self._send(200, self.engine.figures.page().encode(), "text/plain; version=0.0.4")
        elif self.path == "/version":
            self._json(200, {"version": VERSION})
        elif self.path == "/v1/models":
            self._json(200, {"object": "list", "data": [{"id": self.engine.served_name, "object": "model"}]})
        elif self.path in ("/health", "/ping"):
            self._json(200 if self.engine.script.ready else 503, {})
        else:
            self._json(404, {"error": {"message": f"no page {self.path}"}})

    def do_POST(self) -> None:
        """A question, or the script."""
        body = json.loads(self._body())
        if self.path == "/script":
            self._direct(body)
        elif self.path in ASKED:
            with self.engine.figures.running():
                status = self._answer(body)
            self.engine.figures.responded(self.path, "POST", status)
        else:
            self._json(404, {"error": {"message": f"no page {self.path}"}})

    def _body(self) -> bytes:
        """What was sent; the API server's proxy does not say beforehand how much that is."""
        if (length := self.headers["Content-Length"]) is not None:
            return self.rfile.read(int(length))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def _direct(self, changes: dict[str, Any]) -> None:
        try:
            self.engine.direct(changes)
        except ValueError as error:
            self._json(400, {"error": {"message": str(error)}})
            return
        self._json(200, changes)
        if self.engine.script.exit is not None:
            end(self.engine.script.exit)

    def _answer(self, body: dict[str, Any]) -> int:
        script = self.engine.script
        if script.hang:
            threading.Event().wait()
        if not script.ready:
            return self._json(503, {"error": {"message": "not ready, as the script says"}})
        if body.get("model") != self.engine.served_name:
            return self._json(404, {"error": {"message": f"The model `{body.get('model')}` does not exist."}})
        if self.engine.fails():
            return self._json(500, {"error": {"message": "an error, as the script says"}})
        prompt = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        return self._complete(body, prompt, answer(prompt, script))

    def _complete(self, body: dict[str, Any], prompt: str, text: str) -> int:
        """A token is a character."""
        script, ids = self.engine.script, [ord(character) for character in prompt]
        tokens = text[: body.get("max_tokens") or 16]
        reason = "stop" if len(tokens) == len(text) else "length"
        moments = [time.monotonic()]
        if body.get("stream"):
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream; charset=utf-8")
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
        for number, token in enumerate(tokens):
            if pause := script.token_seconds if number else script.seconds:
                time.sleep(pause)
            moments.append(time.monotonic())
            if body.get("stream"):
                last = reason if number + 1 == len(tokens) else None
                self._event(json.dumps(_answered(body, self.engine.served_name, token, last, ids)))
        steps = [after - before for before, after in itertools.pairwise(moments)]
        self.engine.figures.finished(reason, len(ids), len(tokens), steps[0] if steps else 0.0, steps[1:])
        if body.get("stream"):
            self._event("[DONE]")
            self.wfile.write(b"0\r\n\r\n")
            return 200
        usage = {"prompt_tokens": len(ids), "completion_tokens": len(tokens), "total_tokens": len(ids) + len(tokens)}
        return self._json(200, _answered(body, self.engine.served_name, tokens, reason, ids) | {"usage": usage})

    def _event(self, data: str) -> None:
        event = f"data: {data}\n\n".encode()
        self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")

    def _json(self, status: int, value: dict[str, Any]) -> int:
        self._send(status, json.dumps(value).encode(), "application/json")
        return status

    def _send(self, status: int, data: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: object) -> None:
        """Nothing: a request each tenth of a second would bury what matters."""


def _answered(body: dict[str, Any], model: str, text: str, reason: str | None, ids: list[int]) -> dict[str, Any]:
    chat, stream = "messages" in body, bool(body.get("stream"))
    message = {"role": "assistant", "content": text}
    said = {("delta" if stream else "message"): message} if chat else {"text": text}
    choice: dict[str, Any] = {"index": 0, "finish_reason": reason, **said}
    kind = "chat.completion" if chat else "text_completion"
    found: dict[str, Any] = {"id": "scripted", "object": kind, "created": int(time.time()), "model": model}
    if body.get("return_token_ids"):
        (found if chat else choice)["prompt_token_ids"] = ids
    return {**found, "choices": [choice]}


def end(status: int) -> None:
    """Without a word, as a process that is killed."""
    os._exit(status)


class Server(ThreadingHTTPServer):
    """One thread a connection."""

    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients hang up when they like."""


def serve(engine: Engine, port: int, patience: float) -> None:
    """Until SIGTERM: then requests may end for `patience` seconds."""
    server = Server(("", port), type("Bound", (Handler,), {"engine": engine}))

    def stop(*_: object) -> None:
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"serving {engine.served_name} at {port}: {engine.script}", flush=True)
    server.serve_forever(0.05)
    deadline = time.monotonic() + patience
    while engine.figures.in_flight and time.monotonic() < deadline:
        time.sleep(0.05)
    end(0)


def main() -> None:
    """`vllm serve MODEL [--flag=value …]`; flags that say nothing to it are taken as vLLM takes them."""
    if sys.argv[1:2] != ["serve"] or len(sys.argv) < 3:
        sys.exit("usage: vllm serve MODEL [--flag=value ...]")
    flags = dict(flag.removeprefix("--").split("=", 1) for flag in sys.argv[3:] if "=" in flag)
    model = Path(sys.argv[2])
    scripts = json.loads(os.environ.get("ENGINE_SCRIPT", "{}"))
    script = Script().told(scripts.get(served_as(model), {}))
    engine = Engine(flags.get("served-model-name", str(model)), script)
    if engine.script.exit is not None:
        print(f"ends with {engine.script.exit}, as the script says", file=sys.stderr, flush=True)
        end(engine.script.exit)
    time.sleep(engine.script.loading)
    serve(engine, int(flags.get("port", "8000")), float(flags.get("shutdown-timeout", "0")))


if __name__ == "__main__":
    main()
