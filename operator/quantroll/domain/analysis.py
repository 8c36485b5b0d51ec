"""Looks at a candidate while it has traffic: what Prometheus counts, against the limits of the spec."""

from dataclasses import dataclass
from typing import Literal

from quantroll.api.base import parse_duration
from quantroll.api.spec import AnalysisMetric, QuantizedModelSpec
from quantroll.api.status import AnalysisStatus, RolloutStatus
from quantroll.domain.draft import Draft, clip
from quantroll.domain.snapshot import RequestCounts, Unknown


@dataclass(frozen=True, slots=True)
class Look:
    """What one look says. `missing`: nothing could be counted, which is another thing than too little."""

    verdict: Literal["Pass", "Fail", "Unknown"]
    message: str
    missing: bool = False


def judge(counts: RequestCounts | Unknown | None, metric: AnalysisMetric) -> Look:
    """One metric of one look. Too few requests, or no answer, say nothing: neither good nor bad."""
    if counts is None or isinstance(counts, Unknown):
        return Look("Unknown", f"{metric.name}: {counts.cause if counts else 'not asked yet'}", missing=True)
    if counts.total < metric.min_samples:
        return Look("Unknown", f"{metric.name}: fewer than minSamples ({metric.min_samples}) requests in this step")
    ratio = counts.failed / counts.total
    said = f"{metric.name}: {counts.failed} of {counts.total} requests failed ({ratio:.2%}), max {metric.max:.2%}"
    return Look("Fail" if ratio > metric.max else "Pass", said)


def look(draft: Draft, spec: QuantizedModelSpec) -> Look:
    """All metrics: one that fails decides, then one that says nothing."""
    found = [judge(draft.seen.requests, metric) for metric in spec.rollout.analysis.metrics]
    for verdict in ("Fail", "Unknown"):
        if told := next((one for one in found if one.verdict == verdict), None):
            return told
    return Look("Pass", "; ".join(one.message for one in found))


def record(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, said: Look) -> AnalysisStatus | None:
    """The step's analysis after a look: written down when the verdict changes or another look has failed.

    A failing state counts once an interval, however often it is looked at.
    """
    known = rollout.analysis
    if not spec.rollout.analysis.metrics:
        return known
    failures, failed_at = (known.failures, known.failed_at) if known else (0, None)
    interval = parse_duration(spec.rollout.analysis.interval)
    changed = known is None or known.verdict != said.verdict
    counts = said.verdict == "Fail" and (failed_at is None or draft.now >= failed_at + interval)
    if not changed and not counts:
        return known
    return AnalysisStatus(
        verdict=said.verdict,
        failures=failures + counts,
        failed_at=draft.now if counts else failed_at,
        message=clip(said.message),
        at=draft.now,
    )
