"""QuantizedModels as the API server gives them: proven, with speed and costs, and just applied."""

import copy
from typing import Any

from contract.manifests import minimal, quantized_model
from quantroll.domain.paired import Cells, recovery_lower_bound, recovery_upper_bound

Object = dict[str, Any]

PROFILE = {"image": "registry.example.com/vllm@sha256:" + "0" * 64}
PROVEN = {"verdict": "PASS", "reason": "Proven", "message": "Recovery is proven to reach the floor."}
AT = "2026-11-20T09:00:00Z"


def revision(name: str, variant: str, recovery: str = "") -> Object:
    """A revision with a role."""
    spec = {"engine": "vllm", "profile": PROFILE, "serving": {}, "dtype": "bfloat16", "model": "pvc://models/llama"}
    return {"revision": name, "variant": variant, "recovery": recovery, "since": AT, "spec": spec}


def row(name: str, scheme: str, bits: int, cells: tuple[int, int, int, int], **more: Any) -> Object:
    """A variant that was measured: items that both got right, only the baseline, only the variant, neither."""
    both, harm, gain, neither = cells
    items, correct, counted = sum(cells), both + gain, Cells(*cells)
    counts = {"key": f"e-{name}", "items": items, "correct": correct, "promptsMatch": True}
    return {
        "name": name,
        "scheme": scheme,
        "bits": bits,
        "score": round(correct / items, 6),
        "recovery": round((both + gain) / (both + harm), 6),
        "lowerBound": round(recovery_lower_bound(counted, 0.95), 6),
        "upperBound": round(recovery_upper_bound(counted, 0.95), 6),
        "flips": harm + gain,
        "revision": f"r-{name}",
        "evaluation": {**counts, "both": both, "harm": harm, "gain": gain, "neither": neither},
        **more,
    }


def proven() -> Object:
    """The demo's: two proven, one that naive rounding has spoiled; no benchmark, no prices."""
    spec = {
        **minimal(),
        "variants": [
            {"name": "int8", "scheme": "W8A8", "algorithm": "GPTQ", "smoothQuantStrength": 0.8},
            {"name": "gptq4", "scheme": "W4A16"},
            {"name": "rtn4", "scheme": "W4A16", "algorithm": "RTN", "allowNaive": True},
        ],
    }
    variants = [
        row("int8", "W8A8", 8, (1999, 0, 0, 1), verdict="PASS", reason="Proven",
            weightBytes=614_144, sizeRatio=0.584694,
            message="Recovery is proven to reach the floor. Recovery 1.0000, bounds 0.9986 to 1.0014."),
        row("gptq4", "W4A16", 4, (1935, 64, 0, 1), **PROVEN,
            weightBytes=394_064, sizeRatio=0.375168),
        row("rtn4", "W4A16", 4, (326, 1673, 0, 1), verdict="FAIL", reason="BelowFloor",
            weightBytes=394_064, sizeRatio=0.375168,
            message="Recovery is below the floor 0.94, so is the whole interval."),
    ]  # fmt: skip
    baseline = {
        "revision": "r-baseline", "weightBytes": 1_050_368, "score": 0.9995,
        "evaluation": {"key": "e-baseline", "items": 2000, "correct": 1999},
    }  # fmt: skip
    status = {
        "observedGeneration": 1,
        "phase": "Steady",
        "message": "gptq4 serves",
        "resolved": {"generation": 1, "engine": "vllm", "profile": PROFILE},
        "baseline": baseline,
        "variants": variants,
        "stable": revision("r-gptq4", "gptq4", "0.9680"),
    }
    return {**quantized_model(spec, "tiny-llama", namespace="demo", generation=1), "status": status}


def _figures(scale: float, fits: list[str], tokens: float, hourly: float, baseline: float) -> Object:
    weights = 16_060_522_496 * scale
    monthly = hourly * 730 * 2
    per_tokens = hourly * 1e6 / (3600 * tokens * 0.5)
    return {
        "weightBytes": int(weights),
        "memory": {
            "formulaBytes": int(weights * 0.99), "vramBytes": int(weights * 1.2), "kvTokenBytes": 131_072,
            "kvTokens": 118_784, "fitsOn": fits,
        },
        "benchmark": {
            "key": "b", "concurrency": 32, "ttftP50": 84.2, "ttftP99": 310.5, "itlP50": 18.31, "itlP99": 41.7,
            "outputTokensPerSecond": tokens, "requestsPerSecond": tokens / 128,
        },
        "cost": {
            "gpu": fits[0], "gpus": 1, "hourly": hourly, "replicas": 2, "monthly": monthly,
            "perMillionOutputTokens": per_tokens, "perMillionRequests": per_tokens * 128,
            "monthlySaving": baseline - monthly, "saving": 1 - monthly / baseline, "paybackDays": 2.4,
            "worthwhile": True, "predictedSpeedup": 1 / scale, "measuredSpeedup": tokens / 702.3,
        },
    }  # fmt: skip


