"""What is looked at: a QuantizedModel, what its pods are up to where that could be asked, and the time."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from quantroll.api.base import parse_duration
from quantroll.api.spec.rollout import Step
from quantroll.api.status import ConditionStatus, QuantizedModelStatus
from quantroll.constants import Condition
from quantroll.report.subject import Subject


@dataclass(frozen=True, slots=True)
class Pods:
    """Pods of one revision."""

    ready: int
    wanted: int

    def __str__(self) -> str:
        """As kubectl's READY column."""
        return f"{self.ready}/{self.wanted} pods ready"


@dataclass(frozen=True, slots=True)
class View:
    """One look at a QuantizedModel."""

    subject: Subject
    now: datetime
    pods: Mapping[str, Pods] | None = None
    """Pods by revision; None: not asked, or no right to."""
    flags: tuple[str, ...] = ()
    """Flags by which another cluster than the default one was reached: what is to be typed needs them, too."""

    @property
    def status(self) -> QuantizedModelStatus:
        """Its status."""
        return self.subject.status

    def condition(self, kind: Condition) -> ConditionStatus | None:
        """A condition of the status."""
        return next((found for found in self.status.conditions if found.type == kind), None)

    def holds(self, kind: Condition) -> ConditionStatus | None:
        """A condition that is True."""
        found = self.condition(kind)
        return found if found and found.status == "True" else None

    @property
    def entered(self) -> datetime | None:
        """When the present phase began."""
        last = self.status.history[-1] if self.status.history else None
        return last.at if last and last.phase is self.status.phase else None

    @property
    def step(self) -> Step | None:
        """The step under way."""
        rollout, steps = self.status.rollout, self.subject.spec.rollout.steps
        return steps[rollout.step] if rollout and 0 <= rollout.step < len(steps) else None

    @property
    def step_ends(self) -> datetime | None:
        """When the step under way has had its duration; None while its clock stands."""
        rollout, step = self.status.rollout, self.step
        return rollout.since + parse_duration(step.duration) if rollout and rollout.since and step else None

    def pods_of(self, revision: str) -> Pods | None:
        """Pods of a revision; None where that is not known."""
        return None if self.pods is None else self.pods.get(revision, Pods(0, 0))

    def type(self, verb: str, *more: str) -> str:
        """The command of this plugin to type."""
        return shlex.join(["kubectl", "quantroll", verb, self.subject.name, *more, *self._where])

    def kubectl(self, *words: str) -> str:
        """Another command to type."""
        return shlex.join(["kubectl", *words, *self._where])

    @property
    def _where(self) -> list[str]:
        namespace = self.subject.namespace
        return [*(["-n", namespace] if namespace else []), *self.flags]
