"""Floors of single slices of the eval set."""

from typing import Annotated

from pydantic import Field, StringConstraints

from quantroll.api.base import ApiModel


class SliceFloor(ApiModel):
    """A slice of the eval set that may not be harmed, however well the rest does."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=63)]
    """Value of the slice field."""
    min_acceptable: Annotated[float, Field(gt=0, le=1)] = 0.90
    """Recovery on these items below which, once it is proven, the variant fails."""
    min_samples: Annotated[int, Field(ge=1, le=10_000_000)] = 100
    """Items of the slice below which the variant cannot pass."""
