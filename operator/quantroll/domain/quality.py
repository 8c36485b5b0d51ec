"""Metric quality: the prober asks candidate and stable the same items, past the split, so that weights do not matter.

The candidate has passed the gate already; what is looked for is that it does worse where it serves. So a look is a test
of harm, of H0 "it keeps qualityGate's floor of what stable gets right", and its rejection takes the candidate back. A
step is left without one, once there are enough items and what was observed is at the floor or above.
"""

from dataclasses import dataclass
from datetime import timedelta

from quantroll.api.spec import AnalysisMetric
from quantroll.domain.difference import difference_required_n, difference_statistic
from quantroll.domain.error_ratio import no_answer
from quantroll.domain.evidence import Comparison, Thresholds
from quantroll.domain.look import Look
from quantroll.domain.paired import Cells, required_n, score_statistic
from quantroll.domain.quantities import normal_tail
from quantroll.domain.snapshot import PairCounts, Unknown

Answer = PairCounts | Unknown | None
_SLOW = 0.5  # share of what the probe should have asked by now, below which it is told to be slow


@dataclass(frozen=True, slots=True)
class Plan:
    """What a look is held to; fixed by the spec."""

    metric: AnalysisMetric
    thresholds: Thresholds
    looks: int  # K
    items_per_hour: int

    @property
    def alpha(self) -> float:
        """The chance at which one look may find a candidate bad that is just good enough."""
        return (1 - self.thresholds.confidence) / self.looks


def judge(plan: Plan, now: Answer, planned: Answer, asking: timedelta) -> Look:
    """One look: `now` is all that was answered, `planned` what had been at the last planned look, None before it.

    `asking` is for how long the prober has asked both.
    """
    metric = plan.metric
    for counts in (now, planned):
        if isinstance(counts, Unknown):
            return no_answer(metric, counts)
    if now is None or isinstance(now, Unknown):
        return no_answer(metric, None)
    if isinstance(planned, PairCounts) and (proof := _harm(plan, table(planned))):
        return proof
    return _few(plan, now, asking) or _observed(plan, table(now))


def table(counts: PairCounts) -> Cells:
    """The paired table of distinct items: an item that was asked several times counts as one, by shares."""
    asked = counts.both + counts.harm + counts.gain + counts.neither
    once = min(1.0, counts.distinct / asked) if asked else 1.0
    return Cells(*(round(once * cell) for cell in (counts.both, counts.harm, counts.gain, counts.neither)))


def harm_p(cells: Cells, thresholds: Thresholds) -> float:
    """P value of H0: the candidate is at the floor or above, by the gate's own test turned round."""
    if thresholds.comparison is Comparison.RELATIVE:
        return normal_tail(-score_statistic(cells, thresholds.floor))
    return normal_tail(-difference_statistic(cells, thresholds.floor))


def _harm(plan: Plan, cells: Cells) -> Look | None:
    if cells.n < plan.metric.min_samples:
        return None
    p = harm_p(cells, plan.thresholds)
    if p > plan.alpha:
        return None
    limit = f"at one of {plan.looks} planned looks at most {plan.alpha:.2g} is a proof"
    return Look(
        "quality",
        "Fail",
        f"quality: proven to be below the floor, p {p:.2g} ({limit}); {_figures(plan, cells)}",
        proven=True,
    )


def _few(plan: Plan, counts: PairCounts, asking: timedelta) -> Look | None:
    cells, needed = table(counts), plan.metric.min_samples
    if counts.distinct < needed:
        said = f"the probe has {counts.distinct} distinct items and minSamples is {needed}: add items, or lower it"
        return Look("quality", "Inconclusive", f"quality: {said}")
    if cells.n >= needed:
        return None
    due = plan.items_per_hour * asking.total_seconds() / 3600
    pace = pace_told = f"probe.rolloutItemsPerHour is {plan.items_per_hour}"
    if cells.n < _SLOW * min(due, needed):
        pace = f"{pace}, by which {due:.0f} were due: an engine is slow or gives no answers; see the prober's log"
    return Look(
        "quality",
        "Inconclusive",
        f"quality: {cells.n} items that both answered, minSamples is {needed}; {pace}",
        f"quality: fewer than minSamples ({needed}) items that both answered; {pace_told}",
    )


def _observed(plan: Plan, cells: Cells) -> Look:
    value = _value(plan, cells)
    if value is None:
        return Look(
            "quality",
            "Inconclusive",
            f"quality: stable got none of {cells.n} items right: there is nothing to compare with",
        )
    if value >= plan.thresholds.floor:
        return Look("quality", "Pass", f"quality: {_figures(plan, cells)}")
    needed = _needed(plan, cells)
    would = f"about {needed} items would prove it at these rates" if needed else "no number of items would prove it"
    return Look(
        "quality",
        "Inconclusive",
        f"quality: below the floor, but not proven; {would}; {_figures(plan, cells)}",
        "quality: below the floor, but not proven; more items will tell",
    )


def _value(plan: Plan, cells: Cells) -> float | None:
    if plan.thresholds.comparison is Comparison.RELATIVE:
        return cells.recovery
    return (cells.gain - cells.harm) / cells.n


def _needed(plan: Plan, cells: Cells) -> int | None:
    """Items at which a look would prove harm at the observed rates, with a power of 80 %: the arms change places."""
    floor, confidence = plan.thresholds.floor, 1 - plan.alpha
    if plan.thresholds.comparison is Comparison.RELATIVE:
        return required_n(cells.swapped, 1 / floor, confidence)
    return difference_required_n(cells.swapped, -floor, confidence)


def _figures(plan: Plan, cells: Cells) -> str:
    relative = plan.thresholds.comparison is Comparison.RELATIVE
    value, name = _value(plan, cells), "keeps" if relative else "differs by"
    told = "nothing to compare with" if value is None else f"{name} {value:.4f}"
    return (
        f"it {told} of {cells.n} items against stable (harm {cells.harm}, gain {cells.gain}), floor"
        f" {plan.thresholds.floor:g}"
    )
