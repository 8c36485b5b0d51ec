"""What a Job's outcome means: a result, a failure with its reason, or nothing yet."""

import re
from datetime import datetime, timedelta

from quantroll.api.jobs import Report
from quantroll.api.status import Attempt
from quantroll.constants import Reason
from quantroll.domain.draft import Draft, is_due
from quantroll.domain.snapshot import JobState, JobView, Problem

HEARSAY = timedelta(seconds=20)  # a Job's end may be seen before its pod's
RESTARTS_THAT_TELL = 2  # an engine that ended twice before it answered once will not answer
_CAUSE = re.compile(r"(?:^|\s)((?:[A-Za-z_][\w.]*(?:Error|Exception)|ValidationError)\b:? .*)")
_NO_CAUSE = ("Engine core initialization failed", "Engine process failed to start", "See root cause above")


def engine_cause(log_tail: str) -> str:
    """The most telling line of an engine's last words: its last error that is not a mere echo of another one."""
    lines = [line.strip() for line in log_tail.splitlines() if line.strip()]
    errors = [m.group(1) for line in lines if (m := _CAUSE.search(line)) and not any(x in line for x in _NO_CAUSE)]
    return (errors or lines or ["it left no message"])[-1][:600]


def failure_of(job: JobView, now: datetime) -> Problem | None:
    """Why a Job has failed; None while it runs, when it ended well, or when its pods have not told yet."""
    well = job.report is not None and job.report.ok
    if well and job.state is not JobState.FAILED:
        return None
    if not well and job.engine_restarts >= RESTARTS_THAT_TELL:
        return _infeasible(job)
    if job.state is JobState.ACTIVE or (job.state is JobState.SUCCEEDED and not job.unreadable):
        return None
    return _told(job) or (_silent(job) if is_late(job, now) else None)


def is_late(job: JobView, now: datetime) -> bool:
    """Whether a Job ended so long ago that nothing more is to be heard of its pods."""
    return job.finished_at is not None and now - job.finished_at >= HEARSAY


def _told(job: JobView) -> Problem | None:
    """What the pods say, the surest source first."""
    if job.problem and job.problem.reason is Reason.OUT_OF_MEMORY:
        return job.problem
    if job.unreadable:
        return Problem(Reason.JOB_REPORT_UNREADABLE, f"Job {job.name} left a message that is no report; see its log")
    if job.report and job.report.reason:
        if job.report.reason is Reason.ENGINE_NOT_READY and (job.engine_restarts or job.engine_problem):
            return _infeasible(job)
        return Problem(job.report.reason, job.report.message)
    return job.problem


def _silent(job: JobView) -> Problem:
    return Problem(Reason.JOB_FAILED, f"Job {job.name} failed without a report; see its pods' logs")


def _infeasible(job: JobView) -> Problem:
    found = job.engine_problem
    if found and found.reason is Reason.OUT_OF_MEMORY:
        return found
    cause = found.message if found else "it left no message"
    return Problem(Reason.INFEASIBLE, f"the engine cannot load this artifact here: {cause}")


def report_of(job: JobView | None) -> Report | None:
    """A finished Job's result."""
    done = job and job.state is JobState.SUCCEEDED and job.report and job.report.ok
    return job.report if job and done else None


def news_of(draft: Draft, key: str, known: Attempt | None) -> Report | None:
    """The result of a finished Job of this key, unless what it found is to be found anew."""
    job = draft.seen.jobs.get(key)
    outdated = job is not None and known is not None and known.job == job.uid
    return None if outdated else report_of(job)


def new_failure(draft: Draft, key: str, known: Attempt | None) -> tuple[JobView, Problem] | None:
    """A failed Job of this key that is not recorded yet."""
    job = draft.seen.jobs.get(key)
    if job is None or (known and known.job == job.uid):
        return None
    problem = failure_of(job, draft.now)
    return (job, problem) if problem else None


def may_run(draft: Draft, key: str, known: Attempt | None) -> bool:
    """Whether the Job should exist now. One that has to be made anew is dropped first: its name is free next time."""
    if not is_due(draft, known, key):
        return False
    job = draft.seen.jobs.get(key)
    if job is None:
        return True
    recorded = known is not None and known.job == job.uid
    lost = job.state is not JobState.ACTIVE and not recorded  # its pod went before its report was read
    if recorded or (lost and is_late(job, draft.now)):
        draft.wanted.drop_jobs.add(job.uid)
        return False
    if lost and job.finished_at:
        draft.wake(job.finished_at + HEARSAY)
    draft.waits(job)
    return True
