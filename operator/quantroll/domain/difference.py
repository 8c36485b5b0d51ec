"""
Difference of two paired proportions: variant score - baseline score, of items that are right or wrong.

The score test of Tango, "Equivalence test and confidence interval for the difference in proportions for the
paired-sample design", Statistics in Medicine 17 (1998) 891-908. At a difference of 0 it is McNemar's. Standard library
only.
"""

import math

from quantroll.domain.paired import MAX_REQUIRED_N, Cells, normal_quantile

DIFFERENCE_TOLERANCE = 1e-10
"""Width of the bracket at which the search for a bound stops."""


def difference_statistic(cells: Cells, difference: float) -> float:
    """
    Tango's statistic of H0: variant score - baseline score <= difference; large values speak against it.

    Z = (gain - harm - n difference) / sqrt(n (2 q + difference (1 - difference))), q the maximum-likelihood estimate of
    the share of harm under H0. Decreasing in the difference; 0 at the observed one and without items; infinite
    at -1 and 1, which no other data give. ValueError outside [-1, 1].
    """
    if not -1 <= difference <= 1:
        raise ValueError(f"a difference of two shares lies in [-1, 1], not {difference}")
    excess = cells.gain - cells.harm - cells.n * difference
    variance = cells.n * _variance(cells, difference) if cells.n else 0.0
    if variance > 0:
        return excess / math.sqrt(variance)
    return math.copysign(math.inf, excess) if excess else 0.0


def difference_lower_bound(cells: Cells, confidence: float) -> float:
    """One-sided lower confidence bound of variant score - baseline score; -1 without items."""
    z = normal_quantile(confidence)
    if cells.n == 0:
        return -1.0
    low, high = -1.0, (cells.gain - cells.harm) / cells.n
    while high - low > DIFFERENCE_TOLERANCE:
        middle = (low + high) / 2
        if difference_statistic(cells, middle) >= z:
            low = middle
        else:
            high = middle
    return low


def difference_upper_bound(cells: Cells, confidence: float) -> float:
    """One-sided upper confidence bound of variant score - baseline score; 1 without items."""
    return -difference_lower_bound(cells.swapped, confidence)


def difference_required_n(cells: Cells, difference: float, confidence: float, power: float = 0.8) -> int | None:
    """
    Number of items at which a variant with the observed rates is proven to lose no more than this, with this power.

    ((z s0 + z_power s1) / (observed difference - difference))^2 by the normal approximation, s0 and s1 the standard
    deviations of one item's difference under H0 and at the observed rates. None when no such number exists, or where it
    would exceed MAX_REQUIRED_N.
    """
    z, z_power = normal_quantile(confidence), normal_quantile(power)
    if cells.n == 0:
        return None
    observed = (cells.gain - cells.harm) / cells.n
    excess = observed - difference
    if excess <= 0:
        return None
    s0 = math.sqrt(max(_variance(cells, difference), 0.0))
    s1 = math.sqrt(max(cells.flips / cells.n - observed * observed, 0.0))
    ratio = (z * s0 + z_power * s1) / excess
    return math.ceil(ratio**2) if ratio**2 <= MAX_REQUIRED_N else None


def _variance(cells: Cells, difference: float) -> float:
    """Variance of one item's difference by maximum likelihood under H0."""
    square = 2 * cells.n
    linear = (square - cells.gain + cells.harm) * difference - cells.flips
    constant = -cells.harm * difference * (1 - difference)
    if constant <= 0:  # without squares: those of the smallest differences vanish
        root = math.hypot(linear, 2 * math.sqrt(-square * constant))
    else:
        root = math.sqrt(max(linear * linear - 4 * square * constant, 0.0))
    harm = (root - linear) / (2 * square)
    return 2 * harm + difference * (1 - difference)
