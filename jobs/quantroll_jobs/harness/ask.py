"""lm-eval asks the engine, through its `local-completions` or `local-chat-completions`, and judges.

What each item came to is an `Answer` like any other's. Two arms are paired by document and prompt: `request` is a
digest of lm-eval's `doc_hash`, `prompt_hash` and `target_hash`.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lm_eval.evaluator import simple_evaluate

from quantroll.api.jobs import EvaluateInput
from quantroll.constants import Reason
from quantroll_jobs.digests import sha256_json
from quantroll_jobs.errors import JobError
from quantroll_jobs.evaluate.answers import Answer, Outcome
from quantroll_jobs.evaluate.counting import Answers
from quantroll_jobs.evaluate.engine import ATTEMPTS, Engine
from quantroll_jobs.harness.tasks import Chosen, Loaded, item_id, load, settings_of
from quantroll_jobs.scorers import is_right

SEED = 1234  # lm-eval's own, of the first time that items are asked
_CACHE = "lm-eval-{repeat}"
_LONGEST = 500  # characters of what went wrong


def ask(job: EvaluateInput, loaded: Loaded, folder: Path) -> tuple[Answers, str]:
    """All answers in the items' order, and the engine's version; raises JobError.

    Answers of temperature 0 are kept in `folder` as they come, so that another attempt goes on where this one ended.
    """
    version = asyncio.run(_ready(job))
    answers: dict[tuple[str, int], Answer] = {}
    for repeat in range(job.repeats):
        if repeat:
            loaded = load(job.eval_set, job)  # a task keeps what it was answered
        for answer in _asked(job, loaded, folder, repeat):
            answers[answer.key] = answer
    for cache in folder.glob(_CACHE.format(repeat="*")):
        cache.unlink()
    asked = [(item.id, repeat) for item in loaded.items for repeat in range(job.repeats)]
    return {key: answers[key] for key in asked}, version


async def _ready(job: EvaluateInput) -> str:
    engine = Engine(job.endpoint, job.served_model, connections=1, request_timeout=job.request_timeout_seconds)
    try:
        await engine.wait_until_ready(job.ready_timeout_seconds)
        return await engine.version()
    finally:
        await engine.aclose()


def _asked(job: EvaluateInput, loaded: Loaded, folder: Path, repeat: int) -> Iterator[Answer]:
    started, tasks = time.monotonic(), loaded.tasks
    try:
        told = simple_evaluate(
            model=_MODELS[settings_of(job).api],
            model_args=model_args(job, repeat),
            tasks=[chosen.task for chosen in tasks],
            task_manager=loaded.manager,
            gen_kwargs=_generation(job, tasks),
            system_instruction=job.system_prompt,
            apply_chat_template=settings_of(job).api == "ChatCompletions",
            use_cache=str(folder / _CACHE.format(repeat=repeat)),
            bootstrap_iters=0,
            log_samples=True,
        )
    except Exception as error:
        said = " ".join(f"{type(error).__name__}: {error}".split())[:_LONGEST]
        raise JobError(Reason.ENGINE_FAILED, f"lm-eval gave up: {said}", permanent=False) from error
    seconds = time.monotonic() - started
    print(f"lm-eval asked {', '.join(chosen.name for chosen in tasks)} in {seconds:.0f} s", flush=True)
    for chosen in tasks:
        for sample in told["samples"][chosen.name]:
            if sample["filter"] == chosen.filter:
                yield answer_of(sample, chosen, repeat)


_MODELS = {"Completions": "local-completions", "ChatCompletions": "local-chat-completions"}
_PATHS = {"Completions": "completions", "ChatCompletions": "chat/completions"}


def model_args(job: EvaluateInput, repeat: int) -> dict[str, Any]:
    """How lm-eval's client is told to ask: text, one prompt a request, cut into tokens only to find its length."""
    api = settings_of(job).api
    tokenizer: dict[str, str | None] = {"tokenizer_backend": None}
    if api == "Completions" and job.tokenizer:
        tokenizer = {"tokenizer_backend": "huggingface", "tokenizer": job.tokenizer}
    return {
        "model": job.served_model,
        "base_url": f"{job.endpoint.rstrip('/')}/v1/{_PATHS[api]}",
        "num_concurrent": max(job.concurrency, 2),  # with one it takes another way, which gives up without an error
        "max_retries": ATTEMPTS,
        "timeout": round(job.request_timeout_seconds),
        "tokenized_requests": False,
        "seed": SEED + repeat,
        **({"max_length": job.max_length} if job.max_length else {}),
        **tokenizer,
    }


def _generation(job: EvaluateInput, tasks: list[Chosen]) -> dict[str, Any]:
    """`qualityGate.generation` holds for all tasks: what a definition says about length and temperature does not."""
    for chosen in tasks:
        (chosen.task.config.generation_kwargs or {}).pop("max_tokens", None)  # it would win over max_gen_toks
    return {"temperature": job.temperature, "max_gen_toks": job.max_tokens, "do_sample": job.temperature > 0}


def answer_of(sample: Mapping[str, Any], chosen: Chosen, repeat: int) -> Answer:
    """What one of lm-eval's samples came to; raises JobError for a value that is no score."""
    value = sample[chosen.metric]
    if not isinstance(value, bool | int | float) or not 0 <= value <= 1:
        raise JobError(
            Reason.EVAL_SET_MALFORMED,
            f"metric {chosen.metric} of task {chosen.name} gives {value!r} for an item, which is no score from 0 to 1;"
            " choose another as scoring.lmEval.tasks[].metric",
        )
    score = float(value)
    return Answer(
        id=item_id(chosen.name, sample["doc_id"]),
        repeat=repeat,
        request=sha256_json([sample["doc_hash"], sample["prompt_hash"], sample["target_hash"]]),
        outcome=Outcome.RIGHT if is_right(score) else Outcome.WRONG,
        score=score if 0 < score < 1 else None,
        answer=_text(sample["filtered_resps"]),
    )


def _text(responses: list[Any]) -> str:
    """The answer as it was judged; of a choice among several, log probabilities."""
    one = responses[0] if len(responses) == 1 else responses
    return one if isinstance(one, str) else str(one)
