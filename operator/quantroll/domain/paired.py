"""
Paired comparison of two arms, baseline and variant, that answered the same items right or wrong.

The quantity of interest is recovery: the variant's score divided by the baseline's. Its bounds invert the score test of
Nam and Blackwelder, "Analysis of the ratio of marginal probabilities in a matched-pair setting", Statistics in Medicine
21 (2002) 689-699. The test keeps its level down to small samples and scores near 1, where the t test of
`variant - phi * baseline` ships too much. Standard library only.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist

BOUND_TOLERANCE = 1e-9
"""Relative width of the bracket at which the search for a bound stops."""

MAX_REQUIRED_N = 10**9
"""A sample size beyond this one counts as out of reach."""

_NORMAL = NormalDist()
_ROUNDING = 1e-12
_NEGLIGIBLE = 1e-17


@dataclass(frozen=True, slots=True)
class Cells:
    """
    The 2 x 2 table of paired outcomes, in items.

    An item that an arm could not answer (error, timeout) counts as wrong for that arm. Negative counts: ValueError.
    """

    both: int
    """Both arms right."""
    harm: int
    """Baseline right, variant wrong."""
    gain: int
    """Baseline wrong, variant right."""
    neither: int
    """Both arms wrong."""

    def __post_init__(self) -> None:
        if min(self.both, self.harm, self.gain, self.neither) < 0:
            raise ValueError(f"counts of items cannot be negative: {self}")

    @property
    def n(self) -> int:
        return self.both + self.harm + self.gain + self.neither

    @property
    def baseline_correct(self) -> int:
        return self.both + self.harm

    @property
    def variant_correct(self) -> int:
        return self.both + self.gain

    @property
    def baseline_score(self) -> float:
        """Share of the items that the baseline answered right; 0 without items."""
        return self.baseline_correct / self.n if self.n else 0.0

    @property
    def variant_score(self) -> float:
        """Share of the items that the variant answered right; 0 without items."""
        return self.variant_correct / self.n if self.n else 0.0

    @property
    def recovery(self) -> float | None:
        """Variant score / baseline score; None when the baseline answered nothing right, since no ratio exists then."""
        return self.variant_correct / self.baseline_correct if self.baseline_correct else None

    @property
    def flips(self) -> int:
        """Items on which the arms disagree."""
        return self.harm + self.gain

    @property
    def swapped(self) -> "Cells":
        """The same table with the arms' parts exchanged."""
        return Cells(self.both, self.gain, self.harm, self.neither)


def expected_cells(baseline: float, churn: float, recovery: float, n: int) -> Cells:
    """
    The table of n items, rounded, at these rates: the baseline's score, the share of flips, and recovery.

    ValueError where no table has them: a drop needs as many flips at least, and only what is right can get wrong.
    """
    drop = baseline * (1 - recovery)
    harm, gain = (churn + drop) / 2, (churn - drop) / 2
    if not (0 < baseline <= 1 and recovery >= 0 and churn >= 0 and n > 0):
        raise ValueError(f"scores, churn and recovery are shares: {baseline}, {churn}, {recovery}")
    if min(harm, gain) < -_ROUNDING:
        raise ValueError(
            f"a recovery of {recovery:g} at a score of {baseline:g} needs a churn of {abs(drop):.4g} at least"
        )
    if harm > baseline + _ROUNDING or gain > 1 - baseline + _ROUNDING:
        most = min(2 * baseline - drop, 2 * (1 - baseline) + drop)
        raise ValueError(f"a recovery of {recovery:g} at a score of {baseline:g} has a churn of {most:.4g} at most")
    shares = (baseline - harm, harm, gain, 1 - baseline - gain)
    return Cells(*(max(round(n * share), 0) for share in shares))


def score_statistic(cells: Cells, phi: float) -> float:
    """
    Nam-Blackwelder statistic T(phi) of H0: recovery <= phi; large values speak for recovery > phi.

    T = (p1 - phi p0) / sqrt(phi (q10 + q01) / n), where q10 and q01 are the maximum-likelihood estimates of the shares
    of gain and harm under recovery = phi. Standard normal at recovery = phi; decreasing in phi; 0 at the observed
    recovery and wherever the table says nothing. phi must be positive (ValueError).
    """
    if not phi > 0:
        raise ValueError(f"phi must be positive, not {phi}")
    excess = cells.variant_correct - phi * cells.baseline_correct
    variance = phi * _constrained_flips(cells, phi)
    # The variance vanishes only without flips at phi = 1 and where nothing is right; neither speaks for or against H0.
    return excess / math.sqrt(variance) if variance > 0 else 0.0


def non_inferior(cells: Cells, phi: float, confidence: float) -> bool:
    """
    Whether recovery above phi is proven at this one-sided confidence: T(phi) >= z.

    The same as `recovery_lower_bound(cells, confidence) >= phi`, without the tolerance of the search.
    """
    return score_statistic(cells, phi) >= normal_quantile(confidence)


