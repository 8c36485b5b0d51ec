import itertools
import json
import threading
import time
from contextlib import ExitStack

import pytest

from quantroll.api.jobs import Arm, ConfirmInput, DataFile
from quantroll.constants import Reason
from quantroll_jobs import confirm, split, store
from quantroll_jobs.__main__ import execute
from quantroll_jobs.datafiles import ItemForm
from quantroll_jobs.digests import sha256_file
from quantroll_jobs.errors import JobError
from quantroll_jobs.evaluate import engine as engine_module
from quantroll_jobs.evaluate import interview
from quantroll_jobs.split import Part, place, read_part
from unit.jobs.fake_engine import FakeEngine
from unit.jobs.handmade import KEY, item, write_lines

ALL = 100
IN_PART = sum(place(f"i{n}")[0] is Part.CONFIRM for n in range(ALL))
ITEMS = 40
RIGHT = FakeEngine().answer


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(engine_module, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(engine_module, "POLL", 0.01)


@pytest.fixture
def engines():
    with ExitStack() as stack:
        yield [stack.enter_context(FakeEngine().serving()) for _ in range(2)]


@pytest.fixture
def source(tmp_path):
    return write_lines(tmp_path / "source.jsonl", *[item(n) for n in range(ALL)])


@pytest.fixture
def make(tmp_path, engines, source):
    def make(**changes):
        job = ConfirmInput(
            key=KEY,
            store=str(tmp_path),
            eval_set=DataFile(path=str(source), sha256=changes.pop("sha256", None)),
            items=ITEMS,
            scorer="ExactMatch",
            temperature=0,
            max_tokens=16,
            served_model="tiny",
            serving=Arm(revision="aaaaaaaaaa", endpoint=engines[0].url),
            target=Arm(revision="bbbbbbbbbb", endpoint=engines[1].url),
            concurrency=4,
            ready_timeout_seconds=5,
            request_timeout_seconds=5,
        )
        return ConfirmInput.model_validate(job.model_dump() | changes)

    return make


def _fails(job, reason, text, *, permanent):
    with pytest.raises(JobError, match=text) as caught:
        confirm.run(job)
    assert (caught.value.reason, caught.value.permanent) == (reason, permanent)
    assert store.finished(job) is None


def _prompts(engine):
    return [body["prompt"] for body in engine.asked()]


def _wrong(numbers, refused=()):
    def answer(body):
        number = int(body["prompt"].split()[-1][:-1])
        if number in refused:
            return 400
        return "wrong" if number in numbers else RIGHT(body)

    return answer


def _numbers(source, count):
    return [int(found.id[1:]) for found in read_part(source, ItemForm(), Part.CONFIRM, count)]


def test_a_graded_answer_counts_as_right_from_a_half_on(make, engines):
    job = make(scorer="F1", system_prompt=None)
    engines[0].answer = lambda body: f"{RIGHT(body).split()[0]} nothing"  # one of two words: one half
    engines[1].answer = lambda body: f"{RIGHT(body).split()[0]} nothing at all"
    result = confirm.run(job).confirm
    assert (result.both, result.serving_only, result.target_only, result.neither) == (0, ITEMS, 0, 0)


def test_items_that_the_scorer_cannot_judge(make, source):
    write_lines(source, *[item(n, expected="none") for n in range(ALL)])
    text = r"line \d+: expected must hold one number"
    _fails(make(scorer="NumericTolerance"), Reason.EVAL_SET_MALFORMED, text, permanent=True)


def test_both_are_asked_the_same_items_that_the_probe_never_uses(make, engines, source, tmp_path):
    job = make()
    result = execute(job).confirm
    assert (result.items, result.errors, result.both) == (ITEMS, 0, ITEMS)
    assert result.source_sha256 == sha256_file(source)
    asked = set(_prompts(engines[0]))
    assert sorted(_prompts(engines[0])) == sorted(_prompts(engines[1]))
    assert len(_prompts(engines[0])) == len(asked) == ITEMS
    probed = {found.prompt for found in read_part(source, ItemForm(), Part.PROBE, 10_000)}
    assert asked.isdisjoint(probed)
    assert asked == {f"Question {n}?" for n in _numbers(source, ITEMS)}
    assert store.finished(job).confirm == result
    folder = tmp_path / "confirmations"
    assert sorted(path.name for path in folder.rglob("*")) == sorted([KEY, "items.jsonl", "manifest.json"])
    lines = [json.loads(line) for line in (folder / KEY / "items.jsonl").read_text().splitlines()]
    assert len(lines) == ITEMS
    assert {(line["serving"]["outcome"], line["target"]["outcome"]) for line in lines} == {("right", "right")}
    assert execute(job).confirm == result
    assert len(engines[0].asked()) == ITEMS


def test_the_cells_and_the_errors(make, engines, source):
    a, b, c, d, e, f, g = _numbers(source, 7)
    engines[0].answer = _wrong({a, b, c}, refused={d, e})
    engines[1].answer = _wrong({c, e, f}, refused={d, g})
    result = confirm.run(make()).confirm
    assert (result.serving_only, result.target_only, result.neither) == (1, 2, 1)  # f; a and b; c
    assert (result.errors, result.items, result.both) == (3, ITEMS - 3, ITEMS - 7)  # d, e and g


def test_fewer_items_than_wanted(make):
    assert confirm.run(make(items=10_000)).confirm.items == IN_PART


def test_the_bound_holds_for_both_together(make, engines):
    lock, busy, most = threading.Lock(), [0], [0]

    def answer(body):
        with lock:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
        time.sleep(0.005)
        with lock:
            busy[0] -= 1
        return RIGHT(body)

    for engine in engines:
        engine.answer = answer
    confirm.run(make(concurrency=3))
    assert most[0] == 3


def test_a_kill_or_a_dead_engine_costs_only_what_was_in_flight(make, engines):
    numbers = itertools.count(1)  # of questions that are asked at once, each has its own

    def dying(body):
        if next(numbers) > 10:
            engines[1].health = 503
            return 500
        return RIGHT(body)

    engines[1].answer = dying
    job = make()
    _fails(job, Reason.ENGINE_FAILED, "the target revision bbbbbbbbbb answered before", permanent=False)
    engines[1].health, engines[1].answer = 200, RIGHT
    before = len(engines[1].asked())
    assert confirm.run(job).confirm.both == ITEMS
    assert len(engines[1].asked()) - before == ITEMS - 10
    assert ITEMS <= len(engines[0].asked()) <= ITEMS + job.concurrency


def test_answers_to_another_state_of_the_source_are_not_taken(make, engines, source):
    engines[1].answer = lambda _: 500
    job = make()
    looks = iter([200])
    engines[1].health = lambda: next(looks, 503)
    _fails(job, Reason.ENGINE_FAILED, "target", permanent=False)
    engines[1].health, engines[1].answer = 200, RIGHT
    write_lines(source, *[item(n, expected="something else") for n in range(ALL)])
    result = confirm.run(job).confirm
    assert (result.both, result.neither) == (0, ITEMS)


@pytest.mark.parametrize(("dead", "who"), [(0, "the serving revision aaaaaaaaaa"), (1, "the target revision bbbb")])
def test_one_that_is_not_ready(make, engines, dead, who):
    engines[dead].health = 503
    _fails(make(ready_timeout_seconds=0.1), Reason.ENGINE_NOT_READY, f"^{who}.*did not answer", permanent=True)
    assert engines[1 - dead].asked() == []


def test_a_target_that_nobody_listens_for(make):
    job = make(ready_timeout_seconds=0.1, target=Arm(revision="gone", endpoint="http://127.0.0.1:9"))
    _fails(job, Reason.ENGINE_NOT_READY, "^the target revision gone.*Cannot connect to host", permanent=True)


def test_the_source_is_missing(make, engines, source):
    source.unlink()
    _fails(make(), Reason.EVAL_SET_MISSING, "there is no file", permanent=True)
    assert engines[0].requests == []


def test_the_source_is_malformed(make, source):
    with source.open("a") as file:
        file.write("{")
    _fails(make(), Reason.EVAL_SET_MALFORMED, f"line {ALL + 1}: not JSON", permanent=True)


def test_the_source_is_not_what_was_prepared(make, source):
    job = make(sha256=sha256_file(source))
    assert confirm.run(job).confirm.items == ITEMS
    write_lines(source, *[item(n) for n in range(ALL + 1)])
    _fails(job.model_copy(update={"key": "c" * 64}), Reason.INPUT_CHANGED, "when prepared", permanent=True)


@pytest.mark.parametrize("torn", [False, True])
def test_the_source_changes_while_it_is_read(make, source, monkeypatch, torn):
    real = split.read_part

    def read_part(path, *args):
        write_lines(source, *[item(n) for n in range(ALL + 1)], *(["{"] if torn else []))
        return real(path, *args)

    monkeypatch.setattr(split, "read_part", read_part)
    _fails(make(), Reason.INPUT_CHANGED, "changed while it was read", permanent=False)


def test_too_few_items(make, source):
    numbers = [n for n in range(1000) if place(f"i{n}")[0] is Part.CONFIRM]
    write_lines(source, *[item(n) for n in numbers[:19]])
    _fails(make(), Reason.EVAL_SET_TOO_SMALL, "has 19 items for confirmations", permanent=True)
    write_lines(source, *[item(n) for n in numbers[:20]])
    assert confirm.run(make()).confirm.items == 20


def test_progress_is_said(make, engines, monkeypatch, capsys):
    monkeypatch.setattr(interview, "PROGRESS_INTERVAL", 0.02)

    def slow(body):
        time.sleep(0.01)
        return RIGHT(body)

    engines[0].answer = slow
    confirm.run(make())
    assert f" of {2 * ITEMS} questions after" in capsys.readouterr().out
