"""
The quality gate: from one variant's paired counts to a verdict, and from the ladder's verdicts to what is next.

Nothing ships on a point estimate: PASS needs a proof that the floor is reached. FAIL and INCONCLUSIVE never ship.
FAIL means "not to be shipped", not "proven bad"; the interval, always printed, tells the two apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal, NamedTuple

from quantroll.domain.evidence import Comparison, Evidence, Thresholds
from quantroll.domain.paired import mcnemar_p
from quantroll.domain.rules import LOPSIDED_P, RULES, Case, Finding, GateReason, Verdict, beside

__all__ = [
    "LOPSIDED_P", "Comparison", "Evidence", "GateReason", "Judgement", "Ladder", "Thresholds", "Verdict", "WorstPart",
    "judge", "ladder_next", "proof", "select_smallest", "shippable",
]  # fmt: skip

Ladder = Literal["Sequential", "All"]
"""Rung by rung up to the first that is not proven, or every variant, tested at once."""


class WorstPart(NamedTuple):
    """The slice with the lowest recovery."""

    name: str
    recovery: float
    items: int


@dataclass(frozen=True)
class Judgement:
    """A verdict and the numbers that it stands on. Recovery and bounds are None when the baseline got nothing right."""

    verdict: Verdict
    reason: GateReason
    message: str
    recovery: float | None
    lower_bound: float | None
    """Of recovery, whatever is compared; one-sided, at the thresholds' confidence. So is the upper bound."""
    upper_bound: float | None
    flips: int
    mcnemar_p: float
    """A diagnostic that no rule looks at."""
    required_n: int | None
    """Items that would decide, for INCONCLUSIVE; None for other verdicts and where no number would."""
    worst_slice: WorstPart | None = None
    """None without slices, or where the baseline got nothing right in any."""


def judge(evidence: Evidence, thresholds: Thresholds, rivals: Sequence[float] = ()) -> Judgement:
    """
    The verdict on one variant: that of the first rule in `RULES` that has one.

    `rivals` are the `proof` of the other variants, where all are tested at once: their number raises what a PASS takes.
    """
    case = Case(evidence, thresholds, evidence.compared(thresholds.comparison), tuple(rivals))
    finding = _finding(case)
    recovery, some = evidence.recovery, evidence.recovery.estimate is not None
    lower = recovery.lower(thresholds.confidence) if some else None
    upper = recovery.upper(thresholds.confidence) if some else None
    p = mcnemar_p(evidence.cells)
    return Judgement(
        verdict=finding.verdict,
        reason=finding.reason,
        message=f"{finding.message} {_figures(case, lower, upper, p)}",
        recovery=recovery.estimate,
        lower_bound=lower,
        upper_bound=upper,
        flips=evidence.cells.flips,
        mcnemar_p=p,
        required_n=finding.required_n,
        worst_slice=_worst(evidence),
    )


def proof(evidence: Evidence, thresholds: Thresholds) -> float:
    """P value of "the variant does not reach its floor"; 1 where the comparison is broken or too small to have one."""
    case = Case(evidence, thresholds, evidence.compared(thresholds.comparison))
    finding = _finding(case)
    if finding.verdict is Verdict.ERROR or finding.reason is GateReason.INSUFFICIENT_DATA:
        return 1.0
    return case.compared.p_value(case.floor)


def shippable(verdicts: Sequence[Verdict | None], ladder: Ladder = "Sequential") -> list[int]:
    """
    Indices of the variants that may ship: PASS, and on the Sequential ladder before anything that stopped it.

    Its rungs are tested in declared order, each at the full alpha, and the first FAIL or INCONCLUSIVE ends the ladder:
    so one wrong PASS in the whole ladder is no likelier than in one test. A rung without a verdict ends it for now.
    ERROR says nothing about a variant and is skipped; so is what no engine can serve, passed as ERROR. Where all are
    tested at once, each PASS has been adjusted for that already.
    """
    if ladder == "All":
        return [index for index, verdict in enumerate(verdicts) if verdict is Verdict.PASS]
    climbed = takewhile(lambda rung: rung[1] in (Verdict.PASS, Verdict.ERROR), enumerate(verdicts))
    return [index for index, verdict in climbed if verdict is Verdict.PASS]


def ladder_next(verdicts: Sequence[Verdict | None], ladder: Ladder = "Sequential") -> int | None:
    """Index of the next rung to work on: the first without a verdict. None when the ladder is done or stopped."""
    for index, verdict in enumerate(verdicts):
        if verdict is None:
            return index
        if ladder == "Sequential" and verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
            return None
    return None


def select_smallest(
    verdicts: Sequence[Verdict | None], weight_bytes: Sequence[int | None], ladder: Ladder = "Sequential"
) -> int | None:
    """
    Index of the shippable variant with the fewest weight bytes; the one declared first on a tie, None without any.

    Both sequences are in declared order and of equal length. None stands for weights that were not made or measured;
    such a variant comes after every measured one.
    """
    sizes = [float("inf") if size is None else size for size in weight_bytes]
    return min(shippable(verdicts, ladder), key=lambda index: sizes[index], default=None)


def _finding(case: Case) -> Finding:
    return next(found for rule in RULES if (found := rule(case)) is not None)


def _worst(evidence: Evidence) -> WorstPart | None:
    parts = [(part.recovery.estimate, part) for part in evidence.slices]
    known = [WorstPart(part.name, recovery, part.cells.n) for recovery, part in parts if recovery is not None]
    return min(known, key=lambda part: part.recovery, default=None)


def _figures(case: Case, lower: float | None, upper: float | None, p: float) -> str:
    cells, evidence, floor = case.cells, case.evidence, case.floor
    clusters = f" in {evidence.sums.clusters} clusters" if evidence.sums else ""
    told = f"{p:.2g}" if p else "below 1e-300"  # which floats have no numbers for
    counts = f"n {cells.n}{clusters}, harm {cells.harm}, gain {cells.gain}, McNemar p {told}"
    if evidence.length_ratio is not None:
        counts += f", answers {evidence.length_ratio:.2f} times as long"
    if evidence.recovery.estimate is None or lower is None or upper is None:
        return f"No recovery: the baseline got nothing right; {counts}."
    confidence = f"{100 * case.thresholds.confidence:.6g} %"
    if case.thresholds.comparison is Comparison.DIFFERENCE:
        counts = f"recovery {evidence.recovery.estimate:.4f}; {counts}"
        bounds = (case.compared.lower(case.thresholds.confidence), case.compared.upper(case.thresholds.confidence))
        values, name = (case.compared.estimate or 0.0, *bounds), "Difference"
    else:
        values, name = (evidence.recovery.estimate, lower, upper), "Recovery"
    estimate, low, high = (beside(value, floor) for value in values)
    return f"{name} {estimate}, bounds {low} to {high} ({confidence} one-sided each), floor {floor:g}; {counts}."
