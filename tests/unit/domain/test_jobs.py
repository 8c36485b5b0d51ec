"""What a Job's end means, from what it and its pods say."""

from datetime import timedelta

import pytest

from quantroll.api.jobs import Report
from quantroll.constants import Reason
from quantroll.domain.jobs import engine_cause, failure_of, is_late, report_of
from quantroll.domain.snapshot import JobState, JobView, Problem
from unit.domain.world import START

KEY = "0" * 64
OOM = Problem(Reason.OUT_OF_MEMORY, "killed")
PULL = Problem(Reason.IMAGE_PULL, "no such image")
DEAD = Problem(Reason.ENGINE_FAILED, "ValueError: no")


def view(state=JobState.FAILED, reason=None, **changes):
    report = Report(kind="evaluate", key=KEY, reason=reason, message="it says why") if reason else None
    given = {"finished_at": START, "report": report, **changes}
    return JobView("tiny-evaluate", "uid", KEY, state, **given)


GOOD = Report(kind="evaluate", key=KEY)


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        (view(JobState.ACTIVE, finished_at=None), None),
        (view(JobState.ACTIVE, finished_at=None, problem=PULL), None),  # it still may come
        (view(JobState.SUCCEEDED, report=GOOD), None),
        (view(JobState.SUCCEEDED, report=GOOD, engine_restarts=5), None),  # it answered in the end
        (view(JobState.FAILED, report=GOOD), Reason.JOB_FAILED),  # its deadline came first
        (view(JobState.SUCCEEDED), None),  # its pod is lost: made anew, no failure
        (view(JobState.SUCCEEDED, unreadable=True), Reason.JOB_REPORT_UNREADABLE),
        (view(reason=Reason.EVAL_SET_MALFORMED), Reason.EVAL_SET_MALFORMED),
        (view(reason=Reason.ENGINE_NOT_READY), Reason.ENGINE_NOT_READY),
        (view(reason=Reason.ENGINE_NOT_READY, engine_restarts=1, engine_problem=DEAD), Reason.INFEASIBLE),
        (view(reason=Reason.ENGINE_NOT_READY, engine_restarts=1, engine_problem=OOM), Reason.OUT_OF_MEMORY),
        (view(reason=Reason.EVAL_SET_MALFORMED, engine_problem=DEAD), Reason.EVAL_SET_MALFORMED),
        (view(reason=Reason.EVAL_SET_MALFORMED, problem=OOM), Reason.OUT_OF_MEMORY),
        (view(problem=OOM), Reason.OUT_OF_MEMORY),
        (view(problem=PULL), Reason.IMAGE_PULL),
        (view(JobState.ACTIVE, engine_restarts=1, engine_problem=DEAD), None),
        (view(JobState.ACTIVE, engine_restarts=2, engine_problem=DEAD), Reason.INFEASIBLE),
        (view(JobState.ACTIVE, engine_restarts=2, engine_problem=OOM), Reason.OUT_OF_MEMORY),
        (view(JobState.ACTIVE, engine_restarts=2), Reason.INFEASIBLE),
        (view(), Reason.JOB_FAILED),
    ],
)
def test_why_a_job_failed(job, reason):
    found = failure_of(job, START + timedelta(minutes=1))
    assert (found.reason if found else None) == reason
    assert found is None or found.message


def test_a_silent_failure_waits_for_what_its_pods_have_to_say():
    job = view()
    assert failure_of(job, START + timedelta(seconds=19)) is None
    assert failure_of(job, START + timedelta(seconds=20)).reason is Reason.JOB_FAILED
    assert not is_late(view(finished_at=None), START + timedelta(days=1))


@pytest.mark.parametrize(
    ("job", "known"),
    [
        (None, False),
        (view(JobState.SUCCEEDED, report=GOOD), True),
        (view(JobState.ACTIVE, report=GOOD), False),  # the Job controller has not seen it yet
        (view(JobState.FAILED, report=GOOD), False),
        (view(JobState.SUCCEEDED, reason=Reason.ENGINE_FAILED), False),
    ],
)
def test_a_report_counts_when_its_job_ended_well(job, known):
    assert (report_of(job) is GOOD) == known


TRACEBACK = """\
INFO 03-02 08:00:01 [api_server.py:1] vLLM API server version 0.32.0
(EngineCore pid=17) ERROR 03-02 08:00:02 [core.py:1] EngineCore failed to start.
(EngineCore pid=17) Traceback (most recent call last):
(EngineCore pid=17)   File "/app/vllm/config.py", line 9, in verify
(EngineCore pid=17) ValueError: Weight input_size_per_partition = 100 is not divisible by min_thread_k = 128.
Traceback (most recent call last):
  File "/usr/bin/vllm", line 8, in <module>
RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}
"""


@pytest.mark.parametrize(
    ("log", "cause"),
    [
        (TRACEBACK, "ValueError: Weight input_size_per_partition = 100 is not divisible by min_thread_k = 128."),
        ("RuntimeError: Engine core initialization failed. See root cause above.", "RuntimeError: Engine core"),
        ("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", "torch.OutOfMemoryError: CUDA out"),
        ("loading\nexec /usr/bin/vllm: no such file or directory\n", "exec /usr/bin/vllm: no such file"),
        ("", "it left no message"),
        ("\n  \n", "it left no message"),
        ("ValueError: " + "x" * 5000, "ValueError: xxx"),
    ],
)
def test_the_telling_line_of_an_engines_last_words(log, cause):
    found = engine_cause(log)
    assert found.startswith(cause)
    assert len(found) <= 600
