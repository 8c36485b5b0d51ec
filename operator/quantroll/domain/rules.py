"""The rules of the gate, in their order: the first with a finding gives the verdict."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from quantroll.api.spec.slices import SliceFloor
from quantroll.domain import holm
from quantroll.domain.evidence import Comparison, Evidence, SliceEvidence, Thresholds
from quantroll.domain.graded import LEAST_CLUSTERS, LEAST_ITEMS
from quantroll.domain.paired import Cells, binomial_tail
from quantroll.domain.quantities import Quantity

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
    """Observed below the floor, or a slice proven to be below its own."""
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
    SLICE_HARMED = "SliceHarmed"
    SLICE_TOO_SMALL = "SliceTooSmall"
    PROVEN = "Proven"


@dataclass(frozen=True)
class Case:
    """What the rules look at."""

    evidence: Evidence
    thresholds: Thresholds
    compared: Quantity
    """Recovery or difference, which the floor is about."""
    rivals: tuple[float, ...] = ()
    """P values of the other variants that are tested at once; 1 for one without a valid test yet."""

    @property
    def cells(self) -> Cells:
        """The counts over all items."""
        return self.evidence.cells

    @property
    def floor(self) -> float:
        """What `compared` has to reach."""
        return self.thresholds.floor

    @property
    def subject(self) -> str:
        """What is compared, as a message begins."""
        return "Recovery" if self.thresholds.comparison is Comparison.RELATIVE else "The score's difference"

    @property
    def alpha(self) -> float:
        """The chance of a wrong proof that is accepted."""
        return 1 - self.thresholds.confidence

    def adjusted_p(self) -> float:
        """P value of "not above the floor", with what testing the rivals as well costs."""
        return holm.adjusted([self.compared.p_value(self.floor), *self.rivals])[0]

    def required_n(self) -> int | None:
        """Items that would decide, with all rivals still to be beaten."""
        confidence = 1 - self.alpha / (1 + len(self.rivals))
        return self.compared.required_n(self.floor, confidence)


class Finding(NamedTuple):
    """What a rule says."""

    verdict: Verdict
    reason: GateReason
    message: str
    required_n: int | None = None


def contaminated(case: Case) -> Finding | None:
    """Calibration has seen the questions."""
    overlap = case.evidence.overlap
    if not overlap:
        return None
    message = f"Calibration items that are also in the eval set: {overlap}; use disjoint sets."
    return Finding(Verdict.ERROR, GateReason.CONTAMINATED, message)


def prompts_differ(case: Case) -> Finding | None:
    """The arms were asked different things."""
    if case.evidence.prompts_match:
        return None
    message = "The arms were not asked the same; change qualityGate.generation to measure both anew."
    return Finding(Verdict.ERROR, GateReason.PROMPTS_DIFFER, message)


def baseline_too_weak(case: Case) -> Finding | None:
    """The full-precision model knows too little itself."""
    score, least = case.evidence.baseline_score, case.thresholds.min_baseline
    # Without items the baseline was not measured, so it is not weak. A score of 0 has no ratio, whatever is asked for.
    if not case.cells.n or (score >= least and case.compared.estimate is not None):
        return None
    message = f"The baseline scores {beside(score, least)}, minBaseline is {least:g}: a ratio to it means little."
    return Finding(Verdict.ERROR, GateReason.BASELINE_TOO_WEAK, message)


def too_many_errors(case: Case) -> Finding | None:
    """Requests failed."""
    baseline, variant = case.evidence.errors_baseline, case.evidence.errors_variant
    most = case.thresholds.max_error_rate
    if max(baseline, variant) / max(case.cells.n, 1) <= most:
        return None
    message = f"Requests failed: baseline {baseline}, variant {variant}; maxErrorRate is {most:g}."
    return Finding(Verdict.ERROR, GateReason.TOO_MANY_ERRORS, message)


def errors_lopsided(case: Case) -> Finding | None:
    """Requests failed on one arm more than chance would have it."""
    baseline, variant = case.evidence.errors_baseline, case.evidence.errors_variant
    p = 2 * binomial_tail(max(baseline, variant), baseline + variant)
    if p >= LOPSIDED_P:
        return None
    message = f"Requests failed unevenly: baseline {baseline}, variant {variant} (p {p:.2g}); one arm was disturbed."
    return Finding(Verdict.ERROR, GateReason.LOPSIDED_ERRORS, message)


def too_few_items(case: Case) -> Finding | None:
    """Fewer items than the user, or the linear test, wants."""
    n, least, sums = case.cells.n, case.thresholds.min_samples, case.evidence.sums
    if n >= least and (sums is None or sums.enough):
        return None
    needed = max(least, LEAST_ITEMS if sums else 0, case.required_n() or 0)
    found = f"{n}, minSamples is {least}"
    if sums and not sums.enough:
        found = (
            f"{n} in {sums.clusters} clusters; the linear test of graded or clustered scores needs {LEAST_ITEMS} in"
            f" {LEAST_CLUSTERS}, and minSamples is {least}"
        )
    message = f"Too few items: {found}; about {needed} would decide at the observed rates."
    return Finding(Verdict.INCONCLUSIVE, GateReason.INSUFFICIENT_DATA, message, needed)


def below_floor(case: Case) -> Finding | None:
    """The observed value is too low."""
    estimate = case.compared.estimate
    if estimate is None or estimate >= case.floor:
        return None
    whole = case.compared.upper(case.thresholds.confidence) < case.floor
    proof = "so is the whole interval" if whole else "though the interval reaches it"
    message = f"{case.subject} is below the floor {case.floor:g}, {proof}."
    return Finding(Verdict.FAIL, GateReason.BELOW_FLOOR, message)


def not_proven(case: Case) -> Finding | None:
    """The observed value is high enough, but may be luck."""
    alone = case.compared.proven(case.floor, case.thresholds.confidence)
    if alone and (not case.rivals or case.adjusted_p() <= case.alpha):
        return None
    needed = case.required_n()
    remedy = f"about {needed} items would decide" if needed else "no number of items would decide"
    message = f"The floor {case.floor:g} lies inside the interval; {remedy} at the observed rates."
    if alone:
        message = (
            f"Proven alone, but not among the {1 + len(case.rivals)} variants that are tested at once (Holm-adjusted p"
            f" {case.adjusted_p():.2g}, at most {case.alpha:.2g} is a proof); {remedy} at the observed rates."
        )
    return Finding(Verdict.INCONCLUSIVE, GateReason.NOT_PROVEN, message, needed)


def slice_harmed(case: Case) -> Finding | None:
    """A declared slice is proven to be below its floor, adjusted over all that are declared."""
    declared = declared_slices(case)
    ps = holm.adjusted([part.recovery.harm_p(floor.min_acceptable) if part else 1.0 for floor, part in declared])
    harmed = [(p, floor, part) for p, (floor, part) in zip(ps, declared, strict=True) if part and p <= case.alpha]
    if not harmed:
        return None
    p, floor, part = min(harmed, key=lambda found: found[0])
    others = f" So are {len(harmed) - 1} more slices." if len(harmed) > 1 else ""
    message = (
        f"Slice {floor.name} is proven to be below its floor {floor.min_acceptable:g}: recovery"
        f" {part.recovery.estimate:.4f} of {part.cells.n} items, Holm-adjusted p {p:.2g}.{others}"
    )
    return Finding(Verdict.FAIL, GateReason.SLICE_HARMED, message)


def slice_too_small(case: Case) -> Finding | None:
    """A declared slice has too few items to say that it is not harmed."""
    small = [
        f"{floor.name} has {part.cells.n if part else 0} (minSamples {floor.min_samples})"
        for floor, part in declared_slices(case)
        if part is None or part.cells.n < floor.min_samples
    ]
    if not small:
        return None
    others = f" and {len(small) - 2} more" if len(small) > 2 else ""
    message = f"Too few items in a declared slice: {', '.join(small[:2])}{others}; add items of it."
    return Finding(Verdict.INCONCLUSIVE, GateReason.SLICE_TOO_SMALL, message)


def proven(case: Case) -> Finding:
    """All that is left."""
    cells = case.cells
    message = f"{case.subject} is proven to reach the floor {case.floor:g}."
    if not cells.flips or (cells.baseline_score > SATURATED_BASELINE and cells.flips < SATURATED_FLIPS):
        message += " Warning: the metric is saturated, the items may be too easy to tell the arms apart."
    return Finding(Verdict.PASS, GateReason.PROVEN, message)


RULES: tuple[Callable[[Case], Finding | None], ...] = (
    contaminated,  # the variant was fitted to the questions: every number below is too good
    prompts_differ,  # unequal questions cannot be paired
    baseline_too_weak,  # the denominator is noise
    too_many_errors,  # infrastructure was measured, not quality
    errors_lopsided,  # the same, on one side only: it would look like harm or hide it
    too_few_items,  # neither a bad nor a good point estimate counts yet
    below_floor,  # more items would, as far as can be seen, not help
    not_proven,  # good enough at a glance, which half of the variants exactly at the floor are
    slice_harmed,  # good on the whole, at the cost of some users
    slice_too_small,  # no harm seen where nobody looked
    proven,  # what is left has reached the floor with the confidence asked for
)
"""Order of precedence: the first rule with a finding decides. The last always has one."""


def declared_slices(case: Case) -> list[tuple[SliceFloor, SliceEvidence | None]]:
    """Each declared floor with what was counted of its slice, if anything was."""
    found = {part.name: part for part in case.evidence.slices}
    return [(floor, found.get(floor.name)) for floor in case.thresholds.slices]


def beside(value: float, limit: float) -> str:
    """The value with 4 decimals, or with as many as it takes to stay on its side of the limit."""
    texts = (f"{value:.{places}f}" for places in range(4, 17))
    return next((text for text in texts if (float(text) < limit) == (value < limit)), repr(value))
