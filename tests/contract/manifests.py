"""QuantizedModels for tests: one with only what is required, and one in which every field of the spec is set."""

import copy
from typing import Any

from quantroll.constants import API_VERSION, KIND

Object = dict[str, Any]


def quantized_model(spec: Object, name: str = "ticket-triage", **metadata: Any) -> Object:
    """A manifest around a spec."""
    return {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name, **metadata}, "spec": spec}


def minimal() -> Object:
    """A spec that relies on every default."""
    return {
        "model": {"source": "pvc://models/llama"},
        "variants": [{"name": "fp8", "scheme": "FP8_DYNAMIC"}],
        "qualityGate": {"verifiedAgainst": "bfloat16", "evalSet": {"source": "pvc://data/eval.jsonl"}},
        "rollout": {"routing": {"parentRefs": [{"name": "public"}]}},
        "driftCheck": {"schedule": "@weekly"},
    }


def placement() -> Object:
    return {
        "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "8Gi"}},
        "nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L4"},
        "tolerations": [{"key": "gpu", "operator": "Equal", "value": "yes", "effect": "NoSchedule"}],
    }


def full() -> Object:
    """A spec that sets every field but those that exclude others: they stand in the manifests below."""
    override = {**placement(), "tensorParallelSize": 2}
    return {
        "model": {
            "source": "hf://meta-llama/Llama-3.1-8B-Instruct",
            "revision": "0123456789abcdef0123456789abcdef01234567",
            "tokenSecretRef": {"name": "hugging-face", "key": "read.only"},
            "dtype": "float16",
            "serving": copy.deepcopy(override),
        },
        "workload": "Code",
        "variants": [
            {
                "name": "int8",
                "scheme": "W8A8",
                "algorithm": "GPTQ",
                "smoothQuantStrength": 0.8,
                "ignore": ["lm_head"],
                "allowNaive": True,
                "allowSubFourBit": True,
                "serving": copy.deepcopy(override),
            },
            {"name": "int4", "scheme": "W4A16", "algorithm": "AWQ", "backend": "AutoAWQ", "groupSize": 64},
        ],
        "ladder": "All",
        "calibration": {
            "dataset": "pvc://data/calibration.jsonl",
            "sha256": "0" * 64,
            "samples": 128,
            "maxSequenceLength": 512,
            "seed": 7,
        },
        "qualityGate": {
            "verifiedAgainst": "float16",
            "evalSet": {
                "source": "pvc://data/eval.jsonl",
                "sha256": "f" * 64,
                "idField": "key",
                "sliceField": "topic",
                "clusterField": "document",
            },
            "scorer": "Regex",
            "scoring": {
                "numericTolerance": {"absolute": 0.5, "relative": 0.01},
                "regex": {"pattern": "(.*) points"},
                "jsonSchema": {"schema": '{"type": "object"}'},
            },
            "alsoReport": ["NumericTolerance", "JSONSchema"],
            "generation": {
                "temperature": 0.5,
                "maxTokens": 8,
                "repeats": 2,
                "noiseItems": 100,
                "systemPrompt": "Be brief.",
            },
            "comparison": "Relative",
            "minAcceptable": 0.9,
            "confidence": 0.9,
            "minSamples": 100,
            "minBaseline": 0.4,
            "maxErrorRate": 0.02,
            "slices": [{"name": "edge", "minAcceptable": 0.8, "minSamples": 50}],
        },
        "jobs": placement(),
        "serving": {
            **placement(),
            "engine": "vllm-cpu",
            "replicas": 2,
            "tensorParallelSize": 4,
            "maxNumSeqs": 8,
            "maxModelLen": 131_072,
            "gpuMemoryUtilization": 0.8,
        },
        "rollout": {
            "capacity": {"mode": "Replace", "allowDowntime": True},
            "windows": [{"days": ["Mon", "Thu"], "from": "08:00", "to": "16:00", "timeZone": "Europe/Berlin"}],
            "steps": [{"weight": 50, "duration": "1m30s", "approval": True}],
            "analysis": {
                "interval": "30s",
                "failureLimit": 3,
                "errorLimit": 5,
                "inconclusiveLimit": 6,
                "onNoTraffic": "Hold",
                "metrics": [
                    {"name": "quality", "minSamples": 200},
                    {"name": "error-ratio", "max": 0.02, "minSamples": 50},
                    {"name": "itl-p99", "maxLatency": "0.5s", "maxRegression": 0.2},
                ],
            },
            "routing": {
                "mode": "GatewayAPI",
                "hostnames": ["triage.example.com"],
                "pathPrefix": "/v1",
                "parentRefs": [{"name": "public", "namespace": "gateways", "sectionName": "http"}],
            },
            "deadlines": {"modelLoad": "1h", "scheduling": "20m", "drain": "90s", "step": "6h", "total": "2d"},
            "rollback": {"keepWarm": "1h", "target": "Baseline", "cooldown": "12h"},
        },
        "driftCheck": {
            "schedule": "30 4 * * SUN",
            "afterPromotion": ["30m", "12h", "3d"],
            "window": "1d12h",
            "metric": "thumbs-up",
            "minSamples": 50,
            "confirm": {"items": 400, "deadline": "2h"},
            "missingData": {"maxStaleness": "30d"},
            "onBreach": "Alert",
        },
        "probe": {"itemsPerHour": 120, "rolloutItemsPerHour": 600, "source": "pvc://data/production.jsonl"},
        "benchmark": {
            "concurrency": [4096],
            "promptTokens": 8,
            "outputTokens": 4,
            "slo": {"atConcurrency": 1, "ttftP99": "0.5s", "itlP99": "60.5ms"},
        },
        "economics": {
            "gpuHourlyCost": {"NVIDIA-L4": 0.81},
            "cpuHourlyCost": 0.04,
            "memoryHourlyCost": 0.005,
            "currency": "EUR",
            "requestsPerMonth": 5_000_000,
            "utilization": 0.4,
            "minMonthlySaving": 50.5,
        },
        "suspend": True,
        "storage": {"storageClassName": "fast", "size": "20Gi", "reclaimPolicy": "Delete"},
    }


