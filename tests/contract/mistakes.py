"""What people get wrong, with the words that they get to read and a change that puts it right."""

from dataclasses import dataclass

from contract.constraints import merge
from contract.manifests import Object, minimal, quantized_model


@dataclass(frozen=True)
class Mistake:
    """Two changes to a minimal manifest; null removes a field."""

    id: str
    change: Object
    message: str
    remedy: Object
    name: str = "ticket-triage"
    right_name: str = "ticket-triage"

    def wrong(self) -> Object:
        return _changed(self.name, self.change)

    def right(self) -> Object:
        return _changed(self.right_name, self.change, self.remedy)


def _changed(name: str, *changes: Object) -> Object:
    spec = minimal()
    for change in changes:
        merge(spec, change)
    return quantized_model(spec, name)


def _variants(*variants: Object) -> Object:
    """A change to variants which, like most, need calibration data."""
    return {"variants": list(variants), "calibration": {"dataset": "pvc://data/calibration.jsonl"}}


def _steps(*weights: int) -> Object:
    return {"rollout": {"steps": [{"weight": weight, "duration": "15m"} for weight in weights]}}


def _gate(**change: object) -> Object:
    return {"qualityGate": change}


def _metrics(*metrics: Object, **analysis: object) -> Object:
    return {"rollout": {"analysis": {"metrics": list(metrics), **analysis}}}


GATE = minimal()["qualityGate"]
ROLLOUT = minimal()["rollout"]
RTN = {"name": "rtn4", "scheme": "W4A16", "algorithm": "RTN"}
THREE = {"name": "w3", "scheme": "W3A16"}
INT8 = {"name": "int8", "scheme": "W8A8"}
GPTQ4 = {"name": "gptq4", "scheme": "W4A16"}
FP8 = {"name": "fp8", "scheme": "FP8_DYNAMIC"}
TASKS = _gate(scorer="LMEval", scoring={"lmEval": {"tasks": [{"name": "gsm8k"}]}}, evalSet={"source": None})
SCHEMES = "no other scheme is supported"

