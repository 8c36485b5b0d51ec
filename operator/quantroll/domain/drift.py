"""What counts say about a revision that serves: screening the prober's, and deciding on a confirmation's."""

import math
from dataclasses import dataclass
from typing import Literal

from quantroll.domain.paired import binomial_tail, normal_quantile

UPPER_CONFIDENCE = 0.90  # one-sided; together with the paired test below, few false alarms a year
PAIRED_ALPHA = 0.05
MOST_ERRORS = 0.05  # share of items without an answer from one of the two: what is left may be a selection
CONSECUTIVE = 3  # confirmations in a row below the floor and below the target that are proof together
CATASTROPHIC_DROP = 0.05  # below the floor
CATASTROPHIC_P = 0.001
_NEGLIGIBLE = 1e-17


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Items that both revisions answered, by who was right; `errors` are those that one of them did not answer."""

    both: int
    serving_only: int
    target_only: int
    neither: int
    errors: int = 0

    @property
    def items(self) -> int:
        """Items that both answered."""
        return self.both + self.serving_only + self.target_only + self.neither

    @property
    def serving(self) -> int:
        """Items that the serving revision answered correctly."""
        return self.both + self.serving_only

    @property
    def target(self) -> int:
        """Items that the revision to go back to answered correctly."""
        return self.both + self.target_only


@dataclass(frozen=True, slots=True)
class Decision:
    """What a confirmation says, with its numbers."""

    verdict: Literal["Unknown", "Healthy", "Suspect", "Breached", "PopulationShift"]
    message: str
    consecutive: int = 0
    """Confirmations in a row, this one included, that found the serving revision below the floor and the target."""


@dataclass(frozen=True, slots=True)
class Screening:
    """What counts alone say: enough for a suspicion, never for more."""

    below: bool
    catastrophic: bool


def screen(right: int, answers: int, floor: float, items: int | None = None) -> Screening:
    """Hold a share of right answers against the floor; `items`: of how many items they are, where some are repeated."""
    return Screening(right / answers < floor, is_catastrophic(*of_items(right, answers, items), floor))


def of_items(right: int, answers: int, items: int | None) -> tuple[int, int]:
    """Right answers and answers as if each item had been asked once: the same answer again is no more evidence."""
    if items is None or items >= answers:
        return right, answers
    return round(right * items / answers), items


def is_catastrophic(right: int, answers: int, floor: float) -> bool:
    """Whether a share is more than 0.05 below the floor, and by chance in less than 1 of 1,000 cases at the floor."""
    return right / answers < floor - CATASTROPHIC_DROP and _lower_tail(right, answers, floor) < CATASTROPHIC_P


def _lower_tail(successes: int, trials: int, share: float) -> float:
    """P(X <= successes) for X of Binomial(trials, share), where that many are fewer than expected."""
    if share >= 1:
        return 0.0
    log_ways = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(trials - successes + 1)
    term = math.exp(log_ways + successes * math.log(share) + (trials - successes) * math.log1p(-share))
    total = 0.0
    for k in range(successes, -1, -1):  # below the mean each term is smaller than the one before
        total += term
        term *= k * (1 - share) / ((trials - k + 1) * share)
        if term <= _NEGLIGIBLE * total:
            break
    return total


def wilson_lower(successes: int, trials: int, confidence: float) -> float:
    """One-sided lower bound of a share, by Wilson's score interval (1927); 0 for no trials."""
    return 1 - wilson_upper(trials - successes, trials, confidence) if trials else 0.0


def wilson_upper(successes: int, trials: int, confidence: float) -> float:
    """One-sided upper bound of a share, by Wilson's score interval (1927); 1 for no trials."""
    if trials == 0:
        return 1.0
    z, share = normal_quantile(confidence), successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return min(1.0, (centre + spread) / (1 + z * z / trials))


def decide(found: Confirmation, floor: float, before: int = 0, *, catastrophic: bool = False) -> Decision:
    """What follows from a confirmation; the first rule that applies.

    `before`: confirmations in a row until now that found the serving revision below the floor and the target.
    `catastrophic`: the prober's counts alone are proof that it is far below the floor.

    No data says nothing, and the row goes on behind it. Breached if the serving revision is proven to be below the
    floor (its one-sided 90 % upper bound is, or the prober has proven a catastrophic drop) and the target to do better
    on the same items (McNemar's exact test, one-sided 5 %); or at the third in a row. A target that is below the floor
    itself and not proven better is as bad: that is no fault of the revision's, and ends the row.
    """
    asked = found.items + found.errors
    if not found.items or found.errors > MOST_ERRORS * asked:
        return Decision("Unknown", f"the confirmation has no answer to {found.errors} of {asked} items", before)
    upper = wilson_upper(found.serving, found.items, UPPER_CONFIDENCE)
    p = binomial_tail(found.target_only, found.target_only + found.serving_only)
    share, other = found.serving / found.items, found.target / found.items
    said = (
        f"on {found.items} items that the probe never uses it answers {share:.3f} (upper bound {upper:.3f}), the one to"
        f" go back to {other:.3f} (McNemar p {p:.2g}), floor {floor:.3f}"
    )
    if share >= floor:
        return Decision("Healthy", f"not confirmed: {said}")
    better, below = p <= PAIRED_ALPHA, upper < floor
    if not better and other < floor:
        return _as_bad(said, proven=below)
    row = before + 1
    if better and below:
        proof = ""
    elif better and catastrophic:
        proof = ", after a catastrophic drop of the probe's answers"
    elif row >= CONSECUTIVE:
        proof = f", {row} times in a row"
    else:
        return Decision(
            "Suspect", f"below the floor, but not proven, {row} of {CONSECUTIVE} times in a row: {said}", row
        )
    return Decision("Breached", f"confirmed{proof}: {said}", row)


def _as_bad(said: str, *, proven: bool) -> Decision:
    """The target is below the floor as well and not proven better: it is the items that have changed, or the probe."""
    if proven:
        return Decision("PopulationShift", f"both are below the floor, so the questions have changed: {said}")
    return Decision("Suspect", f"below the floor, but not proven, and the one to go back to is no better: {said}")
