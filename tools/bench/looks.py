"""Simulate rollouts by their looks at quality: how often a good candidate is taken back, and how soon a bad one is:
python -m bench.looks

The product's own plan, looks and verdicts, minute by minute, with drawn answers; other metrics pass. Ends with 1 when a
candidate exactly at the floor is taken back oftener than LIMIT.
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median

import numpy as np

from bench.report import columns
from quantroll.api.base import parse_duration
from quantroll.api.spec import Analysis, QuantizedModelSpec
from quantroll.api.status import RolloutStatus
from quantroll.domain.judging import thresholds_of
from quantroll.domain.paired import expected_cells
from quantroll.domain.quality import Plan, judge
from quantroll.domain.quality_looks import asked_for, last_look, planned_looks
from quantroll.domain.snapshot import PairCounts

FLOOR, CONFIDENCE = 0.94, 0.95
LIMIT = 0.055
SEED = 22
STABLE = 0.942  # stable's score
# what the candidate keeps of it, and the share of items on which the two differ
TRUTHS = (
    (1.0, 0.02),
    (0.985, 0.03),
    (0.97, 0.04),
    (FLOOR, 0.058),
    (0.92, 0.08),
    (0.90, 0.10),
    (0.85, 0.15),
    (0.70, 0.3),
)
LATE = 1  # minutes into the first step until the prober asks both: it starts anew, and waits for Prometheus
START = datetime(2026, 1, 1, tzinfo=UTC)
SPEC = QuantizedModelSpec.model_validate(
    {
        "model": {"source": "pvc://models/any"},
        "qualityGate": {
            "verifiedAgainst": "bfloat16",
            "evalSet": {"source": "pvc://data/holdout.jsonl"},
            "minAcceptable": FLOOR,
            "confidence": CONFIDENCE,
        },
        "rollout": {"routing": {"mode": "Service"}},
        "driftCheck": {"schedule": "@weekly"},
    }
)


@dataclass(frozen=True)
class End:
    """How a rollout ended."""

    outcome: str  # promoted, taken back, or held until the deadline
    minutes: int
    step: int


def draw(truth: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """The four cells after each minute of the longest rollout."""
    recovery, churn = truth
    rates = expected_cells(STABLE, churn, recovery, 10**9)
    shares = np.array([rates.both, rates.harm, rates.gain, rates.neither]) / rates.n
    minutes = int(parse_duration(SPEC.rollout.deadlines.total) / timedelta(minutes=1)) + 1
    asked = rng.multinomial(SPEC.probe.rollout_pace // 60, shares, size=minutes).cumsum(axis=0)
    return np.vstack([np.zeros((1 + LATE, 4), dtype=int), asked])


def rollout(answers: np.ndarray) -> End:
    """One rollout with these answers, looked at every minute."""
    metric = Analysis().metric("quality")
    assert metric
    pace = SPEC.probe.rollout_pace
    plan = Plan(metric, thresholds_of(SPEC.quality_gate), planned_looks(SPEC), pace)
    at = RolloutStatus(id="1", step=0, weight=1, since=START, started_at=START)
    last = int(parse_duration(SPEC.rollout.deadlines.total) / timedelta(minutes=1))
    for minute in range(1, last):
        now = START + timedelta(minutes=minute)
        look = last_look(SPEC, at, now)
        said = judge(plan, counts(answers, now), counts(answers, look) if look else None, asked_for(SPEC, at, now))
        if said.proven:
            return End("taken back", minute, at.step)
        over = at.since and now >= at.since + parse_duration(SPEC.rollout.steps[at.step].duration)
        if over and said.verdict == "Pass":
            if at.step + 1 == len(SPEC.rollout.steps):
                return End("promoted", minute, at.step)
            at = at.model_copy(update={"step": at.step + 1, "since": now})
    return End("held", last, at.step)


def counts(answers: np.ndarray, moment: datetime) -> PairCounts:
    """What was answered by then."""
    both, harm, gain, neither = (int(n) for n in answers[int((moment - START) / timedelta(minutes=1))])
    return PairCounts(both, harm, gain, neither, distinct=10**6)


def ends(truth: tuple[float, float], runs: int) -> list[End]:
    """Seeded rollouts of a candidate like that."""
    rng = np.random.default_rng([SEED, round(1000 * truth[0])])
    return [rollout(draw(truth, rng)) for _ in range(runs)]


def row(truth: tuple[float, float], found: Sequence[End]) -> tuple[str, ...]:
    """A line of the table."""
    share = Counter(end.outcome for end in found)
    back = [end.minutes for end in found if end.outcome == "taken back"]
    on = [end.minutes for end in found if end.outcome == "promoted"]
    return (
        f"{truth[0]:g}",
        f"{100 * truth[1]:g} %",
        *(f"{100 * share[outcome] / len(found):.1f} %" for outcome in ("promoted", "taken back", "held")),
        f"{median(on):.0f} min" if on else "",
        f"{median(back):.0f} min" if back else "",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(prog="bench.looks", description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="rollouts of each candidate (default: 200)")
    runs = parser.parse_args(arguments).runs
    began = time.monotonic()
    found = {truth: ends(truth, runs) for truth in TRUTHS}
    steps = ", ".join(f"{step.weight} % for {step.duration}" for step in SPEC.rollout.steps)
    print(f"{steps}; {SPEC.probe.rollout_pace} items an hour; {planned_looks(SPEC)} planned looks;")
    print(f"floor {FLOOR} of stable's {STABLE}, confidence {CONFIDENCE}; {runs} rollouts each\n")
    head = ("keeps", "differs", "promoted", "taken back", "held 24 h", "promoted after", "taken back after")
    print(columns(head, [row(truth, ends) for truth, ends in found.items()]))
    wrong = sum(end.outcome == "taken back" for end in found[FLOOR, 0.058]) / runs
    print(f"\n{time.monotonic() - began:.0f} s")
    return 0 if wrong <= LIMIT else 1


if __name__ == "__main__":
    sys.exit(main())
