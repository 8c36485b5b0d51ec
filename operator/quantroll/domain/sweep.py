"""What a benchmark's sweep says: the highest load inside the SLO, and what was odd on the way there."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from quantroll.api.figures import BenchmarkFigures
from quantroll.api.spec import Slo
from quantroll.api.spec.benchmark import milliseconds
from quantroll.domain.draft import LIST_LIMIT, clip

MOST_FAILED = 0.01
"""Share of requests above which a level counts as failed: a percentile of the others would flatter it."""
GROWTH = 1.05
"""Throughput against the level before, below which more load brings nothing but waiting."""


@dataclass(frozen=True, slots=True)
class Load:
    """One level of a sweep, read from its list of numbers. Times in milliseconds, rates a second."""

    concurrency: float
    ttft_p50: float
    ttft_p99: float
    itl_p50: float
    itl_p99: float
    tokens: float
    requests: float
    failed: float
    sent: float

    @property
    def broken(self) -> bool:
        """Whether too many requests failed, or none ended."""
        return self.tokens <= 0 or self.failed > MOST_FAILED * self.sent

    def breach(self, slo: Slo | None) -> str:
        """How it breaks the SLO, in words; empty where it does not."""
        for name, value, limit in (
            ("TTFT", self.ttft_p99, slo and slo.ttft_p99),
            ("ITL", self.itl_p99, slo and slo.itl_p99),
        ):
            if limit and value > milliseconds(limit):
                return f"{name} p99 is {value:.4g} ms at {self.concurrency:.0f} at once, and the SLO {limit}"
        return ""


def judged(key: str, levels: Sequence[Sequence[float]], slo: Slo | None, notes: str = "") -> BenchmarkFigures:
    """The figures at the highest level below which, and at which, nothing is broken or outside the SLO."""
    loads = [Load(*level) for level in levels]
    held, said = _held(loads, slo)
    best = held[-1] if held else None
    texts = [*said, *_saturated(held), *([notes] if notes else [])]
    figures = BenchmarkFigures(
        key=key,
        levels=[list(level) for level in levels],
        failed=int(sum(load.failed for load in loads)),
        notes=notes,
        message=clip("; ".join(texts), LIST_LIMIT),
    )
    if best is None:
        return figures
    return figures.model_copy(
        update={
            "concurrency": int(best.concurrency),
            "ttft_p50": best.ttft_p50,
            "ttft_p99": best.ttft_p99,
            "itl_p50": best.itl_p50,
            "itl_p99": best.itl_p99,
            "output_tokens_per_second": best.tokens,
            "requests_per_second": best.requests,
        }
    )


def holds(figures: BenchmarkFigures | None, slo: Slo | None) -> bool | None:
    """Whether an SLO is held where it has to be; None where that was not measured, or there is none."""
    if slo is None or figures is None or not figures.levels:
        return None
    return figures.concurrency is not None and figures.concurrency >= (slo.at_concurrency or 1)


def _held(loads: Sequence[Load], slo: Slo | None) -> tuple[list[Load], list[str]]:
    """The levels up to the first that does not hold, and why that does not."""
    held: list[Load] = []
    for load in loads:
        if load.broken:
            return held, [f"{load.failed:.0f} of {load.sent:.0f} requests failed at {load.concurrency:.0f} at once"]
        if breach := load.breach(slo):
            return held, [breach]
        held.append(load)
    return held, []


def _saturated(held: Sequence[Load]) -> list[str]:
    """That the last levels brought no more throughput: users only wait longer."""
    for before, load in pairwise(held):
        if load.tokens < GROWTH * before.tokens:
            at, more = f"{before.concurrency:.0f}", f"{load.concurrency:.0f}"
            return [f"saturated at {at} at once: {more} bring no more tokens a second"]
    return []
