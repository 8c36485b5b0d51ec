"""Looks at a candidate while it has traffic: what Prometheus counts, against the limits of the spec.

Four outcomes, of which the worst of all metrics stands. Pass. Fail: `failureLimit` looks of a step are put up with.
Error, Prometheus did not say, and Inconclusive, too little to tell: neither good nor bad, the step is held, until
`errorLimit`, `inconclusiveLimit` or the deadline of the rollout.
"""

from datetime import datetime, timedelta
from math import ceil
from typing import NamedTuple

from quantroll.api.base import parse_duration
from quantroll.api.looks import AnalysisStatus, LookVerdict, MetricVerdict, PassedStep
from quantroll.api.spec import AnalysisMetric, QuantizedModelSpec
from quantroll.api.status import RevisionStatus, RolloutStatus
from quantroll.constants import Reason
from quantroll.domain import error_ratio, latency, quality, share
from quantroll.domain.draft import Draft, clip
from quantroll.domain.judging import thresholds_of
from quantroll.domain.look import Look
from quantroll.domain.quality_looks import asked_for, planned_looks

ORDER: tuple[LookVerdict, ...] = ("Fail", "Error", "Inconclusive", "Pass")
METRIC_LIMIT = 512  # characters of one metric's message
_STRAY = 10  # requests to both revisions that are still no traffic
_PATIENCE = timedelta(seconds=30)  # a scrape comes by itself, and so does a prober that has just been started


class Looks(NamedTuple):
    """One look at all metrics."""

    each: tuple[Look, ...]

    @property
    def worst(self) -> Look | None:
        """The metric that decides; None where none is looked at."""
        return min(self.each, key=lambda look: ORDER.index(look.verdict), default=None)

    @property
    def verdict(self) -> LookVerdict:
        """Of all metrics."""
        return self.worst.verdict if self.worst else "Pass"

    @property
    def message(self) -> str:
        """Why, with the numbers."""
        worst = self.worst
        return worst.message if worst and worst.verdict != "Pass" else "; ".join(look.message for look in self.each)


def look(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus) -> Looks:
    """What each metric says now."""
    metrics = spec.rollout.analysis.metrics
    idle = is_idle(draft, spec)
    if idle and _probe_decides(spec):
        metrics = [metric for metric in metrics if metric.name == "quality"]
    return Looks(tuple(_one(draft, spec, rollout, metric, idle=idle) for metric in metrics))


def is_idle(draft: Draft, spec: QuantizedModelSpec) -> bool:
    """Whether users send no requests, to either revision; False where that is not known.

    What the prober asks is taken off what the engines count, and two scrapes are never of the same moment: as many
    requests as it sends in half a minute may seem to be left over.
    """
    found = share.counted(draft.seen.requests, draft.seen.canary.stable)
    return found is not None and found[1] < max(_STRAY, ceil(spec.probe.rollout_pace / 60))


def _probe_decides(spec: QuantizedModelSpec) -> bool:
    analysis = spec.rollout.analysis
    return analysis.metric("quality") is not None and analysis.on_no_traffic != "Hold"


def _one(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, metric: AnalysisMetric, *, idle: bool) -> Look:
    seen = draft.seen
    if metric.name == "quality":
        pace = spec.probe.rollout_pace
        plan = quality.Plan(metric, thresholds_of(spec.quality_gate), planned_looks(spec), pace)
        return quality.judge(plan, seen.canary.pairs, seen.canary.planned, asked_for(spec, rollout, draft.now))
    if idle:
        return Look(metric.name, "Inconclusive", f"{metric.name}: users send no requests (onNoTraffic: Hold)")
    if metric.name == "error-ratio":
        return error_ratio.judge(seen.requests, metric, seen.canary.stable)
    found = seen.canary.latencies.get(metric.name, (None, None))
    return latency.judge(metric, (seen.requests, seen.canary.stable), found)


