"""The work queue, on an event loop whose clock jumps to whatever is due next: hours pass in no time."""

import asyncio
import contextlib
import selectors
from itertools import pairwise

import pytest

from quantroll.controller import queue as module
from quantroll.controller.queue import LONGEST_PAUSE, WorkQueue
from quantroll.ports import Telemetry

A, B, C = ("team", "a"), ("team", "b"), ("team", "c")


class Jump(selectors.DefaultSelector):
    """Instead of waiting, moves the loop's clock on."""

    def __init__(self):
        super().__init__()
        self.now = 0.0

    def select(self, timeout=None):
        self.now += timeout or 0
        return super().select(0)


class Loop(asyncio.SelectorEventLoop):
    def __init__(self):
        self.jump = Jump()
        super().__init__(self.jump)

    def time(self):
        return self.jump.now


class Line:
    """A queue with a pass that notes when it saw which key, and may be told to take time, to fail, or to ask again."""

    def __init__(self, workers=2, resync=300.0, telemetry=None):
        self.seen, self.takes, self.answers, self.errors = [], {}, {}, {}
        self.at_once, self.most = 0, {}
        self.queue = WorkQueue(self._pass, workers=workers, resync=resync, telemetry=telemetry)

    async def _pass(self, key):
        self.seen.append((key, round(asyncio.get_running_loop().time(), 3)))
        self.most[key] = self.most.get(key, 0) + 1
        assert self.most[key] == 1, "one key in two workers"
        await asyncio.sleep(self.takes.get(key, 0))
        self.most[key] -= 1
        if self.errors.get(key, 0) > 0:
            self.errors[key] -= 1
            raise RuntimeError("told to")
        answers = self.answers.get(key, [])
        return answers.pop(0) if answers else float("inf")

    def times(self, key):
        return [at for seen, at in self.seen if seen == key]


@pytest.fixture
def run(monkeypatch):
    """Run a scenario beside the queue's workers; chance takes its middle value."""
    monkeypatch.setattr(module.random, "uniform", lambda low, high: (low + high) / 2)

    def go(line, scenario):
        async def main():
            working = asyncio.create_task(line.queue.run())
            try:
                await scenario()
                await asyncio.sleep(0)
                assert not working.done()
            finally:
                working.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await working

        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(main())

    return go


def test_a_key_is_looked_at_once_however_often_it_is_added(run):
    line = Line()

    async def scenario():
        for _ in range(5):
            line.queue.add(A)
        line.queue.add(B)
        assert line.queue.waiting == 2
        await asyncio.sleep(1)

    run(line, scenario)
    assert sorted(line.seen) == [(A, 0.0), (B, 0.0)]


def test_a_key_comes_when_it_is_due_or_earlier_on_news(run):
    line = Line()

    async def scenario():
        line.queue.add(A, 10)
        line.queue.add(A, 20)  # later than it is due: no change
        line.queue.add(B, 50)
        await asyncio.sleep(15)
        line.queue.add(B)
        await asyncio.sleep(100)

    run(line, scenario)
    assert line.times(A) == [10.0]
    assert line.times(B) == [15.0]


def test_what_a_pass_asks_for_is_its_next_time(run):
    line = Line()
    line.answers[A] = [5, 7]

    async def scenario():
        line.queue.add(A)
        await asyncio.sleep(100)

    run(line, scenario)
    assert line.times(A) == [0.0, 5.0, 12.0]


def test_without_news_a_key_comes_again_after_the_resync(run):
    line = Line(resync=300)
    line.answers[A] = [float("inf"), 1000]

    async def scenario():
        line.queue.add(A)
        await asyncio.sleep(700)

    run(line, scenario)
    assert line.times(A) == [0.0, 300.0, 600.0]


def test_a_key_that_is_gone_does_not_come_again(run):
    line = Line()
    line.answers[A] = [None]

    async def scenario():
        line.queue.add(A)
        await asyncio.sleep(10_000)
        assert line.queue.waiting == 0

    run(line, scenario)
    assert line.times(A) == [0.0]


def test_news_during_a_pass_bring_exactly_one_more(run):
    line = Line(workers=4)
    line.takes[A] = 10

    async def scenario():
        line.queue.add(A)
        for _ in range(3):
            await asyncio.sleep(2)
            line.queue.add(A)
        await asyncio.sleep(100)

    run(line, scenario)
    assert line.times(A) == [0.0, 10.0]


def test_a_burst_of_news_during_a_pass_is_one_pass_when_the_burst_is_over(run):
    line = Line()
    line.takes[A] = 1

    async def story():
        line.queue.add(A)
        await asyncio.sleep(0.9)
        for delay in (0.5, 0.4, 0.6):
            line.queue.add(A, delay)
        await asyncio.sleep(5)

    run(line, story)
    assert line.times(A) == [0, 1.3]


def test_a_later_look_asked_for_during_a_pass_holds_nobody_up(run):
    line = Line(workers=2)
    line.takes[A] = 50

    async def scenario():
        line.queue.add(A)
        await asyncio.sleep(1)
        line.queue.add(A, 1)
        await asyncio.sleep(4)
        line.queue.add(B)
        await asyncio.sleep(200)

    run(line, scenario)
    assert line.times(B) == [5.0]
    assert line.times(A) == [0.0, 50.0]


def test_a_slow_key_does_not_hold_up_the_others(run):
    line = Line(workers=2)
    line.takes[A] = 1000

    async def scenario():
        line.queue.add(A)
        await asyncio.sleep(1)
        line.queue.add(B)
        line.queue.add(C)
        await asyncio.sleep(1)

    run(line, scenario)
    assert line.times(B) == line.times(C) == [1.0]


