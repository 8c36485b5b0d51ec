"""Tails of the binomial distribution, exactly, and evidence that may be looked at again and again. Standard library."""

import math

_NEGLIGIBLE = 1e-17
_CERTAIN = 700.0  # a logarithm, beyond which a float has no number


def upper_tail(successes: int, trials: int, chance: float) -> float:
    """P(X >= successes) for X of Binomial(trials, chance), chance in (0, 1); 1 for no successes."""
    if not 0 < chance < 1:
        raise ValueError(f"a chance lies in (0, 1), not {chance}")
    return min(math.exp(_log_upper_tail(successes, trials, chance)), 1.0)


def lower_tail(successes: int, trials: int, chance: float) -> float:
    """P(X <= successes) for X of Binomial(trials, chance)."""
    return upper_tail(trials - successes, trials, 1 - chance)


def evidence(successes: int, trials: int, chance: float) -> float:
    """How much counts speak for a higher chance than `chance`; 1 before the first trial.

    Counts may be looked at after every trial: as long as the chance is not higher, it is ever 1 / alpha or more with a
    probability of at most alpha (Ville's inequality). It is the likelihood of the counts under all higher chances,
    mixed, beside that under `chance` (Robbins, Annals of Mathematical Statistics 41, 1970, 1397-1409). The mixture is
    the part above `chance` of the beta distribution (1, b) whose mean is about twice `chance`.
    """
    b, others = max(1, round((1 - chance) / (2 * chance))), trials - successes
    # of the beta distribution (successes + 1, others + b), what lies above `chance`
    above = _log_upper_tail(others + b, trials + b, 1 - chance)
    mixed = math.lgamma(successes + 1) + math.lgamma(others + b) - math.lgamma(trials + 1 + b) + math.log(b) + above
    return math.exp(min(mixed - b * math.log1p(-chance) - _log_likelihood(successes, others, chance), _CERTAIN))


def _log_upper_tail(successes: int, trials: int, chance: float) -> float:
    if successes <= 0:
        return 0.0
    if successes > trials:
        return -math.inf
    if successes <= trials * chance:  # the terms fall away from the middle: the other tail is the one to sum up
        return math.log1p(-upper_tail(trials - successes + 1, trials, 1 - chance))
    odds = chance / (1 - chance)
    term, total = 1.0, 0.0
    for k in range(successes, trials + 1):
        total += term
        term *= odds * (trials - k) / (k + 1)
        if term <= _NEGLIGIBLE * total:
            break
    return _log_chance(successes, trials, chance) + math.log(total)


def _log_chance(successes: int, trials: int, chance: float) -> float:
    others = trials - successes
    ways = math.lgamma(trials + 1) - math.lgamma(successes + 1) - math.lgamma(others + 1)
    return ways + _log_likelihood(successes, others, chance)


def _log_likelihood(successes: int, others: int, chance: float) -> float:
    return successes * math.log(chance) + others * math.log1p(-chance)
