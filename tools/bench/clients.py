"""What `bench.evaluation` measures: the product's evaluate Job, and lm-eval's `local-completions`, as processes.

Both read one file, send one prompt a request as text, and ask for the same: greedy, at most MAX_TOKENS, stop strings
none, so many requests at once. Both start their own Python, and end when their results are on the disk.
"""

import hashlib
import json
import re
import resource
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import yaml

from bench.jobs import SERVED_MODEL, Engine, environment, run_job
from quantroll.api.jobs import DataFile, EvaluateInput, EvaluateResult
from quantroll_jobs import store
from quantroll_jobs.evaluate.answers import Outcome, read_answers
from quantroll_jobs.evaluate.engine import ATTEMPTS

MAX_TOKENS = 8
PATIENCE = 600.0  # seconds for one evaluation
TASK = "quantroll_bench"
_ANSWERED = re.compile(r'^(\d+\.\d+) .*"POST /v1/completions HTTP/1\.1" 200\b', re.MULTILINE)
_LOGGING = {  # of the engine: every request with its time
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"timed": {"format": "%(created).6f %(message)s"}},
    "handlers": {"err": {"class": "logging.StreamHandler", "formatter": "timed", "stream": "ext://sys.stderr"}},
    "loggers": {"uvicorn.access": {"level": "INFO"}},
    "root": {"handlers": ["err"], "level": "INFO"},
}
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Run:
    """One evaluation by one client."""

    client: str
    wall: float
    """Seconds from the start of its process to the end."""
    processor: float
    """Seconds of processor time that it used."""
    answering: float
    """Seconds from the engine's first answer to the last."""
    items: int
    right: int
    by_item: dict[str, bool] | None = None
    """Whether each item was answered right, where the client was told to say."""


class Client(Protocol):
    """One that evaluates."""

    name: str
    version: str

    def run(self, attempt: str, *, by_item: bool = False) -> Run:
        """Evaluate all items anew. Raises RuntimeError when the client fails or asks fewer than all."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What both clients share."""

    folder: Path
    items: Path
    count: int
    concurrency: int
    engine: Engine


def logging_flag(folder: Path) -> str:
    """vLLM's flag for a log that `answer_times` can read."""
    path = folder / "logging.json"
    path.write_text(json.dumps(_LOGGING))
    return f"--logging-config.pylogging_config_file={path}"


def answer_times(log: str) -> list[float]:
    """When the engine began to send each completion, by its own log; seconds since 1970."""
    return [float(at) for at in _ANSWERED.findall(log)]


def _measured(setting: Setting, work: Callable[[], T]) -> tuple[T, dict[str, float]]:
    """What came of it, and the times of a `Run`."""
    said = setting.engine.log.stat().st_size
    used, began = _processor(), time.monotonic()
    result = work()
    wall, processor = time.monotonic() - began, _processor() - used
    with setting.engine.log.open("rb") as log:
        log.seek(said)
        times = answer_times(log.read().decode(errors="replace"))[-setting.count :]  # without a question for readiness
    if len(times) < setting.count:
        raise RuntimeError(f"the engine answered {len(times)} requests for {setting.count} items")
    return result, {"wall": wall, "processor": processor, "answering": times[-1] - times[0]}


