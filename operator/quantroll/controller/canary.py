"""What Prometheus tells of a candidate, asked all at once: one look should be of one moment."""

import asyncio

from quantroll.domain.questions import CanaryQuestions, Pairs
from quantroll.domain.snapshot import CanaryCounts, PairCounts, Unknown
from quantroll.ports import Metrics


async def canary_counts(asked: CanaryQuestions | None, namespace: str, name: str, metrics: Metrics) -> CanaryCounts:
    """Answers to all that is asked; nothing is raised."""
    if asked is None:
        return CanaryCounts()
    seconds, revisions = asked.stable.seconds, (asked.candidate, asked.stable.revision)
    async with asyncio.TaskGroup() as together:
        stable = together.create_task(metrics.requests(namespace, name, asked.stable.revision, seconds))
        pairs = together.create_task(_pairs(asked.pairs, namespace, name, metrics))
        planned = together.create_task(_pairs(asked.planned, namespace, name, metrics))
        histograms = {
            (metric, revision): together.create_task(metrics.latency(metric, namespace, name, revision, seconds))
            for metric in asked.latencies
            for revision in revisions
        }
    candidate, reference = revisions
    return CanaryCounts(
        stable=stable.result(),
        pairs=pairs.result(),
        planned=planned.result(),
        latencies={
            metric: (histograms[metric, candidate].result(), histograms[metric, reference].result())
            for metric in asked.latencies
        },
    )


async def _pairs(asked: Pairs | None, namespace: str, name: str, metrics: Metrics) -> PairCounts | Unknown | None:
    if asked is None:
        return None
    return await metrics.pairs(namespace, name, asked.revision, asked.reference, asked.seconds, asked.ago)
