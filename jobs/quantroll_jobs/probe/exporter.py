"""What Prometheus reads: counts of questions, by revision and slice.

Every series is 0 before it counts anything, because the first value that Prometheus sees of a series adds to no
increase. For the same reason, nothing is asked before new series were read once, or a minute has passed.
"""

import threading
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

import prometheus_client
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, generate_latest

from quantroll.api import metrics
from quantroll.api.jobs import ProbeInput
from quantroll_jobs.evaluate.answers import Outcome, cell

SOURCE_OK = "quantroll_probe_source_ok"
SLICES = 20  # by name; the items of all others count together
OTHER = "other"
SLICE_LENGTH = 64  # characters
PATIENCE = 60.0  # seconds until questions are asked, although nobody has read the new series
OUTCOMES = {Outcome.RIGHT: "pass", Outcome.WRONG: "fail", Outcome.ERROR: "error"}
CELLS = ("both", "harm", "gain", "neither")
STATUSES = {2: "2xx", 4: "4xx", 5: "5xx"}
NO_STATUS = "none"


class Exporter:
    """The counters of one prober, and the server that shows them."""

    def __init__(self, job: ProbeInput) -> None:
        """All counts are 0."""
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._job = job
        self._model = {"namespace": job.namespace, "name": job.name}
        self._revisions = [target.revision for target in job.targets]
        self._labels: dict[str, str] = {}  # by slice
        self._unread_since: float | None = None
        self._registry = CollectorRegistry()
        of_revision = [*self._model, "revision"]
        self._items = self._counter(
            metrics.EVAL_ITEMS, "Questions, by how they ended.", [*of_revision, "slice", "source", "outcome"]
        )
        self._pairs = self._counter(
            metrics.PROBE_PAIRS,
            "Questions that both revisions answered; harm: only the reference was right, gain: only the revision was.",
            [*of_revision, "reference", "slice", "cell"],
        )
        self._requests = self._counter(
            metrics.PROBE_REQUESTS, "Requests of the prober, by HTTP status.", [*of_revision, "status"]
        )
        self._last_answer = self._gauge(metrics.LAST_ANSWER, "When a question was last answered; 0: never.", "revision")
        self._source_items = self._gauge(metrics.SOURCE_ITEMS, "Distinct items that are asked in turn.")
        self._source_ok = self._gauge(SOURCE_OK, "1 while the file with the items is there and in order.")
        self._gauge(metrics.INTERVAL, "Seconds from one question to the next.").labels(**self._model).set(
            3600 / job.items_per_hour
        )
        for revision in self._revisions:
            self._last_answer.labels(**self._model, revision=revision)
            for status in (*STATUSES.values(), NO_STATUS):
                self._requests.labels(**self._model, revision=revision, status=status)
        self.source(ok=False, items=0)
        self._declare("")

    def source(self, *, ok: bool, items: int) -> None:
        """Tell the state of the file with the items."""
        self._source_ok.labels(**self._model).set(ok)
        self._source_items.labels(**self._model).set(items)

    def declare(self, slices: Iterable[str]) -> None:
        """Begin the series of the slices to come, the commonest first, while there are not too many."""
        found = Tally(slices)
        for name in sorted(found, key=lambda name: (-found[name], name)):
            if name not in self._labels and len(self._labels) <= SLICES:  # the empty one is no name
                self._declare(name)
            elif name not in self._labels and OTHER not in self._labels.values():
                self._begin(OTHER)

    def _declare(self, name: str) -> None:
        self._labels[name] = name[:SLICE_LENGTH]
        self._begin(self._labels[name])

    def _begin(self, label: str) -> None:
        for revision in self._revisions:
            for outcome in OUTCOMES.values():
                self._items.labels(**self._model, revision=revision, slice=label, source="probe", outcome=outcome)
        for revision in self._revisions[1:]:
            for name in CELLS:
                self._pairs.labels(
                    **self._model, revision=revision, reference=self._revisions[0], slice=label, cell=name
                )
        self._unread_since = time.monotonic()

    def unread(self) -> bool:
        """Whether there are series which nobody has read, and somebody still may."""
        return self._unread_since is not None and time.monotonic() - self._unread_since < PATIENCE

    def count(self, part: str, revision: str, outcome: Outcome, status: int | None) -> None:
        """Count one question to one revision: how it ended, and with which HTTP status."""
        of_revision = {**self._model, "revision": revision}
        kind = NO_STATUS if status is None else STATUSES.get(status // 100, NO_STATUS)
        self._requests.labels(**of_revision, status=kind).inc()
        label = self._labels.get(part, OTHER)
        self._items.labels(**of_revision, slice=label, source="probe", outcome=OUTCOMES[outcome]).inc()
        if outcome is not Outcome.ERROR:
            self._last_answer.labels(**of_revision).set_to_current_time()

    def pair(self, part: str, outcomes: list[Outcome]) -> None:
        """Count one question that was asked of both revisions at a time, if both answered."""
        if len(outcomes) != 2 or Outcome.ERROR in outcomes:
            return
        label = self._labels.get(part, OTHER)
        reference, revision = self._revisions
        name = cell(outcomes[0] is Outcome.RIGHT, outcomes[1] is Outcome.RIGHT)
        self._pairs.labels(**self._model, revision=revision, reference=reference, slice=label, cell=name).inc()

    def text(self) -> bytes:
        """What Prometheus reads."""
        self._unread_since = None
        return generate_latest(self._registry)

    @contextmanager
    def serving(self, port: int, is_alive: Callable[[], bool]) -> Iterator[int]:
        """Serve /metrics and /healthz; gives the port. Raises OSError when it is taken."""
        server = _Server(("", port), _handler(self.text, is_alive))
        thread = threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _counter(self, name: str, text: str, labels: list[str]) -> Counter:
        return Counter(name, text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, [*self._model, *labels], registry=self._registry)


class _Server(ThreadingHTTPServer):
    def server_bind(self) -> None:
        """Without HTTPServer's question to the DNS, which may not answer."""
        TCPServer.server_bind(self)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A scraper that hangs up is no news."""


def _handler(text: Callable[[], bytes], is_alive: Callable[[], bool]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 30  # seconds for a client to say what it wants

        def do_GET(self) -> None:
            if self.path.partition("?")[0] == "/metrics":
                self._send(200, CONTENT_TYPE_LATEST, text())
            elif self.path == "/healthz":
                alive = is_alive()
                self._send(200 if alive else 503, "text/plain", b"ok\n" if alive else b"it asks nothing any more\n")
            else:
                self._send(404, "text/plain", b"/metrics or /healthz\n")

        def _send(self, status: int, kind: str, data: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            """Scrapes are no news."""

    return Handler
