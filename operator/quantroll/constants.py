"""Every name that is written into a cluster: group, labels, annotations, condition types and reasons."""

from enum import StrEnum

GROUP = "quantroll.io"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "QuantizedModel"
PLURAL = "quantizedmodels"
MANAGER = "quantroll"  # field manager of server-side apply, and `app.kubernetes.io/managed-by`

LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_APP = "app.kubernetes.io/name"
LABEL_INSTANCE = "app.kubernetes.io/instance"
LABEL_OWNER = f"{GROUP}/name"
LABEL_COMPONENT = f"{GROUP}/component"
LABEL_VARIANT = f"{GROUP}/variant"
LABEL_REVISION = f"{GROUP}/revision"

ANNOTATION_KEY = f"{GROUP}/key"  # full content key of what a Job makes
ANNOTATION_REVISION_SPEC = f"{GROUP}/revision-spec"  # what a Deployment was made from, should the status get lost
ANNOTATION_REJECTED = f"{GROUP}/rejected"  # on the stable Service: what was taken back, should the status get lost
ANNOTATION_DESIRED = f"{GROUP}/desired-hash"  # hash of the manifest as applied: shows removed fields, too

BASELINE = "baseline"  # the variant name of the full-precision model
ANNOTATION_COMMAND = GROUP  # prefix of quantroll.io/abort, /approve, /promote, /retry and /rollback

ENGINE_PORT = 8000
PROBE_PORT = 9400
PROGRESS_PORT = 9401  # where an evaluation's client tells how far it is
ENGINE_CONTAINER = "engine"
ARTIFACTS_MOUNT = "/artifacts"
CLAIMS_MOUNT = "/claims"
BENCHMARK_MOUNT = "/benchmark"  # what the load generator leaves for the client beside it


class Component(StrEnum):
    """Value of the component label."""

    ARTIFACTS = "artifacts"
    PREPARE = "prepare"
    QUANTIZE = "quantize"
    EVALUATE = "evaluate"
    CONFIRM = "confirm"
    BENCHMARK = "benchmark"
    SERVE = "serve"
    PROBE = "probe"
    ROUTE = "route"


class Phase(StrEnum):
    """Where a QuantizedModel stands, in one word for people."""

    PENDING = "Pending"
    BASELINING = "Baselining"
    QUANTIZING = "Quantizing"
    EVALUATING = "Evaluating"
    SELECTING = "Selecting"
    CANDIDATE_STARTING = "CandidateStarting"
    SHIFTING = "Shifting"
    ANALYZING = "Analyzing"
    AWAITING_APPROVAL = "AwaitingApproval"
    PROMOTING = "Promoting"
    DRAINING = "Draining"
    STEADY = "Steady"
    REJECTED = "Rejected"
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"


class Condition(StrEnum):
    """Condition types. `Ready`, `Reconciling` and `Stalled` mean what kstatus reads in them."""

    AVAILABLE = "Available"
    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    QUANTIZED = "Quantized"
    VERIFIED = "Verified"
    CANDIDATE_AVAILABLE = "CandidateAvailable"
    CAPACITY_BLOCKED = "CapacityBlocked"
    PROMOTED = "Promoted"
    ROLLBACK_READY = "RollbackReady"
    QUALITY_FLOOR_MET = "QualityFloorMet"
    AWAITING_APPROVAL = "AwaitingApproval"
    SUSPENDED = "Suspended"
    WORTHWHILE = "Worthwhile"


