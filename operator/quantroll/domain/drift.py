"""What counts say about a revision that serves: screening the prober's, and deciding on a confirmation's."""

import math
from dataclasses import dataclass
from typing import Literal

from quantroll.domain.paired import binomial_tail, normal_quantile

UPPER_CONFIDENCE = 0.90  # one-sided; together with the paired test below, few false alarms a year
PAIRED_ALPHA = 0.05
MOST_ERRORS = 0.05  # share of items without an answer from one of the two: what is left may be a selection


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


def wilson_upper(successes: int, trials: int, confidence: float) -> float:
    """One-sided upper bound of a share, by Wilson's score interval (1927); 1 for no trials."""
    if trials == 0:
        return 1.0
    z, share = normal_quantile(confidence), successes / trials
    centre = share + z * z / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    return min(1.0, (centre + spread) / (1 + z * z / trials))


def decide(found: Confirmation, floor: float) -> Decision:
    """Breached only if the serving revision is below the floor and the other one does better on the same items.

    Below the floor: the one-sided 90 % upper bound is. Better: McNemar's exact test, one-sided 5 %.
    """
    asked = found.items + found.errors
    if not found.items or found.errors > MOST_ERRORS * asked:
        return Decision("Unknown", f"the confirmation has no answer to {found.errors} of {asked} items")
    upper = wilson_upper(found.serving, found.items, UPPER_CONFIDENCE)
    p = binomial_tail(found.target_only, found.target_only + found.serving_only)
    share, other = found.serving / found.items, found.target / found.items
    said = (
        f"on {found.items} items that the probe never uses it answers {share:.3f} (upper bound {upper:.3f}), the one to"
        f" go back to {other:.3f} (McNemar p {p:.2g}), floor {floor:.3f}"
    )
    if share >= floor:
        return Decision("Healthy", f"not confirmed: {said}")
    better = p <= PAIRED_ALPHA
    if upper < floor and better:
        return Decision("Breached", f"confirmed: {said}")
    if upper < floor and other < floor:
        return Decision("PopulationShift", f"both are below the floor, so the questions have changed: {said}")
    return Decision("Suspect", f"below the floor, but not proven: {said}")
