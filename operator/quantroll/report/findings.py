"""What was found of each arm beside the figures of the table: the gate's message, and what is odd or worth knowing."""

from dataclasses import dataclass

from quantroll.api.figures import BenchmarkFigures, CostFigures, MemoryFigures
from quantroll.api.status import Evaluation
from quantroll.report.arms import Arm
from quantroll.report.columns import Units
from quantroll.report.numbers import grouped, significant


@dataclass(frozen=True)
class Finding:
    """One arm's."""

    arm: str
    verdict: str
    """With its reason."""
    message: str
    """Why, with the numbers; may be empty."""
    details: str
    """Sentences; may be empty."""


def findings(arms: list[Arm], units: Units) -> list[Finding]:
    """Of each arm of which anything is to be said."""
    found = [
        Finding(
            arm=arm.name,
            verdict=f"{arm.verdict} ({arm.reason})" if arm.reason else arm.verdict or "",
            message=arm.message,
            details=" ".join(f"{sentence}." for sentence in _details(arm, units)),
        )
        for arm in arms
    ]
    return [one for one in found if one.message or one.details]


def _details(arm: Arm, units: Units) -> list[str]:
    said = _of_answers(arm.evaluation) if arm.evaluation else []
    said += _of_memory(arm.memory, units) if arm.memory else []
    said += _of_speed(arm.benchmark, arm.cost)
    return [sentence.rstrip(".") for sentence in said]


def _of_answers(counts: Evaluation) -> list[str]:
    odd = {"failed": counts.errors, "cut at maxTokens": counts.truncated, "empty": counts.empty}
    told = ", ".join(f"{grouped(number)} {what}" for what, number in odd.items() if number)
    said = [f"{grouped(counts.items)} items{f': {told}' if told else ''}"]
    if counts.mean_length is not None:
        beside = counts.baseline_mean_length
        other = "" if beside is None else f", the baseline's {significant(beside)}"
        said.append(f"Answers of {significant(counts.mean_length)} characters on average{other}")
    if counts.noise_items:
        flips = grouped(counts.noise_flips or 0)
        said.append(f"Asked twice, {flips} of {grouped(counts.noise_items)} items changed between right and wrong")
    for scorer in counts.informing:
        other = "" if scorer.baseline_score is None else f", the baseline's {scorer.baseline_score:.4f}"
        said.append(f"{scorer.scorer}, which does not gate, {scorer.score:.4f}{other}")
    return said


def _of_memory(memory: MemoryFigures, units: Units) -> list[str]:
    said = []
    if memory.formula_bytes is not None:
        said.append(f"Weights by formula {significant(memory.formula_bytes / units.bytes_size)} {units.bytes_name}")
    if memory.kv_token_bytes is not None:
        said.append(f"A token takes {grouped(memory.kv_token_bytes)} bytes of KV cache")
    return said


def _of_speed(benchmark: BenchmarkFigures | None, cost: CostFigures | None) -> list[str]:
    said = []
    if benchmark and benchmark.concurrency is not None:
        failed = f", {grouped(benchmark.failed)} requests failed in the sweep" if benchmark.failed else ""
        said.append(f"Benchmark at {grouped(benchmark.concurrency)} requests at once{failed}")
        said += [benchmark.message] if benchmark.message else []
    speedups = {"measured": cost.measured_speedup, "predicted from bytes": cost.predicted_speedup} if cost else {}
    told = ", ".join(f"{significant(value)} {what}" for what, value in speedups.items() if value is not None)
    said += [f"Tokens a second against the baseline's: {told}"] if told else []
    if cost and cost.worthwhile is False:
        said.append(f"Not worthwhile: {cost.message}" if cost.message else "Not worthwhile")
    return said
