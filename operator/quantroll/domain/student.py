"""
Student's t distribution: tail and quantile, to 1e-9. Standard library only.

The tail is half of the regularised incomplete beta function I_x(v / 2, 1 / 2) at x = v / (v + t^2), by the continued
fraction of Lentz, "Generating Bessel functions in Mie scattering calculations using continued fractions", Applied
Optics 15 (1976) 668-671. The quantile inverts it by Newton's method.
"""

import math
from functools import lru_cache

from quantroll.domain.paired import normal_quantile

_EPSILON, _TINY = 1e-15, 1e-300
_SERIES_FROM = 100.0  # from here on the series of the log beta function is exact to 1e-13, and lgamma loses digits
_STEPS = 100  # Newton doubles the digits with each; a heavy tail costs one for each doubling of t before that


def upper_tail(t: float, freedom: int) -> float:
    """P(T >= t) for T of Student's distribution with this many degrees of freedom (at least 1: ValueError)."""
    if freedom < 1:
        raise ValueError(f"degrees of freedom are at least 1, not {freedom}")
    if t * t / freedom == 0:  # also of a t too small to be squared
        return 0.5
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    beyond = 0.5 * _both_tails(t * t, freedom)
    return beyond if t > 0 else 1 - beyond


@lru_cache(maxsize=1024)
def quantile(confidence: float, freedom: int) -> float:
    """The t that T stays below with this one-sided confidence in [0.5, 1); ValueError outside."""
    t, wanted = normal_quantile(confidence), 1 - confidence
    if t == 0:
        return 0.0
    # Beyond 0 the tail is convex, and t starts to the left of the root: Newton's method climbs to it and never passes.
    for _ in range(_STEPS):
        step = (upper_tail(t, freedom) - wanted) / _density(t, freedom)
        t += step
        if step <= 1e-13 * t:
            break
    return t


def _both_tails(square: float, freedom: int) -> float:
    """P(|T| >= t), from t^2."""
    a, b = freedom / 2, 0.5
    beyond, x = square / (freedom + square), freedom / (freedom + square)
    log_front = a * math.log1p(-beyond) + b * math.log(beyond) - _log_beta(a)
    front = math.exp(log_front)
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(a, b, x) / a
    return 1 - front * _fraction(b, a, beyond) / b


def _density(t: float, freedom: int) -> float:
    a = freedom / 2
    return math.exp(-(a + 0.5) * math.log1p(t * t / freedom) - _log_beta(a)) / math.sqrt(freedom)


def _log_beta(a: float) -> float:
    """Logarithm of the beta function B(a, 1 / 2)."""
    if a < _SERIES_FROM:
        return math.lgamma(a) + math.lgamma(0.5) - math.lgamma(a + 0.5)
    return 0.5 * math.log(math.pi / a) + 1 / (8 * a) - 1 / (192 * a**3) + 1 / (640 * a**5)


def _fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function."""
    c, d = 1.0, 1 / _nonzero(1 - (a + b) * x / (a + 1))
    value, m, change = d, 0, 2.0
    while abs(change - 1) > _EPSILON:
        m += 1
        for numerator in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d = 1 / _nonzero(1 + numerator * d)
            c = _nonzero(1 + numerator / c)
            change = c * d
            value *= change
    return value


def _nonzero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
