"""Rollout windows: when a rollout may begin and a candidate may get more traffic. What takes back is never held up."""

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from quantroll.api.spec import QuantizedModelSpec, Window
from quantroll.api.status import RolloutStatus
from quantroll.domain import steps
from quantroll.domain.draft import Draft

DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_AHEAD = 8  # days: every window opens at least once a week


def problem(windows: Sequence[Window]) -> tuple[int, str] | None:
    """Index of the first window that names no time zone of the IANA database, and what is wrong; None where all do."""
    for index, window in enumerate(windows):
        try:
            ZoneInfo(window.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            return (
                index,
                f"there is no time zone {window.time_zone!r}: take one of the IANA database, Europe/Berlin say",
            )
    return None


def is_open(windows: Sequence[Window], now: datetime) -> bool:
    """Whether any window is open; without windows it always is."""
    return not windows or any(start <= now < end for window in windows for start, end in _around(window, now))


def next_opening(windows: Sequence[Window], now: datetime) -> datetime:
    """When the next window opens, by its own clock."""
    coming = [(s, w) for w in windows for s, _ in _around(w, now) if s > now]
    start, window = min(coming, key=lambda found: found[0])
    return start.astimezone(ZoneInfo(window.time_zone))


def _around(window: Window, now: datetime) -> Iterator[tuple[datetime, datetime]]:
    """Beginnings and ends from yesterday on, in UTC, so that hours which a clock change repeats or leaves out count."""
    zone = ZoneInfo(window.time_zone)
    today = now.astimezone(zone).date()
    for offset in range(-1, _AHEAD + 1):
        day = today + timedelta(days=offset)
        if DAYS[day.weekday()] not in window.days:
            continue
        last = day + timedelta(days=1) if window.to <= window.from_ else day
        opens, closes = _moment(day, window.from_, zone), _moment(last, window.to, zone)
        if opens < closes:
            yield opens, closes


def _moment(day: date, text: str, zone: ZoneInfo) -> datetime:
    """A time of day; 24:00 is the day's end. One that comes twice is the first, one that is left out an hour later."""
    hour, minute = (int(part) for part in text.split(":"))
    local = datetime.combine(day, time(hour % 24, minute), tzinfo=zone) + timedelta(days=hour // 24)
    return local.astimezone(UTC)


def closed(draft: Draft, spec: QuantizedModelSpec) -> str:
    """For what nothing may begin and no weight may rise, in words; empty while it may."""
    if draft.held:
        return draft.held
    windows = spec.rollout.windows
    if is_open(windows, draft.now):
        return ""
    opens = next_opening(windows, draft.now)
    draft.wake(opens)
    return f"a rollout window, the next of which opens on {opens:%a %Y-%m-%d %H:%M} ({opens.tzinfo})"


def hold(draft: Draft, rollout: RolloutStatus) -> RolloutStatus:
    """Note since when the rollout is kept from going on."""
    if rollout.held_since is None:
        rollout = rollout.model_copy(update={"held_since": draft.now})
        draft.set(rollout=rollout)
    return rollout


def release(draft: Draft, spec: QuantizedModelSpec, rollout: RolloutStatus) -> RolloutStatus:
    """Once it may go on, the rollout with its deadlines moved on by the time that was waited."""
    if rollout.held_since is None or draft.held or not is_open(spec.rollout.windows, draft.now):
        return rollout
    moved = steps.given_back(rollout, draft.now - rollout.held_since)
    rollout = rollout.model_copy(update={"held_since": None, **moved})
    draft.set(rollout=rollout)
    return rollout
