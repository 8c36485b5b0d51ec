"""Metric error-ratio: requests of users to the candidate that failed, since the step began."""

from quantroll.api.spec import AnalysisMetric
from quantroll.api.spec.rollout import MAX_ERROR_RATIO
from quantroll.domain.look import Look
from quantroll.domain.snapshot import RequestCounts, Unknown


def judge(counts: RequestCounts | Unknown | None, metric: AnalysisMetric) -> Look:
    """One look. Too few requests, or no answer, say nothing: neither good nor bad."""
    if counts is None or isinstance(counts, Unknown):
        return no_answer(metric, counts)
    if counts.total < metric.min_samples:
        return too_few(metric, counts.total)
    limit = MAX_ERROR_RATIO if metric.max is None else metric.max
    ratio = counts.failed / counts.total
    said = f"{metric.name}: {counts.failed} of {counts.total} requests failed ({ratio:.2%}), max {limit:.2%}"
    return Look(metric.name, "Fail" if ratio > limit else "Pass", said)


def no_answer(metric: AnalysisMetric, counts: Unknown | None) -> Look:
    """Prometheus did not say."""
    return Look(metric.name, "Error", f"{metric.name}: {counts.cause if counts else 'not asked yet'}")


def too_few(metric: AnalysisMetric, requests: int, to: str = "the candidate") -> Look:
    """Fewer requests than a look needs."""
    needed = f"minSamples ({metric.min_samples})"
    return Look(
        metric.name,
        "Inconclusive",
        f"{metric.name}: {requests} requests to {to} in this step, {needed} are needed",
        f"{metric.name}: fewer than {needed} requests to {to} in this step",
    )
