"""How far a running evaluation is, told in quarters: each step is a write of the status."""

from datetime import timedelta

from quantroll.api.status import Progress
from quantroll.domain.draft import Draft
from quantroll.domain.snapshot import JobState

LOOK = timedelta(minutes=1)  # between looks at a running evaluation; none is looked at before it has run for so long
_QUARTER = 25


def told(draft: Draft, key: str) -> str:
    """What a message says of the evaluation of this key, and note it. Without an answer, what was known stands."""
    job, known = draft.seen.jobs.get(key), draft.status.progress
    percent = known.percent if known and known.key == key else 0
    if job and job.progress is not None:
        percent = max(percent, min(int(job.progress * 4), 3) * _QUARTER)
    draft.set(progress=Progress(key=key, percent=percent) if percent else None)
    if job and job.state is JobState.ACTIVE:
        draft.wake(draft.now + LOOK)
    return f"; {percent} % of the questions are answered" if percent else ""


def forget(draft: Draft) -> None:
    """Drop what is known of an evaluation that does not run any more."""
    known = draft.status.progress
    if known and known.key not in {job.key for job in draft.wanted.jobs}:
        draft.set(progress=None)
