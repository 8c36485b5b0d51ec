"""The share of users' requests that a candidate really gets, beside the weight that it was given.

A gateway deals requests out one by one, so with the right weight the candidate's number is binomial. A number that is
rarer than `ALPHA` on its side contradicts the weight. A fixed tolerance would be too narrow for few requests, and too
wide for many. Only so many requests count as `MOST`: beyond, not chance but the hands of the clocks decide, of gateway,
scrapes and requests that began before the step.
"""

from quantroll.api.status import Share
from quantroll.domain.binomial import lower_tail, upper_tail
from quantroll.domain.snapshot import RequestCounts, Unknown

ALPHA = 5e-7  # one-sided: looks are many, and a step is held
MOST = 1000
LEAST = 50  # requests to both below which nothing is said
EDGE = 0.01  # a weight of all or nothing still has stragglers

Answer = RequestCounts | Unknown | None


def counted(candidate: Answer, stable: Answer) -> tuple[int, int] | None:
    """Users' requests to the candidate, and to both; None where one is not known."""
    if not isinstance(candidate, RequestCounts) or not isinstance(stable, RequestCounts):
        return None
    return candidate.total, candidate.total + stable.total


def is_consistent(weight: int, requests: int, total: int) -> bool | None:
    """Whether so many requests of all are what a weight in per cent would give; None: too few to tell."""
    if total < LEAST:
        return None
    chance = min(max(weight / 100, EDGE), 1 - EDGE)
    trials = min(total, MOST)
    hits = round(requests * trials / total)
    return upper_tail(hits, trials, chance) > ALPHA and lower_tail(hits, trials, chance) > ALPHA


def shares(candidate: str, stable: str, requests: int, total: int) -> list[Share]:
    """Per cent of both revisions, stable first."""
    if not total:
        return []
    part = round(100 * requests / total)
    return [Share(revision=stable, weight=100 - part), Share(revision=candidate, weight=part)]
