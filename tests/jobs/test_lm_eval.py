"""Scorer LMEval: the real lm-eval, with tasks over local files, against a server that answers as it is told."""

import json
import secrets
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from bench.jobs import SERVED_MODEL, Ended, run_job
from jobs.conftest import huggingface
from jobs.forked import Parent
from quantroll.api.jobs import DataFile, EvaluateInput, PrepareInput
from quantroll.constants import Reason
from unit.jobs.fake_engine import FakeEngine, Raw
from unit.jobs.handmade import write_model

pytestmark = [pytest.mark.jobs, pytest.mark.timeout(300)]
ITEMS = 12
GENERATE = {
    "task": "sums",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "sums.json"}},
    "test_split": "test",
    "doc_to_text": "{{question}}",
    "doc_to_target": "{{answer}}",
    "output_type": "generate_until",
    "generation_kwargs": {"until": ["\n"], "max_gen_toks": 512},
    "num_fewshot": 0,
    "filter_list": [
        {"name": "strict", "filter": [{"function": "take_first"}]},
        {"name": "digits", "filter": [{"function": "regex", "regex_pattern": "(\\d+)"}, {"function": "take_first"}]},
    ],
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
}
SHORT = {**GENERATE, "task": "shorter", "dataset_kwargs": {"data_files": {"test": "short.json"}}}


@dataclass(frozen=True)
class Place:
    """The folder of a test."""

    root: Path
    python: str
    harness: Parent
    engine: FakeEngine

    @property
    def tasks(self) -> Path:
        return self.root / "tasks"

    def prepare(self, scoring: dict, **changes: object) -> Ended:
        """By a process that starts from nothing, as in the image."""
        job = PrepareInput(
            key="1" * 64,
            store=str(self.root),
            model_path=str(self.root / "model"),
            dtype="bfloat16",
            eval_set=DataFile(path=str(self.tasks)),
            scorer="LMEval",
            scoring=scoring,
        )
        job = PrepareInput.model_validate(job.model_dump() | changes)
        return run_job(job, self.root / "report", self.python, **huggingface(self.root))

    def evaluate(self, scoring: dict, sha256: str, **changes: object) -> Ended:
        job = EvaluateInput(
            key="2" * 64,
            store=str(self.root),
            eval_set=DataFile(path=str(self.tasks), sha256=sha256),
            scorer="LMEval",
            scoring=scoring,
            temperature=0,
            max_tokens=9,
            endpoint=self.engine.url,
            served_model=SERVED_MODEL,
            concurrency=4,
            ready_timeout_seconds=30,
            request_timeout_seconds=30,
        )
        job = EvaluateInput.model_validate(job.model_dump() | changes)
        return self.harness.run_job(job, self.root / f"report-{secrets.token_hex(4)}")


CHOICE = {
    **{name: value for name, value in GENERATE.items() if name not in ("generation_kwargs", "filter_list")},
    "task": "choice",
    "output_type": "multiple_choice",
    "doc_to_target": 1,
    "doc_to_choice": ["no", "yes"],
    "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
}
BROKEN = {**GENERATE, "task": "broken", "dataset_kwargs": {"data_files": {"test": "gone.json"}}}


def write_tasks(folder: Path) -> Path:
    folder.mkdir()
    for name, count in (("sums", ITEMS), ("short", 3)):
        documents = [{"question": f"{name} {n}+{n}=", "answer": str(2 * n)} for n in range(count)]
        (folder / f"{name}.json").write_text("".join(json.dumps(document) + "\n" for document in documents))
    for task in (GENERATE, SHORT, CHOICE, BROKEN):
        (folder / f"{task['task']}.yaml").write_text(yaml.safe_dump(task))
    return folder


def _tasks(*names: str, **more: str) -> dict:
    return {"lmEval": {"tasks": [{"name": name, **more} for name in names]}}


