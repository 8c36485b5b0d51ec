"""Where pods run, and how revisions are served."""

from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, StringConstraints

from quantroll.api.base import ApiModel, Quantity, rules
from quantroll.api.spec.fields import Labels, Name


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
    tolerations: Annotated[list[Toleration], Field(max_length=8)] | None = None
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
    """Requests that one engine works on at once: vLLM's --max-num-seqs. Evaluations ask as many at once, at most 64."""
    max_model_len: Annotated[int, Field(ge=16, le=10_000_000)] | None = None
    """Longest prompt and answer together, in tokens: vLLM's --max-model-len. Default: the model's own."""
    gpu_memory_utilization: Annotated[float, Field(ge=0.05, le=1)] = 0.9
    """Share of the GPU's memory that the engine takes: vLLM's --gpu-memory-utilization."""

    def for_arm(self, override: ServingOverride | None) -> Self:
        """These settings with what the arm overrides."""
        if override is None:
            return self
        return self.model_copy(update={k: v for k, v in override if v is not None})
