"""What a pass has to ask outside of the Kubernetes API, given what it knows: each question costs, so few are asked."""

from dataclasses import dataclass
from datetime import datetime

from quantroll.api.looks import MetricName
from quantroll.api.spec import PROBE_METRIC, QuantizedModelSpec
from quantroll.api.status import QuantizedModelStatus
from quantroll.domain import drift_check, quality_looks
from quantroll.domain.traffic import is_taken_back


@dataclass(frozen=True, slots=True)
class Window:
    """Counts of one revision, this many seconds back from now."""

    revision: str
    seconds: int
    metric: str = PROBE_METRIC  # of answers: whose


@dataclass(frozen=True, slots=True)
class Pairs:
    """Items that two revisions answered from `ago + seconds` until `ago` seconds before now."""

    revision: str
    reference: str
    seconds: int
    ago: int = 0


@dataclass(frozen=True, slots=True)
class CanaryQuestions:
    """What is asked about a candidate beside its own requests."""

    candidate: str
    stable: Window  # users' requests to what it is compared with; as far back as the candidate's
    pairs: Pairs | None = None
    planned: Pairs | None = None  # up to the last planned look
    latencies: tuple[MetricName, ...] = ()


@dataclass(frozen=True, slots=True)
class Questions:
    """None: not asked."""

    in_flight: str | None = None  # requests running and waiting on a revision's pods
    requests: Window | None = None  # users' requests and how many failed
    canary: CanaryQuestions | None = None  # whatever else tells of a candidate
    quality: Window | None = None  # the prober's answers


def questions(status: QuantizedModelStatus, spec: QuantizedModelSpec | None, now: datetime) -> Questions:
    """What the next decision depends on."""
    leaving = _leaving(status)
    if spec is None or spec.suspend:
        return Questions(in_flight=leaving)
    requests = _requests(status, spec, now)
    return Questions(
        in_flight=leaving,
        requests=requests,
        canary=_canary(status, spec, now, requests) if requests else None,
        quality=_quality(status, spec, now),
    )


def _leaving(status: QuantizedModelStatus) -> str | None:
    """The revision whose requests are waited for."""
    rollout, candidate = status.rollout, status.candidate
    if rollout is None:
        return None
    return rollout.draining or (candidate.revision if is_taken_back(rollout) and candidate else None)


def _requests(status: QuantizedModelStatus, spec: QuantizedModelSpec, now: datetime) -> Window | None:
    rollout, candidate = status.rollout, status.candidate
    if rollout is None or candidate is None or rollout.reason or rollout.draining or rollout.since is None:
        return None
    if not 0 <= rollout.step < len(spec.rollout.steps) or not spec.rollout.analysis.metrics:
        return None
    return Window(candidate.revision, max(1, int((now - rollout.since).total_seconds())))


def _canary(
    status: QuantizedModelStatus, spec: QuantizedModelSpec, now: datetime, candidate: Window
) -> CanaryQuestions | None:
    stable, rollout = status.stable, status.rollout
    if stable is None or rollout is None:
        return None
    metrics = [metric.name for metric in spec.rollout.analysis.metrics]
    pairs = planned = None
    if "quality" in metrics:
        asked = max(1, int((now - rollout.started_at).total_seconds()))
        pairs = Pairs(candidate.revision, stable.revision, asked)
        if at := quality_looks.last_look(spec, rollout, now):
            ago = int((now - at).total_seconds())
            planned = Pairs(candidate.revision, stable.revision, max(1, asked - ago), ago)
    return CanaryQuestions(
        candidate=candidate.revision,
        stable=Window(stable.revision, candidate.seconds),
        pairs=pairs,
        planned=planned,
        latencies=tuple(name for name in metrics if name in ("ttft-p99", "itl-p99")),
    )


def _quality(status: QuantizedModelStatus, spec: QuantizedModelSpec, now: datetime) -> Window | None:
    if not drift_check.is_due(status, now) or status.stable is None:
        return None
    seconds = max(1, int(drift_check.window(status, spec, now).total_seconds()))
    return Window(status.stable.revision, seconds, spec.drift_check.metric)
