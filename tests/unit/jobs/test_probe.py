"""The prober against engines that fail in every way, in this process and as a process."""

import asyncio
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest

import quantroll
import quantroll_jobs
from quantroll.api.jobs import EXIT_BAD_INPUT, Arm, DataFile, ProbeInput
from quantroll_jobs.datafiles import ItemForm
from quantroll_jobs.evaluate import bounded
from quantroll_jobs.probe import exporter as exporter_module
from quantroll_jobs.probe import prober as prober_module
from quantroll_jobs.probe.exporter import Exporter
from quantroll_jobs.probe.prober import Prober
from quantroll_jobs.split import Part, place, read_part
from unit.jobs.fake_engine import RESET, FakeEngine, Raw
from unit.jobs.handmade import item, write_lines
from unit.jobs.test_probe_parts import items_of, pairs, value

ROOTS = [str(Path(module.__file__).parents[1]) for module in (quantroll, quantroll_jobs)]
ALL = 40
STABLE, CANDIDATE = "aaaaaaaaaa", "bbbbbbbbbb"
RIGHT = FakeEngine().answer
FAST = 360_000  # an hour: a question every 10 ms


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(exporter_module, "PATIENCE", 0)
    monkeypatch.setattr(prober_module, "LOOK_INTERVAL", 0.02)


@pytest.fixture
def engines():
    with ExitStack() as stack:
        yield [stack.enter_context(FakeEngine().serving()) for _ in range(2)]


@pytest.fixture
def source(tmp_path):
    return write_lines(tmp_path / "source.jsonl", *[item(n) for n in range(ALL)])


@pytest.fixture
def make(engines, source):
    def make(count=2, **changes):
        job = ProbeInput(
            namespace="team-a",
            name="triage",
            source=DataFile(path=str(source)),
            items_per_hour=FAST,
            scorer="ExactMatch",
            temperature=0,
            max_tokens=16,
            request_timeout_seconds=5,
            targets=[
                Arm(revision=STABLE, endpoint=engines[0].url),
                Arm(revision=CANDIDATE, endpoint=engines[1].url),
            ][:count],
        )
        return ProbeInput.model_validate(job.model_dump() | changes)

    return make


def probe(job, *steps):
    """Run the prober until each condition in turn is met; it must be running still. Gives its exporter."""
    exporter = Exporter(job)

    async def run():
        prober = Prober(job, exporter)
        task = asyncio.create_task(prober.run())
        try:
            async with asyncio.timeout(40):
                for step in steps:
                    while not step(exporter):
                        assert not task.done(), task.exception()
                        await asyncio.sleep(0.005)
            assert prober.is_alive()
            assert not task.done()
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    asyncio.run(run())
    return exporter


def ended(exporter, revision):
    return sum(items_of(exporter, revision, outcome) for outcome in ("pass", "fail", "error"))


def asked(count, revision=STABLE):
    return lambda exporter: ended(exporter, revision) >= count


def _prompts(engine):
    return [body["prompt"] for body in engine.requests]


def test_both_are_asked_the_same_in_turn(make, engines, source):
    items = {found.prompt for found in read_part(source, ItemForm(), Part.PROBE, 1000)}
    exporter = probe(make(), asked(2 * len(items) + 1))
    prompts = _prompts(engines[0])
    count = min(len(prompts), len(_prompts(engines[1])))
    assert prompts[:count] == _prompts(engines[1])[:count]
    for start in range(len(items)):
        assert set(prompts[start : start + len(items)]) == items  # any rotation has every item once
    assert value(exporter, "quantroll_probe_source_items") == len(items)
    assert value(exporter, "quantroll_probe_source_ok") == 1
    sent = engines[0].requests[0]
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == ("triage", 0, 16)
    answered = items_of(exporter, STABLE, "pass")
    assert answered == ended(exporter, STABLE) == pairs(exporter, "both")
    assert value(exporter, "quantroll_probe_requests_total", revision=STABLE, status="2xx") == answered


def test_a_graded_answer_counts_as_right_from_a_half_on(make, engines):
    engines[0].answer = lambda _: "answer nothing"  # one of two words
    engines[1].answer = lambda _: "answer nothing at all"
    exporter = probe(make(scorer="F1"), asked(5), asked(5, CANDIDATE))
    assert items_of(exporter, STABLE, "pass") == ended(exporter, STABLE)
    assert items_of(exporter, CANDIDATE, "fail") == ended(exporter, CANDIDATE)


