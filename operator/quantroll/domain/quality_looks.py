"""When quality is looked at: the plan of a rollout, known before it begins, so that many looks cost no honesty.

Who tests again and again finds by chance, some time, that a good candidate is bad. So the plan has K looks, and each
may be wrong with alpha / K only (Bonferroni). In a step they are when half of its duration is over, when all of it is,
and while it is held once more whenever the time in the step has doubled, up to `deadlines.step` and `deadlines.total`.
The time of a look is a function of the step's clock alone, and a look counts what had been answered by then: asking
again later finds the same, and nothing has to be remembered. A step whose clock starts again has its looks again.
"""

from datetime import datetime, timedelta
from math import ceil, log2

from quantroll.api.base import parse_duration
from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import RolloutStatus

_SECOND = timedelta(seconds=1)


def planned_looks(spec: QuantizedModelSpec) -> int:
    """K: all looks that a rollout by this spec may have."""
    return sum(2 + _doublings(spec, step) for step in range(len(spec.rollout.steps)))


def last_look(spec: QuantizedModelSpec, rollout: RolloutStatus, now: datetime) -> datetime | None:
    """The moment of the last look that was due in this step; None before the first."""
    duration, since = _duration(spec, rollout.step), rollout.since
    if since is None:
        return None
    spent = (now - since) / duration
    if spent < 1:
        return since + duration / 2 if spent >= 0.5 else None
    doubled: int = 2 ** min(int(log2(spent)), _doublings(spec, rollout.step))
    return since + duration * doubled


def asked_for(spec: QuantizedModelSpec, rollout: RolloutStatus, now: datetime) -> timedelta:
    """For how long the prober has asked both, about: this step, and the durations of those before."""
    before = sum((_duration(spec, index) for index in range(rollout.step)), timedelta(0))
    return min(before + (now - (rollout.since or now)), now - rollout.started_at)


def outlook(spec: QuantizedModelSpec, step: int) -> str:
    """What has to be known early: that the probe is too slow for a look to say anything when this step is over.

    Empty where it is fast enough. By the spec alone; `step` is -1 before the first weight.
    """
    metric = spec.rollout.analysis.metric("quality")
    if metric is None:
        return ""
    pace, step = spec.probe.rollout_pace, max(step, 0)
    needed = timedelta(hours=metric.min_samples / pace)
    if needed <= sum((_duration(spec, index) for index in range(step + 1)), timedelta(0)):
        return ""
    said = (
        f"quality needs {metric.min_samples} items (minSamples), for which the probe takes {_told(needed)}"
        f" (probe.rolloutItemsPerHour {pace}): the step will be held until then"
    )
    if needed >= parse_duration(spec.rollout.deadlines.total):
        said += f", which is beyond deadlines.total ({spec.rollout.deadlines.total}): change one of the three"
    return said


def _duration(spec: QuantizedModelSpec, step: int) -> timedelta:
    return max(parse_duration(spec.rollout.steps[step].duration), _SECOND)


def _doublings(spec: QuantizedModelSpec, step: int) -> int:
    """How often the duration of a step can double within the deadlines of the step and of the whole rollout."""
    deadlines, duration = spec.rollout.deadlines, _duration(spec, step)
    longest = parse_duration(deadlines.total)
    if deadlines.step is not None:
        longest = min(longest, duration + parse_duration(deadlines.step))
    return max(0, int(log2(max(longest / duration, 1))))


def _told(time: timedelta) -> str:
    """Whole minutes or hours, rounded up."""
    minutes = ceil(time.total_seconds() / 60)
    return f"{minutes} min" if minutes < 180 else f"{ceil(minutes / 60)} h"
