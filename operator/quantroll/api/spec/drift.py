"""How quality is watched after a promotion."""

from typing import Annotated, Literal

from pydantic import Field

from quantroll.api.base import ApiModel, Duration
from quantroll.api.spec.fields import Schedule, Source
from quantroll.api.spec.scoring import ItemScorer


class Confirm(ApiModel):
    """The Job that asks both the serving revision and the one to go back to, before anything is rolled back."""

    items: Annotated[int, Field(ge=20, le=1_000_000)] = 1000
    """Items that both are asked at most; the probe never uses them."""
    deadline: Duration = "6h"
    """From the suspicion until it must have an answer; without one, nothing is known and nothing is rolled back."""


class DriftCheck(ApiModel):
    """When and how the quality of what serves is checked, from the prober's counts in Prometheus."""

    schedule: Schedule
    """Cron expression in UTC, or @hourly, @daily, @weekly, @monthly. After a promotion, a check runs after an hour and
    daily for a week as well."""
    window: Duration = "7d"
    """How far back answers are counted; never further than the promotion."""
    min_samples: Annotated[int, Field(ge=1, le=10_000_000)] = 200
    """Answers below which nothing is known."""
    confirm: Confirm = Confirm()
    """The Job that asks both revisions before anything is rolled back."""
    on_breach: Literal["Rollback", "Alert"] = "Rollback"
    """What follows a confirmed breach of the floor. Alert: a condition and an event; the revision keeps serving."""


class Probe(ApiModel):
    """Questions with known answers that are asked all the time."""

    items_per_hour: Annotated[int, Field(ge=1, le=36_000)] = 60
    """Questions to each revision that serves."""
    source: Source | None = None
    """JSON lines as qualityGate.evalSet's, of fresh labelled items from production; read again when the file changes.
    Default: a part of the eval set. Required where qualityGate.scorer is LMEval, whose items the prober cannot ask."""
    scorer: ItemScorer | None = None
    """How answers to `source` are judged, where qualityGate.scorer is LMEval. Default: ExactMatch."""
    floor: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of right answers to `source` below which nothing may serve. Required where qualityGate.scorer is LMEval:
    the score of its tasks says nothing about other questions. Otherwise the gate's floor holds."""
