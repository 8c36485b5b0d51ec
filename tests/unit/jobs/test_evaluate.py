import json
import socket
import time
import urllib.request
from contextlib import nullcontext
from datetime import UTC, datetime

import pytest

from quantroll.adapters.engines import parse_progress
from quantroll.api.jobs import DataFile, EvaluateInput
from quantroll.constants import Reason
from quantroll_jobs import evaluate, store
from quantroll_jobs.__main__ import execute
from quantroll_jobs.digests import sha256_file
from quantroll_jobs.errors import JobError
from quantroll_jobs.evaluate import bounded, interview, record
from quantroll_jobs.evaluate import engine as engine_module
from quantroll_jobs.evaluate.answers import PARTIAL, Answer, Outcome, read_answers
from quantroll_jobs.evaluate.metrics import told_on
from unit.jobs.fake_engine import RESET, FakeEngine, Raw
from unit.jobs.handmade import KEY, OTHER_KEY, item, write_lines

ITEMS = 20


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(engine_module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(engine_module, "POLL", 0.01)


@pytest.fixture
def engine():
    with FakeEngine().serving() as fake:
        yield fake


@pytest.fixture
def make(tmp_path, engine):
    def make(**changes):
        path = write_lines(tmp_path / "eval.jsonl", *changes.pop("items", [item(n) for n in range(ITEMS)]))
        job = EvaluateInput(
            key=KEY,
            store=str(tmp_path),
            eval_set=DataFile(path=str(path), sha256=sha256_file(path)),
            scorer="ExactMatch",
            temperature=0,
            max_tokens=16,
            endpoint=engine.url,
            served_model="tiny",
            concurrency=4,
            ready_timeout_seconds=5,
            request_timeout_seconds=5,
        )
        return EvaluateInput.model_validate(job.model_dump() | changes)

    return make


def _fails(job, reason, text, *, permanent):
    with pytest.raises(JobError, match=text) as caught:
        evaluate.run(job)
    assert caught.value.reason is reason
    assert caught.value.permanent is permanent
    assert store.finished(job) is None


def _partial(job):
    return store.result_folder(store.Path(job.store), "evaluate", job.key).with_name(f"{KEY}.tmp-answers") / PARTIAL


def test_all_right(make, engine, tmp_path):
    job = make()
    result = evaluate.run(job).evaluate
    assert (result.items, result.correct, result.errors, result.truncated) == (ITEMS, ITEMS, 0, 0)
    assert (result.engine_version, result.both, result.prompts_match) == ("1.2.3", None, None)
    assert store.finished(job).evaluate == result
    assert len(engine.asked()) == ITEMS
    sent = dict(engine.asked()[0])
    assert sent.pop("prompt").startswith("Question")
    assert sent == {
        "path": "/v1/completions",
        "model": "tiny",
        "temperature": 0,
        "max_tokens": 16,
        "return_token_ids": True,
    }
    answers = list(read_answers(tmp_path / "evaluations" / KEY / "items.jsonl"))
    assert [answer.id for answer in answers] == [f"i{n}" for n in range(ITEMS)]
    assert sorted(p.name for p in (tmp_path / "evaluations").rglob("*")) == sorted(
        [KEY, "items.jsonl", "manifest.json", "record.json"]
    )


def test_the_record_says_what_was_verified_and_its_digest_is_reported(make, tmp_path):
    subject = {"name": "int8", "artifact": {"digest": "a" * 64}, "engine": {"image": "example.com/vllm@sha256:1"}}
    result = evaluate.run(make(subject=subject)).evaluate
    folder = tmp_path / "evaluations" / KEY
    assert result.record == sha256_file(folder / "record.json")
    found = json.loads((folder / "record.json").read_text())
    assert (found["version"], found["subject"]) == (1, subject)
    assert found["questions"]["evalSet"]["sha256"] == sha256_file(tmp_path / "eval.jsonl")
    assert (found["questions"]["scorer"], found["questions"]["maxTokens"]) == ("ExactMatch", 16)
    assert (found["counts"]["correct"], found["counts"]["promptsDigest"]) == (ITEMS, result.prompts_digest)
    assert found["answers"] == {"file": "items.jsonl", "sha256": sha256_file(folder / "items.jsonl")}
    assert found["client"].keys() == {"version", "python", "machine"}
    assert found["gpu"] == record.gpu()
    assert datetime.fromisoformat(found["at"]) <= datetime.now(UTC)
    assert json.loads((folder / "manifest.json").read_text())["report"]["evaluate"]["record"] == result.record


@pytest.mark.parametrize(
    ("version", "driver"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19 01:15:15 UTC 2023", "535.104.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.15  Release Build", "570.86.15"),
        ("something else", None),
    ],
)
def test_gpu_and_driver_of_the_node(tmp_path, version, driver):
    (tmp_path / "version").write_text(f"{version}\nGCC version:  gcc version 12.2.0\n")
    for bus, model in (("0000:01:00.0", "NVIDIA H200"), ("0000:02:00.0", "NVIDIA H200"), ("0000:03:00.0", "NVIDIA L4")):
        folder = tmp_path / "gpus" / bus
        folder.mkdir(parents=True)
        (folder / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t\t 18\n")
    assert record.gpu(tmp_path) == {"driver": driver, "models": ["NVIDIA H200", "NVIDIA L4"]}


def test_no_gpu(tmp_path):
    assert record.gpu(tmp_path / "nothing") is None


def test_a_sample_is_asked_twice_to_tell_what_changes_by_itself(make, engine):
    times = {}

    def unsteady(body):
        prompt = body["prompt"]
        times[prompt] = times.get(prompt, 0) + 1
        if prompt == "Question 4?" and times[prompt] == 2:
            return "something else"
        return 400 if prompt == "Question 8?" and times[prompt] == 2 else FakeEngine().answer(body)

    engine.answer = unsteady
    job = make(noise_items=5)
    result = evaluate.run(job).evaluate
    assert (result.items, result.correct, result.errors) == (ITEMS, ITEMS, 0)
    assert (result.noise_items, result.noise_flips) == (4, 1)
    assert len(engine.asked()) == ITEMS + 5
    stored = store.result_folder(store.Path(job.store), "evaluate", KEY) / "items.jsonl"
    assert len(list(read_answers(stored))) == ITEMS


def test_more_is_asked_twice_than_there_is(make, engine):
    result = evaluate.run(make(noise_items=1000)).evaluate
    assert (result.noise_items, result.noise_flips) == (ITEMS, 0)


def test_white_space_around_an_answer_does_not_count(make, engine):
    engine.answer = lambda body: f"\n answer {body['prompt'].split()[-1][:-1]} "
    assert evaluate.run(make()).evaluate.correct == ITEMS


def test_messages_are_asked_as_chat(make, engine):
    engine.answer = lambda _: "yes"
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    assert evaluate.run(make(items=[{"id": 1, "messages": messages, "expected": "yes"}])).evaluate.correct == 1
    assert engine.asked()[0]["messages"] == messages
    assert engine.asked()[0]["path"] == "/v1/chat/completions"


def test_a_system_prompt_goes_before_the_messages(make, engine):
    engine.answer = lambda _: "yes"
    chat = {"id": 1, "messages": [{"role": "user", "content": "u"}], "expected": "yes"}
    assert evaluate.run(make(items=[chat], system_prompt="Be brief.")).evaluate.correct == 1
    assert engine.asked()[0]["messages"] == [{"role": "system", "content": "Be brief."}, *chat["messages"]]


def _ids_of(body):
    """A prompt's token ids, as vLLM tells them: of a completion in the choice, of a chat at the top."""
    return [ord(letter) for letter in str(body.get("prompt") or body["messages"])]


def _with_ids(body, text="yes", ids=_ids_of):
    message = {"message": {"role": "assistant", "content": text}} if "messages" in body else {"text": text}
    told = {"prompt_token_ids": ids(body)} if body.get("return_token_ids") else {}
    inside, outside = ({}, told) if "messages" in body else (told, {})
    choice = {"index": 0, "finish_reason": "stop", **message, **inside}
    return Raw(
        json.dumps({"id": "x", "object": "o", "created": 1, "model": "m", "choices": [choice], **outside}).encode()
    )


CHAT = [{"id": n, "messages": [{"role": "user", "content": f"u{n}"}], "expected": "yes"} for n in range(3)]


@pytest.mark.parametrize("items", [CHAT, [item(n) for n in range(3)]])
def test_the_prompt_is_known_by_its_token_ids(make, engine, items, tmp_path):
    engine.answer = _with_ids
    first = evaluate.run(make(key=OTHER_KEY, items=items)).evaluate
    stored = list(read_answers(tmp_path / "evaluations" / OTHER_KEY / "items.jsonl"))
    assert len({answer.prompt for answer in stored}) == 3
    same = evaluate.run(make(items=items, baseline_key=OTHER_KEY)).evaluate
    assert same.prompts_match
    assert same.prompts_digest == first.prompts_digest


def test_another_tokenizer_or_template_is_another_prompt(make, engine):
    engine.answer = _with_ids
    evaluate.run(make(key=OTHER_KEY, items=CHAT))
    engine.answer = lambda body: _with_ids(body, ids=lambda body: [1, *_ids_of(body)])
    assert evaluate.run(make(items=CHAT, baseline_key=OTHER_KEY)).evaluate.prompts_match is False


@pytest.mark.parametrize("ids", [None, [], "x", [1, "x"]])
def test_token_ids_that_are_none(make, engine, ids, tmp_path):
    engine.answer = lambda body: _with_ids(body, ids=lambda _: ids)
    evaluate.run(make(items=CHAT))
    assert {answer.prompt for answer in read_answers(tmp_path / "evaluations" / KEY / "items.jsonl")} == {""}


def test_an_engine_that_refuses_the_question_for_token_ids(make, engine):
    engine.answer = lambda body: 400 if "return_token_ids" in body else FakeEngine().answer(body)
    engine.warm_up = lambda body: 422 if "return_token_ids" in body else "!"
    result = evaluate.run(make()).evaluate
    assert (result.correct, result.errors) == (ITEMS, 0)


def test_repeats(make, engine, tmp_path):
    asked = {}

    def every_other(body):
        asked[body["prompt"]] = asked.get(body["prompt"], 0) + 1
        return FakeEngine().answer(body) if asked[body["prompt"]] % 2 else "wrong"

    engine.answer = every_other
    result = evaluate.run(make(repeats=3, concurrency=1)).evaluate
    assert set(asked.values()) == {3}
    assert (result.items, result.correct, result.score) == (ITEMS, ITEMS, pytest.approx(2 / 3))
    stored = list(read_answers(tmp_path / "evaluations" / KEY / "items.jsonl"))
    assert [(answer.id, answer.repeat) for answer in stored[:4]] == [("i0", 0), ("i0", 1), ("i0", 2), ("i1", 0)]


def test_repeats_go_on_where_a_killed_job_was(make, engine):
    job = make(repeats=2)
    path = _partial(job)
    path.parent.mkdir(parents=True)
    request = engine_module.request_digest({"prompt": "Question 3?", "temperature": 0.0, "max_tokens": 16})
    done = Answer(id="i3", repeat=1, request=request, outcome=Outcome.WRONG)
    path.write_text(done.model_dump_json() + "\n")
    result = evaluate.run(job).evaluate
    assert len(engine.asked()) == 2 * ITEMS - 1
    assert result.score == pytest.approx((ITEMS - 0.5) / ITEMS)


def test_a_graded_scorer_with_slices_and_clusters(make, engine, tmp_path):
    lines = [item(n, topic="ab"[n % 2], doc=n // 4, expected=f"answer {n}") for n in range(ITEMS)]
    fields = {"slice_field": "topic", "cluster_field": "doc"}
    settings = {"items": lines, "scorer": "F1", "also_report": ["ExactMatch", "NumericTolerance"]}

    def run(**changes):
        job = make(**settings, **changes)
        return evaluate.run(job.model_copy(update={"eval_set": job.eval_set.model_copy(update=fields)})).evaluate

    base = run(key=OTHER_KEY)
    assert (base.score, base.correct) == (1, ITEMS)
    engine.answer = lambda _: "answer 4"  # half of the words of all others
    result = run(baseline_key=OTHER_KEY)
    assert (result.score, result.both) == (pytest.approx((ITEMS - 1) / ITEMS / 2 + 1 / ITEMS), ITEMS)
    groups, x, y, *_, nn = result.moments
    assert (groups, x, y, nn) == (5, ITEMS, pytest.approx(10.5), 5 * 16)
    assert [(part.name, part.cells[0], part.moments[2]) for part in result.slices] == [("a", 10, 5.5), ("b", 10, 5)]
    told = [(each.scorer, each.score, each.baseline_score) for each in result.informing]
    assert told == [("ExactMatch", 0.05, 1), ("NumericTolerance", 0.05, 1)]
    stored = read_answers(tmp_path / "evaluations" / KEY / "items.jsonl")
    assert {answer.id: answer.cluster for answer in stored} == {f"i{n}": str(n // 4) for n in range(ITEMS)}


def test_truncated_and_empty_answers(make, engine):
    engine.answer = lambda _: (None, "length")
    chat = [{"id": n, "messages": [{"role": "user", "content": f"u{n}"}], "expected": "yes"} for n in range(3)]
    result = evaluate.run(make(items=chat)).evaluate
    assert (result.correct, result.truncated, result.empty, result.errors, result.mean_length) == (0, 3, 3, 0, 0)


@pytest.mark.parametrize(
    "fault",
    [500, 503, 429, None, RESET, Raw(b"{"), Raw(b"<html>", "text/html"), Raw(b'{"choices": []}'), Raw(b"null")],
)
def test_a_passing_fault_is_tried_again(make, engine, fault):
    seen = set()

    def flaky(body):
        if body["prompt"] in seen:
            return FakeEngine().answer(body)
        seen.add(body["prompt"])
        return fault

    engine.answer = flaky
    result = evaluate.run(make()).evaluate
    assert (result.correct, result.errors) == (ITEMS, 0)
    assert len(engine.asked()) == 2 * ITEMS


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Raw(b"<html>\n Bad  Gateway", "text/html", 400), "HTTP 400: <html> Bad Gateway"),
        (Raw(b'{"detail": "no"}', status=422), 'HTTP 422: {"detail": "no"}'),
        (Raw(b"", status=400), "HTTP 400"),
        (Raw(b"[" * 100_000, status=400), "HTTP 400: " + "[" * 290),
        (Raw(b"\xff" * 5, status=301), "HTTP 301: " + "\ufffd" * 5),
        (Raw(b" ", status=400, encoding="gzip"), "HTTP 400: the reply is packed (gzip), which was not asked for"),
    ],
)
def test_what_an_engine_says_beside_a_status(make, engine, tmp_path, reply, said):
    engine.answer = lambda body: reply if body["prompt"] == "Question 3?" else FakeEngine().answer(body)
    assert evaluate.run(make()).evaluate.errors == 1
    stored = read_answers(tmp_path / "evaluations" / KEY / "items.jsonl")
    assert [answer.error for answer in stored if answer.error] == [said]


def test_questions_share_connections(make, engine, monkeypatch):
    monkeypatch.setattr(engine_module, "_KEPT", 600)  # a busy machine may pause for longer than an engine waits
    assert evaluate.run(make(concurrency=1)).evaluate.correct == ITEMS
    assert len(engine.peers) == ITEMS + 1
    assert len(set(engine.peers)) == 1


def test_half_of_a_surrogate_pair_in_an_answer(make, engine):
    engine.answer = lambda _: "\ud83d"
    assert evaluate.run(make()).evaluate.correct == 0


def test_a_refused_item_counts_as_wrong_and_is_counted_apart(make, engine, tmp_path):
    engine.answer = lambda body: 400 if "3?" in body["prompt"] else FakeEngine().answer(body)
    result = evaluate.run(make()).evaluate
    assert (result.items, result.correct, result.errors) == (ITEMS, ITEMS - 2, 2)  # 3 and 13
    assert len(engine.asked()) == ITEMS
    stored = read_answers(tmp_path / "evaluations" / KEY / "items.jsonl")
    assert {answer.error for answer in stored if answer.outcome is Outcome.ERROR} == {"HTTP 400: status 400"}


def test_an_item_that_never_gets_an_answer(make, engine):
    engine.answer = lambda body: 500 if body["prompt"] == "Question 3?" else FakeEngine().answer(body)
    result = evaluate.run(make()).evaluate
    assert (result.correct, result.errors) == (ITEMS - 1, 1)
    assert len(engine.asked()) == ITEMS - 1 + engine_module.ATTEMPTS


def test_a_reply_that_is_too_long_is_an_error_of_its_item(make, engine, monkeypatch):
    monkeypatch.setattr(bounded, "LONGEST", 2000)
    monkeypatch.setattr(engine_module, "ATTEMPTS", 1)
    engine.answer = lambda body: "x" * 5000 if body["prompt"] == "Question 3?" else FakeEngine().answer(body)
    result = evaluate.run(make()).evaluate
    assert (result.correct, result.errors) == (ITEMS - 1, 1)


def test_an_engine_that_greets_without_an_end_is_not_ready(make, engine, monkeypatch):
    monkeypatch.setattr(bounded, "LONGEST", 2000)
    engine.warm_up = "x" * 5000
    _fails(make(ready_timeout_seconds=0.1), Reason.ENGINE_NOT_READY, "the reply is longer than", permanent=True)


def test_a_request_has_a_deadline(make, engine, monkeypatch):
    monkeypatch.setattr(engine_module, "ATTEMPTS", 1)

    def slow(body):
        time.sleep(3 if body["prompt"] == "Question 3?" else 0)
        return FakeEngine().answer(body)

    engine.answer = slow
    result = evaluate.run(make(request_timeout_seconds=1)).evaluate
    assert (result.correct, result.errors) == (ITEMS - 1, 1)


def test_an_engine_that_dies_gives_no_wrong_answers(make, engine):
    def dying(body):
        if len(engine.asked()) > 8:
            engine.health = 503
            return 500
        return FakeEngine().answer(body)

    engine.answer = dying
    job = make()
    _fails(job, Reason.ENGINE_FAILED, "answered before and does not any more", permanent=False)
    kept = list(read_answers(_partial(job)))
    assert len(kept) == 8
    assert {answer.outcome for answer in kept} == {"right"}
    engine.health, engine.answer = 200, FakeEngine().answer
    before = len(engine.asked())
    assert evaluate.run(job).evaluate.correct == ITEMS
    assert len(engine.asked()) - before == ITEMS - 8


def test_an_engine_that_answers_nothing_although_healthy(make, engine, monkeypatch):
    monkeypatch.setattr(interview, "FAILURES_IN_A_ROW", 6)
    engine.answer = lambda _: 500
    _fails(make(), Reason.ENGINE_FAILED, r"\d items in a row got no answer", permanent=False)


def test_errors_are_asked_again_by_the_next_attempt(make, engine, tmp_path):
    job = make()
    path = _partial(job)
    path.parent.mkdir(parents=True)
    done = {
        n: engine_module.request_digest({"prompt": f"Question {n}?", "temperature": 0.0, "max_tokens": 16})
        for n in range(4)
    }
    answers = [Answer(id=f"i{n}", request=digest, outcome=Outcome.RIGHT) for n, digest in done.items()]
    answers[1] = answers[1].model_copy(update={"outcome": Outcome.ERROR})
    answers[2] = answers[2].model_copy(update={"request": "of another prompt"})
    path.write_text("".join(answer.model_dump_json() + "\n" for answer in answers) + '{"id": "i9", "requ')
    result = evaluate.run(job).evaluate
    assert (result.correct, result.errors) == (ITEMS, 0)
    prompts = {body["prompt"] for body in engine.asked()}
    assert len(engine.asked()) == len(prompts) == ITEMS - 2
    assert prompts.isdisjoint({"Question 0?", "Question 3?"})


def _run_as_a_job(job):
    return execute(job).evaluate


def test_a_result_in_which_requests_failed_is_taken_up_again(make, engine):
    engine.answer = _answers_with(refused={5, 6}, wrong={1})
    assert _run_as_a_job(make()).errors == 2
    engine.answer, before = _answers_with(), len(engine.asked())
    result = _run_as_a_job(make())
    assert (result.errors, result.correct) == (0, ITEMS - 1)
    assert len(engine.asked()) - before == 2
    assert store.finished(make()).evaluate == result
    assert _run_as_a_job(make()) == result
    assert len(engine.asked()) - before == 2


def test_what_was_compared_with_a_disturbed_baseline_is_joined_again(make, engine):
    base, variant = make(key=OTHER_KEY), make(baseline_key=OTHER_KEY)
    engine.answer = _answers_with(refused={5, 6})
    _run_as_a_job(base)
    engine.answer = _answers_with()
    disturbed = _run_as_a_job(variant)
    assert (disturbed.baseline_errors, disturbed.gain) == (2, 2)
    _run_as_a_job(base)
    before = len(engine.asked())
    joined = _run_as_a_job(variant)
    assert (joined.baseline_errors, joined.gain) == (0, 0)
    assert len(engine.asked()) == before


def test_an_engine_that_never_comes(make, engine):
    engine.health = 503
    _fails(
        make(ready_timeout_seconds=0.1),
        Reason.ENGINE_NOT_READY,
        "did not answer within 0 s; last: .*503",
        permanent=True,
    )


def test_healthy_is_not_ready(make, engine):
    engine.warm_up = 500
    _fails(make(ready_timeout_seconds=0.1), Reason.ENGINE_NOT_READY, "did not answer within .*500", permanent=True)
    assert engine.asked() == []


def test_an_engine_that_refuses_the_model(make, engine):
    engine.warm_up = 404
    started = time.monotonic()
    said = "refuses a completion: HTTP 404: status 404$"
    _fails(make(ready_timeout_seconds=60), Reason.ENGINE_NOT_READY, said, permanent=True)
    assert time.monotonic() - started < 30


def test_an_engine_without_health_is_not_ready_and_refuses_nothing(make, engine):
    engine.health = 404
    said = "did not answer within 0 s; last: .*/health said HTTP 404$"
    _fails(make(ready_timeout_seconds=0.1), Reason.ENGINE_NOT_READY, said, permanent=True)


def test_nobody_listens(make):
    job = make(ready_timeout_seconds=0.1, endpoint="http://127.0.0.1:9")
    _fails(job, Reason.ENGINE_NOT_READY, "did not answer within .*Cannot connect to host 127", permanent=True)


def test_an_engine_that_comes_late(make, engine):
    looks = iter([503, 503, 503])
    engine.health = lambda: next(looks, 200)
    assert evaluate.run(make()).evaluate.correct == ITEMS


def test_the_eval_set_has_changed(make, tmp_path):
    job = make()
    write_lines(tmp_path / "eval.jsonl", item(1))
    _fails(job, Reason.INPUT_CHANGED, "when prepared", permanent=True)


def test_the_eval_set_is_gone(make, tmp_path):
    job = make()
    (tmp_path / "eval.jsonl").unlink()
    _fails(job, Reason.INPUT_CHANGED, "the file is gone", permanent=True)


def _answers_with(wrong=(), refused=()):
    def answer(body):
        number = int(body["prompt"].split()[-1][:-1])
        if number in refused:
            return 400
        return "wrong" if number in wrong else FakeEngine().answer(body)

    return answer


def test_the_four_cells(make, engine):
    engine.answer = _answers_with(wrong={1, 2})
    evaluate.run(make(key=OTHER_KEY))
    engine.answer = _answers_with(wrong={2, 3, 4}, refused={5})
    result = evaluate.run(make(baseline_key=OTHER_KEY, served_model="other name")).evaluate
    assert (result.both, result.harm, result.gain, result.neither) == (ITEMS - 5, 3, 1, 1)
    assert (result.prompts_match, result.baseline_errors, result.errors) == (True, 0, 1)
    assert result.correct == result.both + result.gain


@pytest.mark.parametrize("changes", [{"max_tokens": 17}, {"temperature": 0.5}, {"items": [item(1)]}])
def test_prompts_that_differ(make, changes):
    evaluate.run(make(key=OTHER_KEY))
    result = evaluate.run(make(baseline_key=OTHER_KEY, **changes)).evaluate
    assert result.prompts_match is False


def test_the_digest_of_prompts_does_not_depend_on_order_or_name(make):
    first = evaluate.run(make(key=OTHER_KEY)).evaluate
    turned = [item(n) for n in reversed(range(ITEMS))]
    assert evaluate.run(make(items=turned, served_model="x")).evaluate.prompts_digest == first.prompts_digest


def test_no_answers_of_the_baseline(make, engine):
    _fails(make(baseline_key=OTHER_KEY), Reason.BASELINE_RESULTS_MISSING, "evaluate the baseline again", permanent=True)
    assert engine.requests == []


def test_damaged_answers_of_the_baseline(make, tmp_path):
    folder = tmp_path / "evaluations" / OTHER_KEY
    folder.mkdir(parents=True)
    (folder / "items.jsonl").write_text(json.dumps({"id": 1}) + "\n")
    _fails(make(baseline_key=OTHER_KEY), Reason.BASELINE_RESULTS_MISSING, "cannot be read", permanent=True)


def test_progress_is_told_on_a_port_while_questions_are_asked():
    done = iter([3, 8])
    with told_on(0, 10, lambda: next(done)) as port:
        pages = [urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5).read().decode() for _ in "ab"]
        with socket.socket() as taken:
            taken.bind(("0.0.0.0", 0))
            taken.listen()
            with told_on(taken.getsockname()[1], 10, lambda: 0) as none:
                assert none is None
    assert [parse_progress(page) for page in pages] == [0.3, 0.8]
    with told_on(None, 10, lambda: 0) as none:
        assert none is None


def test_an_evaluation_tells_its_progress(make, engine, monkeypatch):
    seen = []

    def looked_at(port, total, answered):
        seen.append((port, total, answered))
        return nullcontext()

    monkeypatch.setattr(evaluate, "told_on", looked_at)
    evaluate.run(make(progress_port=9401, repeats=2))
    ((port, total, answered),) = seen
    assert (port, total, answered()) == (9401, 2 * ITEMS, 2 * ITEMS)


def test_progress_is_said(make, engine, monkeypatch, capsys):
    monkeypatch.setattr(interview, "PROGRESS_INTERVAL", 0.05)

    def slow(body):
        time.sleep(0.05)
        return FakeEngine().answer(body)

    engine.answer = slow
    evaluate.run(make())
    out = capsys.readouterr().out
    assert "is ready after" in out
    assert f" of {ITEMS} questions after" in out
