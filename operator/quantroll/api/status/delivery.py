"""Revisions, the rollout under way, and where requests go."""

from typing import Annotated, Literal

from pydantic import Field

from quantroll.api.base import ApiModel, Timestamp
from quantroll.api.looks import AnalysisStatus, PassedStep
from quantroll.api.status.fields import Short, Text
from quantroll.api.status.resolved import RevisionSpec


class RevisionStatus(ApiModel):
    """A revision with a role."""

    revision: Short
    """Hash of artifact, serving settings and engine image."""
    variant: Short
    """Name of the variant, or baseline."""
    recovery: Short = ""
    """Score divided by the baseline's, as text for the column."""
    saving: Short = ""
    """What it costs less than the baseline, as text for the column."""
    since: Timestamp | None = None
    """When it took this role."""
    served_at: Timestamp | None = None
    """When it was first seen with a ready pod; absent while it never was."""
    rollout: Short = ""
    """Name of the rollout that promoted it: what quantroll.io/rollback names."""
    spec: RevisionSpec
    """Everything that its pods are made from."""


class PastRevision(ApiModel):
    """A revision that served before, and may serve again."""

    revision: Short
    """Hash of artifact, serving settings and engine image."""
    variant: Short
    """Name of the variant, or baseline."""
    recovery: Short = ""
    """Score divided by the baseline's, as text for the column."""
    until: Timestamp
    """When it stopped serving."""
    warm_until: Timestamp | None = None
    """Until when its pods are kept; absent: they are gone."""
    spec: RevisionSpec
    """Everything that its pods are made from."""


class RejectedRevision(ApiModel):
    """A revision that was taken back, and is not tried again by itself."""

    key: Short
    """Evaluation key: revision, eval set and way of asking."""
    generation: int
    """Generation of the spec that it was tried for."""
    rollout: Short = ""
    """Name of the rollout that ended so: what quantroll.io/retry names."""
    revision: Short
    """Hash of artifact, serving settings and engine image."""
    variant: Short
    """Name of the variant."""
    reason: Short
    """Why, in one word."""
    message: Text = ""
    """Why, in a sentence."""
    at: Timestamp
    """When it was rejected."""


class RolloutStatus(ApiModel):
    """The rollout under way."""

    id: Short
    """Name of this rollout: what commands about it name."""
    kind: Literal["Rollout", "Rollback"] = "Rollout"
    """Rollback: back to a revision that served before, at once: quality fell below the floor, or a person asked."""
    step: int
    """Index into spec.rollout.steps; -1 before the first weight."""
    weight: int
    """Per cent of requests that the candidate gets."""
    since: Timestamp | None = None
    """When this step's weight was verified at the route."""
    started_at: Timestamp
    """When the rollout began."""
    deadline: Timestamp | None = None
    """When the current wait is given up."""
    step_expires_at: Timestamp | None = None
    """When a step that is held is given up; moved on like `expiresAt`. Only where deadlines.step is set."""
    expires_at: Timestamp | None = None
    """When the whole rollout is given up; moved on by waits for approval and windows, and by suspension."""
    replicas: int | None = None
    """spec.serving.replicas that the candidate's pods were counted by when it got its weight."""
    analysis: AnalysisStatus | None = None
    """What the looks at this step have said."""
    passed: PassedStep | None = None
    """With what the step before was left: written with the transition, for a healthy step has no other news."""
    drifted_at: Timestamp | None = None
    """When somebody last changed the route in this step; it was put back, and the step's clock started again."""
    awaiting_since: Timestamp | None = None
    """Since when this step waits for approval."""
    held_since: Timestamp | None = None
    """Since when it may not go on: no rollout window is open, or the spec cannot be taken up."""
    approved_step: int | None = None
    """The last step that a person approved."""
    skip_to: int | None = None
    """Step that quantroll.io/promote wants it to go to without waits; the number of steps is the promotion."""
    draining: Short | None = None
    """Revision that is losing its traffic."""
    reason: Short | None = None
    """Why it rolls back, in one word."""
    message: Text = ""
    """Why it is taken back, in a sentence."""


class Share(ApiModel):
    """Per cent of requests of one revision."""

    revision: Short
    """Revision that gets the requests."""
    weight: int
    """Per cent of requests."""


class Traffic(ApiModel):
    """Weights as decided, as the gateway has accepted them, and as they were counted."""

    desired: Annotated[list[Share], Field(max_length=2)] = []
    """Weights as decided."""
    applied: Annotated[list[Share], Field(max_length=2)] = []
    """Weights as the gateway has accepted them."""
    observed: Annotated[list[Share], Field(max_length=2)] = []
    """Shares of users' requests since the step began, as Prometheus counted them at the last verdict."""
    consistent: bool | None = None
    """Whether these shares are what the weights would give, but for chance; absent: too few requests to tell."""
