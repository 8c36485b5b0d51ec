"""Times as people read them, in UTC like every time in the status."""

from datetime import UTC, datetime, timedelta

_UNITS = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))


def span(length: timedelta) -> str:
    """A length in its two largest units: 3 d 4 h, 12 min, 45 s. Seconds are left out from 10 minutes on."""
    left = max(0, round(length.total_seconds()))
    if left >= 600:
        left -= left % 60
    parts = []
    for unit, size in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}")
        elif parts:
            break
    return " ".join(parts[:2]) or "0 s"


def clock(moment: datetime, now: datetime) -> str:
    """The time of day, with the date where that is another one."""
    there = moment.astimezone(UTC)
    return f"{there:%H:%M:%SZ}" if there.date() == now.astimezone(UTC).date() else f"{there:%Y-%m-%d %H:%MZ}"


def since(moment: datetime, now: datetime) -> str:
    """Since when, and how long that is."""
    return f"since {clock(moment, now)} ({span(now - moment)})"


def ago(moment: datetime, now: datetime) -> str:
    """How long ago."""
    return f"{span(now - moment)} ago"


def until(moment: datetime, now: datetime) -> str:
    """How long from now, and when that is."""
    if moment <= now:
        return f"due since {clock(moment, now)}"
    return f"in {span(moment - now)} ({clock(moment, now)})"


def stamp(moment: datetime) -> str:
    """Date and time."""
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
