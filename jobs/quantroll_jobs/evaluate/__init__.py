"""The evaluate Job: asks the engine every item of the eval set, and joins with the baseline's stored answers."""

import asyncio
import time
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quantroll.api.jobs import EvaluateInput, EvaluateResult, Report
from quantroll.api.spec import ScorerName
from quantroll.constants import Reason
from quantroll_jobs import store
from quantroll_jobs.asked import form_of, scorer_of
from quantroll_jobs.datafiles import DataError, EvalSet, Item
from quantroll_jobs.digests import sha256_file
from quantroll_jobs.errors import JobError
from quantroll_jobs.evaluate import record
from quantroll_jobs.evaluate.answers import PARTIAL, prompts_digest, read_answers, write_answers
from quantroll_jobs.evaluate.counting import Answers, Counting, noise, summary
from quantroll_jobs.evaluate.interview import Interview, hold, progress
from quantroll_jobs.evaluate.metrics import told_on


def run(job: EvaluateInput) -> Report:
    """Evaluate; raises JobError. What was answered is kept for the next attempt."""
    started = time.monotonic()
    if job.scorer is ScorerName.LM_EVAL:
        return _with_lm_eval(job, started)
    items = _pinned_items(job)
    baseline = _baseline(job)
    folder = store.resumable(job)
    store.reopen(job, folder / PARTIAL)
    answers, again, version = asyncio.run(_ask(job, items, folder))
    counted = summary(_counting(job), items, answers, baseline) | noise(answers, again)
    return _finish(job, folder, answers, counted, version, started)


def _with_lm_eval(job: EvaluateInput, started: float) -> Report:
    from quantroll_jobs.harness import ask, tasks  # noqa: PLC0415 - not in every image

    loaded = tasks.load(job.eval_set, job)
    if loaded.digest != job.eval_set.sha256:
        raise JobError(
            Reason.INPUT_CHANGED,
            f"the tasks' items have sha256 {loaded.digest}, and had {job.eval_set.sha256} when prepared",
        )
    baseline = _baseline(job)
    folder = store.resumable(job)
    answers, version = ask.ask(job, loaded, folder)
    scores = [answer.score for arm in (answers, baseline or {}) for answer in arm.values()]
    counting = Counting(
        repeats=job.repeats,
        graded=job.repeats > 1 or any(score is not None for score in scores),
        by_slice=True,
        by_cluster=False,
        informing={},
    )
    counted = summary(counting, loaded.items, answers, baseline) | {"truncated": None}  # lm-eval does not tell
    return _finish(job, folder, answers, counted, version, started)


def _baseline(job: EvaluateInput) -> Answers | None:
    return None if job.baseline_key is None else _stored_answers(job, job.baseline_key)


def _finish(
    job: EvaluateInput, folder: Path, answers: Answers, counted: dict[str, Any], version: str, started: float
) -> Report:
    result = EvaluateResult(
        **counted,
        prompts_digest=prompts_digest(answers.values()),
        engine_version=version,
        seconds=round(time.monotonic() - started, 1),
    )
    write_answers(folder / store.ITEMS, answers.values())
    result = result.model_copy(update={"record": record.write(folder, job, result)})
    (folder / PARTIAL).unlink(missing_ok=True)
    return store.commit(folder, job, Report(kind="evaluate", key=job.key, evaluate=result))


def _pinned_items(job: EvaluateInput) -> list[Item]:
    path = Path(job.eval_set.path)
    digest = sha256_file(path) if path.is_file() else "none: the file is gone"
    if digest != job.eval_set.sha256:
        raise JobError(Reason.INPUT_CHANGED, f"{path} has sha256 {digest}, and had {job.eval_set.sha256} when prepared")
    try:
        return list(EvalSet(path, form_of(job.eval_set, job, job.also_report)))
    except DataError as error:
        raise JobError(Reason.EVAL_SET_MALFORMED, f"{path}: {error}") from None


def _counting(job: EvaluateInput) -> Counting:
    scorer, file = scorer_of(job), job.eval_set
    return Counting(
        repeats=job.repeats,
        graded=scorer.graded or job.repeats > 1,
        by_slice=file.slice_field is not None,
        by_cluster=file.cluster_field is not None,
        informing={name: scorer_of(job, name).score for name in job.also_report},
    )


def _stored_answers(job: EvaluateInput, key: str) -> Answers:
    path = store.result_folder(Path(job.store), "evaluate", key) / store.ITEMS
    try:
        return {answer.key: answer for answer in read_answers(path)}
    except FileNotFoundError:
        message = f"the baseline's answers are not at {path}: evaluate the baseline again"
    except (OSError, ValidationError) as error:
        message = f"the baseline's answers at {path} cannot be read: {' '.join(str(error).split())[:300]}"
    raise JobError(Reason.BASELINE_RESULTS_MISSING, message)


async def _ask(job: EvaluateInput, items: list[Item], folder: Path) -> tuple[Answers, Answers, str]:
    """All answers in the order of the eval set, those to items that were asked once more, and the engine's version."""
    async with Interview(job, job.endpoint, folder / PARTIAL) as interview:
        await interview.wait_until_ready()
        version = await interview.engine.version()
        questions = interview.open_questions(items, job.repeats)
        sample = items[:: max(1, len(items) // job.noise_items)][: job.noise_items] if job.noise_items else []
        questions += interview.open_questions(sample, job.repeats + 1, first=job.repeats)
        total = len(items) * job.repeats + len(sample)
        with told_on(job.progress_port, total, lambda: len(interview.answers)):
            async with progress([interview], total):
                await hold([(interview, question) for question in questions], job.concurrency)
    asked = [(item.id, repeat) for item in items for repeat in range(job.repeats)]
    once_more = [(item.id, job.repeats) for item in sample]
    answers, again = ({key: interview.answers[key] for key in keys} for keys in (asked, once_more))
    return answers, again, version