def record(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus, said: Looks) -> AnalysisStatus | None:
    """The step's analysis after a look: written down when a verdict changes or another look has failed.

    A failing state counts once an interval, however often it is looked at. Before the step's duration is over it is no
    news that it is too early to tell, nor that all is well from the start: what leaves the step is the last look.
    """
    known, limits = rollout.analysis, spec.rollout.analysis
    if not said.each:
        return known
    failures, failed_at = (known.failures, known.failed_at) if known else (0, None)
    counts = said.verdict == "Fail" and (failed_at is None or draft.now >= failed_at + interval(spec))
    early = draft.now < _end(draft, spec, rollout)
    quiet = {"Inconclusive", *(() if limits.error_limit is not None else ("Error",)), *(() if known else ("Pass",))}
    same = known is not None and known.verdict == said.verdict
    changed = not same or (not early and known is not None and _verdicts(known) != _verdicts_of(said))
    if not counts and (not changed or (early and said.verdict in quiet)):
        return known
    return AnalysisStatus(
        verdict=said.verdict,
        failures=failures + counts,
        failed_at=draft.now if counts else failed_at,
        message=clip(said.message),
        at=known.at if known and same and not counts else draft.now,
        metrics=[
            MetricVerdict(name=one.name, verdict=one.verdict, message=clip(one.message, METRIC_LIMIT))
            for one in said.each
        ],
    )


def lost(
    draft: Draft, spec: QuantizedModelSpec, found: AnalysisStatus | None, said: Looks
) -> tuple[Reason, str] | None:
    """Why the candidate has to be taken back, if it has to be: too many looks without a pass, or a proof."""
    proof = next((one for one in said.each if one.proven), None)
    if proof:
        return Reason.ANALYSIS_FAILED, proof.message
    limits = spec.rollout.analysis
    if found is None:
        return None
    if found.failures > limits.failure_limit:
        return Reason.ANALYSIS_FAILED, found.message
    named = {
        "Error": ("errorLimit", limits.error_limit),
        "Inconclusive": ("inconclusiveLimit", limits.inconclusive_limit),
    }
    name, limit = named.get(said.verdict, ("", None))
    if limit is None or found.verdict != said.verdict:
        return None
    in_a_row = (draft.now - found.at) // interval(spec) + 1
    if in_a_row <= limit:
        draft.wake(found.at + limit * interval(spec))
        return None
    return (
        Reason.ANALYSIS_INCONCLUSIVE,
        f"{in_a_row} looks in a row could not tell (analysis.{name} {limit}): {found.message}",
    )


def passed(draft: Draft, rollout: RolloutStatus, candidate: RevisionStatus) -> PassedStep | None:
    """The record of a step that is left now; None where nothing was looked at."""
    found = rollout.analysis
    if found is None:
        return None
    observed = (part.weight for part in draft.status.traffic.observed if part.revision == candidate.revision)
    return PassedStep(
        step=rollout.step,
        weight=rollout.weight,
        observed=next(observed, None),
        verdict=found.verdict,
        failures=found.failures,
        message=found.message,
    )


def waits_for(said: Looks) -> str:
    """What holds a step whose duration is over, without counts: a message is written only when something happens."""
    worst = said.worst
    if worst is None or worst.verdict == "Fail":
        return "the last look has failed"
    return worst.waits_for


def told_at(spec: QuantizedModelSpec, found: AnalysisStatus) -> datetime:
    """When a person is told that Prometheus does not say: after two intervals in which it did not, and not too soon."""
    return found.at + max(2 * interval(spec), _PATIENCE)


def interval(spec: QuantizedModelSpec) -> timedelta:
    """Time between two looks."""
    return max(parse_duration(spec.rollout.analysis.interval), timedelta(seconds=1))


def _end(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus) -> datetime:
    return (rollout.since or draft.now) + parse_duration(spec.rollout.steps[rollout.step].duration)


def _verdicts(known: AnalysisStatus) -> list[tuple[str, str]]:
    return [(one.name, one.verdict) for one in known.metrics]


def _verdicts_of(said: Looks) -> list[tuple[str, str]]:
    return [(one.name, one.verdict) for one in said.each]
