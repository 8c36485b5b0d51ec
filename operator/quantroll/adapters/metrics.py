"""Counts from Prometheus through prometheus-api-client, which is synchronous: in threads of its own."""

import asyncio
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from quantroll.adapters import promql
from quantroll.adapters.prometheus import NoAnswer, Prometheus, Series
from quantroll.api import metrics
from quantroll.api.looks import MetricName
from quantroll.api.queries import CountQuery
from quantroll.domain.snapshot import Histogram, PairCounts, QualityCounts, RequestCounts, Unknown
from quantroll.ports import Telemetry
from quantroll.settings import Settings

_THREADS = 4
_LONG = 0.5  # of the time that a question has: one that fails later has hung
_HISTOGRAMS: dict[MetricName, str] = {"ttft-p99": metrics.TTFT, "itl-p99": metrics.ITL}
_NOT_CONFIGURED = Unknown("no Prometheus is configured: set prometheus.url in the chart's values")


class PrometheusMetrics:
    """Implements `ports.Metrics`."""

    def __init__(
        self,
        prometheus: Prometheus,
        timeout: float,
        queries: Mapping[str, CountQuery] | None = None,
        telemetry: Telemetry | None = None,
    ) -> None:
        """`timeout` in seconds: after that much, nothing waits for an answer any more. `queries`: the admin's own."""
        self._prometheus, self._timeout, self._queries = prometheus, timeout, queries or {}
        self._telemetry = telemetry or Telemetry()
        self._late = ""  # what the last question has said, if it failed after a long time
        self._asking = 0  # questions on their way
        # Not asyncio's own threads: with a Prometheus that hangs, names of hosts could not be looked up in those.
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="prometheus")

    def close(self) -> None:
        """Let go of threads and connections; questions on their way are not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._prometheus.close()

    async def requests(self, namespace: str, name: str, revision: str, seconds: int) -> RequestCounts | Unknown:
        """Requests that users sent to a revision, from its engine's own metrics."""
        seconds = max(1, seconds)
        try:
            answer = await self._ask(promql.requests_query(namespace, name, revision, seconds))
            return promql.read_requests(answer, revision, seconds)
        except NoAnswer as error:
            return Unknown(str(error))

    async def quality(self, namespace: str, name: str, revision: str, seconds: int) -> QualityCounts | Unknown:
        """Answers that the prober got from a revision; Unknown, too, where it has stopped telling."""
        try:
            answer = await self._ask(promql.quality_query(namespace, name, revision, max(1, seconds)))
            return promql.read_quality(answer, revision)
        except NoAnswer as error:
            return Unknown(str(error))

    async def pairs(
        self, namespace: str, name: str, revision: str, reference: str, seconds: int, ago: int
    ) -> PairCounts | Unknown:
        """Items of the prober that both revisions answered; Unknown, too, where it has stopped telling."""
        try:
            answer = await self._ask(promql.pairs_query(namespace, name, revision, reference, max(1, seconds), ago))
            return promql.read_pairs(answer, revision, reference)
        except NoAnswer as error:
            return Unknown(str(error))

    async def latency(
        self, metric: MetricName, namespace: str, name: str, revision: str, seconds: int
    ) -> Histogram | Unknown:
        """A histogram of a revision's engines."""
        try:
            query = promql.latency_query(_HISTOGRAMS[metric], namespace, name, revision, max(1, seconds))
            return promql.read_latency(await self._ask(query), revision)
        except NoAnswer as error:
            return Unknown(str(error))

    async def counted(
        self, query: str, namespace: str, name: str, revision: str, seconds: int
    ) -> QualityCounts | Unknown:
        """Answers of a revision as a query of the admin's counts them; Unknown, too, where there is no such query."""
        if (known := self._queries.get(query)) is None:
            return Unknown(f"the chart's values have no query {query} in prometheus.queries")
        try:
            answer = await self._ask(promql.counts_query(known, namespace, name, revision, max(1, seconds)))
            return promql.read_counts(answer, revision, query)
        except NoAnswer as error:
            return Unknown(str(error))

    async def _ask(self, query: str) -> list[Series]:
        """Ask in time. While a Prometheus hangs, one question at a time finds out whether it still does.

        All the others are not known at once: a pass that waits for an answer keeps a worker from other resources.
        """
        if self._late and self._asking:
            raise NoAnswer(self._late)
        self._asking += 1
        began, result = time.monotonic(), "error"
        try:
            async with asyncio.timeout(self._timeout):
                answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._prometheus.ask, query)
            counts = all(series.is_count for series in answer)
            result = "empty" if not answer else "ok" if counts else "nan"
        except TimeoutError as error:
            result = "timeout"
            self._late = f"Prometheus: no answer within {self._timeout:g} s"
            raise NoAnswer(self._late) from error
        except NoAnswer as error:
            self._late = str(error) if time.monotonic() - began > _LONG * self._timeout else ""
            raise
        finally:
            self._asking -= 1
            self._telemetry.asked(result, time.monotonic() - began)
        self._late = ""
        return answer


class NoMetrics:
    """Implements `ports.Metrics` where no Prometheus is configured."""

    async def requests(self, namespace: str, name: str, revision: str, seconds: int) -> Unknown:  # noqa: ARG002
        """Unknown, with what to configure."""
        return _NOT_CONFIGURED

    async def quality(self, namespace: str, name: str, revision: str, seconds: int) -> Unknown:  # noqa: ARG002
        """Unknown, with what to configure."""
        return _NOT_CONFIGURED

    async def pairs(
        self,
        namespace: str,  # noqa: ARG002
        name: str,  # noqa: ARG002
        revision: str,  # noqa: ARG002
        reference: str,  # noqa: ARG002
        seconds: int,  # noqa: ARG002
        ago: int,  # noqa: ARG002
    ) -> Unknown:
        """Unknown, with what to configure."""
        return _NOT_CONFIGURED

    async def latency(
        self,
        metric: MetricName,  # noqa: ARG002
        namespace: str,  # noqa: ARG002
        name: str,  # noqa: ARG002
        revision: str,  # noqa: ARG002
        seconds: int,  # noqa: ARG002
    ) -> Unknown:
        """Unknown, with what to configure."""
        return _NOT_CONFIGURED

    async def counted(self, query: str, namespace: str, name: str, revision: str, seconds: int) -> Unknown:  # noqa: ARG002
        """Unknown, with what to configure."""
        return _NOT_CONFIGURED

    def close(self) -> None:
        """Nothing to let go of."""


def metrics_from(settings: Settings, telemetry: Telemetry | None = None) -> PrometheusMetrics | NoMetrics:
    """The Prometheus of the admin's configuration."""
    ours = settings.prometheus
    if not ours.url:
        return NoMetrics()
    prometheus = Prometheus(
        ours.url, ca_file=ours.ca_file, token_file=ours.bearer_token_file, timeout=ours.timeout_seconds
    )
    return PrometheusMetrics(prometheus, ours.timeout_seconds, ours.queries, telemetry)
