"""The status in the making: what one pass has learnt, decided and wants, before it is written."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from quantroll.api.base import parse_duration
from quantroll.api.status import Attempt, QuantizedModelStatus, VariantStatus
from quantroll.constants import Phase, Reason
from quantroll.domain.snapshot import JobView, Problem, Snapshot
from quantroll.domain.wanted import Wanted

MESSAGE_LIMIT = 1024
LONGEST_FACTOR = 20  # times the first one
LIST_LIMIT = 256  # of a message in a list of many: the whole status has to stay under 64 KiB
ROW_LIMIT = 512
_ENDED = frozenset({Reason.ENGINE_FAILED, Reason.OUT_OF_MEMORY})


def clip(text: str, limit: int = MESSAGE_LIMIT) -> str:
    """The text, cut to what the schema allows."""
    return text if len(text) <= limit else text[: limit - 1] + "…"


@dataclass(slots=True)
class Draft:
    """One pass over one snapshot."""

    seen: Snapshot
    now: datetime
    status: QuantizedModelStatus
    phase: Phase
    message: str = ""
    wanted: Wanted = field(default_factory=Wanted)
    blocked: Problem | None = None  # what a person has to look at
    wake_at: datetime | None = None
    aborting: bool = False  # a person wants the candidate taken back, which has to wait until something else answers
    held: str = ""  # what has to come before anything is begun and any weight rises
    flapping: str = ""  # why no rollout is begun after two that were taken back, and how that is lifted
    judged: bool = False  # every variant of this spec has its verdict, or the ladder has stopped
    decided: bool = False  # which revision should serve is known
    chosen: str | None = None  # that revision; None where nothing is good enough

    @property
    def edition(self) -> int:
        """The generation of the last edit: another number of replicas is none, and makes nothing be tried again."""
        resolved = self.status.resolved
        return resolved.generation if resolved else self.seen.generation

    @property
    def work_edition(self) -> int:
        """The generation of the last edit of what Jobs are made from: another threshold has no failed one run again."""
        resolved = self.status.resolved
        return self.edition if resolved is None or resolved.work_generation is None else resolved.work_generation

    def set(self, **changes: Any) -> None:
        """Change fields of the status."""
        self.status = self.status.model_copy(update=changes)

    def set_variant(self, row: VariantStatus) -> None:
        """Replace one row of the table."""
        self.set(variants=[row if old.name == row.name else old for old in self.status.variants])

    def say(self, phase: Phase, message: str) -> None:
        """What the user reads in PHASE and message."""
        self.phase, self.message = phase, clip(message)

    def block(self, reason: Reason | str, message: str) -> None:
        """Report what a person has to look at; the first finding stands."""
        if self.blocked is None:
            self.blocked = Problem(Reason(reason), clip(message))

    def wake(self, at: datetime) -> None:
        """Ask for another pass at a time."""
        if self.wake_at is None or at < self.wake_at:
            self.wake_at = at

    def is_patient(self, problem: Problem) -> bool:
        """Whether a pod's trouble may still end by itself: an autoscaler is given time to bring a node."""
        if problem.since is None or self.seen.spec is None:
            return False
        until = problem.since + parse_duration(self.seen.spec.rollout.deadlines.scheduling)
        if self.now >= until:
            return False
        self.wake(until)
        return True

    def waits(self, job: JobView | None) -> None:
        """Pass on what holds a running Job's pods up; of a container that ended, the Job's own end tells soon."""
        if job and job.problem and job.problem.reason not in _ENDED and not self.is_patient(job.problem):
            self.block(job.problem.reason, f"Job {job.name}: {job.problem.message}")


def attempt(draft: Draft, job: JobView, problem: Problem, before: Attempt | None, base: timedelta | None) -> Attempt:
    """The record of a failed Job.

    `base` is the first pause before another try, which doubles up to `LONGEST_FACTOR` times its length; None for a Job
    that is not tried again until what Jobs are made from changes in the spec.
    """
    count = before.count + 1 if before and before.key == job.key else 1
    retry_at = draft.now + base * min(2 ** min(count - 1, LONGEST_FACTOR), LONGEST_FACTOR) if base else None
    return Attempt(
        key=job.key,
        job=job.uid,
        reason=problem.reason,
        message=clip(problem.message),
        at=draft.now,
        generation=draft.work_edition,
        count=count,
        retry_at=retry_at,
    )


def is_due(draft: Draft, failure: Attempt | None, key: str) -> bool:
    """Whether a Job of this key may run: it never failed, or its pause is over, or an edit since may have mended it."""
    if failure is None or failure.key != key or failure.generation != draft.work_edition:
        return True
    if failure.retry_at is None:
        return False
    if draft.now < failure.retry_at:
        draft.wake(failure.retry_at)
        return False
    return True
