"""The share that requests have, beside the weight: what chance may do, and what it may not."""

import random

import pytest

from quantroll.domain.share import counted, is_consistent, shares
from quantroll.domain.snapshot import RequestCounts, Unknown


@pytest.mark.parametrize(
    ("weight", "requests", "total", "agrees"),
    [
        (5, 0, 49, None),  # too few to tell anything
        (5, 0, 60, True),
        (5, 0, 400, False),  # it should have had 20
        (5, 20, 400, True),
        (5, 55, 400, False),
        (50, 25, 50, True),
        (50, 0, 50, False),
        (50, 500, 1000, True),
        (50, 420, 1000, False),
        (50, 430, 1000, True),
        (50, 470_000, 1_000_000, True),  # of so many, clocks and not chance decide: as of 1,000
        (50, 400_000, 1_000_000, False),
        (100, 990, 1000, True),  # requests that began before the step
        (100, 900, 1000, False),
        (1, 0, 1000, True),
    ],
)
def test_what_agrees_with_a_weight(weight, requests, total, agrees):
    assert is_consistent(weight, requests, total) is agrees


def test_a_gateway_that_does_as_it_is_told_is_hardly_ever_doubted():
    rng = random.Random(7)
    for weight in (1, 5, 25, 50):
        for _ in range(300):
            total = rng.choice([50, 200, 1000])
            got = sum(rng.random() < weight / 100 for _ in range(total))
            assert is_consistent(weight, got, total) is True


def test_both_have_to_be_known():
    some = RequestCounts(30, 3)
    assert counted(some, RequestCounts(70, 0)) == (30, 100)
    assert counted(some, None) is None
    assert counted(Unknown("away"), some) is None


def test_shares_sum_to_a_hundred():
    assert [share.weight for share in shares("b", "a", 1, 3)] == [67, 33]
    assert shares("b", "a", 0, 0) == []
