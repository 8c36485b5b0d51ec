"""Counts that a verdict is computed from: what an evaluate Job reports and the status keeps."""

from typing import Annotated

from pydantic import Field

from quantroll.api.base import ApiModel

MAX_SLICES = 6
"""Slices of one eval set: their counts have to fit into a termination message."""
MAX_SCORERS = 2
"""Scorers that inform beside the one that gates."""

Count = Annotated[int, Field(ge=0)]
Short = Annotated[str, Field(max_length=128)]


Moments = Annotated[list[float], Field(min_length=9, max_length=9)]
"""Sums over clusters of paired scores: G, X, Y, XX, XY, YY, XN, YN, NN.

X and Y are the sums of a cluster's scores of baseline and variant, each item's in [0, 1], and N its items; G is the
number of clusters. An item alone is a cluster of its own. They carry everything that the linear test of y - phi x
needs, for any phi. A list, because a status has room for no names.
"""


class SliceCounts(ApiModel):
    """The paired counts of one slice."""

    name: Short
    """Value of the slice field."""
    cells: Annotated[list[Count], Field(min_length=4, max_length=4)]
    """Items that both answered correctly, only the baseline, only the variant, neither."""
    moments: Moments | None = None
    """Sums of graded or clustered scores, where the gate needs them."""


class ScorerCounts(ApiModel):
    """What a scorer that only informs says."""

    scorer: Short
    """Name of the scorer."""
    score: float
    """Mean score of this arm, in [0, 1]."""
    baseline_score: float | None = None
    """Mean score of the baseline."""


class Counts(ApiModel):
    """Counts of distinct items; the four cells where there is a baseline to compare with."""

    items: Count
    """Distinct items that were asked."""
    correct: Count
    """Items answered correctly; where scores lie between right and wrong, those with a score of 0.5 or more."""
    score: float | None = None
    """Mean score in [0, 1], where an item's score is not just right or wrong; absent: correct / items."""
    errors: Count = 0
    """Items of which a request failed; it counts as wrong."""
    truncated: Count | None = None
    """Items of which an answer was cut at maxTokens; absent where that is not told, as by lm-eval."""
    empty: Count = 0
    """Items of which an answer had no character that shows."""
    mean_length: float | None = None
    """Mean length of an answer, in characters."""
    both: Count | None = None
    """Items that baseline and variant answered correctly."""
    harm: Count | None = None
    """Items that only the baseline answered correctly."""
    gain: Count | None = None
    """Items that only the variant answered correctly."""
    neither: Count | None = None
    """Items that both answered wrongly."""
    moments: Moments | None = None
    """Sums of graded or clustered scores; absent where the four cells say all."""
    slices: Annotated[list[SliceCounts], Field(max_length=MAX_SLICES)] = []
    """The paired counts of each slice, by name."""
    informing: Annotated[list[ScorerCounts], Field(max_length=MAX_SCORERS)] = []
    """What the scorers say that do not gate."""
    baseline_errors: Count | None = None
    """Items of which a request to the baseline failed."""
    baseline_mean_length: float | None = None
    """Mean length of the baseline's answers, in characters."""
    prompts_match: bool | None = None
    """Whether both arms were sent byte-identical prompts."""
    noise_items: Count | None = None
    """Items that the baseline was asked once more."""
    noise_flips: Count | None = None
    """Of these, items that were right once and wrong once: what answers change by themselves."""
    engine_version: Annotated[str, Field(max_length=128)] = ""
    """Version that the engine reported."""
    record: Annotated[str, Field(max_length=64)] = ""
    """SHA-256 of record.json, beside the answers on the artifact volume: what was verified, how, and the outcome."""
