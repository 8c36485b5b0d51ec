"""
The quality gate: from one variant's paired counts to a verdict, and from the ladder's verdicts to what is next.

Nothing ships on a point estimate: PASS needs a proof that recovery reaches the floor. FAIL and INCONCLUSIVE never ship.
FAIL means "not to be shipped", not "proven bad"; the interval, always printed, tells the two apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import takewhile
from typing import NamedTuple

from quantroll.domain.paired import (
    Cells,
    binomial_tail,
    mcnemar_p,
    non_inferior,
    normal_quantile,
    recovery_lower_bound,
    recovery_upper_bound,
    required_n,
)

LOPSIDED_P = 0.01
"""
Errors are lopsided when they would fall so unevenly on two equally reliable arms in fewer than 1 % of the runs.

Two-sided exact binomial test of the arms' error counts. It needs at least 8 errors (8 to 0) to say anything.
"""

SATURATED_BASELINE = 0.99
SATURATED_FLIPS = 5
"""A baseline score above the first with fewer flips than the second, or no flips at all: the items may be too easy."""


class Verdict(StrEnum):
    PASS = "PASS"  # noqa: S105 - a verdict, not a password
    """Proven to reach the floor; the only verdict that ships."""
    FAIL = "FAIL"
    """Observed below the floor."""
    INCONCLUSIVE = "INCONCLUSIVE"
    """Not enough evidence for either."""
    ERROR = "ERROR"
    """The comparison itself is broken; it says nothing about the variant."""


class GateReason(StrEnum):
    """Why a verdict was reached, in one word: the reason in a row of the table."""

    CONTAMINATED = "ContaminatedCalibration"
    PROMPTS_DIFFER = "PromptsDiffer"
    BASELINE_TOO_WEAK = "BaselineTooWeak"
    TOO_MANY_ERRORS = "TooManyErrors"
    LOPSIDED_ERRORS = "LopsidedErrors"
    INSUFFICIENT_DATA = "InsufficientData"
    BELOW_FLOOR = "BelowFloor"
    NOT_PROVEN = "NotProven"
    PROVEN = "Proven"


@dataclass(frozen=True)
class Thresholds:
    """What the user asks for. ValueError where a value makes no gate."""

    min_acceptable: float
    """Floor of recovery, in (0, 1]."""
    confidence: float
    """One-sided, in [0.5, 1)."""
    min_samples: int
    """Items below which nothing is decided; at least 1."""
    min_baseline: float
    """Baseline score in [0, 1] below which a ratio to it means little."""
    max_error_rate: float
    """Share of failed requests in [0, 1] that either arm may have."""

    def __post_init__(self) -> None:
        normal_quantile(self.confidence)
        if not 0 < self.min_acceptable <= 1:
            raise ValueError(f"min_acceptable lies in (0, 1], not {self.min_acceptable}")
        if self.min_samples < 1:
            raise ValueError(f"min_samples is at least 1, not {self.min_samples}")
        if not (0 <= self.min_baseline <= 1 and 0 <= self.max_error_rate <= 1):
            raise ValueError(f"min_baseline and max_error_rate lie in [0, 1]: {self}")


@dataclass(frozen=True)
class Evidence:
    """What the Jobs counted. Negative counts raise ValueError."""

    cells: Cells
    errors_baseline: int
    """Items that the baseline could not answer. They count as wrong in the cells; so do the variant's."""
    errors_variant: int
    prompts_match: bool
    """Whether both arms were asked byte-identical prompts."""
    overlap: int
    """Calibration items found in the eval set."""

    def __post_init__(self) -> None:
        if min(self.errors_baseline, self.errors_variant, self.overlap) < 0:
            raise ValueError(f"counts of items cannot be negative: {self}")


@dataclass(frozen=True)
class Judgement:
    """A verdict and the numbers that it stands on. Recovery and bounds are None when the baseline got nothing right."""

    verdict: Verdict
    reason: GateReason
    message: str
    recovery: float | None
    lower_bound: float | None
    """One-sided, at the thresholds' confidence; so is the upper bound."""
    upper_bound: float | None
    flips: int
    mcnemar_p: float
    """A diagnostic that no rule looks at."""
    required_n: int | None
    """Items that would decide, for INCONCLUSIVE; None for other verdicts and where no number would."""


