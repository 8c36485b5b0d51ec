import itertools
import json
import math

import pytest

from quantroll.api.jobs import DataFile, EvaluateInput
from quantroll.api.spec import Scoring
from quantroll_jobs import evaluate
from quantroll_jobs.asked import form_of
from quantroll_jobs.datafiles import DataError, Item, item_of
from quantroll_jobs.digests import sha256_file
from quantroll_jobs.evaluate import engine as engine_module
from quantroll_jobs.evaluate import likely
from quantroll_jobs.evaluate.engine import request_body
from unit.jobs.fake_engine import FakeEngine, Raw
from unit.jobs.handmade import KEY, write_lines

BY = {name: Scoring.model_validate({"multipleChoice": {"by": name}}) for name in ("Logprob", "LogprobPerByte")}
PROMPT = "The capital of Italy is"
CHOICES = ["Rome", "Paris", "a city far away"]


def _tokens(text):
    """Words with the blank before them, as most tokenizers cut; a last blank is a token of its own."""
    words = text.split(" ")
    return [f" {word}" if place else word for place, word in enumerate(words)]


def _reply(text, logprobs):
    """As vLLM echoes a completion of one token: the first token has no log probability."""
    tokens = ["<s>", *_tokens(text)]
    values = [None, *(logprobs.get(token.strip(), -5.0) for token in tokens[1:])]
    told = {"tokens": [*tokens, "!"], "token_logprobs": [*values, -0.1], "text_offset": [0] * (len(tokens) + 1)}
    return {"choices": [{"index": 0, "text": f"{text}!", "finish_reason": "length", "logprobs": told}]}


def _chosen(prompt, logprobs, by="Logprob", choices=CHOICES):
    body = {"prompt": prompt, "choices": choices, "by": by}
    echoes = [likely.echo_of(_reply(question["prompt"], logprobs)) for question in likely.questions(body)]
    return likely.most_likely(echoes, choices, per_byte=by == "LogprobPerByte")


def test_what_is_sent():
    first, second, *_ = likely.questions({"prompt": PROMPT, "choices": CHOICES})
    assert first == {"prompt": PROMPT, "temperature": 0, "max_tokens": 1, "echo": True, "logprobs": 1}
    assert second["prompt"] == "The capital of Italy is Rome"
    assert likely.questions({"prompt": "Q:\n", "choices": ["Rome"]})[1]["prompt"] == "Q:\nRome"


@pytest.mark.parametrize("prompt", [PROMPT, f"{PROMPT} "])
def test_the_choice_with_the_highest_log_probability(prompt):
    assert _chosen(prompt, {"Rome": -1, "Paris": -2}) == "Rome"
    assert _chosen(prompt, {"Rome": -3, "Paris": -2}) == "Paris"


def test_per_byte_a_long_choice_is_at_no_disadvantage():
    likely_words = dict.fromkeys(("a", "city", "far", "away"), -1.0)
    assert _chosen(PROMPT, likely_words | {"Rome": -3, "Paris": -3.5}) == "Rome"
    assert _chosen(PROMPT, likely_words | {"Rome": -3, "Paris": -3.5}, "LogprobPerByte") == "a city far away"


def test_the_first_of_equals():
    assert _chosen(PROMPT, {}, choices=["Paris", "Rome"]) == "Paris"


def _reference(scores, choices):
    """lm-eval's acc and acc_norm: argmax of the sums, and of the sums by the choice's length in bytes."""
    by_byte = [score / len(choice.encode()) for score, choice in zip(scores, choices, strict=True)]
    return choices[scores.index(max(scores))], choices[by_byte.index(max(by_byte))]


@pytest.mark.parametrize("values", list(itertools.permutations([-1.0, -2.5, -4.0])))
def test_as_lm_eval_does(values):
    words = dict(zip(("Rome", "Paris", "city"), values, strict=True)) | {"a": -0.2, "far": -0.2, "away": -0.2}
    sums = [values[0], values[1], math.fsum([values[2], -0.6])]
    assert (_chosen(PROMPT, words), _chosen(PROMPT, words, "LogprobPerByte")) == _reference(sums, CHOICES)


