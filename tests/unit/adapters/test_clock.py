from datetime import UTC, datetime, timedelta

from quantroll.adapters.clock import WallClock


def test_now_is_in_utc_and_whole_seconds():
    """Status keeps seconds: a finer now would not be the same after it is read back."""
    now = WallClock().now()
    assert now.microsecond == 0
    assert now.tzinfo is UTC
    assert timedelta(0) <= datetime.now(UTC) - now < timedelta(seconds=2)