def test_another_slice_field_and_a_system_prompt(make, engines, source):
    probed = next(name for name in map(str, range(100)) if place(name)[0] is Part.PROBE)
    chat = {"id": probed, "messages": [{"role": "user", "content": "u"}], "expected": "yes", "topic": "t"}
    write_lines(source, chat)
    file = DataFile(path=str(source), slice_field="topic")
    engines[0].answer = lambda _: "x"

    def counted(exporter):
        return ("t" in exporter._labels.values()) and items_of(exporter, STABLE, "fail", "t") >= 2

    probe(make(1, source=file, system_prompt="Be brief."), counted)
    assert engines[0].requests[0]["messages"][0] == {"role": "system", "content": "Be brief."}


def test_wrong_answers_and_pairs(make, engines):
    engines[1].answer = lambda _: "wrong"
    exporter = probe(make(), asked(5))
    assert items_of(exporter, CANDIDATE, "fail") == ended(exporter, CANDIDATE) == pairs(exporter, "harm") >= 5


def test_every_question_has_a_connection_of_its_own(make, engines):
    """So that a Service spreads them over its pods."""
    probe(make(), asked(5))
    for engine in engines:
        assert len(set(engine.peers)) == len(engine.peers) >= 5


def test_one_target(make, engines):
    exporter = probe(make(count=1), asked(5))
    assert items_of(exporter, STABLE, "pass") >= 5
    assert engines[1].requests == []


FAULTS = {
    "500": (500, "5xx"),
    "503": (503, "5xx"),
    "404": (404, "4xx"),
    "429": (429, "4xx"),
    "hangs up": (None, "none"),
    "resets": (RESET, "none"),
    "half a reply": (Raw(b'{"choices": ['), "2xx"),
    "HTML": (Raw(b"<html><body>Welcome</body></html>", "text/html"), "2xx"),
    "HTML as an error": (Raw(b"<html>", "text/html", 502), "5xx"),
    "no choices": (Raw(b'{"choices": []}'), "2xx"),
    "null choices": (Raw(b'{"choices": null}'), "2xx"),
    "null": (Raw(b"null"), "2xx"),
    "a list": (Raw(b"[1]"), "2xx"),
    "no text": (Raw(b'{"choices": [{"text": {"a": 1}}]}'), "2xx"),
    "empty": (Raw(b""), "2xx"),
    "not UTF-8": (Raw(b"\xff\xfe\x00"), "2xx"),
    "deep": (Raw(b"[" * 100_000), "2xx"),
}


@pytest.mark.parametrize(("fault", "status"), FAULTS.values(), ids=FAULTS)
def test_an_engine_that_fails_is_asked_once_a_slot_and_is_no_wrong_answer(make, engines, fault, status):
    engines[1].answer = lambda _: fault
    exporter = probe(make(), asked(5))
    failed = items_of(exporter, CANDIDATE, "error")
    assert failed == ended(exporter, CANDIDATE) == ended(exporter, STABLE) == items_of(exporter, STABLE, "pass") >= 5
    assert value(exporter, "quantroll_probe_requests_total", revision=CANDIDATE, status=status) == failed
    assert failed <= len(engines[1].requests) <= failed + 1  # one may be in flight
    assert pairs(exporter, "both") == pairs(exporter, "harm") == 0
    assert value(exporter, "quantroll_probe_last_answer_timestamp_seconds", revision=CANDIDATE) == 0


@pytest.mark.parametrize(
    "reply", [Raw(b"{" + b" " * 3000 + b"}"), Raw(gzip.compress(b" " * 10**6), encoding="gzip")], ids=["long", "packed"]
)
def test_a_reply_without_an_end_fills_no_memory_and_is_an_error(make, engines, reply, monkeypatch):
    monkeypatch.setattr(bounded, "LONGEST", 2000)
    engines[1].answer = lambda _: reply
    exporter = probe(make(), asked(3))
    failed = items_of(exporter, CANDIDATE, "error")
    assert failed >= 3
    assert value(exporter, "quantroll_probe_requests_total", revision=CANDIDATE, status="2xx") == failed
    assert items_of(exporter, STABLE, "pass") >= 3


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "http://no-such-host.invalid", "http://127.0.0.1:1/x"])
def test_an_engine_that_is_not_there(make, endpoint):
    targets = [make().targets[0], Arm(revision=CANDIDATE, endpoint=endpoint)]
    exporter = probe(make(targets=targets), asked(3))
    assert items_of(exporter, CANDIDATE, "error") >= 3
    assert value(exporter, "quantroll_probe_requests_total", revision=CANDIDATE, status="none") >= 3
    assert items_of(exporter, STABLE, "pass") >= 3