@pytest.mark.parametrize(
    "logprobs",
    [None, {}, {"tokens": ["a"], "token_logprobs": None}, {"tokens": ["a", "b"], "token_logprobs": [None]}],
)
def test_an_engine_without_log_probabilities(logprobs):
    with pytest.raises(ValueError, match="echoes no log probabilities"):
        likely.echo_of({"choices": [{"text": "x", "logprobs": logprobs}]})


@pytest.mark.parametrize("value", [None, float("-inf"), float("nan")])
def test_a_token_without_log_probability(value):
    with pytest.raises(ValueError, match="no log probability"):
        _chosen(PROMPT, {"Paris": value})


def test_only_where_it_is_asked_for():
    question = Item("1", PROMPT, (), "Rome", 1, choices=tuple(CHOICES))
    job = _job("/", "Answer")
    assert request_body(job, question) == {"prompt": PROMPT, "temperature": 0, "max_tokens": 16}
    body = request_body(_job("/", "Logprob"), question)
    assert body == {"prompt": PROMPT, "choices": CHOICES, "by": "Logprob"}


def test_an_item_needs_a_prompt():
    job = _job("/", "Logprob")
    chat = {"id": 1, "messages": [{"role": "user", "content": "?"}], "expected": "A", "choices": CHOICES}
    with pytest.raises(DataError, match="line 7: MultipleChoice by Logprob needs a prompt"):
        item_of(chat, 7, form_of(job.eval_set, job))
    with pytest.raises(DataError, match="needs choices"):
        item_of({"id": 1, "prompt": "?", "expected": "A"}, 7, form_of(job.eval_set, job))


def _job(path, by, **changes):
    return EvaluateInput(
        key=KEY,
        store=str(path),
        eval_set=DataFile(path=str(path)),
        scorer="MultipleChoice",
        scoring=BY.get(by),
        temperature=0,
        max_tokens=16,
        endpoint="http://127.0.0.1:9",
        served_model="tiny",
        concurrency=4,
        ready_timeout_seconds=5,
        request_timeout_seconds=5,
    ).model_copy(update=changes)


def test_a_whole_evaluation(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_module, "FIRST_PAUSE", 0.001)
    lines = [
        {"id": n, "prompt": f"{PROMPT} {n}:", "expected": "B" if n == 3 else "Rome", "choices": CHOICES}
        for n in range(6)
    ]
    path = write_lines(tmp_path / "eval.jsonl", *lines)
    with FakeEngine().serving() as engine:
        engine.answer = lambda body: Raw(json.dumps(_reply(body["prompt"], {"Rome": -1})).encode())
        file = DataFile(path=str(path), sha256=sha256_file(path))
        result = evaluate.run(_job(tmp_path, "Logprob", eval_set=file, endpoint=engine.url)).evaluate
        asked = engine.asked()
    assert (result.items, result.correct, result.errors) == (6, 5, 0)
    assert len(asked) == 6 * (1 + len(CHOICES))


def test_an_engine_that_cannot_says_so_in_the_items_error(tmp_path, monkeypatch):
    monkeypatch.setattr(engine_module, "FIRST_PAUSE", 0.001)
    line = {"id": 1, "prompt": PROMPT, "expected": "Rome", "choices": CHOICES}
    path = write_lines(tmp_path / "eval.jsonl", line)
    with FakeEngine().serving() as engine:
        engine.answer = lambda _: "Rome"
        file = DataFile(path=str(path), sha256=sha256_file(path))
        result = evaluate.run(_job(tmp_path, "Logprob", eval_set=file, endpoint=engine.url)).evaluate
    assert (result.correct, result.errors) == (0, 1)
    stored = json.loads((tmp_path / "evaluations" / KEY / "items.jsonl").read_text())
    assert "echoes no log probabilities" in stored["error"]
