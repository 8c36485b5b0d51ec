"""Metric error-ratio: requests of users to the candidate that failed, since the step began.

Held to `max`; and with `maxRegression` to stable's of the same time. A few failures more are mostly chance, so beside
stable a look fails only by a proof, and `max` is what holds until there is one.
"""

from quantroll.api.spec import AnalysisMetric
from quantroll.api.spec.rollout import MAX_ERROR_RATIO
from quantroll.domain.binomial import evidence
from quantroll.domain.look import Look
from quantroll.domain.snapshot import RequestCounts, Unknown

ALPHA = 0.05  # of all looks of a step together


def judge(
    counts: RequestCounts | Unknown | None,
    metric: AnalysisMetric,
    stable: RequestCounts | Unknown | None = None,
) -> Look:
    """One look; `stable` is what it is compared with. Too few requests, or no answer: neither good nor bad."""
    if counts is None or isinstance(counts, Unknown):
        return no_answer(metric, counts)
    if counts.total < metric.min_samples:
        return too_few(metric, counts.total)
    limit = MAX_ERROR_RATIO if metric.max is None else metric.max
    ratio = counts.failed / counts.total
    said = f"{metric.name}: {counts.failed} of {counts.total} requests failed ({ratio:.2%}), max {limit:.2%}"
    if ratio > limit:
        return Look(metric.name, "Fail", said)
    return Look(metric.name, "Pass", said) if metric.max_regression is None else _beside(metric, counts, stable, said)


def _beside(metric: AnalysisMetric, counts: RequestCounts, stable: RequestCounts | Unknown | None, said: str) -> Look:
    """Whether more fail than 1 + `maxRegression` times as many of stable's, for as many requests.

    As in the conditional test of two Poisson rates (Przyborowski and Wilenski, Biometrika 31, 1940, 313-323): of all
    that failed, the candidate's are binomial, with its part of the requests, weighted so, for a chance. Looks are many,
    at counts that grow: what is held against that chance is evidence that may be looked at again and again.
    """
    if stable is None or isinstance(stable, Unknown):
        return no_answer(metric, stable)
    if stable.total < metric.min_samples:
        return too_few(metric, stable.total, "stable")
    weighted = (1 + (metric.max_regression or 0)) * counts.total
    told = evidence(counts.failed, counts.failed + stable.failed, weighted / (weighted + stable.total))
    usual = f"stable's {stable.failed} of {stable.total} ({stable.failed / stable.total:.2%})"
    said = f"{said}; {usual}, maxRegression {metric.max_regression:g}"
    return (
        Look(metric.name, "Fail", f"{said}: proven to be more")
        if told >= 1 / ALPHA
        else Look(metric.name, "Pass", said)
    )


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