WRONG = {
    "unknown": _tasks("nothing"),
    "metric": _tasks("sums", metric="bleu"),
    "filter": _tasks("sums", filter="x"),
    "broken": _tasks("broken"),
}
ASKED = {
    "sums": _tasks("sums"),
    "both": _tasks("sums", "shorter"),
    "choice": _tasks("choice", metric="acc_norm"),
    **WRONG,
}
# one process for what needs no engine
PROGRAM = """
import json, sys
from quantroll.api.jobs import DataFile, Judging
from quantroll_jobs.errors import JobError
from quantroll_jobs.harness.tasks import load
with open(sys.argv[1]) as given:
    folder, asked = json.load(given)
told = {}
for name, scoring in asked.items():
    try:
        told[name] = load(DataFile(path=folder), Judging(scorer="LMEval", scoring=scoring)).digest
    except JobError as error:
        told[name] = [error.reason, error.message]
with open(sys.argv[2], "w") as file:
    json.dump(told, file)
"""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory, harness):
    """Digest of each of ASKED, or reason and message of what is wrong with it."""
    root = tmp_path_factory.mktemp("loaded")
    return harness.told(PROGRAM, root, [str(write_tasks(root / "tasks")), ASKED])


@pytest.fixture
def place(tmp_path, lm_eval_python, harness):
    write_tasks(tmp_path / "tasks")
    write_model(tmp_path / "model")
    with FakeEngine().serving() as engine:
        engine.answer = lambda body: _sum(body["prompt"])
        yield Place(tmp_path, lm_eval_python, harness, engine)


def _sum(prompt: str) -> str:
    return str(2 * int(prompt.split("+")[1].rstrip("=")))


def test_both_arms_are_asked_the_tasks_and_paired(place, loaded):
    scoring = ASKED["both"]
    calibration = place.root / "calibration.jsonl"
    calibration.write_text('{"text": "sums 3+3="}\n{"text": "another"}\n')
    prepared = place.prepare(scoring, calibration={"path": str(calibration)})
    assert prepared.code == 0, prepared.output
    facts = prepared.report.prepare.eval_set
    assert (facts.items, [(part.name, part.items) for part in facts.slices]) == (15, [("shorter", 3), ("sums", 12)])
    assert (facts.sha256, prepared.report.prepare.overlap) == (loaded["both"], 1)

    base = place.evaluate(scoring, facts.sha256)
    assert base.code == 0, base.output
    told = base.report.evaluate
    assert (told.items, told.correct, told.errors, told.engine_version, told.score) == (15, 15, 0, "1.2.3", None)
    assert told.truncated is None, "lm-eval does not tell"
    asked = place.engine.asked()
    assert len(asked) == 15
    assert {(body["path"], body["model"]) for body in asked} == {("/v1/completions", SERVED_MODEL)}
    assert {(body["temperature"], body["max_tokens"], body["seed"]) for body in asked} == {(0, 9, 1234)}

    place.engine.answer = lambda body: "7" if "sums 3+" in body["prompt"] else _sum(body["prompt"])
    variant = place.evaluate(scoring, facts.sha256, key="3" * 64, baseline_key="2" * 64)
    assert variant.code == 0, variant.output
    told = variant.report.evaluate
    assert (told.both, told.harm, told.gain, told.neither, told.prompts_match) == (14, 1, 0, 0, True)
    assert [(part.name, part.cells) for part in told.slices] == [("shorter", [3, 0, 0, 0]), ("sums", [11, 1, 0, 0])]
    folder = place.root / "evaluations" / ("3" * 64)
    assert sorted(path.name for path in folder.iterdir()) == ["items.jsonl", "manifest.json", "record.json"]
    lines = [json.loads(line) for line in (folder / "items.jsonl").read_text().splitlines()]
    assert [(line["id"], line["answer"]) for line in lines if line["outcome"] == "wrong"] == [("sums/3", "7")]

    other = place.evaluate(scoring, facts.sha256, key="4" * 64, baseline_key="2" * 64, system_prompt="Be brief.")
    assert other.report.evaluate.prompts_match is False
    assert all(body["prompt"].startswith("Be brief.") for body in place.engine.asked()[30:])


