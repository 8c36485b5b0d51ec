"""Scorer LMEval: the real lm-eval, with tasks over local files, against a server that answers as it is told."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from bench.jobs import SERVED_MODEL, Ended, run_job
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
    engine: FakeEngine

    @property
    def tasks(self) -> Path:
        return self.root / "tasks"

    def run(self, job: PrepareInput | EvaluateInput) -> Ended:
        home = str(self.root / "huggingface")
        return run_job(job, self.root / "report", self.python, HF_HOME=home, HF_DATASETS_OFFLINE="1")

    def prepare(self, scoring: dict, **changes: object) -> Ended:
        job = PrepareInput(
            key="1" * 64,
            store=str(self.root),
            model_path=str(self.root / "model"),
            dtype="bfloat16",
            eval_set=DataFile(path=str(self.tasks)),
            scorer="LMEval",
            scoring=scoring,
        )
        return self.run(PrepareInput.model_validate(job.model_dump() | changes))

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
        return self.run(EvaluateInput.model_validate(job.model_dump() | changes))


@pytest.fixture
def place(tmp_path, lm_eval_python):
    tasks = tmp_path / "tasks"
    tasks.mkdir()
    write_model(tmp_path / "model")
    for task, name, count in ((GENERATE, "sums", ITEMS), (SHORT, "short", 3)):
        documents = [{"question": f"{name} {n}+{n}=", "answer": str(2 * n)} for n in range(count)]
        (tasks / f"{name}.json").write_text("".join(json.dumps(document) + "\n" for document in documents))
        (tasks / f"{task['task']}.yaml").write_text(yaml.safe_dump(task))
    with FakeEngine().serving() as engine:
        engine.answer = lambda body: _sum(body["prompt"])
        yield Place(tmp_path, lm_eval_python, engine)


def _sum(prompt: str) -> str:
    return str(2 * int(prompt.split("+")[1].rstrip("=")))


def _tasks(*names: str, **more: str) -> dict:
    return {"lmEval": {"tasks": [{"name": name, **more} for name in names]}}


def test_both_arms_are_asked_the_tasks_and_paired(place):
    scoring = _tasks("sums", "shorter")
    prepared = place.prepare(scoring)
    assert prepared.code == 0, prepared.output
    facts = prepared.report.prepare.eval_set
    assert (facts.items, [(part.name, part.items) for part in facts.slices]) == (15, [("shorter", 3), ("sums", 12)])
    assert place.prepare(scoring).report.prepare.eval_set.sha256 == facts.sha256

    base = place.evaluate(scoring, facts.sha256)
    assert base.code == 0, base.output
    told = base.report.evaluate
    assert (told.items, told.correct, told.errors, told.engine_version, told.score) == (15, 15, 0, "1.2.3", None)
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


def test_another_prompt_is_not_paired(place):
    scoring = _tasks("sums")
    digest = place.prepare(scoring).report.prepare.eval_set.sha256
    assert place.evaluate(scoring, digest).code == 0
    told = place.evaluate(scoring, digest, key="3" * 64, baseline_key="2" * 64, system_prompt="Be brief.")
    assert told.report.evaluate.prompts_match is False
    assert all(body["prompt"].startswith("Be brief.") for body in place.engine.asked()[ITEMS:])


def test_the_filter_that_is_named_gates(place):
    place.engine.answer = lambda body: f"It is {_sum(body['prompt'])}."
    scoring = _tasks("sums", filter="digits")
    digest = place.prepare(scoring).report.prepare.eval_set.sha256
    assert place.evaluate(scoring, digest).report.evaluate.correct == ITEMS
    assert place.evaluate(_tasks("sums"), digest, key="4" * 64).report.evaluate.correct == 0


def test_a_chat_is_asked_as_a_chat(place):
    scoring = {"lmEval": {"tasks": [{"name": "sums"}], "api": "ChatCompletions"}}
    place.engine.answer = lambda body: _sum(body["messages"][-1]["content"])
    digest = place.prepare(scoring).report.prepare.eval_set.sha256
    ended = place.evaluate(scoring, digest, system_prompt="Be brief.", repeats=2, temperature=0.5)
    assert ended.code == 0, ended.output
    assert (ended.report.evaluate.items, ended.report.evaluate.score) == (ITEMS, 1)
    asked = place.engine.asked()
    assert len(asked) == 2 * ITEMS
    assert asked[0]["messages"][0] == {"role": "system", "content": "Be brief."}
    assert {body["seed"] for body in asked} == {1234, 1235}


def test_a_killed_job_goes_on_where_it_was(place):
    scoring = _tasks("sums")
    digest = place.prepare(scoring).report.prepare.eval_set.sha256
    place.engine.answer = lambda body: 400 if "sums 3+" in body["prompt"] else _sum(body["prompt"])
    failed = place.evaluate(scoring, digest)
    assert (failed.code, failed.report.reason) == (75, Reason.ENGINE_FAILED)
    assert "lm-eval gave up: " in failed.report.message
    place.engine.answer = lambda body: _sum(body["prompt"])
    before = len(place.engine.asked())
    assert place.evaluate(scoring, digest).report.evaluate.correct == ITEMS
    assert 0 < len(place.engine.asked()) - before < ITEMS


def test_changed_items_are_noticed(place):
    scoring = _tasks("sums")
    digest = place.prepare(scoring).report.prepare.eval_set.sha256
    (place.tasks / "sums.json").write_text('{"question": "sums 1+1=", "answer": "2"}\n')
    ended = place.evaluate(scoring, digest)
    assert (ended.code, ended.report.reason) == (65, Reason.INPUT_CHANGED)
    ended = place.prepare(scoring, eval_set=DataFile(path=str(place.tasks), sha256=digest).model_dump())
    assert (ended.code, ended.report.reason) == (65, Reason.EVAL_SET_DIGEST)


@pytest.mark.parametrize(
    ("scoring", "reason", "message"),
    [
        (_tasks("nothing"), Reason.EVAL_SET_MISSING, "lm-eval knows no task 'nothing'"),
        (_tasks("sums", metric="bleu"), Reason.EVAL_SET_MALFORMED, r"no mean .* \(there are: exact_match\)"),
        (_tasks("sums", filter="x"), Reason.EVAL_SET_MALFORMED, "has no filter 'x' (there are: strict, digits)"),
        (_tasks("broken"), Reason.EVAL_SET_MALFORMED, "lm-eval cannot load task broken: "),
    ],
)
def test_what_users_get_wrong(place, scoring, reason, message):
    broken = {**GENERATE, "task": "broken", "dataset_kwargs": {"data_files": {"test": "gone.json"}}}
    (place.tasks / "broken.yaml").write_text(yaml.safe_dump(broken))
    ended = place.prepare(scoring)
    assert (ended.code, ended.report.reason) == (65, reason), ended.output
    for part in message.split(".*"):
        assert part.strip().replace("\\", "") in ended.report.message


def test_no_folder(place):
    ended = place.prepare(_tasks("sums"), eval_set={"path": str(place.root / "gone")})
    assert (ended.code, ended.report.reason) == (65, Reason.EVAL_SET_MISSING)


def test_calibration_that_shows_an_item_is_noticed(place):
    path = place.root / "calibration.jsonl"
    path.write_text('{"text": "sums 3+3="}\n{"text": "another"}\n')
    ended = place.prepare(_tasks("sums"), calibration={"path": str(path)})
    assert ended.report.prepare.overlap == 1


def test_log_probabilities_of_choices(place):
    """lm-eval's loglikelihood, for which the tokenizer of the full-precision model counts the context's tokens."""
    choice = {
        **GENERATE,
        "task": "choice",
        "output_type": "multiple_choice",
        "doc_to_text": "{{question}}",
        "doc_to_target": 1,
        "doc_to_choice": ["no", "yes"],
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    del choice["generation_kwargs"], choice["filter_list"]
    (place.tasks / "choice.yaml").write_text(yaml.safe_dump(choice))
    _write_tokenizer(place.root / "model")
    place.engine.answer = _echo
    digest = place.prepare(_tasks("choice", metric="acc_norm")).report.prepare.eval_set.sha256
    ended = place.evaluate(_tasks("choice", metric="acc_norm"), digest, tokenizer=str(place.root / "model"))
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
