"""`QuantizedModel.spec`: what a user declares. The CRD's schema is generated from these models.

A field is here only when the operator does what it says. The text below a field is its description in the CRD.
"""

from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints

from quantroll.api.base import ApiModel, Duration, Matches, Quantity, Rule, rules
from quantroll.constants import BASELINE

_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"

Name = Annotated[str, StringConstraints(pattern=f"^{_LABEL}$", max_length=30)]
Namespace = Annotated[str, StringConstraints(pattern=f"^{_LABEL}$", max_length=63)]
ObjectName = Annotated[str, StringConstraints(pattern=f"^{_SUBDOMAIN}$", max_length=253)]
Hostname = Annotated[str, StringConstraints(pattern=rf"^(\*\.)?{_SUBDOMAIN}$", max_length=253)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
LabelValue = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$", max_length=63)]
Labels = Annotated[dict[str, LabelValue], Field(max_length=32)]
LayerPattern = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Source = Annotated[
    str,
    StringConstraints(max_length=1024),
    Matches(
        rf"pvc://{_SUBDOMAIN}/[^/\x00-\x1f][^\x00-\x1f]*",
        "must be pvc://CLAIM/PATH, a path on a PersistentVolumeClaim of this namespace: no other scheme is supported",
    ),
    Rule("!self.contains('..')", "must not contain '..'"),
]
"""`pvc://claim/path`: a path on a PersistentVolumeClaim of this namespace."""


def _cron_field(*values: str) -> str:
    item = rf"(\*|({'|'.join(values)})(-({'|'.join(values)}))?)(/[1-9][0-9]?)?"
    return f"{item}(,{item})*"


_CRON = " ".join(
    (
        _cron_field("[1-5]?[0-9]"),
        _cron_field("1?[0-9]", "2[0-3]"),
        _cron_field("[1-9]", "[12][0-9]", "3[01]"),
        _cron_field("[1-9]", "1[0-2]", "JAN|FEB|MAR|APR|MAY|JUN|JUL|AUG|SEP|OCT|NOV|DEC"),
        _cron_field("[0-7]", "SUN|MON|TUE|WED|THU|FRI|SAT"),
    )
)
Schedule = Annotated[
    str,
    StringConstraints(max_length=100),
    Matches(
        f"@(hourly|daily|weekly|monthly)|{_CRON}",
        "must be a cron expression of five fields, or @hourly, @daily, @weekly or @monthly",
    ),
]


class Dtype(StrEnum):
    """Numeric type of the full-precision model's weights."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"


class Scheme(StrEnum):
    """Numeric format of weights and activations, named as in compressed-tensors."""

    W8A8 = "W8A8"
    W8A16 = "W8A16"
    FP8_DYNAMIC = "FP8_DYNAMIC"
    W4A16 = "W4A16"
    W3A16 = "W3A16"
    W2A16 = "W2A16"

    @property
    def weight_bits(self) -> int:
        """Bits of one weight, without scales."""
        return {"W8A8": 8, "W8A16": 8, "FP8_DYNAMIC": 8, "W4A16": 4, "W3A16": 3, "W2A16": 2}[self.value]


class Algorithm(StrEnum):
    """How the rounded weights are found."""

    RTN = "RTN"
    GPTQ = "GPTQ"


class Resources(ApiModel):
    """Requests and limits of a container, as in a pod's spec."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                (
                    "!self.requests.exists(k, k in self.limits && quantity(string(self.requests[k]))"
                    ".isGreaterThan(quantity(string(self.limits[k]))))"
                ),
                "a request may not be above its limit",
            )
        ),
    )

    requests: Annotated[dict[str, Quantity], Field(max_length=16)] = {}
    """What a node must have free for the container."""
    limits: Annotated[dict[str, Quantity], Field(max_length=16)] = {}
    """What the container may use at most; extended resources such as nvidia.com/gpu stand here."""


class Toleration(ApiModel):
    """A taint that a pod tolerates, as in a pod's spec."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("self.operator != 'Exists' || !has(self.value)", "operator Exists matches every value: leave value out"),
            ("has(self.key) || self.operator == 'Exists'", "without key, all taints are meant: set operator: Exists"),
        ),
    )

    key: Annotated[str, StringConstraints(min_length=1, max_length=316)] | None = None
    """Key of the taint; absent, with operator Exists, every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Whether the taint's value must equal `value`, or only its key must exist."""
    value: Annotated[str, StringConstraints(max_length=63)] | None = None
    """Value of the taint."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint; absent, every effect."""


