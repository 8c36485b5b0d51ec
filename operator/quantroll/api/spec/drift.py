"""How quality is watched after a promotion."""

from typing import Annotated, Literal

from pydantic import Field

from quantroll.api.base import ApiModel, Duration
from quantroll.api.spec.fields import MetricName, Schedule, Source
from quantroll.api.spec.scoring import ItemScorer

PROBE_METRIC = "Probe"

ROLLOUT_ITEMS_PER_HOUR = 1200


class Confirm(ApiModel):
    """The Job that asks both the serving revision and the one to go back to, before anything is rolled back."""

    items: Annotated[int, Field(ge=20, le=1_000_000)] = 1000
    """Items that both are asked at most; the probe never uses them."""
    deadline: Duration = "6h"
    """From the suspicion until it must have an answer; without one, nothing is known and nothing is rolled back."""


class MissingData(ApiModel):
    """What follows when checks cannot tell."""

    max_staleness: Duration = "15d"
    """Since the last check that could tell, or the promotion. When checks have not been able to tell for longer,
    quality is unverified, and no rollout begins. Nothing is rolled back."""


class DriftCheck(ApiModel):
    """When and how the quality of what serves is checked, from the prober's counts in Prometheus."""

    schedule: Schedule
    """Cron expression in UTC, or @hourly, @daily, @weekly, @monthly."""
    after_promotion: Annotated[list[Duration], Field(max_length=8)] = ["1h", *(f"{day}d" for day in range(1, 8))]
    """Ages of a promotion at which a check runs as well. At the first one, the confirming Job runs where the probe has
    too few answers. Empty: the schedule alone."""
    window: Duration = "7d"
    """How far back answers are counted; never further than the promotion."""
    metric: MetricName = PROBE_METRIC
    """Probe, the prober's answers; or the name of a query of the chart's prometheus.queries, which counts others."""
    min_samples: Annotated[int, Field(ge=1, le=10_000_000)] = 200
    """Answers below which nothing is known."""
    confirm: Confirm = Confirm()
    """The Job that asks both revisions before anything is rolled back."""
    missing_data: MissingData = MissingData()
    """What follows when checks cannot tell."""
    on_breach: Literal["Rollback", "Alert"] = "Rollback"
    """What follows a confirmed breach of the floor. Alert: a condition and an event; the revision keeps serving."""


class Probe(ApiModel):
    """Questions with known answers that are asked all the time."""

    items_per_hour: Annotated[int, Field(ge=1, le=36_000)] = 60
    """Questions to each revision that serves."""
    rollout_items_per_hour: Annotated[int, Field(ge=1, le=36_000)] | None = None
    """Questions to both stable and candidate while a candidate has traffic: what a look at quality is made of.
    Default: 1200, or itemsPerHour where that is more."""
    source: Source | None = None
    """JSON lines as qualityGate.evalSet's, of fresh labelled items from production; read again when the file changes.
    Default: a part of the eval set. Required where qualityGate.scorer is LMEval, whose items the prober cannot ask."""
    scorer: ItemScorer | None = None
    """How answers to `source` are judged, where qualityGate.scorer is LMEval. Default: ExactMatch."""
    floor: Annotated[float, Field(gt=0, le=1)] | None = None
    """Share of right answers to `source` below which nothing may serve. Required where qualityGate.scorer is LMEval:
    the score of its tasks says nothing about other questions. Otherwise the gate's floor holds."""

    @property
    def rollout_pace(self) -> int:
        """Questions an hour while a candidate has traffic."""
        return self.rollout_items_per_hour or max(ROLLOUT_ITEMS_PER_HOUR, self.items_per_hour)
