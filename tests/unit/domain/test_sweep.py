"""The operating point of a sweep, and why it is not a higher one."""

import pytest

from quantroll.api.spec import Slo
from quantroll.api.spec.benchmark import milliseconds
from quantroll.domain.sweep import holds, judged


def level(concurrency, tokens, ttft=100.0, itl=20.0, failed=0, sent=100):
    return [concurrency, ttft / 2, ttft, itl / 2, itl, tokens, tokens / 128, failed, sent]


SLO = Slo(at_concurrency=8, ttft_p99="500ms", itl_p99="60ms")
RISING = [level(1, 50), level(8, 350, 200, 30), level(32, 900, 450, 55)]


def point(levels, slo=None):
    found = judged("k", levels, slo)
    return found.concurrency, found.message


@pytest.mark.parametrize(("text", "value"), [("60ms", 60), ("0.5s", 500), ("2s", 2000), ("0.25ms", 0.25)])
def test_latencies(text, value):
    assert milliseconds(text) == value


def test_without_an_slo_it_is_the_highest_level():
    found = judged("k", RISING, None)
    assert (found.concurrency, found.output_tokens_per_second, found.ttft_p99, found.itl_p50) == (32, 900, 450, 27.5)
    assert (found.requests_per_second, found.failed, found.message) == (900 / 128, 0, "")


def test_with_one_it_is_the_highest_level_inside():
    assert point(RISING, SLO) == (32, "")
    slower = [*RISING[:2], level(32, 900, 501)]
    assert point(slower, SLO) == (8, "TTFT p99 is 501 ms at 32 at once, and the SLO 500ms")
    assert point([*RISING[:2], level(32, 900, 450, 61)], SLO) == (8, "ITL p99 is 61 ms at 32 at once, and the SLO 60ms")
    assert point([*RISING[:2], level(32, 900, 500, 60)], SLO)[0] == 32, "the limit itself is inside"


def test_a_level_above_one_that_broke_it_does_not_count():
    lucky = [level(1, 50), level(8, 350, 600), level(32, 900)]
    assert point(lucky, SLO)[0] == 1


def test_no_level_inside():
    found = judged("k", [level(1, 50, 600)], SLO)
    assert (found.concurrency, found.output_tokens_per_second, found.ttft_p99) == (None, None, None)
    assert found.levels
    assert "TTFT p99 is 600 ms" in found.message


def test_a_failed_level_is_said_and_not_averaged_away():
    broken = [*RISING[:2], level(32, 900, failed=2)]
    assert point(broken) == (8, "2 of 100 requests failed at 32 at once")
    assert judged("k", broken, None).failed == 2
    one = judged("k", [*RISING[:2], level(32, 900, failed=1)], None)
    assert (one.concurrency, one.failed) == (32, 1)
    assert point([level(1, 0, failed=100)])[0] is None


def test_saturation_is_said():
    flat = [level(1, 50), level(8, 350), level(32, 360)]
    assert point(flat) == (32, "saturated at 8 at once: 32 bring no more tokens a second")


def test_what_the_job_said_is_kept():
    found = judged("k", RISING, None, "8 at once: odd")
    assert (found.notes, found.message) == ("8 at once: odd", "8 at once: odd")


@pytest.mark.parametrize(
    ("levels", "slo", "held"),
    [
        (RISING, SLO, True),
        (RISING, None, None),
        ([*RISING[:1], level(8, 350, 501)], SLO, False),
        ([*RISING[:1], level(8, 350, 501)], Slo(ttft_p99="500ms"), True),
        ([level(1, 50, 501)], Slo(ttft_p99="500ms"), False),
    ],
)
def test_whether_the_slo_is_held_where_it_has_to_be(levels, slo, held):
    assert holds(judged("k", levels, slo), slo) is held


def test_what_was_not_measured_neither_holds_nor_breaks_it():
    assert holds(None, SLO) is None
