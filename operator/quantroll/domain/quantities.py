"""What is held against a floor: recovery, or the difference of the scores; of right and wrong, or of graded scores."""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol

from quantroll.domain.difference import (
    difference_lower_bound,
    difference_required_n,
    difference_statistic,
    difference_upper_bound,
)
from quantroll.domain.graded import (
    Sums,
    difference_bounds,
    difference_p,
    linear_required_n,
    recovery_bounds,
    recovery_harm_p,
    recovery_p,
)
from quantroll.domain.paired import (
    Cells,
    non_inferior,
    normal_quantile,
    recovery_lower_bound,
    recovery_upper_bound,
    required_n,
    score_statistic,
)


class Quantity(Protocol):
    """An estimate with one-sided bounds and tests. A confidence outside [0.5, 1) raises ValueError."""

    @property
    def method(self) -> str:
        """Name of the test, as a statistician knows it."""

    @property
    def estimate(self) -> float | None:
        """The observed value; None where there is none."""

    def lower(self, confidence: float) -> float:
        """Lower bound at this one-sided confidence."""

    def upper(self, confidence: float) -> float:
        """Upper bound at this one-sided confidence; infinite where the data set none."""

    def proven(self, floor: float, confidence: float) -> bool:
        """Whether the quantity reaches the floor with this confidence."""

    def p_value(self, floor: float) -> float:
        """P value of H0: the quantity is at most the floor."""

    def required_n(self, floor: float, confidence: float) -> int | None:
        """Items that would prove it at the observed rates, with a power of 80 %; None where no number would."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """Variant score / baseline score, of items that are right or wrong."""

    cells: Cells
    method: ClassVar = "Nam-Blackwelder score test of the ratio of paired proportions"

    @property
    def estimate(self) -> float | None:
        return self.cells.recovery

    def lower(self, confidence: float) -> float:
        return recovery_lower_bound(self.cells, confidence)

    def upper(self, confidence: float) -> float:
        return recovery_upper_bound(self.cells, confidence)

    def proven(self, floor: float, confidence: float) -> bool:
        return non_inferior(self.cells, floor, confidence)

    def p_value(self, floor: float) -> float:
        return normal_tail(score_statistic(self.cells, floor))

    def harm_p(self, floor: float) -> float:
        """P value of H0: recovery is at least the floor; small when it is proven to be below."""
        return normal_tail(-score_statistic(self.cells, floor))

    def required_n(self, floor: float, confidence: float) -> int | None:
        return required_n(self.cells, floor, confidence)


@dataclass(frozen=True, slots=True)
class Difference:
    """Variant score - baseline score, of items that are right or wrong."""

    cells: Cells
    method: ClassVar = "Tango's score test of the difference of paired proportions"

    @property
    def estimate(self) -> float | None:
        return (self.cells.gain - self.cells.harm) / self.cells.n if self.cells.n else None

    def lower(self, confidence: float) -> float:
        return difference_lower_bound(self.cells, confidence)

    def upper(self, confidence: float) -> float:
        return difference_upper_bound(self.cells, confidence)

    def proven(self, floor: float, confidence: float) -> bool:
        return difference_statistic(self.cells, floor) >= normal_quantile(confidence)

    def p_value(self, floor: float) -> float:
        return normal_tail(difference_statistic(self.cells, floor))

    def required_n(self, floor: float, confidence: float) -> int | None:
        return difference_required_n(self.cells, floor, confidence)


@dataclass(frozen=True, slots=True)
class GradedRecovery:
    """Variant score / baseline score, of graded or clustered items."""

    sums: Sums
    method: ClassVar = "linear test of variant score - floor x baseline score, cluster-robust, Student's t"

    @property
    def estimate(self) -> float | None:
        return self.sums.recovery

    def lower(self, confidence: float) -> float:
        return recovery_bounds(self.sums, confidence)[0]

    def upper(self, confidence: float) -> float:
        return recovery_bounds(self.sums, confidence)[1]

    def proven(self, floor: float, confidence: float) -> bool:
        return self.lower(confidence) >= floor

    def p_value(self, floor: float) -> float:
        return recovery_p(self.sums, floor)

    def harm_p(self, floor: float) -> float:
        """P value of H0: recovery is at least the floor; small when it is proven to be below."""
        return recovery_harm_p(self.sums, floor)

    def required_n(self, floor: float, confidence: float) -> int | None:
        return linear_required_n(self.sums, floor, 0.0, confidence)


@dataclass(frozen=True, slots=True)
class GradedDifference:
    """Variant score - baseline score, of graded or clustered items."""

    sums: Sums
    method: ClassVar = "linear test of variant score - baseline score, cluster-robust, Student's t"

    @property
    def estimate(self) -> float | None:
        return self.sums.variant_score - self.sums.baseline_score if self.sums.items else None

    def lower(self, confidence: float) -> float:
        return difference_bounds(self.sums, confidence)[0]

    def upper(self, confidence: float) -> float:
        return difference_bounds(self.sums, confidence)[1]

    def proven(self, floor: float, confidence: float) -> bool:
        return self.lower(confidence) >= floor

    def p_value(self, floor: float) -> float:
        return difference_p(self.sums, floor)

    def required_n(self, floor: float, confidence: float) -> int | None:
        return linear_required_n(self.sums, 1.0, floor, confidence)


def recovery_of(cells: Cells, sums: Sums | None) -> Recovery | GradedRecovery:
    """Recovery, by the score test; by the linear one where the cells do not say all."""
    return Recovery(cells) if sums is None else GradedRecovery(sums)


def difference_of(cells: Cells, sums: Sums | None) -> Quantity:
    """The difference of the scores, by the same choice of test."""
    return Difference(cells) if sums is None else GradedDifference(sums)


def normal_tail(z: float) -> float:
    """P(Z >= z) for Z of the standard normal distribution."""
    return 0.5 * math.erfc(z / math.sqrt(2))