MISTAKES = (
    Mistake("no gate", {"qualityGate": None}, "spec.qualityGate: Required value", {"qualityGate": GATE}),
    Mistake(
        "no drift check",
        {"driftCheck": None},
        "spec.driftCheck: Required value",
        {"driftCheck": {"schedule": "@daily"}},
    ),
    Mistake(
        "no eval set", _gate(evalSet=None), "spec.qualityGate.evalSet: Required value", _gate(evalSet=GATE["evalSet"])
    ),
    Mistake(
        "one answer of a chain of thought",
        {"workload": "Reasoning", "qualityGate": {"generation": {"repeats": 1}}},
        "workload Reasoning asks every item at least 4 times, for one chain of thought tells little",
        {"qualityGate": {"generation": {"repeats": None}}},
    ),
    Mistake(
        "no spare GPU and one replica",
        {"rollout": {"capacity": {"mode": "Replace"}}},
        "rollout.capacity.mode Replace with one replica needs allowDowntime: nothing serves between the two",
        {"rollout": {"capacity": {"mode": "Replace", "allowDowntime": True}, "analysis": {"metrics": []}}},
    ),
    Mistake(
        "quality beside nothing",
        {"rollout": {"capacity": {"mode": "Replace", "allowDowntime": True}}},
        "quality and maxRegression compare with stable, which has no pod beside the candidate's with one replica",
        {"rollout": {"analysis": {"metrics": [{"name": "error-ratio"}]}}},
    ),
    Mistake(
        "no spare GPU and one replica, put right with another",
        {"rollout": {"capacity": {"mode": "Replace"}}},
        "rollout.capacity.mode Replace with one replica needs allowDowntime",
        {"serving": {"replicas": 2}},
    ),
    Mistake(
        "downtime that is not needed",
        {"rollout": {"capacity": {"mode": "Surge", "allowDowntime": True}}},
        "allowDowntime belongs to mode Replace: with Surge the stable revision keeps all its pods",
        {"rollout": {"capacity": {"allowDowntime": False}}},
    ),
    Mistake(
        "a window that is no time",
        {"rollout": {"windows": [{"days": ["Mon"], "from": "08:00", "to": "08:00"}]}},
        "from and to are the same: the whole day is from 00:00 to 24:00",
        {"rollout": {"windows": [{"days": ["Mon"], "from": "00:00", "to": "24:00"}]}},
    ),
    Mistake(
        "a window with another clock",
        {"rollout": {"windows": [{"days": ["Mon"], "from": "8am", "to": "16:00"}]}},
        "must be a time of day from 00:00 to 23:59",
        {"rollout": {"windows": [{"days": ["Mon"], "from": "08:00", "to": "16:00"}]}},
    ),
    Mistake(
        "a window that never closes",
        {"rollout": {"windows": [{"days": ["Mon"], "from": "08:00", "to": "25:00"}]}},
        "must be a time of day from 00:00 to 24:00",
        {"rollout": {"windows": [{"days": ["Mon"], "from": "22:00", "to": "06:00"}]}},
    ),
    Mistake(
        "a window without a day",
        {"rollout": {"windows": [{"days": [], "from": "08:00", "to": "16:00"}]}},
        "spec.rollout.windows[0].days",
        {"rollout": {"windows": [{"days": ["Mon", "Fri"], "from": "08:00", "to": "16:00"}]}},
    ),
    Mistake(
        "a window twice on a day",
        {"rollout": {"windows": [{"days": ["Mon", "Mon"], "from": "08:00", "to": "16:00"}]}},
        "Duplicate value",
        {"rollout": {"windows": [{"days": ["Mon"], "from": "08:00", "to": "16:00"}]}},
    ),
    Mistake(
        "a window in no place",
        {"rollout": {"windows": [{"days": ["Mon"], "from": "08:00", "to": "16:00", "timeZone": "+01:00"}]}},
        "must be the name of a time zone, such as Europe/Berlin",
        {"rollout": {"windows": [{"days": ["Mon"], "from": "08:00", "to": "16:00", "timeZone": "Europe/Berlin"}]}},
    ),
    Mistake(
        "no source of an eval set",
        _gate(evalSet={"source": None}),
        "evalSet.source is required",
        _gate(evalSet=GATE["evalSet"]),
    ),
    Mistake(
        "tasks of lm-eval and nothing that the prober could ask",
        {**TASKS, "probe": {"source": "pvc://data/production.jsonl"}},
        "LMEval has no items that the prober could ask: it needs probe.source and probe.floor",
        {"probe": {"floor": 0.8}},
    ),
    Mistake("no routing", {"rollout": None}, "spec.rollout: Required value", {"rollout": ROLLOUT}),
    Mistake("no variant", {"variants": []}, "spec.variants in body should have at least 1 items", {"variants": [FP8]}),
    Mistake(
        "two variants of one name",
        _variants(INT8, {**GPTQ4, "name": "int8"}),
        'spec.variants[1]: Duplicate value: {"name":"int8"}',
        _variants(INT8, GPTQ4),
    ),
    Mistake(
        "too many variants",
        _variants(*({**INT8, "name": f"v{i}"} for i in range(8))),
        "spec.variants: Too many: 8: must have at most 7 items",
        _variants(*({**INT8, "name": f"v{i}"} for i in range(7))),
    ),
    Mistake(
        "an SLO in minutes",
        {"benchmark": {"concurrency": [1, 8], "slo": {"ttftP99": "1m"}}},
        "must be milliseconds or seconds, such as 60ms or 0.5s",
        {"benchmark": {"concurrency": [1, 8], "slo": {"ttftP99": "500ms"}}},
    ),
    Mistake(
        "an SLO at a load that is not measured",
        {"benchmark": {"concurrency": [1, 8], "slo": {"atConcurrency": 16, "ttftP99": "1s"}}},
        "slo.atConcurrency may not be above the last of concurrency",
        {"benchmark": {"concurrency": [1, 8, 16], "slo": {"atConcurrency": 16, "ttftP99": "1s"}}},
    ),
    Mistake(
        "a price of nothing",
        {"economics": {"gpuHourlyCost": {"NVIDIA-L4": 0}}},
        "spec.economics.gpuHourlyCost.NVIDIA-L4 in body should be greater than 0",
        {"economics": {"gpuHourlyCost": {"NVIDIA-L4": 0.8}}},
    ),
    Mistake(
        "CPUs for nothing",
        {"economics": {"cpuHourlyCost": 0}},
        "spec.economics.cpuHourlyCost in body should be greater than 0",
        {"economics": {"cpuHourlyCost": 0.04}},
    ),
    Mistake(
        "a price of memory alone",
        {"economics": {"memoryHourlyCost": 0.005}},
        "memoryHourlyCost needs cpuHourlyCost",
        {"economics": {"cpuHourlyCost": 0.04, "memoryHourlyCost": 0.005}},
    ),
    Mistake(
        "a variant called baseline",
        _variants({**INT8, "name": "baseline"}),
        "baseline is the name of the full-precision model",
        _variants(INT8),
    ),
    Mistake("weights that fall", _steps(50, 10), "weights must rise from step to step", _steps(10, 50)),
    Mistake("weights that stay", _steps(10, 10), "weights must rise from step to step", _steps(10, 11)),
    Mistake("weight above 100", _steps(10, 101), "should be less than or equal to 100", _steps(10, 100)),
    Mistake("weight 0", _steps(0, 100), "should be greater than or equal to 1", _steps(1, 100)),
    Mistake("floor 0", _gate(minAcceptable=0), "should be greater than 0", _gate(minAcceptable=0.01)),
    Mistake("floor above 1", _gate(minAcceptable=1.01), "should be less than or equal to 1", _gate(minAcceptable=1)),
    Mistake(
        "rounding to 4 bits",
        _variants(RTN),
        "round-to-nearest below 8 bits loses quality unpredictably: use GPTQ, or set allowNaive: true",
        _variants({**RTN, "allowNaive": True}),
    ),
    Mistake("3 bits", _variants(THREE), "fewer than 4 bits degrade", _variants({**THREE, "allowSubFourBit": True})),
    Mistake(
        "2 bits by rounding",
        _variants({**RTN, "scheme": "W2A16", "allowNaive": True}),
        "fewer than 4 bits degrade",
        _variants({**RTN, "scheme": "W2A16", "allowNaive": True, "allowSubFourBit": True}),
    ),
    Mistake(
        "SmoothQuant without activations",
        _variants({**GPTQ4, "smoothQuantStrength": 0.5}),
        "only for scheme W8A8",
        _variants({**INT8, "smoothQuantStrength": 0.5}),
    ),
    Mistake(
        "groups with 8 bits",
        _variants({**INT8, "groupSize": 128}),
        "groupSize is for the weight-only schemes",
        _variants({**GPTQ4, "groupSize": 128}),
    ),
    Mistake(
        "FP8 with GPTQ",
        _variants({**FP8, "algorithm": "GPTQ"}),
        "FP8_DYNAMIC is made by round-to-nearest",
        _variants({**FP8, "algorithm": "RTN"}),
    ),
    Mistake(
        "AWQ with 8 bits",
        _variants({**INT8, "algorithm": "AWQ"}),
        "AWQ is for scheme W4A16",
        _variants({**GPTQ4, "algorithm": "AWQ"}),
    ),
    Mistake(
        "AWQ without calibration",
        {"variants": [{**GPTQ4, "algorithm": "AWQ"}]},
        "GPTQ, AWQ and SmoothQuant need spec.calibration",
        {"calibration": {"dataset": "pvc://data/c.jsonl"}},
    ),
    Mistake(
        "GPTQ by AutoAWQ",
        _variants({**GPTQ4, "backend": "AutoAWQ"}),
        "backend AutoAWQ makes algorithm AWQ alone",
        _variants({**GPTQ4, "backend": "AutoAWQ", "algorithm": "AWQ"}),
    ),
    Mistake(
        "AutoAWQ with exceptions",
        _variants({**GPTQ4, "backend": "AutoAWQ", "algorithm": "AWQ", "ignore": ["lm_head", "re:.*down_proj"]}),
        "leave ignore out",
        _variants({**GPTQ4, "backend": "AutoAWQ", "algorithm": "AWQ"}),
    ),
    Mistake(
        "GPTQ without calibration",
        {"variants": [{**INT8, "algorithm": "GPTQ"}]},
        "GPTQ, AWQ and SmoothQuant need spec.calibration",
        {"calibration": {"dataset": "pvc://data/c.jsonl"}},
    ),
    Mistake(
        "SmoothQuant without calibration",
        {"variants": [{**INT8, "algorithm": "RTN", "smoothQuantStrength": 0.5}]},
        "GPTQ, AWQ and SmoothQuant need spec.calibration",
        {"variants": [{**INT8, "algorithm": "RTN"}]},
    ),
    Mistake(
        "verified against another precision",
        _gate(verifiedAgainst="float32"),
        "must equal model.dtype",
        {"model": {"dtype": "float32"}},
    ),
    Mistake("bucket", {"model": {"source": "s3://models/llama"}}, SCHEMES, {"model": {"source": "pvc://models/llama"}}),
    Mistake(
        "hub without a commit",
        {"model": {"source": "hf://org/llama"}},
        "revision, a commit of the repository, is required for hf:// sources",
        {"model": {"revision": "a" * 40}},
    ),
    Mistake(
        "branch of a hub",
        {"model": {"source": "hf://org/llama", "revision": "main"}},
        "should match '^[0-9a-f]{40}$'",
        {"model": {"revision": "a" * 40}},
    ),
    Mistake(
        "claim with a commit",
        {"model": {"revision": "a" * 40}},
        "has no meaning for others",
        {"model": {"source": "hf://org/llama"}},
    ),
    Mistake(
        "claim with a token",
        {"model": {"tokenSecretRef": {"name": "hub"}}},
        "tokenSecretRef is for hf:// sources",
        {"model": {"source": "hf://org/llama", "revision": "a" * 40}},
    ),
    Mistake(
        "eval set from a hub",
        _gate(evalSet={"source": "hf://org/questions"}),
        SCHEMES,
        _gate(evalSet={"source": "pvc://data/eval.jsonl"}),
    ),
    Mistake("host path", {"model": {"source": "file:///etc"}}, SCHEMES, {"model": {"source": "pvc://etc/d"}}),
    Mistake("absolute path", {"model": {"source": "pvc://m//etc"}}, SCHEMES, {"model": {"source": "pvc://m/etc"}}),
    Mistake("claim without path", {"model": {"source": "pvc://m"}}, SCHEMES, {"model": {"source": "pvc://m/x"}}),
    Mistake(
        "upwards", {"model": {"source": "pvc://m/../x"}}, "must not contain '..'", {"model": {"source": "pvc://m/x"}}
    ),
    Mistake(
        "eval set outside", _gate(evalSet={"source": "/data/e.jsonl"}), SCHEMES, _gate(evalSet={"source": "pvc://d/e"})
    ),
    Mistake(
        "digest of another kind",
        _gate(evalSet={"sha256": "sha256:" + "0" * 57}),
        "should match '^[0-9a-f]{64}$'",
        _gate(evalSet={"sha256": "0" * 64}),
    ),
    Mistake(
        "claim with size",
        {"storage": {"claimName": "mine", "size": "10Gi"}},
        "claimName uses an existing claim: leave storageClassName, size and reclaimPolicy out",
        {"storage": {"size": None}},
    ),
    Mistake("size 0", {"storage": {"size": "0Gi"}}, "must be above 0", {"storage": {"size": "1Gi"}}),
    Mistake("size without unit", {"storage": {"size": "10GB"}}, "should match", {"storage": {"size": "10G"}}),
    Mistake(
        "duration in words",
        {"rollout": {"steps": [{"weight": 10, "duration": "5min"}]}},
        "must be days, hours, minutes, seconds, such as 90s, 15m, 1h30m or 7d",
        {"rollout": {"steps": [{"weight": 10, "duration": "5m"}]}},
    ),
    Mistake(
        "share as a latency",
        _metrics({"name": "ttft-p99", "max": 0.5}),
        "ttft-p99 and itl-p99 take maxLatency and maxRegression",
        _metrics({"name": "ttft-p99", "maxLatency": "500ms"}),
    ),
    Mistake(
        "latency without a limit",
        _metrics({"name": "itl-p99", "minSamples": 500}),
        "need a limit: set maxLatency, maxRegression or both",
        _metrics({"name": "itl-p99", "minSamples": 500, "maxRegression": 0.2}),
    ),
    Mistake(
        "latency of quality",
        _metrics({"name": "quality", "maxLatency": "1s"}),
        "maxLatency is for ttft-p99 and itl-p99",
        _metrics({"name": "quality"}),
    ),
    Mistake(
        "regression of quality",
        _metrics({"name": "quality", "maxRegression": 0.01}),
        "maxRegression is for error-ratio, ttft-p99 and itl-p99: quality is held to qualityGate",
        _metrics({"name": "error-ratio", "maxRegression": 0.01}),
    ),
    Mistake(
        "regression against nothing",
        {"rollout": {**_steps(50, 100)["rollout"], **_metrics({"name": "ttft-p99", "maxRegression": 0.2})["rollout"]}},
        "maxRegression compares with stable, which has no traffic at a weight of 100",
        _metrics({"name": "ttft-p99", "maxLatency": "1s"}),
    ),
    Mistake(
        "metric twice",
        _metrics({"name": "error-ratio"}, {"name": "error-ratio", "max": 0.5}),
        "Duplicate value",
        _metrics({"name": "error-ratio", "max": 0.5}),
    ),
    Mistake(
        "probe without quality",
        _metrics({"name": "error-ratio"}, onNoTraffic="Probe"),
        "onNoTraffic: Probe judges by quality alone: add it to metrics, or set Hold",
        _metrics({"name": "error-ratio"}, {"name": "quality"}),
    ),
    Mistake(
        "cron with six fields",
        {"driftCheck": {"schedule": "0 0 4 * * SUN"}},
        "must be a cron expression of five fields",
        {"driftCheck": {"schedule": "0 4 * * SUN"}},
    ),
    Mistake(
        "cron in words", {"driftCheck": {"schedule": "weekly"}}, "@weekly", {"driftCheck": {"schedule": "@weekly"}}
    ),
    Mistake(
        "answer longer than the context",
        {"serving": {"maxModelLen": 128}},
        "serving.maxModelLen must be above qualityGate.generation.maxTokens",
        _gate(generation={"maxTokens": 64}),
    ),
    Mistake(
        "a query by PromQL",
        {"driftCheck": {"metric": "sum(increase(good_total[7d]))"}},
        "must be Probe, or the name of a query of the admin's",
        {"driftCheck": {"metric": "thumbs-up"}},
    ),
    Mistake("unknown scheme", _variants({**INT8, "scheme": "INT8"}), 'Unsupported value: "INT8"', _variants(INT8)),
    Mistake("unknown field", {"qualityGates": {}}, 'unknown field "spec.qualityGates"', {"qualityGates": None}),
    Mistake(
        "field of a Deployment",
        {"rollout": {"maxSurge": 1}},
        'unknown field "spec.rollout.maxSurge"',
        {"rollout": {"maxSurge": None}},
    ),
    Mistake("wrong type", {"serving": {"replicas": "2"}}, "must be of type integer", {"serving": {"replicas": 2}}),
    Mistake("name of 41 characters", {}, "at most 40 characters", {}, name="a" * 41, right_name="a" * 40),
    Mistake("name with a dot", {}, "DNS-1035 label", {}, name="llama-3.1", right_name="llama-3-1"),
    Mistake("name with a digit first", {}, "DNS-1035 label", {}, name="3-llama", right_name="llama-3"),
)