class Reason(StrEnum):
    """Reasons of conditions, Job failures and events, in one word that runbooks are filed under."""

    # prepare: what the user gave
    MODEL_NOT_FOUND = "ModelNotFound"
    MODEL_FORBIDDEN = "ModelForbidden"  # the hub wants a token, or another one
    HUB_UNREACHABLE = "HubUnreachable"
    STORAGE_FULL = "StorageFull"
    NOT_SAFETENSORS = "NotSafetensors"
    ADAPTER_ONLY = "AdapterOnly"
    REMOTE_CODE = "RemoteCodeRequired"
    DTYPE_MISMATCH = "DtypeMismatch"
    EVAL_SET_MISSING = "EvalSetMissing"
    EVAL_SET_DIGEST = "EvalSetDigestMismatch"
    EVAL_SET_MALFORMED = "EvalSetMalformed"
    EVAL_SET_TOO_SMALL = "EvalSetTooSmall"
    EVAL_SET_SLICE_MISSING = "EvalSetSliceMissing"
    CALIBRATION_MISSING = "CalibrationMissing"
    CALIBRATION_DIGEST = "CalibrationDigestMismatch"
    CALIBRATION_MALFORMED = "CalibrationMalformed"
    BASELINE_TOO_WEAK = "BaselineTooWeak"
    SCORER_UNKNOWN = "ScorerUnknown"  # the admin has given no image for it
    # quantize and inspect
    BACKEND_UNKNOWN = "BackendUnknown"  # the admin has given no image for it
    QUANTIZATION_FAILED = "QuantizationFailed"
    NOTHING_CHANGED = "NothingChanged"
    NON_FINITE_WEIGHTS = "NonFiniteWeights"
    LAYERS_MISSED = "LayersMissed"
    SIZE_UNEXPECTED = "SizeUnexpected"
    TOKENIZER_DIFFERS = "TokenizerDiffers"  # or the chat template
    # evaluate and serve
    ENGINE_NOT_READY = "EngineNotReady"
    ENGINE_FAILED = "EngineFailed"  # it ends again and again, or does not answer any more
    INFEASIBLE = "Infeasible"  # the engine cannot load this artifact here
    INPUT_CHANGED = "InputChanged"
    BASELINE_RESULTS_MISSING = "BaselineResultsMissing"
    LOAD_DEADLINE = "LoadDeadlineExceeded"
    CANDIDATE_UNAVAILABLE = "CandidateUnavailable"
    SUPERSEDED = "Superseded"
    ANALYSIS_FAILED = "AnalysisFailed"
    ANALYSIS_INCONCLUSIVE = "AnalysisInconclusive"  # longer without a verdict than the spec puts up with
    SHARE_CONTRADICTS = "ShareContradictsWeight"  # requests do not go where the weights say
    ROUTE_DRIFTED = "RouteDrifted"  # somebody else changed what splits the traffic
    ROLLOUT_DEADLINE = "RolloutDeadlineExceeded"
    CAPACITY_BLOCKED = "CapacityBlocked"  # no node for a candidate's pods, in a time in which autoscalers bring one
    FLAPPING = "Flapping"  # two rollbacks within the cooldown
    ABORTED = "Aborted"
    ROLLBACK_REQUESTED = "RollbackRequested"  # by a person
    ROLLBACK_ABORTED = "RollbackAborted"  # by a person, too
    # after a promotion
    FLOOR_BREACHED = "FloorBreached"  # confirmed: quality is below the floor, and another revision does better
    FLOOR_SUSPECT = "FloorSuspect"
    FLOOR_MET = "FloorMet"
    POPULATION_SHIFT = "PopulationShift"  # everything is below the floor: the questions have changed, not the model
    QUALITY_UNKNOWN = "QualityUnknown"
    QUALITY_UNVERIFIED = "QualityUnverified"  # that has been so for too long
    QUERY_UNKNOWN = "QueryUnknown"  # the admin has defined none of that name
    ROLLBACK_BLOCKED = "RollbackBlocked"
    METRICS_UNAVAILABLE = "MetricsUnavailable"
    # pods of any kind
    OUT_OF_MEMORY = "OutOfMemory"
    IMAGE_PULL = "ImagePullFailed"
    VOLUME_MISSING = "VolumeMissing"
    UNSCHEDULABLE = "Unschedulable"
    CONTAINER_CONFIG = "ContainerConfigError"
    JOB_FAILED = "JobFailed"
    JOB_REPORT_UNREADABLE = "JobReportUnreadable"
    # the cluster and its admin
    SPEC_INVALID = "SpecInvalid"
    STATUS_LOST = "StatusLost"
    ENGINE_UNKNOWN = "EngineUnknown"
    ENGINE_CHANGED = "EngineChanged"  # by the admin: another image or other flags
    NAME_TAKEN = "NameTaken"
    REFUSED = "Refused"
    GATEWAY_API_MISSING = "GatewayAPIMissing"
    ROUTE_NOT_ACCEPTED = "RouteNotAccepted"
    SUSPENDED = "Suspended"
    RESUMED = "Resumed"
    COMMAND_DONE = "CommandDone"
    COMMAND_REFUSED = "CommandRefused"
    # what it is worth
    NOT_WORTHWHILE = "CompressionNotWorthwhile"
    COST_UNKNOWN = "CostUnknown"
    SAVES = "Saves"
    # going well
    PROGRESSING = "Progressing"
    SETTLED = "Settled"
    SERVING = "Serving"
    NOT_SERVING = "NotServing"
    PROMOTED = "Promoted"
    NONE_PROVEN = "NoVariantProven"
    PROVEN = "Proven"
    VERDICT = "Verdict"  # of events alone
    WAITING = "Waiting"
    OUTSIDE_WINDOW = "OutsideWindow"  # a rollout waits for one of its windows
    MADE = "Made"
