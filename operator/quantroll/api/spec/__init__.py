"""`QuantizedModel.spec`: what a user declares. The CRD's schema is generated from these models.

A field is here only when the operator does what it says. The text below a field is its description in the CRD.
"""

from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from quantroll.api.base import UNSET, ApiModel, Quantity, Rule, rules
from quantroll.api.spec.benchmark import Benchmark, Slo
from quantroll.api.spec.drift import PROBE_METRIC, Confirm, DriftCheck, MissingData, Probe
from quantroll.api.spec.economics import Economics
from quantroll.api.spec.fields import Labels, ModelSource, Name, ObjectName, QueryName, Schedule, Sha256, Source
from quantroll.api.spec.gate import EvalSet, Generation, QualityGate
from quantroll.api.spec.model import (
    Algorithm,
    Backend,
    Calibration,
    Dtype,
    ModelRef,
    Scheme,
    TokenSecretRef,
    Variant,
    Workload,
)
from quantroll.api.spec.rollout import (
    Analysis,
    AnalysisMetric,
    Deadlines,
    ParentRef,
    Rollback,
    Rollout,
    Routing,
    Step,
    Window,
)
from quantroll.api.spec.scoring import (
    JSONSchema,
    LMEval,
    LMEvalTask,
    MultipleChoice,
    NumericTolerance,
    Regex,
    ScorerName,
    Scoring,
)
from quantroll.api.spec.serving import Placement, Resources, Serving, ServingOverride, Toleration
from quantroll.api.spec.slices import SliceFloor
from quantroll.constants import BASELINE

__all__ = [
    "PROBE_METRIC", "Algorithm", "Analysis", "AnalysisMetric", "Backend", "Benchmark", "Calibration", "Confirm",
    "Deadlines", "DriftCheck", "Dtype", "Economics", "EvalSet", "Generation", "JSONSchema", "LMEval", "LMEvalTask",
    "Labels", "MissingData", "ModelRef", "ModelSource", "MultipleChoice", "Name", "NumericTolerance", "ObjectName",
    "ParentRef", "Placement", "Probe", "QualityGate", "QuantizedModelSpec", "QueryName", "Regex", "Resources",
    "Rollback", "Rollout", "Routing", "Schedule", "Scheme", "ScorerName", "Scoring", "Serving", "ServingOverride",
    "Sha256", "SliceFloor", "Slo", "Source", "Step", "Storage", "TokenSecretRef", "Toleration", "Variant", "Window",
    "Workload",
]  # fmt: skip


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
                    "has(self.calibration) || !has(self.variants)"
                    " || !self.variants.exists(v, has(v.smoothQuantStrength) || v.?algorithm.orValue("
                    "v.scheme == 'FP8_DYNAMIC' ? 'RTN' : 'GPTQ') != 'RTN')"
                ),
                "GPTQ, AWQ and SmoothQuant need spec.calibration",
            ),
            (
                "self.qualityGate.generation.maxTokens < self.serving.?maxModelLen.orValue(10000000)",
                "serving.maxModelLen must be above qualityGate.generation.maxTokens: it holds prompt and answer",
            ),
            (
                (
                    "!has(self.benchmark) || self.benchmark.promptTokens + self.benchmark.outputTokens"
                    " < self.serving.?maxModelLen.orValue(10000000)"
                ),
                "serving.maxModelLen must be above benchmark.promptTokens and outputTokens together",
            ),
            (
                (
                    "self.rollout.capacity.mode != 'Replace' || self.rollout.capacity.allowDowntime"
                    " || self.serving.replicas > 1"
                ),
                "rollout.capacity.mode Replace with one replica needs allowDowntime: nothing serves between the two",
            ),
            (
                "self.qualityGate.scorer != 'LMEval' || (has(self.probe.source) && has(self.probe.floor))",
                "LMEval has no items that the prober could ask: it needs probe.source and probe.floor",
            ),
            (
                "self.qualityGate.scorer == 'LMEval' || !(has(self.probe.scorer) || has(self.probe.floor))",
                "probe.scorer and probe.floor are for qualityGate.scorer: LMEval; otherwise the gate's hold",
            ),
            (
                "self.workload != 'Reasoning' || self.qualityGate.generation.?repeats.orValue(4) >= 4",
                (
                    "workload Reasoning asks every item at least 4 times, for one chain of thought tells little: set"
                    " qualityGate.generation.repeats to 4 or more, or leave it out"
                ),
            ),
            (
                (
                    "self.rollout.capacity.mode != 'Replace' || self.serving.replicas > 1"
                    " || !self.rollout.analysis.metrics.exists(m, m.name == 'quality' || has(m.maxRegression))"
                ),
                (
                    "quality and maxRegression compare with stable, which has no pod beside the candidate's with one"
                    " replica and rollout.capacity.mode Replace: set rollout.analysis.metrics without them"
                ),
            ),
        ),
    )

    model: ModelRef
    """The baseline: the full-precision model that every variant is verified against, and the first stable."""
    workload: Workload = Workload.CHAT
    """What the model is for. It decides what qualityGate.minAcceptable, generation.repeats and variants are where they
    are left out: a small loss matters more to Extraction and Code, and most to Reasoning."""
    variants: Annotated[
        list[Variant],
        Field(
            min_length=1,
            max_length=7,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], **UNSET},
        ),
    ] = []
    """Compressed forms, tried in this order. Default: fp8 (FP8_DYNAMIC) and int8 (W8A16, rounded), and with
    `calibration` int4 (W4A16), but for Reasoning."""
    ladder: Literal["Sequential", "All"] = "Sequential"
    """Sequential: one by one, each tested at the full confidence, and nothing past the first that is not proven. All:
    every variant is made and tested, and a proof takes more the more there are (Holm)."""
    calibration: Calibration | None = None
    """Inputs that GPTQ, AWQ and SmoothQuant observe; they may not appear in the eval set."""
    quality_gate: QualityGate
    """What a variant must prove before it may serve: that it recovers enough of the baseline's score."""
    jobs: Placement = Placement()
    """What the quantize Jobs ask for, and where they may run."""
    serving: Serving = Serving()
    """How revisions are served; shared by all of them, overridden per arm."""
    rollout: Rollout
    """How traffic reaches a proven variant."""
    drift_check: DriftCheck
    """When and how the quality of what serves is checked, from the prober's counts in Prometheus."""
    probe: Probe = Probe()
    """Questions with known answers that are asked all the time."""
    benchmark: Benchmark | None = None
    """How the speed of the baseline and of every proven variant is measured. Default: it is not."""
    economics: Economics = Economics()
    """What serving costs the user, how much is asked for, and from when on a saving is worth it."""
    storage: Annotated[
        Storage,
        Rule("self == oldSelf", "storage cannot be changed: artifacts lie there, and pods read them from there"),
    ] = Storage()
    """The volume that artifacts and results are written to (ReadWriteMany). It cannot be changed later."""
    suspend: bool = False
    """Hold everything where it is: no Job is started, no traffic moved and no check run. What serves keeps serving."""

    def serving_of(self, arm: str) -> Serving:
        """Serving settings of an arm, its own merged in; one that the spec does not know has the shared ones."""
        own = self.model.serving if arm == BASELINE else next((v.serving for v in self.variants if v.name == arm), None)
        return self.serving.for_arm(own)