class Placement(ApiModel):
    """What pods ask for and where they may run; what is absent falls back to the shared setting."""

    resources: Resources | None = None
    """Requests and limits of the main container, as in a pod's spec."""
    node_selector: Labels | None = None
    """Labels that a node must have."""
    tolerations: Annotated[list[Toleration], Field(max_length=16)] | None = None
    """Taints that the pods tolerate."""


class ServingOverride(Placement):
    """Serving settings of one arm only: the baseline often needs more than its variants."""

    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] | None = None
    """GPUs that one pod's engine shards the model over."""


class Serving(Placement):
    """How revisions are served; shared by all of them, overridden per arm."""

    engine: Name = "vllm"
    """Engine profile, defined by the cluster's admin in the chart's values."""
    replicas: Annotated[int, Field(ge=1, le=100)] = 1
    """Pods of the stable revision; a candidate gets its share of them."""
    tensor_parallel_size: Annotated[int, Field(ge=1, le=64)] = 1
    """GPUs that one pod's engine shards the model over: vLLM's --tensor-parallel-size."""
    max_num_seqs: Annotated[int, Field(ge=1, le=4096)] = 64
    """Requests that one engine works on at once: vLLM's --max-num-seqs."""
    max_model_len: Annotated[int, Field(ge=16, le=10_000_000)] | None = None
    """Longest prompt and answer together, in tokens: vLLM's --max-model-len. Default: the model's own."""
    gpu_memory_utilization: Annotated[float, Field(ge=0.05, le=1)] = 0.9
    """Share of the GPU's memory that the engine takes: vLLM's --gpu-memory-utilization."""

    def for_arm(self, override: ServingOverride | None) -> Self:
        """These settings with what the arm overrides."""
        if override is None:
            return self
        return self.model_copy(update={k: v for k, v in override if v is not None})


class ModelRef(ApiModel):
    """The baseline: the full-precision model that every variant is verified against, and the first stable."""

    source: Source
    """Folder with safetensors weights, configuration and tokenizer, as pvc://CLAIM/PATH."""
    dtype: Dtype = Dtype.BFLOAT16
    """Numeric type that the baseline is served in."""
    serving: ServingOverride | None = None
    """What the baseline needs other than spec.serving."""


class Variant(ApiModel):
    """One compressed form of the model."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.allowNaive || !(self.scheme.matches('^W[234]A16$') && self.?algorithm.orValue('') == 'RTN')",
                "round-to-nearest below 8 bits loses quality unpredictably: use GPTQ, or set allowNaive: true",
            ),
            (
                "!(self.scheme in ['W3A16', 'W2A16']) || self.allowSubFourBit",
                "fewer than 4 bits degrade most models severely: set allowSubFourBit: true to try it all the same",
            ),
            (
                "!has(self.smoothQuantStrength) || self.scheme == 'W8A8'",
                "smoothQuantStrength moves outliers from activations into weights: only for scheme W8A8",
            ),
            (
                "!has(self.groupSize) || self.scheme in ['W4A16', 'W3A16', 'W2A16']",
                "groupSize is for the weight-only schemes W4A16, W3A16 and W2A16",
            ),
            (
                "!(self.scheme == 'FP8_DYNAMIC' && self.?algorithm.orValue('') == 'GPTQ')",
                "FP8_DYNAMIC is made by round-to-nearest: leave algorithm out or set RTN",
            ),
        ),
    )

    name: Annotated[Name, Rule("self != 'baseline'", "baseline is the name of the full-precision model")]
    """Name of the variant in status and labels."""
    scheme: Scheme
    """Numeric format of weights (W) and activations (A), named as in compressed-tensors."""
    algorithm: Algorithm | None = None
    """How the rounded weights are found. Default: GPTQ, and RTN (round to nearest) for FP8_DYNAMIC."""
    smooth_quant_strength: Annotated[float, Field(ge=0, le=1)] | None = None
    """Share of the activations' outliers that SmoothQuant moves into the weights first. Default: no SmoothQuant."""
    group_size: Literal[32, 64, 128] | None = None
    """Weights that share one scale. Default: 128 below 8 bits; with 8 bits a whole output channel shares one."""
    ignore: Annotated[list[LayerPattern], Field(max_length=64)] = ["lm_head"]
    """Layers kept in full precision: names, or regular expressions with the prefix re:"""
    allow_naive: bool = False
    """Try round-to-nearest below 8 bits all the same."""
    allow_sub_four_bit: bool = False
    """Try fewer than 4 bits all the same."""
    serving: ServingOverride | None = None
    """What this variant needs other than spec.serving."""

    @property
    def resolved_algorithm(self) -> Algorithm:
        """The algorithm, with its default."""
        return self.algorithm or (Algorithm.RTN if self.scheme is Scheme.FP8_DYNAMIC else Algorithm.GPTQ)

    @property
    def resolved_group_size(self) -> int | None:
        """Weights that share a scale; None where the scheme has one scale a channel."""
        grouped = self.scheme in (Scheme.W4A16, Scheme.W3A16, Scheme.W2A16)
        return (self.group_size or 128) if grouped else None

    @property
    def needs_calibration(self) -> bool:
        """Whether making it reads calibration data."""
        return self.resolved_algorithm is Algorithm.GPTQ or self.smooth_quant_strength is not None


