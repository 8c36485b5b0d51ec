"""What a pass has to ask outside of the Kubernetes API, given what it knows: each question costs, so few are asked."""

from dataclasses import dataclass
from datetime import datetime

from quantroll.api.spec import PROBE_METRIC, QuantizedModelSpec
from quantroll.api.status import QuantizedModelStatus
from quantroll.domain import drift_check
from quantroll.domain.traffic import is_taken_back


@dataclass(frozen=True, slots=True)
class Window:
    """Counts of one revision, this many seconds back from now."""

    revision: str
    seconds: int
    metric: str = PROBE_METRIC  # of answers: whose


@dataclass(frozen=True, slots=True)
class Questions:
    """None: not asked."""

    in_flight: str | None = None  # requests running and waiting on a revision's pods
    requests: Window | None = None  # users' requests and how many failed
    quality: Window | None = None  # the prober's answers


def questions(status: QuantizedModelStatus, spec: QuantizedModelSpec | None, now: datetime) -> Questions:
    """What the next decision depends on."""
    leaving = _leaving(status)
    if spec is None or spec.suspend:
        return Questions(in_flight=leaving)
    return Questions(in_flight=leaving, requests=_requests(status, spec, now), quality=_quality(status, spec, now))


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


def _quality(status: QuantizedModelStatus, spec: QuantizedModelSpec, now: datetime) -> Window | None:
    if not drift_check.is_due(status, now) or status.stable is None:
        return None
    seconds = max(1, int(drift_check.window(status, spec, now).total_seconds()))
    return Window(status.stable.revision, seconds, spec.drift_check.metric)
