"""What the drift checks have found."""

from typing import Annotated, Literal

from pydantic import Field

from quantroll.api.base import ApiModel, Timestamp
from quantroll.api.status.fields import Short, Text


class DriftCheckStatus(ApiModel):
    """A suspicion that is being confirmed."""

    revision: Short
    """The revision that is suspected."""
    target: Short
    """The revision to go back to."""
    key: Short
    """Content key of the confirm Job."""
    started_at: Timestamp
    """When the suspicion arose."""
    deadline: Timestamp
    """Until when it has to be confirmed."""
    screen: Text = ""
    """What raised it, with the numbers."""
    catastrophic: bool | None = None
    """Whether these alone prove that it is far below the floor."""


DriftVerdict = Literal["Unknown", "Pending", "Healthy", "Suspect", "Breached", "PopulationShift"]


class Drift(ApiModel):
    """The drift check."""

    schedule: Short
    """When checks are due."""
    after_promotion: Annotated[list[Short], Field(max_length=8)] = []
    """Ages of the promotion at which they are due as well."""
    verdict: DriftVerdict = "Unknown"
    """What the last check said. Unknown: it could not tell, which is neither good nor bad."""
    message: Text = "no drift check has run"
    """Why, with the numbers."""
    revision: Short | None = None
    """The revision that was checked."""
    last: Timestamp | None = None
    """When the last check ended."""
    next: Timestamp | None = None
    """When the next check is due."""
    value: float | None = None
    """Share of right answers in the window, or of the confirmation."""
    floor: float | None = None
    """Score below which nothing may serve: minAcceptable times the baseline's, or the baseline's without maxDrop."""
    samples: int | None = None
    """Answers that the value comes from."""
    lower_bound: float | None = None
    """One-sided 90 % lower bound of the value."""
    upper_bound: float | None = None
    """One-sided 90 % upper bound of the value."""
    target_value: float | None = None
    """Share that the revision to go back to answered correctly, of the same items; absent where it was not asked."""
    consecutive: int | None = None
    """Confirmations in a row that found it below the floor and the revision to go back to; the third is a breach."""
    counted_for: Short | None = None
    """Digest of what they were about: revisions, items, way of asking and floor. With another one, the count begins
    anew."""
    unverified_since: Timestamp | None = None
    """Since when no check has been able to tell for longer than driftCheck.missingData.maxStaleness."""
    confirmation: Short | None = None
    """Content key of the last confirm Job."""
    confirming: DriftCheckStatus | None = None
    """A suspicion that is being confirmed."""
