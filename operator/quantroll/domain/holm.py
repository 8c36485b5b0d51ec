"""
Several tests at once.

Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979) 65-70.
"""

from collections.abc import Sequence
from itertools import accumulate


def adjusted(p_values: Sequence[float]) -> list[float]:
    """
    P values such that the chance of one wrong rejection in the whole family is at most what each is compared with.

    In the given order: the j-th smallest of m is multiplied by m - j + 1, and none is below a smaller one. A test that
    has not been made yet has 1. ValueError for what is no p value.
    """
    if any(not 0 <= p <= 1 for p in p_values):
        raise ValueError(f"p values lie in [0, 1]: {list(p_values)}")
    m = len(p_values)
    order = sorted(range(m), key=lambda i: p_values[i])
    steps = accumulate((min((m - j) * p_values[i], 1.0) for j, i in enumerate(order)), max)
    found = dict(zip(order, steps, strict=True))
    return [found[i] for i in range(m)]