def recovery_lower_bound(cells: Cells, confidence: float) -> float:
    """
    One-sided lower confidence bound of recovery: the phi at which T(phi) = z, from below, to BOUND_TOLERANCE.

    0 when the variant answered nothing right; gain / z^2 when only the baseline did not. Confidence outside [0.5, 1):
    ValueError.
    """
    z = normal_quantile(confidence)
    if cells.variant_correct == 0:
        return 0.0
    if cells.recovery is None:
        # T(phi) is sqrt(gain / phi).
        return cells.gain / z**2 if z else math.inf
    # T falls from infinity at 0 to 0 at the observed recovery.
    low, high = 0.0, cells.recovery
    while high - low > BOUND_TOLERANCE * high:
        middle = (low + high) / 2
        if score_statistic(cells, middle) >= z:
            low = middle
        else:
            high = middle
    return low


def recovery_upper_bound(cells: Cells, confidence: float) -> float:
    """
    One-sided upper confidence bound of recovery: the phi at which T(phi) = -z, from above.

    Infinite when the baseline answered nothing right. Together with the lower bound it spans an interval of confidence
    2 * confidence - 1.
    """
    # By the symmetry of the test under an exchange of the arms; one search serves both bounds.
    lower = recovery_lower_bound(cells.swapped, confidence)
    return 1 / lower if lower > 0 else math.inf


def mcnemar_p(cells: Cells) -> float:
    """
    Exact one-sided McNemar p of "the variant is no worse": P(at least this much harm among this many flips).

    A diagnostic. A large p does not prove that the arms are equal.
    """
    return binomial_tail(cells.harm, cells.flips)


def required_n(cells: Cells, phi: float, confidence: float, power: float = 0.8) -> int | None:
    """
    Number of items at which a variant with the observed rates is proven above phi with this power.

    n = ((z s0 + z_power s1) / (p1 - phi p0))^2 (normal approximation), s0 and s1 the standard deviations of
    `variant - phi * baseline` of one item under H0 and at the observed rates. None when no such number exists:
    without a ratio, with a recovery at or below phi, or where it would exceed MAX_REQUIRED_N.
    """
    z, z_power = normal_quantile(confidence), normal_quantile(power)
    if cells.recovery is None or cells.recovery <= phi:
        return None
    delta, s0, s1 = _excess_of_one_item(cells, phi)
    if delta <= 0:
        return None
    needed = math.ceil(((z * s0 + z_power * s1) / delta) ** 2)
    return needed if needed <= MAX_REQUIRED_N else None


def power_at(items: int, cells: Cells, phi: float, confidence: float) -> float:
    """
    Chance that so many items prove a variant with the observed rates above phi: `required_n` the other way round.

    Phi((sqrt(n) (p1 - phi p0) - z s0) / s1), by the normal approximation. 0 without a ratio.
    """
    if cells.recovery is None:
        return 0.0
    delta, s0, s1 = _excess_of_one_item(cells, phi)
    distance = math.sqrt(items) * delta - normal_quantile(confidence) * s0
    if s1 == 0:
        return float(distance >= 0)
    return _NORMAL.cdf(distance / s1)


def _excess_of_one_item(cells: Cells, phi: float) -> tuple[float, float, float]:
    """Mean of `variant - phi * baseline`, and its standard deviations under H0 and at the observed rates."""
    p0, p1 = cells.baseline_score, cells.variant_score
    delta = p1 - phi * p0
    s0 = math.sqrt(phi * _constrained_flips(cells, phi) / cells.n)
    # Rounding may leave a variance of zero slightly negative.
    return delta, s0, math.sqrt(max(p1 + phi * phi * p0 - 2 * phi * cells.both / cells.n - delta * delta, 0.0))


def binomial_tail(successes: int, trials: int) -> float:
    """P(X >= successes) for X of Binomial(trials, 1/2); 1 for no trials."""
    if successes <= 0:
        return 1.0
    if successes > trials:
        return 0.0
    if 2 * successes <= trials:
        return 1 - binomial_tail(trials - successes + 1, trials)
    log_all = math.lgamma(trials + 1) - trials * math.log(2)
    term = math.exp(log_all - math.lgamma(successes + 1) - math.lgamma(trials - successes + 1))
    total = 0.0
    # Above the middle each term is smaller than the one before.
    for k in range(successes, trials + 1):
        total += term
        term *= (trials - k) / (k + 1)
        if term <= _NEGLIGIBLE * total:
            break
    return min(total, 1.0)


def normal_quantile(confidence: float) -> float:
    """Quantile z of a one-sided confidence in [0.5, 1); ValueError outside, where the bounds would change sides."""
    if not 0.5 <= confidence < 1:
        raise ValueError(f"a one-sided confidence lies in [0.5, 1), not {confidence}")
    return _NORMAL.inv_cdf(confidence)


def _constrained_flips(cells: Cells, phi: float) -> float:
    """
    Expected number of flips, n (q10 + q01), by maximum likelihood under recovery = phi.

    The closed form of Nam and Blackwelder, times n: gain is the larger root of a quadratic, harm follows from it.
    """
    excess = cells.variant_correct - phi**2 * cells.baseline_correct
    discriminant = excess**2 + 4 * phi**2 * cells.gain * cells.harm
    gain = (2 * phi**2 * cells.gain - excess + math.sqrt(discriminant)) / (2 * phi * (phi + 1))
    harm = phi * gain + (1 - phi) * (cells.n - cells.neither)
    return gain + harm
