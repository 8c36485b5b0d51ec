"""Simulate drift checks over virtual years: how often a healthy service is taken back, and how soon one that is not.

python -m bench.drift

A check a week: the prober's answers of the week, and, where they are below the floor, a confirmation on items of its
own by both revisions. What follows is decided by the product's own functions. After a rollback the same service begins
anew. Ends with 1 when a healthy service is taken back once in 100 years or oftener.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from functools import cache
from statistics import median

import numpy as np

from bench.report import columns
from quantroll.domain.drift import Confirmation, Screening, decide, screen
from quantroll.domain.paired import expected_cells

MIN_ACCEPTABLE, BASELINE = 0.94, 0.942
FLOOR = MIN_ACCEPTABLE * BASELINE
ANSWERS, ITEMS, WEEKS = 200, 1000, 52  # a week's to the probe; of a confirmation; in a year
CHURN = 0.058  # share of items on which two revisions differ that are about as good
LIMIT = 1.0  # rollbacks of a healthy service in 100 years
SEED = 28
HEALTHY = 0.928


@dataclass(frozen=True, slots=True)
class Service:
    """A service with the shares that it and the revision to go back to answer correctly, and the published figures."""

    share: float
    target: float
    years: int
    published: str
    """Of "screen 200 + confirm 1000 UB90": share of years with a rollback, or weeks until one."""
    name: str = ""


SERVICES = (
    Service(HEALTHY, BASELINE, 20_000, "0 a year", "healthy"),
    Service(0.900, BASELINE, 2000, "3.5 % a year", "above the floor by 0.0145"),
    Service(0.870, BASELINE, 500, "2 weeks", "below it by 0.0155"),
    Service(0.850, BASELINE, 500, "1 week", "below it by 0.0355"),
    Service(0.750, BASELINE, 500, "", "a catastrophe"),
    Service(0.870, 0.870, 2000, "", "questions have shifted: both fall"),
    Service(0.878, 0.878, 2000, "", "questions have shifted a little"),
)


@dataclass(slots=True)
class Course:
    """What happened to a service."""

    years: int
    gaps: list[int]  # weeks from a beginning to a rollback
    taken_back: int  # years with a rollback
    confirmations: int
    shifts: int  # alerts that the questions have changed

    @property
    def per_century(self) -> float:
        """Rollbacks in 100 years."""
        return 100 * len(self.gaps) / self.years


@cache
def screened(right: int) -> Screening:
    """What the product says of a week's answers."""
    return screen(right, ANSWERS, FLOOR)


def run(service: Service, years: int) -> Course:
    """So many years of one service."""
    random = np.random.default_rng([SEED, round(1000 * service.share), round(1000 * service.target)])
    shares, weeks = _shares(service), years * WEEKS
    course, begun, row, struck = Course(years, [], 0, 0, 0), 0, 0, set()
    for week, right in enumerate(random.binomial(ANSWERS, service.share, size=weeks).tolist()):
        found = screened(right)
        if not found.below:
            row = 0
            continue
        cells = [int(count) for count in random.multinomial(ITEMS, shares)]
        decided = decide(Confirmation(*cells), FLOOR, row, catastrophic=found.catastrophic)
        row = decided.consecutive
        course.confirmations += 1
        course.shifts += decided.verdict == "PopulationShift"
        if decided.verdict == "Breached":
            course.gaps.append(week + 1 - begun)
            struck.add(week // WEEKS)
            begun, row = week + 1, 0
    course.taken_back = len(struck)
    return course


def _shares(service: Service) -> list[float]:
    """Of a confirmation's cells: both right, the serving one alone, the target alone, neither."""
    churn = max(CHURN, service.target - service.share + 0.02)
    cells = expected_cells(service.target, churn, service.share / service.target, 10**9)
    return [count / cells.n for count in (cells.both, cells.gain, cells.harm, cells.neither)]


def row_of(service: Service, course: Course) -> tuple[object, ...]:
    """A line of the table."""
    weeks = f"{median(course.gaps):g}" if course.gaps else "-"
    late = f"{np.quantile(course.gaps, 0.9):.0f}" if course.gaps else "-"
    return (
        service.name, f"{service.share:.3f}", f"{service.target:.3f}", course.years, f"{course.per_century:.2f}",
        f"{100 * course.taken_back / course.years:.1f} %", weeks, late, f"{course.confirmations / course.years:.2f}",
        f"{course.shifts / course.years:.2f}", service.published,
    )  # fmt: skip


HEAD = (
    "service", "share", "target", "years", "rollbacks/100 y", "years with one", "weeks", "90 %", "confirms/y",
    "shifts/y", "published",
)  # fmt: skip


def main(argv: list[str]) -> int:
    """Exit status: 0, or 1 when LIMIT is not kept."""
    parser = argparse.ArgumentParser(prog="bench.drift", description=__doc__.splitlines()[0])
    parser.add_argument("--part", type=float, default=1.0, help="of the years of each service")
    part, began = parser.parse_args(argv).part, time.monotonic()
    courses = [(service, run(service, max(1, round(part * service.years)))) for service in SERVICES]
    print(
        f"Weekly checks of {ANSWERS} answers, confirmations of {ITEMS} items, floor {FLOOR:.4f}, seed {SEED}.\n"
        "weeks: median until a rollback, and 90 %. published: the same screen, a confirmation by the upper bound alone."
    )
    print(columns(HEAD, [row_of(*each) for each in courses]))
    worst = max(course.per_century for service, course in courses if service.share == HEALTHY)
    kept = worst < LIMIT
    said = f"a healthy service is taken back {worst:.2f} times in 100 years, fewer than {LIMIT:g}"
    print(f"\n{'kept' if kept else 'NOT kept'}: {said}; {time.monotonic() - began:.0f} s")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
