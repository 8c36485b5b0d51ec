"""Simulate the gate: how often it ships what it must not, and how often it proves what is good: python -m bench.gate

Every figure comes from the product's own verdicts on drawn tables; equal tables are judged once. Ends with 1 when a
variant exactly at the floor ships oftener than LIMIT.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterable
from functools import cache

import numpy as np

from bench.report import columns
from quantroll.domain.evidence import Evidence, Thresholds
from quantroll.domain.gate import Verdict, judge
from quantroll.domain.graded import Sums
from quantroll.domain.paired import Cells, expected_cells

FLOOR, DROP, CONFIDENCE = 0.94, 0.05, 0.95
LIMIT = 0.055
SEED = 20
SIZES = (50, 100, 250, 1000, 5000)
RATES = ((0.60, 0.10), (0.75, 0.06), (0.942, 0.058), (0.942, 0.08))  # the baseline's score, and churn
LINEAR = ((250, 250), (1000, 1000), (5000, 5000), (500, 50), (1000, 100), (5000, 500))  # items, clusters

POWER_SIZES = (20, 100, 250, 500, 1000, 2000, 5000)
POWER = (  # the baseline's score, churn, recovery, and the published share of PASS at each size
    (0.942, 0.02, 1.0, (0.01, 0.94, 1.0, 1.0, 1.0, 1.0, 1.0)),
    (0.942, 0.03, 0.985, (0.00, 0.56, 0.96, 1.0, 1.0, 1.0, 1.0)),
    (0.942, 0.04, 0.97, (0.00, 0.25, 0.61, 0.88, 0.99, 1.0, 1.0)),
    (0.942, 0.058, 0.949, (0.00, 0.06, 0.12, 0.18, 0.28, 0.46, 0.80)),
    (0.75, 0.055, 0.985, (0.03, 0.35, 0.70, 0.93, 1.0, 1.0, 1.0)),
    (0.75, 0.055, 0.97, (None, 0.19, 0.38, 0.61, 0.87, 0.99, 1.0)),
    (0.60, 0.095, 0.985, (0.06, 0.22, 0.41, 0.65, 0.90, 0.99, 1.0)),
    (0.60, 0.095, 0.97, (None, 0.14, 0.23, 0.36, 0.57, 0.83, 0.99)),
)

RELATIVE = Thresholds(FLOOR, CONFIDENCE, min_samples=1, min_baseline=0, max_error_rate=1)
DIFFERENCE = Thresholds(FLOOR, CONFIDENCE, min_samples=1, min_baseline=0, max_error_rate=1, max_drop=DROP)


def evidence(cells: Cells, sums: Sums | None = None) -> Evidence:
    """Counts without any fault of the comparison."""
    return Evidence(cells, errors_baseline=0, errors_variant=0, prompts_match=True, overlap=0, sums=sums)


@cache
def ships(cells: tuple[int, int, int, int], thresholds: Thresholds) -> bool:
    """Whether the product gives these counts a PASS."""
    return judge(evidence(Cells(*cells)), thresholds).verdict is Verdict.PASS


def shipped(baseline: float, churn: float, recovery: float, n: int, runs: int, thresholds: Thresholds) -> float:
    """Share of PASS among drawn tables of n items with these rates."""
    rates = expected_cells(baseline, churn, recovery, 10**9)
    shares = np.array([rates.both, rates.harm, rates.gain, rates.neither]) / rates.n
    draws = np.random.default_rng([SEED, n, round(1000 * churn)]).multinomial(n, shares, size=runs)
    found = sum(ships((int(a), int(b), int(c), int(d)), thresholds) for a, b, c, d in draws)
    ships.cache_clear()
    return found / runs


def shipped_linear(baseline: float, items: int, clusters: int, runs: int) -> float:
    """Share of PASS by the linear test, of a variant that loses each of the baseline's right answers by chance.

    Items of a cluster share their difficulty: right and wrong, the most skewed scores that there are.
    """
    rng = np.random.default_rng([SEED, items, clusters])
    groups, found = np.arange(items) % clusters, 0
    size = np.bincount(groups)
    for _ in range(runs):
        alone = clusters == items
        easy = np.full(clusters, baseline) if alone else rng.beta(10 * baseline, 10 * (1 - baseline), clusters)
        right = rng.random(items) < easy[groups]
        kept = right & (rng.random(items) < FLOOR)
        b, v = np.bincount(groups, right), np.bincount(groups, kept)
        products = (b @ b, b @ v, v @ v, b @ size, v @ size, size @ size)
        sums = Sums.of(items, [clusters, float(b.sum()), float(v.sum()), *map(float, products)])
        both, lost = int(kept.sum()), int(right.sum() - kept.sum())
        cells = Cells(both, lost, 0, items - both - lost)
        found += judge(evidence(cells, sums), RELATIVE).verdict is Verdict.PASS
    return found / runs


def level(title: str, thresholds: Thresholds, recovery: Callable[[float], float], runs: int) -> bool:
    """Print the false-ship table of a test that decides with any number of items; whether all keep LIMIT."""
    found = [
        (baseline, churn, [shipped(baseline, churn, recovery(baseline), n, runs, thresholds) for n in SIZES])
        for baseline, churn in RATES
    ]
    body = [(b, f"{100 * c:g} %", *(f"{100 * rate:.2f} %" for rate in rates)) for b, c, rates in found]
    print(f"\n{title}; nominal {100 * (1 - CONFIDENCE):g} %, limit {100 * LIMIT:g} %, {runs} runs each")
    print(columns(("baseline", "churn", *(f"n {n}" for n in SIZES)), body))
    return all(rate <= LIMIT for _, _, rates in found for rate in rates)


def linear(runs: int) -> bool:
    """Print the false-ship table of the linear test, from its least items and clusters on; whether all keep LIMIT."""
    scores = sorted({baseline for baseline, _ in RATES})
    found = {baseline: [shipped_linear(baseline, n, g, runs) for n, g in LINEAR] for baseline in scores}
    print(f"\nFalse ships of the linear test (graded or clustered scores), recovery exactly {FLOOR}; {runs} runs each")
    body = [(baseline, *(f"{100 * rate:.2f} %" for rate in rates)) for baseline, rates in found.items()]
    print(columns(("baseline", *(f"{n} in {g}" for n, g in LINEAR)), body))
    return all(rate <= LIMIT for rates in found.values() for rate in rates)


def power(runs: int) -> None:
    """Print the shares of PASS beside the published ones."""
    body = [
        (b, f"{100 * c:g} %", r, *(_beside(shipped(b, c, r, n, runs, RELATIVE), p) for n, p in _published(published)))
        for b, c, r, published in POWER
    ]
    print(f"\nShare of PASS, beside the published one in brackets; {runs} runs each")
    print(columns(("baseline", "churn", "recovery", *(f"n {n}" for n in POWER_SIZES)), body))


def _published(shares: tuple[float | None, ...]) -> Iterable[tuple[int, float | None]]:
    return zip(POWER_SIZES, shares, strict=True)


def _beside(found: float, published: float | None) -> str:
    return f"{found:.2f} ({'   -' if published is None else f'{published:.2f}'})"


def main(argv: list[str]) -> int:
    """Exit status: 0, or 1 when LIMIT is not kept."""
    parser = argparse.ArgumentParser(prog="bench.gate", description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000, help="tables for each false-ship rate")
    runs, began = parser.parse_args(argv).runs, time.monotonic()
    kept = level(f"False ships, recovery exactly {FLOOR} (minSamples set aside)", RELATIVE, lambda _: FLOOR, runs)
    drop = f"False ships, comparison Difference, score exactly {DROP} lower"
    kept &= level(drop, DIFFERENCE, lambda baseline: 1 - DROP / baseline, runs)
    kept &= linear(max(runs // 2, 1))
    power(max(runs // 4, 1))
    print(f"\n{'kept' if kept else 'NOT kept'}: at most {100 * LIMIT:g} %; {time.monotonic() - began:.0f} s")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
