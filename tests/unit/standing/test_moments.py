"""Times as people read them."""

from datetime import UTC, datetime, timedelta

import pytest

from quantroll.standing import moments

NOW = datetime(2026, 3, 2, 8, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "told"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (0.4, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (61, "1 min 1 s"),
        (599, "9 min 59 s"),
        (600, "10 min"),
        (659, "10 min"),
        (3600, "1 h"),
        (3659, "1 h"),
        (3660, "1 h 1 min"),
        (90_000, "1 d 1 h"),
        (86_400 + 120, "1 d"),
        (86_400 * 400, "400 d"),
    ],
)
def test_a_length_in_its_two_largest_units(seconds, told):
    assert moments.span(timedelta(seconds=seconds)) == told


def test_another_day_has_its_date():
    assert moments.clock(NOW, NOW) == "08:30:00Z"
    assert moments.clock(NOW - timedelta(hours=9), NOW) == "2026-03-01 23:30Z"
    assert moments.since(NOW - timedelta(minutes=2), NOW) == "since 08:28:00Z (2 min)"
    assert moments.ago(NOW - timedelta(minutes=2), NOW) == "2 min ago"


def test_what_is_due():
    assert moments.until(NOW + timedelta(seconds=90), NOW) == "in 1 min 30 s (08:31:30Z)"
    assert moments.until(NOW - timedelta(seconds=90), NOW) == "due since 08:28:30Z"


def test_times_of_other_zones_are_told_in_utc():
    berlin = datetime.fromisoformat("2026-03-02T09:30:00+01:00")
    assert moments.clock(berlin, NOW) == "08:30:00Z"
    assert moments.stamp(berlin) == "2026-03-02T08:30:00Z"