def test_an_engine_that_comes_back(make, engines, capsys):
    engines[0].answer = lambda _: 503

    def mend(exporter):
        if ended(exporter, STABLE) < 3:
            return False
        engines[0].answer = RIGHT
        return True

    probe(make(), mend, lambda exporter: items_of(exporter, STABLE, "pass") >= 2)
    said = capsys.readouterr().out
    assert said.count(f"{STABLE} gave no answer, 1 in a row") == 1
    assert f"{STABLE} answers again, after" in said


def test_a_slow_engine_is_not_piled_upon(make, engines):
    lock, busy, most = threading.Lock(), [0], [0]

    def slow(body):
        with lock:
            busy[0] += 1
            most[0] = max(most[0], busy[0])
        time.sleep(0.1)
        with lock:
            busy[0] -= 1
        return RIGHT(body)

    engines[1].answer = slow
    started = time.monotonic()
    exporter = probe(make(), asked(5))
    assert most[0] == 1
    assert ended(exporter, STABLE) <= (time.monotonic() - started) / 0.1 + 1
    assert items_of(exporter, CANDIDATE, "pass") == ended(exporter, CANDIDATE)


def test_an_engine_that_never_answers(make, engines):
    release = threading.Event()

    def hang(body):
        release.wait(20)
        return RIGHT(body)

    engines[1].answer = hang
    exporter = probe(make(request_timeout_seconds=0.1), asked(2))
    release.set()
    assert items_of(exporter, CANDIDATE, "error") == ended(exporter, CANDIDATE) >= 2
    assert value(exporter, "quantroll_probe_requests_total", revision=CANDIDATE, status="none") >= 2


def test_a_revision_that_hangs_does_not_slow_the_other(make, engines, monkeypatch):
    """While one question hangs, the other revision is asked on; what it is asked alone makes no pair."""
    monkeypatch.setattr(prober_module, "HELD_UP", 0.1)
    release, hung = threading.Event(), threading.Event()

    def hang(body):
        hung.set()
        release.wait(20)
        return RIGHT(body)

    engines[1].answer = hang
    left = []

    def thirty(exporter):
        if not left and hung.is_set() and ended(exporter, STABLE) >= 30:
            left.append((ended(exporter, CANDIDATE), pairs(exporter, "both")))
            monkeypatch.setattr(prober_module, "HELD_UP", 20)  # a busy machine takes a tenth of a second for any answer
            release.set()
        return bool(left)

    def paired(exporter):
        return pairs(exporter, "both") >= 1

    exporter = probe(make(request_timeout_seconds=30), thirty, asked(3, CANDIDATE), paired)
    assert left == [(0, 0)]
    assert len(engines[1].requests) <= ended(exporter, CANDIDATE) + 1, "and it is not piled upon"
    assert len({body["prompt"] for body in engines[0].requests[:15]}) > 10, "one item after the other"
    assert 1 <= pairs(exporter, "both") < ended(exporter, CANDIDATE)


def test_what_was_lost_is_not_made_up_for(make, engines):
    """An engine that answers again after a pause gets its questions no faster than any other."""
    slow = [True]

    def answer(body):
        if slow[0]:
            slow[0] = False
            time.sleep(1)
        return RIGHT(body)

    engines[0].answer = answer
    job = make(count=1, items_per_hour=36_000)  # a question every 100 ms
    times = []

    def five(exporter):
        if len(engines[0].requests) > len(times):
            times.append(time.monotonic())
        return len(times) >= 6

    probe(job, five)
    assert times[5] - times[1] >= 4 * 0.1 * 0.8 - 0.05


def test_something_unforeseen_is_an_error_and_no_end(make, monkeypatch, capsys):
    async def ask(self, body):
        raise ZeroDivisionError

    monkeypatch.setattr(prober_module.Engine, "ask", ask)
    exporter = probe(make(), asked(3))
    assert items_of(exporter, STABLE, "error") == ended(exporter, STABLE)
    assert "ZeroDivisionError" in capsys.readouterr().err