class Calibration(ApiModel):
    """Inputs that GPTQ and SmoothQuant observe; they may not appear in the eval set."""

    dataset: Source
    """JSON lines with `text`, `prompt` or `messages`, as pvc://CLAIM/PATH."""
    sha256: Sha256 | None = None
    """Digest that the file must have. Default: whatever it has when prepare reads it."""
    samples: Annotated[int, Field(ge=1, le=100_000)] = 1024
    """Items that are used at most."""
    max_sequence_length: Annotated[int, Field(ge=8, le=1_000_000)] = 2048
    """Tokens after which an item is cut."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed that chooses the items where the file has more of them."""


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

    verified_against: Dtype
    """The baseline's dtype, said once more: quality is relative to the full-precision model."""
    eval_set: EvalSet
    """Held-out items with known answers, which both the baseline and every variant are asked."""
    scorer: Literal["ExactMatch"] = "ExactMatch"
    """How an answer is judged. ExactMatch: equal to the expected text, without surrounding white space."""
    generation: Generation = Generation()
    """How answers are generated, the same for both arms."""
    min_acceptable: Annotated[float, Field(gt=0, le=1)] = 0.94
    """Floor of recovery, which is the variant's score divided by the baseline's."""
    confidence: Annotated[float, Field(ge=0.5, le=0.9999)] = 0.95
    """One-sided confidence with which recovery must lie above the floor."""
    min_samples: Annotated[int, Field(ge=1, le=10_000_000)] = 500
    """Distinct items below which no verdict is given."""
    min_baseline: Annotated[float, Field(ge=0, le=1)] = 0.5
    """Score that the baseline itself must reach for the eval set to say anything."""
    max_error_rate: Annotated[float, Field(ge=0, le=1)] = 0.01
    """Share of requests that may fail before an evaluation counts as an error."""


class Step(ApiModel):
    """One stage of the traffic shift."""

    weight: Annotated[int, Field(ge=1, le=100)]
    """Per cent of requests that the candidate gets."""
    duration: Duration
    """How long this weight is held, from when the gateway has accepted it."""


class ParentRef(ApiModel):
    """The Gateway that the route attaches to."""

    name: ObjectName
    """Name of the Gateway."""
    namespace: Namespace | None = None
    """Namespace of the Gateway. Default: the QuantizedModel's."""
    section_name: ObjectName | None = None
    """Listener of the Gateway. Default: all that allow the route."""


class Routing(ApiModel):
    """The HTTPRoute that splits the traffic; the operator owns it."""

    hostnames: Annotated[list[Hostname], Field(max_length=16)] = []
    """Host names that the route answers to. Default: those of the listener."""
    path_prefix: Annotated[
        str,
        StringConstraints(max_length=1024),
        Matches(r"/([-A-Za-z0-9._~!$&()*+,;=:@]+/)*[-A-Za-z0-9._~!$&()*+,;=:@]*", "must be an absolute path"),
        Rule("self.split('/').all(part, part != '.' && part != '..')", "must not contain the segments . and .."),
    ] = "/"
    """Path prefix of the requests that the route takes."""
    parent_refs: Annotated[list[ParentRef], Field(min_length=1, max_length=8)]
    """Gateways that the route attaches to."""


