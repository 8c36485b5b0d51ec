"""Which of the proven variants to serve."""

from collections.abc import Sequence

from quantroll.api.spec import Slo
from quantroll.api.status import VariantStatus
from quantroll.domain.gate import Verdict, select_smallest
from quantroll.domain.sweep import holds


def best(proven: Sequence[VariantStatus], slo: Slo | None) -> VariantStatus | None:
    """
    The proven variant with the lowest cost of a million output tokens, of those that hold the SLO; None without any.

    On a tie the one with fewer GPUs, then with fewer bits, then with fewer bytes. What was not measured is not known to
    hold an SLO. Without an SLO it may be chosen, after those whose cost is known; without any cost, the one with the
    fewest bytes is chosen.
    """
    fit = [row for row in proven if slo is None or holds(row.benchmark, slo)]
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
