"""How items are asked and answers judged: the same for every arm, the prober and the confirm Job."""

from typing import Any

from quantroll.api.spec import QualityGate, QuantizedModelSpec, ScorerName

REQUEST_SECONDS = 120.0  # for one answer, however short
SLOWEST_TOKENS = 5.0  # a second; an engine that is slower has hung


def judging(gate: QualityGate) -> dict[str, Any]:
    """The fields of a Job's `Judging`."""
    return {"scorer": gate.scorer, "scoring": gate.scoring, "system_prompt": gate.generation.system_prompt}


def asking(spec: QuantizedModelSpec) -> dict[str, Any]:
    """The fields of a Job's `Asking`."""
    generation = spec.quality_gate.generation
    return {
        **judging(spec.quality_gate),
        "temperature": generation.temperature,
        "max_tokens": generation.max_tokens,
        "request_timeout_seconds": max(REQUEST_SECONDS, generation.max_tokens / SLOWEST_TOKENS),
    }


def probing(spec: QuantizedModelSpec) -> dict[str, Any]:
    """The fields of `Asking` for the prober and the confirm Job, which ask single items: lm-eval asks whole tasks."""
    if spec.quality_gate.scorer is not ScorerName.LM_EVAL:
        return asking(spec)
    return {**asking(spec), "scorer": spec.probe.scorer or ScorerName.EXACT_MATCH, "scoring": None}
