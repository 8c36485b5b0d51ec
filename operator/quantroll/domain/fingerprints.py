"""Keys of everything that is made: equal keys mean that making it again would give the same.

Each key is a sha256 over the user's intent in canonical form, field by field and with a version of its own, so that a
new field in the API, or a new release of the operator, changes no key and starts no rollout.
"""

import hashlib
import json
from datetime import datetime
from typing import Any

from quantroll.api.jobs import PrepareResult
from quantroll.api.spec import (
    Backend,
    Benchmark,
    Calibration,
    EvalSet,
    QualityGate,
    QuantizedModelSpec,
    ScorerName,
    Variant,
)
from quantroll.api.status import RevisionSpec

_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def fingerprint(kind: str, version: int, content: dict[str, Any]) -> str:
    """sha256, in hex, of a JSON value in canonical form."""
    text = _CANONICAL.encode({"kind": kind, "version": version, **content})
    return hashlib.sha256(text.encode()).hexdigest()


def intent(spec: QuantizedModelSpec) -> str:
    """What a user asks for, but for how many pods of it, which an autoscaler may decide; defaults do not show."""
    wire = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    serving = {name: value for name, value in wire.pop("serving", {}).items() if name != "replicas"}
    return fingerprint("intent", 1, {"spec": wire, "serving": serving})[:16]


_THRESHOLDS = (
    "comparison", "minAcceptable", "maxDrop", "confidence", "minSamples", "minBaseline", "maxErrorRate", "slices"
)  # fmt: skip
_AFTERWARDS = ("ladder", "driftCheck", "probe", "economics", "suspend")


def work(spec: QuantizedModelSpec) -> str:
    """What of an edit can mend a Job that failed: all but what is done with results, and with those that serve.

    Said by what is left out: an edit of a field that is not known here has failed Jobs tried again, and does no harm.
    """
    wire = spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    serving = {name: value for name, value in wire.pop("serving", {}).items() if name != "replicas"}
    gate = {name: value for name, value in wire.pop("qualityGate").items() if name not in _THRESHOLDS}
    measured = {name: value for name, value in (wire.pop("benchmark", None) or {}).items() if name != "slo"}
    load = spec.rollout.deadlines.model_load  # an evaluate Job waits as long for its engine
    rest = {name: value for name, value in wire.items() if name not in (*_AFTERWARDS, "rollout")}
    parts = {"spec": rest, "serving": serving, "gate": gate, "benchmark": measured}
    return fingerprint("work", 1, {**parts, "modelLoad": load})[:16]


def source_key(repository: str, revision: str) -> str:
    """What is fetched from a hub: one commit of one repository, whoever fetches it and with whatever token."""
    return fingerprint("source", 1, {"repository": repository, "revision": revision})


def prepare_key(spec: QuantizedModelSpec) -> str:
    """What prepare looks at: sources and pins."""
    evals, calibration = spec.quality_gate.eval_set, spec.calibration
    return fingerprint(
        "prepare",
        1,
        {
            "model": spec.model.source,
            "dtype": spec.model.dtype,
            "evalSet": [evals.source, evals.sha256, evals.id_field],
            "calibration": [calibration.dataset, calibration.sha256] if calibration else None,
            **({"revision": spec.model.revision} if spec.model.revision else {}),
            **({"scorer": scorer} if (scorer := spec.quality_gate.scorer) is not ScorerName.EXACT_MATCH else {}),
            **_item_fields(evals),
            **_judging(spec.quality_gate),
        },
    )


def _item_fields(evals: EvalSet) -> dict[str, Any]:
    """What else an item has, where that is not the default."""
    fields = {"sliceField": evals.slice_field, "clusterField": evals.cluster_field}
    return {name: field for name, field in fields.items() if field is not None}


def _judging(gate: QualityGate) -> dict[str, Any]:
    """What else answers depend on, and how they are judged, where that is not the default."""
    scoring = gate.scoring.to_wire() if gate.scoring else {}
    given = {"scoring": scoring, "alsoReport": gate.also_report, "systemPrompt": gate.generation.system_prompt}
    return {name: value for name, value in given.items() if value}


def artifact_key(variant: Variant, calibration: Calibration | None, prepared: PrepareResult) -> str:
    """What a quantize Job makes: the model's bytes, the recipe and the calibration data."""
    used = None
    if variant.needs_calibration and calibration and prepared.calibration:
        used = [prepared.calibration.sha256, calibration.samples, calibration.max_sequence_length, calibration.seed]
    return fingerprint(
        "artifact",
        1,
        {
            "model": prepared.model.digest,
            "scheme": variant.scheme,
            "algorithm": variant.resolved_algorithm,
            "groupSize": variant.resolved_group_size,
            "ignore": variant.ignore,
            "smoothQuantStrength": variant.smooth_quant_strength,
            "calibration": used,
            **({} if variant.backend is Backend.LLM_COMPRESSOR else {"backend": variant.backend}),
        },
    )


def revision(spec: RevisionSpec, content_digest: str) -> str:
    """Ten hex digits that name (artifact, serving configuration, engine image); replicas are no part of it."""
    serving, profile = spec.serving, spec.profile
    resources = serving.resources
    return fingerprint(
        "revision",
        1,
        {
            "content": content_digest,
            "model": spec.model,
            "dtype": spec.dtype,
            "image": profile.image,
            "args": profile.args,
            "env": profile.env,
            "tensorParallelSize": serving.tensor_parallel_size,
            "maxNumSeqs": serving.max_num_seqs,
            "maxModelLen": serving.max_model_len,
            "gpuMemoryUtilization": serving.gpu_memory_utilization,
            "resources": resources.to_wire() if resources else None,
            "nodeSelector": serving.node_selector,
        },
    )[:10]


def evaluation_key(of_revision: str, gate: QualityGate, eval_set_sha256: str, baseline_key: str | None = None) -> str:
    """What an evaluate Job measures: one revision, one eval set, one way of asking; a variant against one baseline."""
    return fingerprint(
        "evaluation",
        1,
        {
            "revision": of_revision,
            "evalSet": [eval_set_sha256, gate.eval_set.id_field],
            "scorer": gate.scorer,
            "generation": [gate.generation.temperature, gate.generation.max_tokens],
            "baseline": baseline_key,
            **({"repeats": gate.generation.repeats} if gate.generation.repeats > 1 else {}),
            **({"noiseItems": gate.generation.noise_items} if gate.generation.noise_items else {}),
            **_item_fields(gate.eval_set),
            **_judging(gate),
        },
    )


def benchmark_key(of_revision: str, benchmark: Benchmark) -> str:
    """What a benchmark Job measures: one revision under one sweep; the SLO is held against it afterwards."""
    return fingerprint(
        "benchmark",
        1,
        {
            "revision": of_revision,
            "concurrency": benchmark.concurrency,
            "tokens": [benchmark.prompt_tokens, benchmark.output_tokens],
        },
    )


def series_key(serving: str, target: str, about: dict[str, Any]) -> str:
    """What confirmations that are counted together are about, in 16 hex digits."""
    return fingerprint("confirmations", 1, {"serving": serving, "target": target, **about})[:16]


def confirm_key(serving: str, target: str, at: datetime) -> str:
    """What a confirm Job measures: two revisions at one time; another check measures anew."""
    return fingerprint("confirm", 1, {"serving": serving, "target": target, "at": at.isoformat()})
