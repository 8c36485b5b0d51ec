"""The baseline and the variants: what was made of them, how they were judged, and what failed."""

from typing import Annotated, Literal

from pydantic import Field

from quantroll.api.base import ApiModel, Timestamp
from quantroll.api.counts import Counts
from quantroll.api.figures import BenchmarkFigures, CostFigures, MemoryFigures
from quantroll.api.status.fields import Short, Text


class Progress(ApiModel):
    """How far a running evaluation is."""

    key: Short
    """Content key of the evaluation."""
    percent: Annotated[int, Field(ge=0, le=100)]
    """Share of its questions that are answered, in quarters."""


class Attempt(ApiModel):
    """A Job that failed: why, when, and when it is tried again."""

    key: Short
    """Content key of what the Job was to make."""
    job: Short
    """Uid of the Job that failed."""
    reason: Short
    """Why, in one word."""
    message: Text = ""
    """Why, in a sentence with cause and remedy."""
    at: Timestamp
    """When it failed."""
    generation: int
    """Generation that had last changed what Jobs are made from when it failed."""
    count: Annotated[int, Field(ge=1)] = 1
    """Failures in a row."""
    retry_at: Timestamp | None = None
    """When it is tried again; absent: not before what Jobs are made from changes in the spec."""


class Evaluation(Counts):
    """Counts that a verdict is computed from, again whenever a threshold changes."""

    key: Short
    """Content key of the evaluation."""
    seconds: float | None = None
    """How long it took."""


class Artifact(ApiModel):
    """A checkpoint on the artifact volume."""

    key: Short
    """Content key, from everything that went into it."""
    path: Annotated[str, Field(max_length=1024)]
    """Folder on the artifact volume."""
    digest: Short
    """SHA-256 over the names and digests of its files."""
    weight_bytes: int
    """Size of the weights in bytes."""
    size_ratio: float
    """Size of the weights divided by the baseline's."""
    seconds: float | None = None
    """How long making it took."""


class WorstSlice(ApiModel):
    """The slice of the eval set that lost most."""

    name: Short
    """Value of the slice field."""
    recovery: float | None = None
    """Score divided by the baseline's on these items; absent when the baseline got none right."""
    items: int
    """Items of the slice."""


class BaselineStatus(ApiModel):
    """The full-precision model."""

    revision: Short
    """Revision that serves it."""
    weight_bytes: int
    """Size of the weights in bytes."""
    score: float | None = None
    """Share of items answered correctly."""
    evaluation: Evaluation | None = None
    """Counts that the score comes from."""
    memory: MemoryFigures | None = None
    """Memory that it needs, and which GPUs have it."""
    benchmark: BenchmarkFigures | None = None
    """How fast it is."""
    cost: CostFigures | None = None
    """What it costs to serve."""
    failure: Attempt | None = None
    """The last failed Job, while it has not been made good."""


class VariantStatus(ApiModel):
    """One row of the final table."""

    name: Short
    """Name of the variant."""
    scheme: Short
    """Numeric format."""
    bits: int
    """Bits of one weight, without scales."""
    verdict: Literal["PASS", "FAIL", "INCONCLUSIVE", "ERROR", "Infeasible"] | None = None
    """The gate's verdict; only PASS may serve."""
    reason: Short | None = None
    """Why, in one word."""
    message: Text = ""
    """Why, with the numbers."""
    score: float | None = None
    """Share of items answered correctly."""
    recovery: float | None = None
    """Score divided by the baseline's."""
    lower_bound: float | None = None
    """One-sided lower bound of recovery, at the gate's confidence, whatever is compared."""
    upper_bound: float | None = None
    """One-sided upper bound of recovery, at the gate's confidence; absent where the counts set none."""
    worst_slice: WorstSlice | None = None
    """The slice with the lowest recovery."""
    flips: int | None = None
    """Items on which baseline and variant disagree."""
    weight_bytes: int | None = None
    """Size of the weights in bytes."""
    size_ratio: float | None = None
    """Size of the weights divided by the baseline's."""
    revision: Short | None = None
    """Revision that serves it."""
    artifact: Artifact | None = None
    """The checkpoint that was made."""
    evaluation: Evaluation | None = None
    """Counts that the verdict comes from."""
    measured_with: Short = ""
    """Short digests of what was last measured: model, recipe, calibration, engine, settings, eval set and questions."""
    memory: MemoryFigures | None = None
    """Memory that it needs, and which GPUs have it."""
    benchmark: BenchmarkFigures | None = None
    """How fast it is."""
    cost: CostFigures | None = None
    """What it costs to serve."""
    failure: Attempt | None = None
    """The last failed Job, while it has not been made good."""
