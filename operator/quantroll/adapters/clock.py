"""The wall clock."""

from datetime import UTC, datetime


class WallClock:
    """Implements `ports.Clock`."""

    def now(self) -> datetime:
        """Now, in UTC, with whole seconds: as status keeps it."""
        return datetime.now(UTC).replace(microsecond=0)