def _processor() -> float:
    """Of all children that have ended; the engine has not."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


class Ours:
    """The evaluate Job, as its image runs it."""

    name = "quantroll"

    def __init__(self, setting: Setting, version: str) -> None:
        self._setting = setting
        self.version = version
        self.engine_version = ""  # known after the first run
        self._sha256 = hashlib.sha256(setting.items.read_bytes()).hexdigest()

    def run(self, attempt: str, *, by_item: bool = False) -> Run:
        """Waits for the engine, if that is loading yet."""
        setting = self._setting
        job = EvaluateInput(
            key=hashlib.sha256(attempt.encode()).hexdigest(),  # one that nothing is stored for
            store=str(setting.folder),
            eval_set=DataFile(path=str(setting.items), sha256=self._sha256),
            temperature=0,
            max_tokens=MAX_TOKENS,
            endpoint=setting.engine.url,
            served_model=SERVED_MODEL,
            concurrency=setting.concurrency,
            ready_timeout_seconds=240,
        )
        found, times = _measured(setting, lambda: _evaluated(job, setting.folder / f"ours-{attempt}"))
        self.engine_version = found.engine_version
        answers = read_answers(store.result_folder(setting.folder, "evaluate", job.key) / store.ITEMS)
        each = {answer.id: answer.outcome is Outcome.RIGHT for answer in answers} if by_item else None
        return Run(self.name, **times, items=found.items, right=found.correct, by_item=each)


def _evaluated(job: EvaluateInput, name: Path) -> EvaluateResult:
    ended = run_job(job, name.with_suffix(".report"), timeout=PATIENCE)
    name.with_suffix(".log").write_text(ended.output)
    if ended.code or ended.report.evaluate is None:
        raise RuntimeError(f"the evaluate Job ended with {ended.code}: {ended.report.message}\n{ended.output[-3000:]}")
    return ended.report.evaluate


class LmEval:
    """lm-eval's command line with a task of ours."""

    name = "lm-eval"

    def __init__(self, setting: Setting, python: Path) -> None:
        self._setting = setting
        self._python = python
        self._tasks = setting.folder / "tasks"
        self.version = ""  # known after the first run
        self._tasks.mkdir()
        (self._tasks / f"{TASK}.yaml").write_text(yaml.safe_dump(task(setting.items)))

    def run(self, attempt: str, *, by_item: bool = False) -> Run:
        """Without `by_item` it is spared the work of keeping each answer, which our Job always does."""
        setting, results = self._setting, self._setting.folder / f"lm-eval-{attempt}"
        command = [str(self._python), "-m", "lm_eval", "run", "--model=local-completions", "--batch_size=1"]
        command += [f"--model_args={model_args(setting)}", f"--tasks={TASK}", f"--include_path={self._tasks}"]
        command += [f"--output_path={results}", *(["--log_samples"] if by_item else [])]
        # its own cache, which later rounds find filled: no trace of it on the machine
        variables = environment(HF_DATASETS_OFFLINE="1", HF_HOME=str(setting.folder / "huggingface"))
        _, times = _measured(setting, lambda: _run(command, variables, results.with_suffix(".log")))
        (told,) = (json.loads(path.read_text()) for path in results.glob("*/results_*.json"))
        self.version = told["lm_eval_version"]
        items, right = counts(told)
        each = None
        if by_item:
            (samples,) = results.glob("*/samples_*.jsonl")
            each = right_items(samples.read_text().splitlines())
        return Run(self.name, **times, items=items, right=right, by_item=each)


def _run(command: list[str], variables: dict[str, str], log: Path) -> None:
    with log.open("wb") as output:
        done = subprocess.run(
            command, env=variables, check=False, stdout=output, stderr=subprocess.STDOUT, timeout=PATIENCE
        )
    if done.returncode:
        raise RuntimeError(f"lm-eval ended with {done.returncode}:\n{log.read_text(errors='replace')[-3000:]}")


def model_args(setting: Setting) -> str:
    """Text prompts, as ours: no tokenizer is loaded, and the engine's is used."""
    return (
        f"model={SERVED_MODEL},base_url={setting.engine.url}/v1/completions,num_concurrent={setting.concurrency},"
        f"max_retries={ATTEMPTS},tokenizer_backend=None,tokenized_requests=False"
    )


def task(items: Path) -> dict[str, object]:
    """lm-eval's task that asks what our Job asks, and judges as our ExactMatch does."""
    return {
        "task": TASK,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(items)}},
        "test_split": "test",
        "doc_to_text": "prompt",
        "doc_to_target": "expected",
        "output_type": "generate_until",
        "generation_kwargs": {"until": [], "max_gen_toks": MAX_TOKENS, "temperature": 0},
        "num_fewshot": 0,
        "filter_list": [{"name": "none", "filter": [{"function": "remove_whitespace"}, {"function": "take_first"}]}],
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }


def counts(told: dict[str, dict[str, dict[str, float]]]) -> tuple[int, int]:
    """How many items lm-eval judged, and how many of them it found right."""
    items = int(told["n-samples"][TASK]["effective"])
    return items, round(told["results"][TASK]["exact_match,none"] * items)


def right_items(samples: Iterable[str]) -> dict[str, bool]:
    """Whether lm-eval found each item right, by the item's id, from its lines of samples."""
    found = (json.loads(line) for line in samples)
    return {sample["doc"]["id"]: sample["exact_match"] == 1 for sample in found}
