"""What was fixed when a generation was adopted, and what a revision is made from."""

from typing import Annotated

from pydantic import Field

from quantroll.api.base import ApiModel
from quantroll.api.engine import EngineProfile
from quantroll.api.spec import Dtype, Scheme, Serving, Workload
from quantroll.api.status.fields import Digest, Short


class Preset(ApiModel):
    """What the workload stood for: an upgrade with other presets changes nothing before the spec does."""

    workload: Workload
    """The workload."""
    min_acceptable: float
    """Floor of recovery, where qualityGate.minAcceptable is left out."""
    repeats: int
    """Times that an item is asked, where generation.repeats is left out."""
    schemes: Annotated[list[Scheme], Field(max_length=3)]
    """Variants, where these are left out."""


class Resolved(ApiModel):
    """What was fixed when a generation was adopted: a changed engine profile does not disturb what runs."""

    generation: int
    """Generation that was adopted: the last one that changed more than the number of replicas."""
    intent: Digest = ""
    """Digest of the spec without the number of replicas, to tell such changes by."""
    work: Digest = ""
    """Digest of what Jobs are made from: the spec without thresholds, steps, schedules and prices."""
    work_generation: int | None = None
    """Generation that last changed what Jobs are made from: what failed before is tried again since."""
    engine: Short
    """Name of the engine profile."""
    profile: EngineProfile
    """The engine profile as it was then."""
    preset: Preset | None = None
    """What the workload stood for then."""


class RevisionSpec(ApiModel):
    """Everything that a revision's pods are made from, so that they can be made again from the status alone."""

    engine: Short
    """Name of the engine profile."""
    profile: EngineProfile
    """The engine profile that the revision runs with."""
    serving: Serving
    """Serving settings, the arm's own merged in."""
    dtype: Dtype
    """Numeric type of the baseline."""
    model: Annotated[str, Field(max_length=1024)]
    """pvc://CLAIM/PATH, or a path on the artifact volume."""