def test_the_filter_that_is_named_gates(place, loaded):
    place.engine.answer = lambda body: f"It is {_sum(body['prompt'])}."
    ended = place.evaluate(_tasks("sums", filter="digits"), loaded["sums"])
    assert ended.code == 0, ended.output
    assert ended.report.evaluate.correct == ITEMS


def test_a_chat_is_asked_as_a_chat(place, loaded):
    scoring = {"lmEval": {"tasks": [{"name": "sums"}], "api": "ChatCompletions"}}
    place.engine.answer = lambda body: _sum(body["messages"][-1]["content"])
    ended = place.evaluate(scoring, loaded["sums"], system_prompt="Be brief.", repeats=2, temperature=0.5)
    assert ended.code == 0, ended.output
    assert (ended.report.evaluate.items, ended.report.evaluate.score) == (ITEMS, 1)
    asked = place.engine.asked()
    assert len(asked) == 2 * ITEMS
    assert asked[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert {body["seed"] for body in asked} == {1234, 1235}


def test_a_killed_job_goes_on_where_it_was(place, loaded):
    place.engine.answer = lambda body: 400 if "sums 3+" in body["prompt"] else _sum(body["prompt"])
    failed = place.evaluate(ASKED["sums"], loaded["sums"])
    assert (failed.code, failed.report.reason) == (75, Reason.ENGINE_FAILED)
    assert "lm-eval gave up: " in failed.report.message
    place.engine.answer = lambda body: _sum(body["prompt"])
    before = len(place.engine.asked())
    assert place.evaluate(ASKED["sums"], loaded["sums"]).report.evaluate.correct == ITEMS
    assert 0 < len(place.engine.asked()) - before < ITEMS


def test_changed_items_are_noticed(place, loaded):
    (place.tasks / "sums.json").write_text('{"question": "sums 1+1=", "answer": "2"}\n')
    ended = place.evaluate(ASKED["sums"], loaded["sums"])
    assert (ended.code, ended.report.reason) == (65, Reason.INPUT_CHANGED)
    assert place.engine.asked() == []


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        ("unknown", Reason.EVAL_SET_MISSING, "lm-eval knows no task 'nothing'"),
        ("metric", Reason.EVAL_SET_MALFORMED, "(there are: exact_match)"),
        ("filter", Reason.EVAL_SET_MALFORMED, "has no filter 'x' (there are: strict, digits)"),
        ("broken", Reason.EVAL_SET_MALFORMED, "lm-eval cannot load task broken: "),
    ],
)
def test_what_users_get_wrong(loaded, name, reason, message):
    found, said = loaded[name]
    assert found == reason
    assert message in said


def test_log_probabilities_of_choices(place, loaded):
    """lm-eval's loglikelihood, for which the tokenizer of the full-precision model counts the context's tokens."""
    _write_tokenizer(place.root / "model")
    place.engine.answer = _echo
    ended = place.evaluate(ASKED["choice"], loaded["choice"], tokenizer=str(place.root / "model"))
    assert ended.code == 0, ended.output
    assert ended.report.evaluate.correct == ITEMS


def _echo(body):
    tokens = body["prompt"].split(" ")
    values = [None, *(-1.0 if token == "yes" else -2.0 for token in tokens[1:])]
    told = {
        "tokens": [*tokens, "!"],
        "token_logprobs": [*values, -0.1],
        "top_logprobs": [{token: value} for token, value in zip([*tokens, "!"], [*values, -0.1], strict=True)],
    }
    choice = {"index": 0, "text": "!", "finish_reason": "length", "logprobs": told}
    return Raw(json.dumps({"choices": [choice]}).encode())


def _write_tokenizer(folder: Path) -> None:
    """One token a word, as `_echo` cuts."""
    words = {word: number for number, word in enumerate(["?", "sums", "yes", "no"])}
    tokenizer = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": None,
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": words, "unk_token": "?"},
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "?"}')
