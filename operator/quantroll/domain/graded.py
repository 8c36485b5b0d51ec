"""
Paired comparison of two arms whose items have graded scores in [0, 1], or come in clusters.

The test is linear: with `d = variant - phi * baseline` of each item, t is the mean of d by its cluster-robust standard
error, and has Student's distribution with clusters - 1 degrees of freedom. The errors are those of a regression of d on
a constant with clusters: Liang and Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 73
(1986) 13-22, with the factor clusters / (clusters - 1). Items alone are clusters of one. Nine sums carry all of it, for
any phi.

Scores crowd near 1 and few get lost, so d is skewed, and t alone proves too much: exactly at a floor of 0.94 it would
ship 9 % of variants with 250 items, and 8 % with 500, for a nominal 5 %. Johnson, "Modified t tests and confidence
intervals for asymmetrical populations", JASA 73 (1978) 536-544, corrects the mean for skewness. The sums do not tell
the skewness; where whole clusters are rarely lost, which is the most there can be, his correction is as if
(1 + 2 t^2) / 6 more clusters of the usual size had been lost (for an upper bound: gained). That is what is taken off.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quantroll.domain.paired import MAX_REQUIRED_N, normal_quantile
from quantroll.domain.student import quantile, upper_tail

LEAST_ITEMS = 250
"""Items below which the linear test decides nothing: the correction for skewness is one for many items."""

LEAST_CLUSTERS = 50
"""Clusters below which their spread is not known well enough for cluster-robust errors to keep the level."""

_ROUNDING = 1e-9
"""Share of its terms below which a difference of sums is rounding, not variance: Jobs carry nine digits."""


@dataclass(frozen=True, slots=True)
class Sums:
    """
    Sums over clusters of paired scores; `b`, `v` and `n` stand for a cluster's scores and its number of items.

    ValueError for what no scores in [0, 1] can add up to.
    """

    items: int
    clusters: int
    b: float
    v: float
    bb: float
    bv: float
    vv: float
    bn: float
    vn: float
    nn: float

    def __post_init__(self) -> None:
        if not 0 <= self.clusters <= self.items or min(self.b, self.v, self.bb, self.vv, self.nn) < 0:
            raise ValueError(f"no paired scores have these sums: {self}")
        if not max(self.b, self.v) <= self.items * (1 + _ROUNDING):
            raise ValueError(f"scores lie in [0, 1]: {self}")

    @classmethod
    def of(cls, items: int, moments: Sequence[float]) -> "Sums":
        """From the number of items and the nine moments as Jobs report them: G, X, Y, XX, XY, YY, XN, YN, NN."""
        clusters, *rest = moments
        return cls(items, round(clusters), *rest)

    @property
    def baseline_score(self) -> float:
        """Mean score of the baseline; 0 without items."""
        return self.b / self.items if self.items else 0.0

    @property
    def variant_score(self) -> float:
        """Mean score of the variant; 0 without items."""
        return self.v / self.items if self.items else 0.0

    @property
    def recovery(self) -> float | None:
        """Variant score / baseline score; None when the baseline scored nothing."""
        return self.v / self.b if self.b > 0 else None

    @property
    def enough(self) -> bool:
        """Whether the linear test keeps its level well enough to decide by."""
        return self.items >= LEAST_ITEMS and self.clusters >= LEAST_CLUSTERS


def linear_statistic(sums: Sums, phi: float, margin: float = 0.0) -> float:
    """
    Student's t of H0: mean(variant - phi * baseline) <= margin, not corrected for skewness.

    0 with fewer than two clusters, and without variance where the mean is the margin; else infinite without variance.
    """
    if sums.clusters < 2:
        return 0.0
    excess = _excess(sums, phi, margin)
    error = standard_error(sums, phi)
    if error == 0:
        return math.copysign(math.inf, excess) if abs(excess) > _ROUNDING else 0.0
    return excess / error


def standard_error(sums: Sums, phi: float) -> float:
    """Cluster-robust standard error of mean(variant - phi * baseline). Needs two clusters."""
    bb, bv, vv = _centred(sums)
    spread = vv - 2 * phi * bv + phi * phi * bb
    if spread <= _ROUNDING * (sums.vv + phi * phi * sums.bb):
        return 0.0
    return math.sqrt(_correction(sums) * spread) / sums.items


def recovery_p(sums: Sums, phi: float) -> float:
    """P value of H0: recovery <= phi. At least that of "the baseline scores nothing", where no ratio would exist."""
    return max(_p_value(sums, _excess(sums, phi, 0.0), phi), _baseline_p(sums))


def recovery_harm_p(sums: Sums, phi: float) -> float:
    """P value of H0: recovery >= phi, small when the variant is proven to be below it."""
    return max(_p_value(sums, -_excess(sums, phi, 0.0), phi), _baseline_p(sums))


def recovery_bounds(sums: Sums, confidence: float) -> tuple[float, float]:
    """
    Lower and upper confidence bound of recovery, each one-sided at this confidence: Fieller's, corrected for skewness.

    (0, infinity) where the baseline's own score is not proven to be above 0. Confidence outside [0.5, 1): ValueError.
    """
    normal_quantile(confidence)
    if sums.clusters < 2:
        return 0.0, math.inf
    t = quantile(confidence, sums.clusters - 1)
    k, lost = _correction(sums) * t * t, skew_allowance(sums, t)
    bb, bv, vv = _centred(sums)
    # t(phi)^2 <= t^2 is a quadratic inequality in phi; its solutions are an interval if the first factor is positive.
    a = sums.b**2 - k * bb
    if a <= _ROUNDING * sums.b**2:
        return 0.0, math.inf

    def root(v: float, side: float) -> float:
        b, c = sums.b * v - k * bv, v * v - k * vv
        return (b + side * math.sqrt(max(b * b - a * c, 0.0))) / a

    low = sums.v - lost
    return max(root(low, -1.0), 0.0) if low > 0 else 0.0, root(sums.v + lost, 1.0)


def difference_p(sums: Sums, difference: float) -> float:
    """P value of H0: variant score - baseline score <= difference."""
    return _p_value(sums, _excess(sums, 1.0, difference), 1.0)


def difference_bounds(sums: Sums, confidence: float) -> tuple[float, float]:
    """Lower and upper confidence bound of variant score - baseline score, each one-sided at this confidence."""
    normal_quantile(confidence)
    if sums.clusters < 2:
        return -1.0, 1.0
    estimate, t = sums.variant_score - sums.baseline_score, quantile(confidence, sums.clusters - 1)
    spread = t * standard_error(sums, 1.0) + skew_allowance(sums, t) / sums.items
    return max(estimate - spread, -1.0), min(estimate + spread, 1.0)


def skew_allowance(sums: Sums, t: float) -> float:
    """Score that the variant is taken to have lost beyond what was seen, in items, for a test at this t."""
    return (1 + 2 * t * t) / 6 * _cluster_size(sums)


def linear_required_n(sums: Sums, phi: float, margin: float, confidence: float, power: float = 0.8) -> int | None:
    """
    Number of items, in clusters of the observed sizes, that would prove mean(variant - phi * baseline) > margin.

    With this power, at the observed scores and spread, by the normal approximation; at least LEAST_ITEMS. None when no
    such number exists, or where it would exceed MAX_REQUIRED_N.
    """
    excess = _excess(sums, phi, margin)
    if sums.clusters < 2 or excess <= _ROUNDING:
        return None
    z = normal_quantile(confidence)
    # n excess = z s sqrt(n) + what is taken off for skewness, a quadratic equation in sqrt(n)
    spread = (z + normal_quantile(power)) * standard_error(sums, phi) * math.sqrt(sums.items)
    root = (spread + math.sqrt(spread**2 + 4 * excess * skew_allowance(sums, z))) / (2 * excess)
    least = max(LEAST_ITEMS, math.ceil(LEAST_CLUSTERS * sums.items / sums.clusters))
    needed = max(math.ceil(min(root**2, 2 * MAX_REQUIRED_N)), least)
    return needed if needed <= MAX_REQUIRED_N else None


def _excess(sums: Sums, phi: float, margin: float) -> float:
    return sums.variant_score - phi * sums.baseline_score - margin


def _p_value(sums: Sums, excess: float, phi: float) -> float:
    """P value of a mean of d that exceeds its hypothesis by this much: at the t whose corrected test it just passes."""
    if sums.clusters < 2:
        return 1.0
    error, unit = standard_error(sums, phi), _cluster_size(sums) / sums.items
    rest = excess - unit / 6
    if rest <= 0:
        t = rest / error if error else -math.inf
    else:
        # the root of rest = t error + t^2 unit / 3
        t = 2 * rest / (error + math.sqrt(error**2 + 4 * rest * unit / 3))
    return upper_tail(t, sums.clusters - 1)


def _cluster_size(sums: Sums) -> float:
    """Items of the cluster that an item is in, on average."""
    return sums.nn / sums.items


def _baseline_p(sums: Sums) -> float:
    """P value of H0: the baseline's mean score is 0."""
    if sums.clusters < 2:
        return 1.0
    error = math.sqrt(_correction(sums) * max(_centred(sums)[0], 0.0)) / sums.items
    if error <= _ROUNDING:
        return 0.0 if sums.b > 0 else 1.0
    return upper_tail(sums.baseline_score / error, sums.clusters - 1)


def _correction(sums: Sums) -> float:
    return sums.clusters / (sums.clusters - 1)


def _centred(sums: Sums) -> tuple[float, float, float]:
    """Sums of squares and products over clusters, of what is left of the scores without their means: bb, bv, vv."""
    b, v = sums.baseline_score, sums.variant_score
    return (
        sums.bb - 2 * b * sums.bn + b * b * sums.nn,
        sums.bv - b * sums.vn - v * sums.bn + b * v * sums.nn,
        sums.vv - 2 * v * sums.vn + v * v * sums.nn,
    )
