"""What a verdict is computed from: what the Jobs counted, and what the user asks for."""

from dataclasses import dataclass
from enum import StrEnum

from quantroll.api.spec.slices import SliceFloor
from quantroll.domain.graded import Sums
from quantroll.domain.paired import Cells, normal_quantile
from quantroll.domain.quantities import GradedRecovery, Quantity, Recovery, difference_of, recovery_of


class Comparison(StrEnum):
    """What is held against the floor."""

    RELATIVE = "Relative"
    """Recovery: the variant's score divided by the baseline's."""
    DIFFERENCE = "Difference"
    """The variant's score minus the baseline's."""


@dataclass(frozen=True)
class Thresholds:
    """What the user asks for. ValueError where a value makes no gate."""

    min_acceptable: float
    """Floor of recovery, in (0, 1]; not looked at where differences are compared."""
    confidence: float
    """One-sided, in [0.5, 1)."""
    min_samples: int
    """Items below which nothing is decided; at least 1."""
    min_baseline: float
    """Baseline score in [0, 1] below which a ratio to it means little."""
    max_error_rate: float
    """Share of failed requests in [0, 1] that either arm may have."""
    max_drop: float | None = None
    """What the score may lose, in (0, 1]; given, differences are compared, else recovery is."""
    slices: tuple[SliceFloor, ...] = ()
    """Slices that may not be harmed. Their floors are floors of recovery, whatever is compared over all items."""

    def __post_init__(self) -> None:
        normal_quantile(self.confidence)
        if not 0 < self.min_acceptable <= 1:
            raise ValueError(f"min_acceptable lies in (0, 1], not {self.min_acceptable}")
        if self.max_drop is not None and not 0 < self.max_drop <= 1:
            raise ValueError(f"max_drop lies in (0, 1], not {self.max_drop}")
        if self.min_samples < 1:
            raise ValueError(f"min_samples is at least 1, not {self.min_samples}")
        if not (0 <= self.min_baseline <= 1 and 0 <= self.max_error_rate <= 1):
            raise ValueError(f"min_baseline and max_error_rate lie in [0, 1]: {self}")

    @property
    def comparison(self) -> Comparison:
        """What is held against the floor."""
        return Comparison.RELATIVE if self.max_drop is None else Comparison.DIFFERENCE

    @property
    def floor(self) -> float:
        """What it has to reach: a recovery, or a difference below 0."""
        return self.min_acceptable if self.max_drop is None else -self.max_drop


@dataclass(frozen=True)
class SliceEvidence:
    """What was counted of one slice."""

    name: str
    cells: Cells
    sums: Sums | None = None

    @property
    def recovery(self) -> Recovery | GradedRecovery:
        """The slice's own recovery."""
        return recovery_of(self.cells, self.sums)


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
    sums: Sums | None = None
    """Of graded or clustered scores; without them the cells say all."""
    slices: tuple[SliceEvidence, ...] = ()
    length_ratio: float | None = None
    """Mean length of the variant's answers divided by that of the baseline's: a diagnostic that no rule looks at."""

    def __post_init__(self) -> None:
        if min(self.errors_baseline, self.errors_variant, self.overlap) < 0:
            raise ValueError(f"counts of items cannot be negative: {self}")

    @property
    def baseline_score(self) -> float:
        """Mean score of the baseline."""
        return (self.sums or self.cells).baseline_score

    @property
    def variant_score(self) -> float:
        """Mean score of the variant."""
        return (self.sums or self.cells).variant_score

    @property
    def recovery(self) -> Recovery | GradedRecovery:
        """Recovery over all items."""
        return recovery_of(self.cells, self.sums)

    def compared(self, comparison: Comparison) -> Quantity:
        """What is held against the floor, over all items."""
        return self.recovery if comparison is Comparison.RELATIVE else difference_of(self.cells, self.sums)