class Deadlines(ApiModel):
    """How long to wait before giving up."""

    model_load: Duration = "30m"
    """From a revision's start until its pods are ready."""
    drain: Duration = "10m"
    """For requests in flight after a revision's weight is gone."""


class Rollout(ApiModel):
    """How traffic reaches a proven variant."""

    steps: Annotated[
        list[Step],
        Field(min_length=1, max_length=10),
        Rule(
            "self.map(s, s.weight).isSorted() && self.all(s, self.exists_one(t, t.weight == s.weight))",
            "weights must rise from step to step",
        ),
    ] = [Step(weight=5, duration="15m"), Step(weight=25, duration="30m"), Step(weight=50, duration="30m")]
    """Stages of the traffic shift, with rising weights; promotion follows the last."""
    routing: Routing
    """The HTTPRoute that splits the traffic."""
    deadlines: Deadlines = Deadlines()
    """How long to wait before giving up."""


class DriftCheck(ApiModel):
    """When quality is checked after a promotion. No check runs yet; `status.drift` says so."""

    schedule: Schedule
    """Cron expression in UTC, or @hourly, @daily, @weekly, @monthly."""


class Storage(ApiModel):
    """The volume that artifacts and results are written to (ReadWriteMany)."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "!has(self.claimName) || !(has(self.storageClassName) || has(self.size) || has(self.reclaimPolicy))",
                "claimName uses an existing claim: leave storageClassName, size and reclaimPolicy out",
            )
        ),
    )

    claim_name: ObjectName | None = None
    """An existing claim to write to. Default: a claim is made, and named after the QuantizedModel."""
    storage_class_name: ObjectName | None = None
    """Storage class of the claim that is made. Default: the cluster's."""
    size: (
        Annotated[
            Quantity,
            Rule("type(self) == int ? self > 0 : quantity(self).isGreaterThan(quantity('0'))", "must be above 0"),
        ]
        | None
    ) = None
    """Size of the claim that is made. Default: 100Gi."""
    reclaim_policy: Literal["Retain", "Delete"] | None = None
    """What becomes of the claim that was made when the QuantizedModel is deleted. Default: Retain."""


class QuantizedModelSpec(ApiModel):
    """Roll out the cheapest compressed form of a model that is proven good enough."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                "self.qualityGate.verifiedAgainst == self.model.dtype",
                "qualityGate.verifiedAgainst must equal model.dtype, the precision that variants are verified against",
            ),
            (
                (
                    "has(self.calibration) || !self.variants.exists(v, has(v.smoothQuantStrength)"
                    " || v.?algorithm.orValue(v.scheme == 'FP8_DYNAMIC' ? 'RTN' : 'GPTQ') == 'GPTQ')"
                ),
                "GPTQ and SmoothQuant need spec.calibration",
            ),
            (
                "self.qualityGate.generation.maxTokens < self.serving.?maxModelLen.orValue(10000000)",
                "serving.maxModelLen must be above qualityGate.generation.maxTokens: it holds prompt and answer",
            ),
        ),
    )

    model: ModelRef
    """The baseline: the full-precision model that every variant is verified against, and the first stable."""
    variants: Annotated[
        list[Variant],
        Field(
            min_length=1,
            max_length=16,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
        ),
    ]
    """Compressed forms, tried in this order; the ladder stops at the first that is not proven."""
    calibration: Calibration | None = None
    """Inputs that GPTQ and SmoothQuant observe; they may not appear in the eval set."""
    quality_gate: QualityGate
    """What a variant must prove before it may serve: that it recovers enough of the baseline's score."""
    jobs: Placement = Placement()
    """What the quantize Jobs ask for, and where they may run."""
    serving: Serving = Serving()
    """How revisions are served; shared by all of them, overridden per arm."""
    rollout: Rollout
    """How traffic reaches a proven variant."""
    drift_check: DriftCheck
    """When quality is checked after a promotion. No check runs yet; `status.drift` says so."""
    storage: Annotated[
        Storage,
        Rule("self == oldSelf", "storage cannot be changed: artifacts lie there, and pods read them from there"),
    ] = Storage()
    """The volume that artifacts and results are written to (ReadWriteMany). It cannot be changed later."""

    def serving_of(self, arm: str) -> Serving:
        """Serving settings of an arm, its own merged in; one that the spec does not know has the shared ones."""
        own = self.model.serving if arm == BASELINE else next((v.serving for v in self.variants if v.name == arm), None)
        return self.serving.for_arm(own)