def test_a_source_that_is_missing_at_first_and_replaced_later(make, engines, source):
    text = source.read_text()
    source.unlink()

    def nothing_is_asked(exporter):
        assert engines[0].requests == []
        assert value(exporter, "quantroll_probe_source_ok") == 0
        source.write_text(text)
        return True

    def replace(exporter):
        if ended(exporter, STABLE) < 3:
            return False
        others = [item(n, slice="new", prompt=f"Other question {n}?") for n in range(ALL)]
        write_lines(source.with_suffix(".new"), *others).rename(source)
        return True

    exporter = probe(make(), nothing_is_asked, replace, lambda e: "Other" in _prompts(engines[0])[-1], _any_of("new"))
    assert items_of(exporter, STABLE, "pass", "new") >= 1


def _any_of(part):
    return lambda exporter: part in exporter.text().decode() and items_of(exporter, STABLE, "pass", part) >= 1


def test_a_broken_replacement_is_told_and_the_questions_go_on(make, engines, source):
    def tear(exporter):
        if ended(exporter, STABLE) < 3:
            return False
        source.write_text("{")
        return True

    count = [0]

    def told(exporter):
        count[0] = ended(exporter, STABLE)
        return value(exporter, "quantroll_probe_source_ok") == 0

    exporter = probe(make(), tear, told, lambda e: ended(e, STABLE) >= count[0] + 3)
    assert value(exporter, "quantroll_probe_source_items") == sum(place(f"i{n}")[0] is Part.PROBE for n in range(ALL))


def test_nothing_is_asked_before_the_series_were_read(make, engines, monkeypatch):
    monkeypatch.setattr(exporter_module, "PATIENCE", 60)
    since = []

    def a_while_after_the_source_was_read(exporter):
        assert engines[0].requests == []
        if exporter._source_ok.labels(namespace="team-a", name="triage")._value.get():  # reads it without a scrape
            since.append(time.monotonic())
        return bool(since) and since[-1] - since[0] > 0.2

    def scraped(exporter):
        return bool(exporter.text())

    probe(make(), a_while_after_the_source_was_read, scraped, lambda _: engines[0].requests)


def test_it_is_alive_while_its_loop_runs(make, monkeypatch):
    prober = Prober(make(), Exporter(make()))
    assert prober.is_alive()
    later = time.monotonic() + 5 + 61
    monkeypatch.setattr(prober_module.time, "monotonic", lambda: later)
    assert not prober.is_alive()


@pytest.fixture
def start(tmp_path):
    """Start the prober as the pod does, on a free port."""
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]

    def start(text):
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": os.pathsep.join(ROOTS),
            "QUANTROLL_PROBE": text,
            "QUANTROLL_PROBE_PORT": str(port),
        }
        command = [sys.executable, "-m", "quantroll_jobs.probe"]
        process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path
        )
        return process, f"http://127.0.0.1:{port}"

    return start


def _get(url):
    with urllib.request.urlopen(url, timeout=5) as response:
        return response.read().decode()


@pytest.mark.parametrize("hanging", [False, True])
def test_sigterm_ends_the_process_at_once(start, make, engines, hanging):
    release = threading.Event()
    if hanging:
        engines[0].answer = lambda body: release.wait(30) and RIGHT(body)
    process, url = start(json.dumps(make().to_wire()))
    try:
        assert "metrics on port" in process.stdout.readline()
        assert "items to ask from" in process.stdout.readline()
        assert _get(f"{url}/healthz") == "ok\n"
        assert "quantroll_eval_items_total" in _get(f"{url}/metrics")
        deadline = time.monotonic() + 20
        while not engines[0].requests:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=5)
    finally:
        release.set()
        process.kill()
        process.communicate()
    assert process.returncode == 128 + signal.SIGTERM
    assert error == ""


def test_settings_of_a_scorer_that_cannot_be_used(start, make):
    scoring = {"jsonSchema": {"schema": "[]"}}
    process, _ = start(json.dumps(make(scorer="JSONSchema", scoring=scoring).to_wire()))
    _, error = process.communicate(timeout=30)
    assert process.returncode == EXIT_BAD_INPUT
    assert "qualityGate.scoring.jsonSchema.schema" in error


@pytest.mark.parametrize("text", ["", "{", "[]", '{"contract": 2}'])
def test_not_an_input(start, text):
    process, _ = start(text)
    _, error = process.communicate(timeout=30)
    assert process.returncode == EXIT_BAD_INPUT
    assert "QUANTROLL_PROBE does not fit the contract" in error
