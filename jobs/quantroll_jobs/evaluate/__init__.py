"""The evaluate Job: asks the engine every item of the eval set, and joins with the baseline's stored answers."""

import asyncio
import time
from pathlib import Path

from pydantic import ValidationError

from quantroll.api.jobs import EvaluateInput, EvaluateResult, Report
from quantroll.constants import Reason
from quantroll_jobs import store
from quantroll_jobs.datafiles import DataError, EvalSet, Item
from quantroll_jobs.digests import sha256_file
from quantroll_jobs.errors import JobError
from quantroll_jobs.evaluate import record
from quantroll_jobs.evaluate.answers import (
    PARTIAL,
    Answer,
    Outcome,
    join,
    prompts_digest,
    read_answers,
    write_answers,
)
from quantroll_jobs.evaluate.interview import Interview, hold, progress


def run(job: EvaluateInput) -> Report:
    """Evaluate; raises JobError. What was answered is kept for the next attempt."""
    started = time.monotonic()
    items = _pinned_items(job)
    baseline = None if job.baseline_key is None else _stored_answers(job, job.baseline_key)
    folder = store.resumable(job)
    answers, version = asyncio.run(_ask(job, items, folder))
    result = EvaluateResult(
        **_summary(answers, baseline), engine_version=version, seconds=round(time.monotonic() - started, 1)
    )
    write_answers(folder / store.ITEMS, answers.values())
    result = result.model_copy(update={"record": record.write(folder, job, result)})
    (folder / PARTIAL).unlink()
    return store.commit(folder, job, Report(kind="evaluate", key=job.key, evaluate=result))


def _pinned_items(job: EvaluateInput) -> list[Item]:
    path = Path(job.eval_set.path)
    digest = sha256_file(path) if path.is_file() else "none: the file is gone"
    if digest != job.eval_set.sha256:
        raise JobError(Reason.INPUT_CHANGED, f"{path} has sha256 {digest}, and had {job.eval_set.sha256} when prepared")
    try:
        return list(EvalSet(path, job.eval_set.id_field))
    except DataError as error:
        raise JobError(Reason.EVAL_SET_MALFORMED, f"{path}: {error}") from None


def _stored_answers(job: EvaluateInput, key: str) -> dict[str, Answer]:
    path = store.result_folder(Path(job.store), "evaluate", key) / store.ITEMS
    try:
        return {answer.id: answer for answer in read_answers(path)}
    except FileNotFoundError:
        message = f"the baseline's answers are not at {path}: evaluate the baseline again"
    except (OSError, ValidationError) as error:
        message = f"the baseline's answers at {path} cannot be read: {' '.join(str(error).split())[:300]}"
    raise JobError(Reason.BASELINE_RESULTS_MISSING, message)


def _summary(answers: dict[str, Answer], baseline: dict[str, Answer] | None) -> dict[str, int | bool | str]:
    outcomes = [answer.outcome for answer in answers.values()]
    summary: dict[str, int | bool | str] = {
        "items": len(answers),
        "correct": outcomes.count(Outcome.RIGHT),
        "errors": outcomes.count(Outcome.ERROR),
        "truncated": sum(answer.finish_reason == "length" for answer in answers.values()),
        "prompts_digest": prompts_digest(answers.values()),
    }
    if baseline is not None:
        cells, match = join(baseline, answers)
        errors = sum(answer.outcome is Outcome.ERROR for answer in baseline.values())
        summary |= {**cells.model_dump(), "prompts_match": match, "baseline_errors": errors}
    return summary


async def _ask(job: EvaluateInput, items: list[Item], folder: Path) -> tuple[dict[str, Answer], str]:
    """All answers in the order of the eval set, and the engine's version."""
    async with Interview(job, job.endpoint, folder / PARTIAL) as interview:
        await interview.wait_until_ready()
        version = await interview.engine.version()
        async with progress([interview], len(items)):
            await hold([(interview, item) for item in interview.open_questions(items)], job.concurrency)
    return {item.id: interview.answers[item.id] for item in items}, version
