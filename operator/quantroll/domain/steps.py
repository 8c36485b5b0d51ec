"""The steps of a rollout by number: -1 before the first weight, then those of the spec, then the promotion."""

from quantroll.api.spec import QuantizedModelSpec
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
