"""Which of the proven variants to serve."""

from collections.abc import Sequence

from quantroll.api.spec import Slo
from quantroll.api.status import VariantStatus
from quantroll.domain.gate import Verdict, select_smallest
from quantroll.domain.sweep import holds


def best(proven: Sequence[VariantStatus], slo: Slo | None) -> VariantStatus | None:
    """
    The proven variant with the lowest cost of a million output tokens, of those that hold the SLO; None without any.

    On a tie the one with fewer GPUs, then with fewer bits, then with fewer bytes. A variant whose benchmark failed is
    not held to the SLO: that blocks no rollout. It has no cost, and comes after those that have one; without any cost,
    the one with the fewest bytes is chosen.
    """
    fit = [row for row in proven if holds(row.benchmark, slo) is not False]
    priced = [(_rank(row), row) for row in fit if row.cost and row.cost.per_million_output_tokens is not None]
    if priced:
        return min(priced, key=lambda entry: entry[0])[1]
    index = select_smallest([Verdict.PASS] * len(fit), [row.weight_bytes for row in fit])
    return None if index is None else fit[index]


def _rank(row: VariantStatus) -> tuple[float, int, int, float]:
    cost = row.cost
    if cost is None or cost.per_million_output_tokens is None:
        raise AssertionError("only what has a cost is ranked by it")
    size = float("inf") if row.weight_bytes is None else row.weight_bytes
    return cost.per_million_output_tokens, cost.gpus, row.bits, size
