"""When checks are due."""

from datetime import UTC, datetime, timedelta

import pytest

from quantroll.api.base import parse_duration
from quantroll.api.spec import DriftCheck
from quantroll.controller.gather import parse_spec
from quantroll.domain.schedule import is_first, next_due
from unit.domain.world import spec_with

LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 3, 4, 10, 31, tzinfo=UTC)  # a Wednesday
HOUR = timedelta(hours=1)
EARLY = [parse_duration(age) for age in DriftCheck(schedule="@weekly").after_promotion]


@pytest.mark.parametrize(
    ("schedule", "slot", "period"),
    [
        ("@hourly", datetime(2026, 3, 4, 11, tzinfo=UTC), timedelta(hours=1)),
        ("@daily", datetime(2026, 3, 5, tzinfo=UTC), timedelta(days=1)),
        ("@weekly", datetime(2026, 3, 8, tzinfo=UTC), timedelta(days=7)),
        ("@monthly", datetime(2026, 4, 1, tzinfo=UTC), timedelta(days=30)),
        ("*/5 * * * *", datetime(2026, 3, 4, 10, 35, tzinfo=UTC), timedelta(minutes=5)),
        ("0 8 * * MON-FRI", datetime(2026, 3, 5, 8, tzinfo=UTC), timedelta(days=1)),
        ("0 8 1 JAN *", datetime(2027, 1, 1, 8, tzinfo=UTC), timedelta(days=365)),
        ("0 0 * * 7", datetime(2026, 3, 8, tzinfo=UTC), timedelta(days=7)),
    ],
)
def test_slots_are_crons_put_off_by_a_little(schedule, slot, period):
    for name in ("a", "b", "ticket-triage", "tiny"):
        due = next_due(schedule, EARLY, name, LONG_AGO, NOW)
        assert slot <= due <= slot + min(timedelta(hours=1), period / 10)


def test_a_slot_whose_jitter_is_still_to_come_is_not_missed():
    names = [f"model-{n}" for n in range(50)]
    slot = datetime(2026, 3, 8, tzinfo=UTC)
    for name in names:
        due = next_due("@weekly", EARLY, name, LONG_AGO, NOW)
        assert next_due("@weekly", EARLY, name, LONG_AGO, slot - timedelta(seconds=1)) == due
        assert next_due("@weekly", EARLY, name, LONG_AGO, due - timedelta(seconds=1)) == due
        assert next_due("@weekly", EARLY, name, LONG_AGO, due) == due + timedelta(days=7)


def test_names_spread_and_a_name_stays():
    due = [next_due("@weekly", EARLY, f"model-{n}", LONG_AGO, NOW) for n in range(200)]
    assert due == [next_due("@weekly", EARLY, f"model-{n}", LONG_AGO, NOW) for n in range(200)]
    minutes = [(moment - min(due)).total_seconds() / 60 for moment in due]
    assert max(minutes) > 50
    assert len({int(m / 10) for m in minutes}) == 6


def test_after_a_promotion_an_hour_later_and_daily_for_a_week():
    promoted = NOW
    seen, after = [], NOW
    while after < NOW + timedelta(days=10):
        after = next_due("@monthly", EARLY, "tiny", promoted, after)
        seen.append(after - promoted)
    expected = [timedelta(hours=1), *(timedelta(days=n) for n in range(1, 8))]
    assert len(seen) == len(expected) + 1, "then the first of the month"
    for found, wanted in zip(seen, expected, strict=False):
        assert wanted <= found <= wanted + timedelta(minutes=6)


@pytest.mark.parametrize("early", [[], ["90s"], ["2d", "30m"], ["0s", "1h"]])
def test_the_checks_after_a_promotion_can_be_chosen(early):
    ages = [parse_duration(age) for age in early]
    seen, after = [], NOW
    while after < NOW + timedelta(days=10):
        after = next_due("@monthly", ages, "tiny", NOW, after)
        assert after.microsecond == 0, "a status keeps whole seconds: with less, a check would be due twice"
        seen.append(after - NOW)
    wanted = sorted(age for age in ages if age)
    assert len(seen) == len(wanted) + 1, "and then the first of the month"
    for found, age in zip(seen, wanted, strict=False):
        assert age <= found <= age * 1.1
    moment = NOW + min(ages, default=HOUR)
    assert is_first(ages, NOW, None, moment) is bool(ages)
    assert not is_first(ages, NOW, None, moment - timedelta(seconds=1))


def test_a_name_puts_checks_after_a_promotion_off_by_at_most_six_minutes():
    due = [next_due("@monthly", [timedelta(days=7)], f"model-{n}", NOW, NOW) - NOW for n in range(100)]
    assert timedelta(days=7) <= min(due) <= max(due) == timedelta(days=7, minutes=6)


def test_which_check_is_the_first():
    hour = NOW + timedelta(hours=1)
    assert is_first(EARLY, NOW, None, hour)
    assert is_first(EARLY, NOW, NOW + timedelta(minutes=30), hour + timedelta(minutes=3))
    assert not is_first(EARLY, NOW, hour, hour + timedelta(days=1))
    assert not is_first(EARLY, NOW, None, NOW + timedelta(minutes=5))


@pytest.mark.parametrize(
    "schedule", ["0 0 * * FRI-MON", "0 0 * * 7-1", "5-1 * * * *", "0 0 5-2 * *", "0 0 31 2 *", "0 0 30 FEB *"]
)
def test_a_schedule_that_is_never_due_is_wrong(schedule):
    """The API server sees its form alone; the operator says so before it is counted on."""
    _, error = parse_spec({"spec": spec_with(driftCheck={"schedule": schedule})})
    assert error.startswith("spec.driftCheck.schedule: ")
    assert "is never due" in error


def test_a_day_that_most_years_lack_is_a_date():
    leap = next_due("0 0 29 2 *", EARLY, "tiny", LONG_AGO, NOW)
    assert (leap.year, leap.month, leap.day) == (2028, 2, 29)
