"""When drift checks are due: by a cron schedule in UTC, and more often in the first week after a promotion."""

import hashlib
from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError

FIRST = timedelta(hours=1)
DAILY = tuple(timedelta(days=day) for day in range(1, 8))
LONGEST_JITTER = timedelta(hours=1)
NICKNAMES = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *"}


def problem(schedule: str) -> str:
    """What is wrong with a schedule beyond its form, which the API server has checked; empty if nothing is."""
    try:
        next(CronSim(NICKNAMES.get(schedule, schedule), datetime(2024, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration):
        return f"{schedule!r} is never due: a range has to rise, and the date has to exist"
    return ""


def next_due(schedule: str, name: str, promoted_at: datetime, after: datetime) -> datetime:
    """The first check later than `after`, of a revision that was promoted at `promoted_at`.

    Every check is put off by a part of the schedule's period, at most a tenth of it and an hour, that depends on the
    name alone: not all resources of a cluster are checked in one moment, and a restart changes nothing.
    """
    slots = CronSim(NICKNAMES.get(schedule, schedule), (after - LONGEST_JITTER).astimezone(UTC))
    slot = next(slots)
    shift = _jitter(name, min(LONGEST_JITTER, (next(slots) - slot) / 10))
    slots = CronSim(NICKNAMES.get(schedule, schedule), (after - shift).astimezone(UTC))
    early = [promoted_at + age + min(shift, FIRST / 10) for age in (FIRST, *DAILY)]
    return min([next(slots) + shift, *(moment for moment in early if moment > after)])


def is_first(promoted_at: datetime, last: datetime | None, due: datetime) -> bool:
    """Whether a check is the one an hour after the promotion: the first since then."""
    hour = promoted_at + FIRST
    return due >= hour and (last is None or last < hour)


def _jitter(name: str, most: timedelta) -> timedelta:
    part = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
    return timedelta(seconds=int(part * most.total_seconds()))