def costed() -> Object:
    """An 8B model on GPUs with prices, being rolled out; the last variant could not be benchmarked."""
    spec = {
        **minimal(),
        "variants": [
            {"name": "fp8", "scheme": "FP8_DYNAMIC"},
            {"name": "int8", "scheme": "W8A8", "smoothQuantStrength": 0.8},
            {"name": "awq4", "scheme": "W4A16", "algorithm": "AWQ"},
            {"name": "gptq4-g32", "scheme": "W4A16", "groupSize": 32},
        ],
    }
    base = 3.2 * 730 * 2
    edge = {"name": "edge", "recovery": 0.9512, "items": 240}
    variants = [
        row("fp8", "FP8_DYNAMIC", 8, (1402, 8, 9, 581), **PROVEN, worstSlice=dict(edge),
            **_figures(0.53, ["NVIDIA-L4", "NVIDIA-A100-80GB"], 1180.4, 0.81, base)),
        row("int8", "W8A8", 8, (1395, 15, 8, 582), **PROVEN, worstSlice=dict(edge),
            **_figures(0.531, ["NVIDIA-L4", "NVIDIA-A100-80GB"], 1320.9, 0.81, base)),
        row("awq4", "W4A16", 4, (1368, 42, 21, 569), **PROVEN, worstSlice=dict(edge),
            **_figures(0.342, ["NVIDIA-L4"], 1610.0, 0.81, base)),
        row("gptq4-g32", "W4A16", 4, (1308, 102, 22, 568), verdict="INCONCLUSIVE", reason="NotProven",
            worstSlice={"name": "edge", "items": 240},
            weightBytes=5_812_000_000,
            message="Recovery is not proven to reach the floor 0.94: its lower bound is below.",
            benchmark={"key": "b4", "failed": 7, "message": "no load was inside the SLO: p99 TTFT 612 ms at 1"}),
    ]  # fmt: skip
    baseline = {
        "revision": "r-baseline", "score": 0.705,
        "evaluation": {"key": "e-baseline", "items": 2000, "correct": 1410},
        **_figures(1, ["NVIDIA-A100-80GB"], 702.3, 3.2, base),
    }  # fmt: skip
    status = {
        "observedGeneration": 3,
        "phase": "Analyzing",
        "message": "step 2 of 3: 25 % of requests go to awq4",
        "baseline": baseline,
        "variants": variants,
        "stable": revision("r-baseline", "baseline"),
        "candidate": revision("r-awq4", "awq4", "0.9851"),
        "rollout": {"id": "3-r-awq4", "step": 1, "weight": 25, "startedAt": AT},
    }
    return {**quantized_model(spec, "ticket-triage", namespace="support", generation=3), "status": status}


def pending() -> Object:
    """Applied a moment ago: nothing is known."""
    spec = {**minimal(), "variants": [{"name": "fp8", "scheme": "FP8_DYNAMIC"}, {"name": "int4", "scheme": "W4A16"}]}
    status = {"observedGeneration": 1, "phase": "Pending", "message": "preparing: digesting the model"}
    return {**quantized_model(spec, "fresh", namespace="demo", generation=1), "status": status}


def hostile(text: str) -> Object:
    """A proven one with this text wherever the status or the metadata takes any."""
    document = copy.deepcopy(costed())
    document["metadata"].update(name=text, namespace=text)
    status = document["status"]
    status["message"] = text
    for at, variant in enumerate(status["variants"]):
        variant.update(message=text, reason=text, scheme=text[:100])
        variant["worstSlice"]["name"] = text
        variant["evaluation"].update(engineVersion=text, informing=[{"scorer": text, "score": 0.5}])
        if at:
            variant["name"] = f"{text}{at}"
        if "memory" in variant:
            variant["memory"].update(fitsOn=[text], message=text)
            variant["cost"].update(message=text, currency=text, gpu=text)
    del status["variants"][1]["benchmark"]
    status["variants"][2]["benchmark"] = {"key": text, "message": text}
    status["candidate"].update(variant=text, recovery=text)
    entry = {"key": text, "generation": 1, "rollout": text, "revision": text, "variant": text, "reason": text}
    status["rejected"] = [{**entry, "message": text, "at": AT}]
    status["drift"] = {"schedule": "@weekly", "message": text}
    failure = {"key": text, "job": text, "reason": text, "message": text, "at": AT, "generation": 1}
    status["baseline"]["failure"] = failure
    return document
