"""What a variant must prove."""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field, StringConstraints

from quantroll.api.base import ApiModel, rules
from quantroll.api.spec.fields import Sha256, Source
from quantroll.api.spec.model import Dtype


class EvalSet(ApiModel):
    """Held-out items with known answers."""

    source: Source
    """JSON lines with an id, `prompt` or `messages`, and `expected`, as pvc://CLAIM/PATH."""
    sha256: Sha256 | None = None
    """Digest that the file must have. Default: whatever it has when prepare reads it."""
    id_field: Annotated[str, StringConstraints(min_length=1, max_length=64)] = "id"
    """Name of the field that holds an item's id."""


class Generation(ApiModel):
    """How both arms answer."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0
    """Sampling temperature; 0 takes the most likely token."""
    max_tokens: Annotated[int, Field(ge=1, le=32_768)] = 256
    """Tokens after which an answer is cut."""


class QualityGate(ApiModel):
    """What a variant must prove before it may serve: that it recovers enough of the baseline's score."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "has(self.maxDrop) == (self.comparison == 'Difference')",
                "comparison: Difference needs maxDrop, and maxDrop is for comparison: Difference",
            ),
            (
                "self.comparison == 'Relative' || self.?minAcceptable.orValue(0.94) == 0.94",
                "minAcceptable is for comparison: Relative; with comparison: Difference maxDrop is the floor",
            ),
        ),
    )

    verified_against: Dtype
    """The baseline's dtype, said once more: quality is relative to the full-precision model."""
    eval_set: EvalSet
    """Held-out items with known answers, which both the baseline and every variant are asked."""
    scorer: Literal["ExactMatch"] = "ExactMatch"
    """How an answer is judged. ExactMatch: equal to the expected text, without surrounding white space."""
    generation: Generation = Generation()
    """How answers are generated, the same for both arms."""
    comparison: Literal["Relative", "Difference"] = "Relative"
    """What is compared: recovery, which is the variant's score divided by the baseline's, or the scores' difference."""
    min_acceptable: Annotated[float, Field(gt=0, le=1)] = 0.94
    """Floor of recovery, for comparison: Relative."""
    max_drop: Annotated[float, Field(gt=0, le=1)] | None = None
    """What the score may lose at most, for comparison: Difference; 0.02 is two points of a hundred."""
    confidence: Annotated[float, Field(ge=0.5, le=0.9999)] = 0.95
    """One-sided confidence with which the floor must be reached."""
    min_samples: Annotated[int, Field(ge=1, le=10_000_000)] = 500
    """Distinct items below which no verdict is given."""
    min_baseline: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Score that the baseline itself must reach for the eval set to say anything."""
    max_error_rate: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of requests that may fail before an evaluation counts as an error."""
