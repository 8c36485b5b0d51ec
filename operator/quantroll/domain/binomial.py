"""Tails of the binomial distribution, exactly. Standard library only."""

import math

_NEGLIGIBLE = 1e-17


def upper_tail(successes: int, trials: int, chance: float) -> float:
    """P(X >= successes) for X of Binomial(trials, chance), chance in (0, 1); 1 for no successes."""
    if not 0 < chance < 1:
        raise ValueError(f"a chance lies in (0, 1), not {chance}")
    if successes <= 0:
        return 1.0
    if successes > trials:
        return 0.0
    if successes <= trials * chance:  # the terms fall away from the middle: the other tail is the one to sum up
        return 1 - upper_tail(trials - successes + 1, trials, 1 - chance)
    odds = chance / (1 - chance)
    term = math.exp(_log_chance(successes, trials, chance))
    total = 0.0
    for k in range(successes, trials + 1):
        total += term
        term *= odds * (trials - k) / (k + 1)
        if term <= _NEGLIGIBLE * total:
            break
    return min(total, 1.0)


def lower_tail(successes: int, trials: int, chance: float) -> float:
    """P(X <= successes) for X of Binomial(trials, chance)."""
    return upper_tail(trials - successes, trials, 1 - chance)


def _log_chance(successes: int, trials: int, chance: float) -> float:
    others = trials - successes
    ways = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(others + 1)
    return ways + successes * math.log(chance) + others * math.log1p(-chance)