class _Case(NamedTuple):
    evidence: Evidence
    thresholds: Thresholds
    cells: Cells
    recovery: float | None
    lower_bound: float | None
    upper_bound: float | None


class _Finding(NamedTuple):
    verdict: Verdict
    reason: GateReason
    message: str
    required_n: int | None = None


def judge(evidence: Evidence, thresholds: Thresholds) -> Judgement:
    """The verdict on one variant: that of the first rule in `RULES` that has one."""
    cells = evidence.cells
    lower = recovery_lower_bound(cells, thresholds.confidence) if cells.baseline_correct else None
    upper = recovery_upper_bound(cells, thresholds.confidence) if cells.baseline_correct else None
    case = _Case(evidence, thresholds, cells, cells.recovery, lower, upper)
    finding = next(found for rule in RULES if (found := rule(case)) is not None)
    return Judgement(
        verdict=finding.verdict,
        reason=finding.reason,
        message=f"{finding.message} {_figures(case)}",
        recovery=cells.recovery,
        lower_bound=lower,
        upper_bound=upper,
        flips=cells.flips,
        mcnemar_p=mcnemar_p(cells),
        required_n=finding.required_n,
    )


def _contaminated(case: _Case) -> _Finding | None:
    overlap = case.evidence.overlap
    if not overlap:
        return None
    message = f"Calibration items that are also in the eval set: {overlap}; use disjoint sets."
    return _Finding(Verdict.ERROR, GateReason.CONTAMINATED, message)


def _prompts_differ(case: _Case) -> _Finding | None:
    if case.evidence.prompts_match:
        return None
    message = "The arms were not asked the same; change qualityGate.generation to measure both anew."
    return _Finding(Verdict.ERROR, GateReason.PROMPTS_DIFFER, message)


def _baseline_too_weak(case: _Case) -> _Finding | None:
    score, least = case.cells.baseline_score, case.thresholds.min_baseline
    # Without items the baseline was not measured, so it is not weak. A score of 0 has no ratio, whatever is asked for.
    if not case.cells.n or (score >= least and case.recovery is not None):
        return None
    message = f"The baseline scores {_beside(score, least)}, minBaseline is {least:g}: a ratio to it means little."
    return _Finding(Verdict.ERROR, GateReason.BASELINE_TOO_WEAK, message)


def _too_many_errors(case: _Case) -> _Finding | None:
    baseline, variant = case.evidence.errors_baseline, case.evidence.errors_variant
    most = case.thresholds.max_error_rate
    if max(baseline, variant) / max(case.cells.n, 1) <= most:
        return None
    message = f"Requests failed: baseline {baseline}, variant {variant}; maxErrorRate is {most:g}."
    return _Finding(Verdict.ERROR, GateReason.TOO_MANY_ERRORS, message)


def _errors_lopsided(case: _Case) -> _Finding | None:
    baseline, variant = case.evidence.errors_baseline, case.evidence.errors_variant
    p = 2 * binomial_tail(max(baseline, variant), baseline + variant)
    if p >= LOPSIDED_P:
        return None
    message = f"Requests failed unevenly: baseline {baseline}, variant {variant} (p {p:.2g}); one arm was disturbed."
    return _Finding(Verdict.ERROR, GateReason.LOPSIDED_ERRORS, message)


def _too_few_items(case: _Case) -> _Finding | None:
    n, least = case.cells.n, case.thresholds.min_samples
    if n >= least:
        return None
    needed = max(least, _required_n(case) or 0)
    message = f"Too few items: {n}, minSamples is {least}; about {needed} would decide at the observed rates."
    return _Finding(Verdict.INCONCLUSIVE, GateReason.INSUFFICIENT_DATA, message, needed)


def _below_floor(case: _Case) -> _Finding | None:
    floor = case.thresholds.min_acceptable
    if case.recovery is None or case.upper_bound is None or case.recovery >= floor:
        return None
    proof = "so is the whole interval" if case.upper_bound < floor else "though the interval reaches it"
    message = f"Recovery is below the floor {floor:g}, {proof}."
    return _Finding(Verdict.FAIL, GateReason.BELOW_FLOOR, message)


