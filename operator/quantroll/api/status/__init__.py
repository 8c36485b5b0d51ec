"""`QuantizedModel.status`: the whole story, bounded, written by the operator alone."""

from typing import Annotated, Literal

from pydantic import Field

from quantroll.api.base import ApiModel, Timestamp
from quantroll.api.jobs import PrepareResult
from quantroll.api.status.arms import Artifact, Attempt, BaselineStatus, Evaluation, Progress, VariantStatus, WorstSlice
from quantroll.api.status.delivery import PastRevision, RejectedRevision, RevisionStatus, RolloutStatus, Share, Traffic
from quantroll.api.status.drift import Drift, DriftCheckStatus, DriftVerdict
from quantroll.api.status.fields import Short, Text
from quantroll.api.status.resolved import Preset, Resolved, RevisionSpec
from quantroll.constants import Phase

__all__ = [
    "Artifact", "Attempt", "BaselineStatus", "CommandStatus", "ConditionStatus", "Drift", "DriftCheckStatus",
    "DriftVerdict", "Evaluation", "HistoryEntry", "PastRevision", "Preset", "Progress", "QuantizedModelStatus",
    "RejectedRevision", "Resolved", "RevisionSpec", "RevisionStatus", "RolloutStatus", "Share", "Traffic",
    "VariantStatus", "WorstSlice",
]  # fmt: skip


class ConditionStatus(ApiModel):
    """A condition as Kubernetes knows it."""

    type: Short
    """What the condition is about."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    reason: Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Why, in one word."""
    message: Text = ""
    """Why, in a sentence with cause and remedy."""
    observed_generation: int | None = None
    """Generation of the spec that was looked at."""
    last_transition_time: Timestamp
    """When `status` last changed."""


class CommandStatus(ApiModel):
    """The last command of a verb, and what came of it."""

    verb: Short
    """abort, approve, promote, retry or rollback."""
    value: Annotated[str, Field(max_length=256)]
    """Value of the annotation."""
    accepted: bool
    """Whether it was carried out."""
    message: Text
    """What was done, or why not."""
    at: Timestamp
    """When."""


class HistoryEntry(ApiModel):
    """A transition."""

    at: Timestamp
    """When."""
    phase: Phase
    """Phase that was entered."""
    message: Text = ""
    """Why."""


class QuantizedModelStatus(ApiModel):
    """What the operator knows and has decided."""

    observed_generation: int | None = None
    """Generation of the spec that this status is about."""
    phase: Phase | None = None
    """Where the rollout stands, in one word."""
    message: Text = ""
    """What is going on, in a sentence."""
    conditions: Annotated[
        list[ConditionStatus],
        Field(
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]},
        ),
    ] = []
    """Conditions as Kubernetes knows them: Available, Ready, Reconciling, Stalled and the steps of the way."""
    resolved: Resolved | None = None
    """What was fixed when this generation was adopted."""
    prepared_key: Short | None = None
    """Content key of what prepare checked."""
    prepared: PrepareResult | None = None
    """Digests and counts of model, calibration and eval set."""
    prepare_failure: Attempt | None = None
    """The last failed prepare Job, while it has not been made good."""
    baseline: BaselineStatus | None = None
    """The full-precision model."""
    variants: Annotated[list[VariantStatus], Field(max_length=7)] = []
    """One row for each variant, in declared order."""
    replicas: int | None = None
    """Pods that are asked for to serve the traffic: what the scale subresource reads."""
    selector: Short | None = None
    """Labels of all pods that serve, as the scale subresource reads them."""
    progress: Progress | None = None
    """How far the evaluation is that runs, once a quarter of its questions is answered."""
    stable: RevisionStatus | None = None
    """The revision that users get."""
    candidate: RevisionStatus | None = None
    """The revision that is being tried."""
    last_good: Annotated[list[PastRevision], Field(max_length=2)] = []
    """Revisions that served before, newest first."""
    rejected: Annotated[list[RejectedRevision], Field(max_length=8)] = []
    """Revisions that were taken back, newest first."""
    rollout: RolloutStatus | None = None
    """The rollout under way."""
    traffic: Traffic = Traffic()
    """Weights of the route."""
    drift: Drift | None = None
    """The drift check."""
    suspended_at: Timestamp | None = None
    """Since when everything is held by spec.suspend."""
    commands: Annotated[
        list[CommandStatus],
        Field(
            max_length=5,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["verb"]},
        ),
    ] = []
    """The last command of each verb, and what came of it."""
    history: Annotated[list[HistoryEntry], Field(max_length=20)] = []
    """The latest transitions, oldest first."""
