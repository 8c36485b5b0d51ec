"""What looks at a candidate have said, as the status keeps it."""

from typing import Annotated, Literal

from pydantic import Field

from quantroll.api.base import ApiModel, Timestamp

MetricName = Literal["quality", "error-ratio", "ttft-p99", "itl-p99"]
LookVerdict = Literal["Pass", "Fail", "Inconclusive", "Error"]


class MetricVerdict(ApiModel):
    """What a look at one metric said."""

    name: MetricName
    """Name of the metric."""
    verdict: LookVerdict
    """Inconclusive: too little to tell. Error: Prometheus did not say."""
    message: Annotated[str, Field(max_length=512)] = ""
    """Why, with the numbers."""


class AnalysisStatus(ApiModel):
    """What the looks at one step have said."""

    verdict: LookVerdict
    """What the last look that changed anything said: the worst of all metrics."""
    failures: Annotated[int, Field(ge=0)] = 0
    """Looks of this step that failed."""
    failed_at: Timestamp | None = None
    """When the last of them did."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Why, with the numbers."""
    at: Timestamp
    """Since when the verdict stands, or when a look last failed."""
    metrics: Annotated[list[MetricVerdict], Field(max_length=4)] = []
    """What each metric said then."""


class PassedStep(ApiModel):
    """What the last look at a step said with which it was left."""

    step: int
    """Index into spec.rollout.steps."""
    weight: int
    """Per cent of requests that the candidate was given."""
    observed: int | None = None
    """Per cent of users' requests that reached it; absent where too few came to tell."""
    verdict: LookVerdict
    """What the last look said. Not Pass where promote left the step before its time."""
    failures: Annotated[int, Field(ge=0)] = 0
    """Looks of the step that failed."""
    message: Annotated[str, Field(max_length=1024)] = ""
    """Why, with the numbers."""
