"""When drift checks are due: by a cron schedule in UTC, and at some ages of a promotion."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from cronsim import CronSim, CronSimError

LONGEST_JITTER = timedelta(hours=1)
EARLY_JITTER = timedelta(minutes=6)  # of a check at an age of the promotion; at most a tenth of that, too
_SECOND = timedelta(seconds=1)  # status keeps no less
NICKNAMES = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *"}


def problem(schedule: str) -> str:
    """What is wrong with a schedule beyond its form, which the API server has checked; empty if nothing is."""
    try:
        next(CronSim(NICKNAMES.get(schedule, schedule), datetime(2024, 1, 1, tzinfo=UTC)))
    except (CronSimError, StopIteration):
        return f"{schedule!r} is never due: a range has to rise, and the date has to exist"
    return ""


def next_due(schedule: str, early: Sequence[timedelta], name: str, promoted_at: datetime, after: datetime) -> datetime:
    """The first check later than `after`, of a revision that was promoted at `promoted_at`; `early` are ages of that.

    Every check is put off by a part of the schedule's period, at most a tenth of it and an hour, that depends on the
    name alone: not all resources of a cluster are checked in one moment, and a restart changes nothing.
    """
    slots = CronSim(NICKNAMES.get(schedule, schedule), (after - LONGEST_JITTER).astimezone(UTC))
    slot = next(slots)
    shift = _jitter(name, min(LONGEST_JITTER, (next(slots) - slot) / 10))
    slots = CronSim(NICKNAMES.get(schedule, schedule), (after - shift).astimezone(UTC))
    ages = [promoted_at + age + min(shift, EARLY_JITTER, age // timedelta(seconds=10) * _SECOND) for age in early]
    return min([next(slots) + shift, *(moment for moment in ages if moment > after)])


def is_first(early: Sequence[timedelta], promoted_at: datetime, last: datetime | None, due: datetime) -> bool:
    """Whether a check is the one at the first age of the promotion: the first since then."""
    if not early:
        return False
    moment = promoted_at + min(early)
    return due >= moment and (last is None or last < moment)


def _jitter(name: str, most: timedelta) -> timedelta:
    part = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32
    return timedelta(seconds=int(part * most.total_seconds()))