def claimed() -> Object:
    """`full` with an existing claim."""
    return {**full(), "storage": {"claimName": "artifacts"}}


def shifting() -> Object:
    """`full` with metrics that allow any weight."""
    spec = full()
    spec["rollout"]["analysis"]["metrics"] = [{"name": "error-ratio"}]
    return spec


def dropping() -> Object:
    """`full` with scores compared by their difference."""
    gate = {key: value for key, value in full()["qualityGate"].items() if key != "minAcceptable"}
    return {**full(), "qualityGate": {**gate, "comparison": "Difference", "maxDrop": 0.02}}


def harnessed() -> Object:
    """`full` with tasks of lm-eval."""
    plain = full()["qualityGate"]
    gate = {
        **plain,
        "generation": {**plain["generation"], "noiseItems": 0},
        "evalSet": {"source": "pvc://data/tasks", "sha256": "f" * 64},
        "scorer": "LMEval",
        "scoring": {
            "lmEval": {
                "tasks": [{"name": "gsm8k", "metric": "exact_match", "filter": "strict-match"}],
                "api": "ChatCompletions",
            }
        },
        "alsoReport": [],
    }
    return {**full(), "qualityGate": gate, "probe": {**full()["probe"], "scorer": "F1", "floor": 0.8}}


def choosing() -> Object:
    """`full` with choices by log probability."""
    gate = full()["qualityGate"]
    scoring = {"multipleChoice": {"by": "LogprobPerByte"}}
    return {**full(), "qualityGate": {**gate, "scorer": "MultipleChoice", "scoring": scoring, "alsoReport": []}}
