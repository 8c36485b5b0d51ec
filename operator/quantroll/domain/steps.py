"""The steps of a rollout by number: -1 before the first weight, then those of the spec, then the promotion."""

from datetime import datetime, timedelta

from quantroll.api.base import parse_duration
from quantroll.api.spec import QuantizedModelSpec, Step
from quantroll.api.status import RolloutStatus
from quantroll.domain import capacity


def promotion(spec: QuantizedModelSpec) -> int:
    """The number of the step that gives all the traffic."""
    return len(spec.rollout.steps)


def weight_at(spec: QuantizedModelSpec, step: int) -> int:
    """The weight of a step; where there is room for one pod only, each has all."""
    return 100 if step >= promotion(spec) or capacity.is_alone(spec) else spec.rollout.steps[step].weight


def ahead(spec: QuantizedModelSpec, rollout: RolloutStatus) -> int:
    """The step that comes next: the following one, or the one that a person wants it to go to at once."""
    return min(max(rollout.step + 1, rollout.skip_to or 0), promotion(spec))


def is_hurried(rollout: RolloutStatus) -> bool:
    """Whether a person has had the waits of this step left out: its duration, a look that passes, an approval."""
    return rollout.skip_to is not None and rollout.skip_to > rollout.step


def in_steps(spec: QuantizedModelSpec, rollout: RolloutStatus) -> bool:
    """Whether it is not yet the promotion."""
    return rollout.step < promotion(spec)


def is_step(spec: QuantizedModelSpec, rollout: RolloutStatus) -> bool:
    """Whether the rollout stands at a step that the spec still has."""
    return rollout.step <= promotion(spec) and rollout.weight == weight_at(spec, rollout.step)


def given_up_at(spec: QuantizedModelSpec, step: Step, since: datetime) -> datetime | None:
    """When a step that began at `since` is given up, should it be held; None where it is held without an end."""
    limit = spec.rollout.deadlines.step
    return None if limit is None else since + parse_duration(step.duration) + parse_duration(limit)


def given_back(rollout: RolloutStatus, time: timedelta) -> dict[str, datetime | None]:
    """The deadlines of step and rollout, moved on by a time that does not count."""
    clocks = {"step_expires_at": rollout.step_expires_at, "expires_at": rollout.expires_at}
    return {name: at + time if at else None for name, at in clocks.items()}
