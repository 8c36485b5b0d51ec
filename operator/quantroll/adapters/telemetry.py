"""The operator's own metrics: of its queue, its requests, its questions, its loop, and what became of rollouts.

Where controller-runtime and client-go have a name for something, it is that one, so that dashboards for them work.
"""

import importlib.metadata
import time
from collections.abc import Callable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from quantroll.adapters.board import Board
from quantroll.api.status import Attempt, QuantizedModelStatus, RolloutStatus
from quantroll.constants import BASELINE, PLURAL, Phase, Reason
from quantroll.ports import Telemetry

Key = tuple[str, str]

FAST = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
LAG = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
SLOW = (1.0, 5.0, 15.0, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, 12 * HOUR, DAY, 3 * DAY)

PROMOTED, TAKEN_BACK, SUPERSEDED, WENT_BACK = "Promoted", "TakenBack", "Superseded", "WentBack"
_FAILED = frozenset({Phase.REJECTED, Phase.ROLLING_BACK, Phase.ROLLED_BACK})


class OperatorTelemetry(Telemetry):
    """Implements `ports.Telemetry`; `page` is what Prometheus reads."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self.registry = CollectorRegistry(auto_describe=False)
        self.board = Board()
        self._running: dict[Key, float] = {}  # when a worker took it up
        self._queue()
        self._requests()
        self._rollouts()
        ProcessCollector(registry=self.registry)

    def _queue(self) -> None:
        def histogram(name: str, text: str, label: str = "name") -> Histogram:
            return Histogram(name, text, [label], buckets=FAST, registry=self.registry).labels(PLURAL)

        def counter(name: str, text: str, label: str = "name") -> Counter:
            return Counter(name, text, [label], registry=self.registry).labels(PLURAL)

        def gauge(name: str, text: str, label: str = "name") -> Gauge:
            return Gauge(name, text, [label], registry=self.registry).labels(PLURAL)

        self.depth = gauge("workqueue_depth", "Models that are due and wait for a worker.")
        self._adds = counter("workqueue_adds", "Times that a model was put in line.")
        self._retries = counter("workqueue_retries", "Passes that failed and are tried again.")
        self._waited = histogram("workqueue_queue_duration_seconds", "How long a model that was due waited.")
        self._worked = histogram("workqueue_work_duration_seconds", "How long a pass took.")
        unfinished = gauge("workqueue_unfinished_work_seconds", "How long the passes under way have taken, together.")
        longest = gauge("workqueue_longest_running_processor_seconds", "How long the longest of them has taken.")
        unfinished.set_function(lambda: sum(self._ages()))
        longest.set_function(lambda: max(self._ages(), default=0.0))
        reconciles = Counter(
            "controller_runtime_reconcile", "Passes by result.", ["controller", "result"], registry=self.registry
        )
        self._passes = {failed: reconciles.labels(PLURAL, "error" if failed else "success") for failed in (False, True)}
        self._errors = counter("controller_runtime_reconcile_errors", "Passes that failed.", "controller")
        self._time = histogram("controller_runtime_reconcile_time_seconds", "How long a pass took.", "controller")
        active = gauge("controller_runtime_active_workers", "Workers that are in a pass.", "controller")
        active.set_function(lambda: len(self._running))
        self.lag = Histogram(
            "quantroll_event_loop_lag_seconds",
            "How much later than asked for the event loop went on; sampled once a second.",
            buckets=LAG,
            registry=self.registry,
        )

        self._heard_at = Gauge(
            "quantroll_watch_last_event_timestamp_seconds",
            "When the API server last told of a kind, be it that nothing has changed, which it does every minute.",
            ["kind"],
            registry=self.registry,
        )

    def _requests(self) -> None:
        self._sent = Counter(
            "rest_client_requests",
            "Requests to the API server, watches not counted, by HTTP status or <error>.",
            ["code", "method"],
            registry=self.registry,
        )
        self._took = Histogram(
            "rest_client_request_duration_seconds",
            "How long the API server took to answer.",
            ["verb"],
            buckets=FAST,
            registry=self.registry,
        )
        self._questions = Counter(
            "quantroll_metric_query",
            "Questions to Prometheus by result: ok, empty, nan (no count), timeout, error.",
            ["result"],
            registry=self.registry,
        )
        for result in ("ok", "empty", "nan", "timeout", "error"):
            self._questions.labels(result)
        self._answered = Histogram(
            "quantroll_metric_query_duration_seconds",
            "How long Prometheus took to answer.",
            buckets=FAST,
            registry=self.registry,
        )

    def _rollouts(self) -> None:
        self._outcomes = Counter(
            "quantroll_rollout",
            "Rollouts that ended: Promoted, TakenBack, Superseded, or WentBack to an earlier revision.",
            ["outcome", "scheme"],
            registry=self.registry,
        )
        self._lasted = Histogram(
            "quantroll_rollout_duration_seconds",
            "How long rollouts took until they were decided.",
            ["outcome"],
            buckets=SLOW,
            registry=self.registry,
        )
        for outcome in (PROMOTED, TAKEN_BACK, SUPERSEDED, WENT_BACK):
            self._lasted.labels(outcome)
        self._rollbacks = Counter(
            "quantroll_rollbacks",
            "Revisions that the traffic was taken from, by reason.",
            ["reason"],
            registry=self.registry,
        )
        self._phases = Histogram(
            "quantroll_phase_duration_seconds",
            "How long phases took; failed: the next one was Rejected, RollingBack or RolledBack.",
            ["phase", "outcome"],
            buckets=SLOW,
            registry=self.registry,
        )
        self._failures = Counter(
            "quantroll_job_failures",
            "Jobs that failed, by the phase of their model and reason.",
            ["phase", "reason"],
            registry=self.registry,
        )
        build = Gauge("quantroll_build_info", "1, with the operator's version.", ["version"], registry=self.registry)
        build.labels(_version()).set(1)

    def page(self) -> Iterator[bytes]:
        """What Prometheus reads, in pieces of one metric each."""
        for metric in self.registry.collect():
            yield generate_latest(_One(metric))
        for text in self.board.pages():
            yield text.encode()

    def now_is(self, depth: int, heard_at: Mapping[str, float]) -> None:
        """Length of the queue, and the Unix time of the last word on each kind that is watched."""
        self.depth.set(depth)
        self._heard_at.clear()
        for kind, at in heard_at.items():
            self._heard_at.labels(kind).set(at)

    def _ages(self) -> list[float]:
        now = self._now()
        return [now - since for since in list(self._running.values())]

    # what it is told

    def queued(self) -> None:
        """A key was put in line."""
        self._adds.inc()

    def started(self, key: Key, waited: float) -> None:
        """A worker took a key up."""
        self._running[key] = self._now()
        self._waited.observe(max(0.0, waited))

    def ended(self, key: Key, took: float, *, failed: bool) -> None:
        """The pass of a key is over."""
        self._running.pop(key, None)
        self._worked.observe(took)
        self._time.observe(took)
        self._passes[failed].inc()
        if failed:
            self._retries.inc()
            self._errors.inc()

    def requested(self, method: str, code: str, took: float) -> None:
        """The API server answered, or did not."""
        self._sent.labels(code, method).inc()
        self._took.labels(method).observe(took)

    def asked(self, result: str, took: float) -> None:
        """Prometheus was asked."""
        self._questions.labels(result).inc()
        self._answered.observe(took)

    def stands(self, key: Key, status: QuantizedModelStatus) -> None:
        """Where a model stands."""
        self.board.put(key, status)

    def gone(self, key: Key) -> None:
        """The model is no more."""
        self.board.drop(key)

    def changed(self, before: QuantizedModelStatus, after: QuantizedModelStatus) -> None:
        """Count what has come about between two statuses."""
        self._phase_ended(before, after)
        old, new = before.rollout, after.rollout
        if old and (outcome := _outcome(before, after, old)):
            self._outcomes.labels(outcome, _scheme(before)).inc()
            ended = after.history[-1].at if after.history else old.started_at
            self._lasted.labels(outcome).observe(max(0.0, (ended - old.started_at).total_seconds()))
        if new and new.reason and new.reason != Reason.SUPERSEDED and (old is None or not old.reason):
            self._rollbacks.labels(new.reason).inc()
        known = {failure.job for failure in _failures(before)}
        for failure in _failures(after):
            if failure.job not in known:
                self._failures.labels(str(after.phase or ""), failure.reason).inc()

    def _phase_ended(self, before: QuantizedModelStatus, after: QuantizedModelStatus) -> None:
        if before.phase is None or after.phase is before.phase or not (before.history and after.history):
            return
        outcome = "failed" if after.phase in _FAILED else "done"
        took = (after.history[-1].at - before.history[-1].at).total_seconds()
        self._phases.labels(str(before.phase), outcome).observe(max(0.0, took))


class _One(Collector):
    """A registry of one metric, so that a page can be written piece by piece."""

    def __init__(self, metric: Metric) -> None:
        self._metric = metric

    def collect(self) -> list[Metric]:
        return [self._metric]


def _outcome(before: QuantizedModelStatus, after: QuantizedModelStatus, old: RolloutStatus) -> str | None:
    """How the rollout was decided by this write; None while it is not, or was before."""
    new = after.rollout
    moved = before.stable and after.stable and before.stable.revision != after.stable.revision
    if old.kind == "Rollback":
        return WENT_BACK if moved else None
    if moved:
        return PROMOTED
    if not old.reason and new and new.id == old.id and new.reason:
        return SUPERSEDED if new.reason == Reason.SUPERSEDED else TAKEN_BACK
    return None


def _scheme(status: QuantizedModelStatus) -> str:
    """The numeric format of the candidate."""
    name = status.candidate.variant if status.candidate else ""
    return next((str(row.scheme) for row in status.variants if row.name == name), BASELINE)


def _failures(status: QuantizedModelStatus) -> list[Attempt]:
    base = status.baseline.failure if status.baseline else None
    found = [status.prepare_failure, base, *(row.failure for row in status.variants)]
    return [failure for failure in found if failure]


def _version() -> str:
    try:
        return importlib.metadata.version("quantroll")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        return "unknown"