def _not_proven(case: _Case) -> _Finding | None:
    floor = case.thresholds.min_acceptable
    if non_inferior(case.cells, floor, case.thresholds.confidence):
        return None
    needed = _required_n(case)
    remedy = f"about {needed} items would decide" if needed else "no number of items would decide"
    message = f"The floor {floor:g} lies inside the interval; {remedy} at the observed rates."
    return _Finding(Verdict.INCONCLUSIVE, GateReason.NOT_PROVEN, message, needed)


def _proven(case: _Case) -> _Finding:
    cells = case.cells
    message = f"Recovery is proven to reach the floor {case.thresholds.min_acceptable:g}."
    if not cells.flips or (cells.baseline_score > SATURATED_BASELINE and cells.flips < SATURATED_FLIPS):
        message += " Warning: the metric is saturated, the items may be too easy to tell the arms apart."
    return _Finding(Verdict.PASS, GateReason.PROVEN, message)


RULES: tuple[Callable[[_Case], _Finding | None], ...] = (
    _contaminated,  # the variant was fitted to the questions: every number below is too good
    _prompts_differ,  # unequal questions cannot be paired
    _baseline_too_weak,  # the denominator is noise
    _too_many_errors,  # infrastructure was measured, not quality
    _errors_lopsided,  # the same, on one side only: it would look like harm or hide it
    _too_few_items,  # neither a bad nor a good point estimate counts yet
    _below_floor,  # more items would, as far as can be seen, not help
    _not_proven,  # good enough at a glance, which half of the variants exactly at the floor are
    _proven,  # what is left has reached the floor with the confidence asked for
)
"""Order of precedence: the first rule with a finding decides. The last always has one."""


def shippable(verdicts: Sequence[Verdict | None]) -> list[int]:
    """
    Indices of the variants that may ship under the Sequential ladder: PASS, before anything that stopped it.

    Rungs are tested in declared order, each at the full alpha, and the first FAIL or INCONCLUSIVE ends the ladder: so
    one wrong PASS in the whole ladder is no likelier than in one test. A rung without a verdict ends it for now. ERROR
    says nothing about a variant and is skipped; so is what no engine can serve, passed as ERROR.
    """
    climbed = takewhile(lambda rung: rung[1] in (Verdict.PASS, Verdict.ERROR), enumerate(verdicts))
    return [index for index, verdict in climbed if verdict is Verdict.PASS]


def ladder_next(verdicts: Sequence[Verdict | None]) -> int | None:
    """Index of the next rung to work on: the first without a verdict. None when the ladder is done or stopped."""
    for index, verdict in enumerate(verdicts):
        if verdict is None:
            return index
        if verdict in (Verdict.FAIL, Verdict.INCONCLUSIVE):
            return None
    return None


def select_smallest(verdicts: Sequence[Verdict | None], weight_bytes: Sequence[int | None]) -> int | None:
    """
    Index of the shippable variant with the fewest weight bytes; the one declared first on a tie, None without any.

    Both sequences are in declared order and of equal length. None stands for weights that were not made or measured;
    such a variant comes after every measured one.
    """
    sizes = [float("inf") if size is None else size for size in weight_bytes]
    return min(shippable(verdicts), key=lambda index: sizes[index], default=None)


def _required_n(case: _Case) -> int | None:
    return required_n(case.cells, case.thresholds.min_acceptable, case.thresholds.confidence)


def _figures(case: _Case) -> str:
    cells, floor = case.cells, case.thresholds.min_acceptable
    counts = f"n {cells.n}, harm {cells.harm}, gain {cells.gain}"
    if case.recovery is None or case.lower_bound is None or case.upper_bound is None:
        return f"No recovery: the baseline got nothing right; {counts}."
    recovery, lower, upper = (_beside(v, floor) for v in (case.recovery, case.lower_bound, case.upper_bound))
    confidence = f"{100 * case.thresholds.confidence:.6g} %"
    return f"Recovery {recovery}, bounds {lower} to {upper} ({confidence} one-sided each), floor {floor:g}; {counts}."


def _beside(value: float, limit: float) -> str:
    """The value with 4 decimals, or with as many as it takes to stay on its side of the limit."""
    texts = (f"{value:.{places}f}" for places in range(4, 17))
    return next((text for text in texts if (float(text) < limit) == (value < limit)), repr(value))