def test_what_is_preferred_comes_before_others_that_are_due(run):
    line = Line(workers=1)

    async def scenario():
        line.takes = {A: 5}
        line.queue.add(A)
        await asyncio.sleep(1)
        line.queue.add(B)
        await asyncio.sleep(1)
        line.queue.prefer(C, preferred=True)
        line.queue.add(C)
        await asyncio.sleep(20)

    run(line, scenario)
    assert line.seen == [(A, 0), (C, 5), (B, 5)]


def test_one_that_stands_in_line_moves_up(run):
    line = Line(workers=1)

    async def scenario():
        line.takes = {A: 5}
        line.queue.add(A)
        await asyncio.sleep(1)
        for key in (B, C):
            line.queue.add(key)
        await asyncio.sleep(1)
        line.queue.prefer(C, preferred=True)
        line.queue.prefer(C, preferred=True)
        await asyncio.sleep(20)

    run(line, scenario)
    assert line.seen == [(A, 0), (C, 5), (B, 5)], "and is looked at once"


def test_what_is_preferred_and_not_due_holds_nobody_up(run):
    line = Line(workers=1)

    async def scenario():
        line.queue.prefer(A, preferred=True)
        line.queue.add(A, 100)
        line.queue.add(B, 1)
        await asyncio.sleep(150)

    run(line, scenario)
    assert line.seen == [(B, 1), (A, 100)]


def test_a_preference_ends(run):
    line = Line(workers=1)

    async def scenario():
        line.takes = {A: 5}
        line.queue.prefer(C, preferred=True)
        line.queue.add(A)
        await asyncio.sleep(1)
        line.queue.add(B)
        line.queue.prefer(C, preferred=False)
        line.queue.add(C)
        await asyncio.sleep(20)

    run(line, scenario)
    assert line.seen == [(A, 0), (B, 5), (C, 5)]


def test_pauses_grow_with_every_error_in_a_row_and_begin_anew_after_a_success(run, caplog):
    line = Line()
    line.errors[A] = 4

    async def scenario():
        line.queue.add(A)
        await asyncio.sleep(100)
        line.errors[A] = 1
        line.queue.add(A)
        await asyncio.sleep(100)

    run(line, scenario)
    assert line.times(A) == [0.0, 0.25, 0.75, 1.75, 3.75, 100.0, 100.25]
    assert "team/a: pass failed 4 times in a row; again in 2.0 s" in caplog.text


def test_pauses_have_an_end(run):
    line = Line(resync=1e6)
    line.errors[A] = 40

    async def scenario():
        line.queue.add(A)
        await asyncio.sleep(2500)

    run(line, scenario)
    times = line.times(A)
    assert len(times) == 41
    assert max(b - a for a, b in pairwise(times)) == LONGEST_PAUSE


def test_an_error_of_one_is_no_matter_to_the_others(run):
    line = Line(workers=1)
    line.errors[A] = 1000

    async def scenario():
        line.queue.add(A)
        line.queue.add(B)
        await asyncio.sleep(1)

    run(line, scenario)
    assert line.times(B) == [0.0]


def test_what_is_forgotten_does_not_come(run):
    line = Line()
    line.takes[B] = 5

    async def scenario():
        line.queue.add(A, 10)
        line.queue.forget(A)
        line.queue.add(B)
        await asyncio.sleep(1)
        line.queue.add(B)
        line.queue.forget(B)
        line.queue.forget(C)
        await asyncio.sleep(100)

    run(line, scenario)
    assert line.times(A) == []
    assert line.times(B) == [0.0]


def test_a_key_that_was_forgotten_may_come_back(run):
    line = Line()

    async def scenario():
        line.queue.add(A, 10)
        line.queue.forget(A)
        line.queue.add(A, 20)
        await asyncio.sleep(100)

    run(line, scenario)
    assert line.times(A) == [20.0]


@pytest.mark.parametrize("steps", range(6), ids=str)
@pytest.mark.parametrize("later", [None, 100], ids=["idle", "with one due later"])
def test_it_ends_when_it_is_cancelled_together_with_news(later, steps):
    """A worker that has news at the same moment may not take them for a reason to go on."""
    line = Line()

    async def scenario():
        working = asyncio.create_task(line.queue.run())
        if later is not None:
            line.queue.add(B, later)
        await asyncio.sleep(1)
        line.queue.add(A)
        for _ in range(steps):
            await asyncio.sleep(0)
        working.cancel()
        done, _ = await asyncio.wait({working}, timeout=60)
        assert done

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(scenario())


class Told(Telemetry):
    """Notes what it is told, with rounded times."""

    def __init__(self):
        self.heard = []

    def queued(self):
        self.heard.append("queued")

    def started(self, key, waited):
        self.heard.append(("started", key, round(waited, 3)))

    def ended(self, key, took, *, failed):
        self.heard.append(("ended", key, round(took, 3), failed))

    def gone(self, key):
        self.heard.append(("gone", key))


def test_the_telemetry_is_told_of_waits_work_errors_and_what_is_gone(run):
    told = Told()
    line = Line(workers=1, telemetry=told)
    line.takes[A], line.errors[B], line.answers[B] = 4, 1, [None]

    async def scenario():
        line.queue.add(A)
        await asyncio.sleep(1)
        line.queue.add(B)
        assert line.queue.depth == 1, "due, and without a worker"
        line.queue.add(C, 1000)
        assert (line.queue.depth, line.queue.waiting) == (1, 2)
        line.queue.forget(C)
        await asyncio.sleep(6)

    run(line, scenario)
    assert told.heard == [
        "queued", ("started", A, 0), "queued", "queued", ("gone", C),
        ("ended", A, 4, False), "queued", ("started", B, 3), ("ended", B, 0, True), "queued",
        ("started", B, 0), ("ended", B, 0, False),
    ]  # fmt: skip
