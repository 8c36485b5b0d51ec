"""Metrics ttft-p99 and itl-p99: the slowest in a hundred, by the engines' own histograms since the step began.

A p99 of few requests is mostly chance. So a look fails only if more than one in a hundred are *proven* to be slower
than the limit, by evidence that chance gives in 5 % of steps at most, at whichever look; a p99 above the limit without
that proof is inconclusive. Tokens of one request are slow together: it counts users' requests, whatever the histogram
counts.

The prober's requests are in the histograms, and nothing tells them from the users'. Both revisions get the same ones,
so they stay in; they are taken off the number of requests that a look needs.
"""

import math

from quantroll.api.spec import AnalysisMetric
from quantroll.api.spec.benchmark import milliseconds
from quantroll.domain.binomial import evidence
from quantroll.domain.error_ratio import no_answer, too_few
from quantroll.domain.look import Look
from quantroll.domain.snapshot import Histogram, RequestCounts, Unknown

QUANTILE = 0.99
ALPHA = 0.05  # of all looks of a step together

Answer = Histogram | Unknown | None


def quantile(found: Histogram, share: float) -> float | None:
    """Seconds that this share of the observations kept within; None without observations.

    As histogram_quantile() of Prometheus: by linear interpolation within a bucket, the first of which begins at 0.
    Infinite where it lies beyond the last bound, which that function would give instead.
    """
    counts = _rising(found)
    total = counts[-1] if counts else 0
    if not total:
        return None
    rank, low, below = share * total, 0.0, 0.0
    for bound, count in zip(found.bounds, counts, strict=True):
        if count >= rank and count > below:
            return bound if math.isinf(bound) else low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    return math.inf


def share_above(found: Histogram, limit: float) -> float:
    """Share of the observations that took longer than `limit` seconds, by the same interpolation; 0 without any.

    What lies in the infinite bucket is longer than the last bound, and not known to be longer than anything above that.
    """
    counts = _rising(found)
    total = counts[-1] if counts else 0
    if not total:
        return 0.0
    low, below, within = 0.0, 0.0, float(total)
    for bound, count in zip(found.bounds, counts, strict=True):
        if limit < bound:
            part = 0.0 if math.isinf(bound) and limit > low else (limit - low) / (bound - low)
            within = total if math.isinf(bound) and limit > low else below + part * (count - below)
            break
        low, below = bound, count
    return (total - within) / total


def judge(
    metric: AnalysisMetric,
    requests: tuple[RequestCounts | Unknown | None, RequestCounts | Unknown | None],
    found: tuple[Answer, Answer],
) -> Look:
    """One look; both pairs are the candidate's and stable's. Of several limits the worst verdict stands."""
    mine, theirs = requests
    if mine is None or isinstance(mine, Unknown):
        return no_answer(metric, mine)
    if mine.total < metric.min_samples:
        return too_few(metric, mine.total)
    candidate, stable = found
    if candidate is None or isinstance(candidate, Unknown):
        return no_answer(metric, candidate)
    looks = []
    if metric.max_latency is not None:
        limit = milliseconds(metric.max_latency) / 1000
        looks.append(_held_to(metric, candidate, mine.total, limit, f"maxLatency {metric.max_latency}"))
    if metric.max_regression is not None:
        looks.append(_regression(metric, candidate, mine.total, theirs, stable))
    order = ("Fail", "Error", "Inconclusive", "Pass")
    return min(looks, key=lambda look: order.index(look.verdict))


def _regression(
    metric: AnalysisMetric,
    candidate: Histogram,
    requests: int,
    theirs: RequestCounts | Unknown | None,
    stable: Answer,
) -> Look:
    if theirs is None or isinstance(theirs, Unknown):
        return no_answer(metric, theirs)
    if theirs.total < metric.min_samples:
        return too_few(metric, theirs.total, "stable")
    if stable is None or isinstance(stable, Unknown):
        return no_answer(metric, stable)
    usual = quantile(stable, QUANTILE)
    if usual is None or math.isinf(usual):
        said = f"{metric.name}: stable's own is beyond the engine's histogram"
        return Look(metric.name, "Inconclusive", said)
    limit = usual * (1 + (metric.max_regression or 0))
    told = f"stable's {_seconds(usual)}, maxRegression {metric.max_regression:g}"
    return _held_to(metric, candidate, requests, limit, told)


def _held_to(metric: AnalysisMetric, found: Histogram, requests: int, limit: float, told: str) -> Look:
    value = quantile(found, QUANTILE)
    if value is None:
        return Look(metric.name, "Inconclusive", f"{metric.name}: the engine has timed no request in this step")
    said = f"{metric.name}: {_seconds(value)} over {requests} requests, {told}"
    if value <= limit:
        return Look(metric.name, "Pass", said)
    slow = share_above(found, limit)
    if evidence(math.floor(slow * requests), requests, 1 - QUANTILE) >= 1 / ALPHA:
        return Look(metric.name, "Fail", f"{said}: {slow:.1%} of them took longer")
    return Look(
        metric.name,
        "Inconclusive",
        f"{said}: above the limit, but that may be chance",
        f"{metric.name}: above the limit, but that may be chance; more requests will tell",
    )


def _rising(found: Histogram) -> list[int]:
    """The counts as a histogram has them: parts that were rounded for themselves may fall by one."""
    counts, most = [], 0
    for count in found.counts:
        most = max(most, count)
        counts.append(most)
    return counts


def _seconds(value: float) -> str:
    if math.isinf(value):
        return "beyond the histogram"
    return f"{value:.3g} s" if value >= 1 else f"{1000 * value:.3g} ms"
