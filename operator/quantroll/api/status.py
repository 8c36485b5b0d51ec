"""`QuantizedModel.status`: the whole story, bounded, written by the operator alone."""

from typing import Annotated, Literal

from pydantic import Field

from quantroll.api.base import ApiModel, Timestamp
from quantroll.api.counts import Counts
from quantroll.api.engine import EngineProfile
from quantroll.api.figures import BenchmarkFigures, CostFigures, MemoryFigures
from quantroll.api.jobs import PrepareResult
from quantroll.api.looks import AnalysisStatus, PassedStep
from quantroll.api.spec import Dtype, Scheme, Serving, Workload
from quantroll.constants import Phase

Text = Annotated[str, Field(max_length=1024)]
Short = Annotated[str, Field(max_length=128)]


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
    intent: Short = ""
    """Digest of the spec without the number of replicas, to tell such changes by."""
    work: Short = ""
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
    """Since when a rollout window is waited for."""
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


class DriftCheckStatus(ApiModel):
    """A suspicion that is being confirmed."""

    revision: Short
    """The revision that is suspected."""
    target: Short
    """The revision to go back to."""
    key: Short
    """Content key of the confirm Job."""
    started_at: Timestamp
    """When the suspicion arose."""
    deadline: Timestamp
    """Until when it has to be confirmed."""
    screen: Text = ""
    """What raised it, with the numbers."""
    catastrophic: bool | None = None
    """Whether these alone prove that it is far below the floor."""


DriftVerdict = Literal["Unknown", "Pending", "Healthy", "Suspect", "Breached", "PopulationShift"]


class Drift(ApiModel):
    """The drift check."""

    schedule: Short
    """When checks are due."""
    after_promotion: Annotated[list[Short], Field(max_length=8)] = []
    """Ages of the promotion at which they are due as well."""
    verdict: DriftVerdict = "Unknown"
    """What the last check said. Unknown: it could not tell, which is neither good nor bad."""
    message: Text = "no drift check has run"
    """Why, with the numbers."""
    revision: Short | None = None
    """The revision that was checked."""
    last: Timestamp | None = None
    """When the last check ended."""
    next: Timestamp | None = None
    """When the next check is due."""
    value: float | None = None
    """Share of right answers in the window, or of the confirmation."""
    floor: float | None = None
    """Score below which nothing may serve: minAcceptable times the baseline's, or the baseline's without maxDrop."""
    samples: int | None = None
    """Answers that the value comes from."""
    lower_bound: float | None = None
    """One-sided 90 % lower bound of the value."""
    upper_bound: float | None = None
    """One-sided 90 % upper bound of the value."""
    target_value: float | None = None
    """Share that the revision to go back to answered correctly, of the same items; absent where it was not asked."""
    consecutive: int | None = None
    """Confirmations in a row that found it below the floor and the revision to go back to; the third is a breach."""
    counted_for: Short | None = None
    """Digest of what they were about: revisions, items, way of asking and floor. With another one, the count begins
    anew."""
    unverified_since: Timestamp | None = None
    """Since when no check has been able to tell for longer than driftCheck.missingData.maxStaleness."""
    confirmation: Short | None = None
    """Content key of the last confirm Job."""
    confirming: DriftCheckStatus | None = None
    """A suspicion that is being confirmed."""


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
