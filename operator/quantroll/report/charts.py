"""The report's two charts: quality against bits, and cost against proven quality."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from quantroll.domain.rules import beside
from quantroll.report.arms import Arm
from quantroll.report.columns import Units
from quantroll.report.drawing import GRID, MUTED, Canvas
from quantroll.report.numbers import money, significant
from quantroll.report.report import Report

_LONGEST = 14  # letters of a name in a chart
_TURNED: dict[str, Any] = {"rotation": 25, "ha": "right", "rotation_mode": "anchor"}
_CROWDED = 34  # letters of all names together from which those on the axis are turned


@dataclass(frozen=True)
class Chart:
    """A chart, and what is said below it."""

    title: str
    caption: str
    svg: str


@dataclass(frozen=True)
class _Amount:
    """What proven quality is set against."""

    name: str
    less: str
    axis: str
    about: str
    of: Callable[[Arm], float | None]
    text: Callable[[float], str]


def charts(report: Report) -> list[Chart]:
    """Those of the two charts for which there is something to draw."""
    return [chart for chart in (quality(report), pareto(report)) if chart]


def quality(report: Report) -> Chart | None:
    """Recovery with its interval against the bits of a weight, from many to few; None while no variant is measured."""
    measured = [arm for arm in report.arms if arm.recovery is not None and arm.bits.weights is not None]
    if all(arm.is_baseline for arm in measured):
        return None
    arms = sorted(measured, key=lambda arm: -(arm.bits.weights or 0))
    title = "Quality against bits"
    names = [_short(arm.name) for arm in arms]
    turned = len("".join(names)) > _CROWDED
    with Canvas("quality", report, "recovery", bottom=0.22 if turned else 0.1) as canvas:
        values = [(arm.recovery, arm.upper_bound, arm.lower_bound) for arm in arms]
        canvas.limit(value for some in values for value in some if value is not None)
        canvas.axes.set_xlim(-0.6, len(arms) - 0.4)
        canvas.floor(right=False)
        canvas.axes.set_xticks(range(len(arms)), names, **(_TURNED if turned else {}))
        drawn = [canvas.arm(arm, at, arm.recovery or 0) for at, arm in enumerate(arms)]
        for at, arm in enumerate(arms):
            canvas.interval(arm, at)
        _widths(canvas, arms, drawn)
        told = "; ".join(
            f"{arm.name}, {arm.bits.weights} bit: {arm.recovery_text(report.floor)}"
            for arm in arms
            if not arm.is_baseline
        )
        svg = canvas.svg(arms, title, f"Recovery with its interval. {told}. The floor is {report.floor_told}.")
    caption = (
        f"Score divided by the baseline's. Each bar reaches from the lower to the upper bound, one-sided at"
        f" {100 * report.confidence:g} % each; a variant may ship when the lower end reaches the floor. The line joins"
        " the best of each width."
    )
    return Chart(title, caption + _undrawn(report, arms), svg)


def _widths(canvas: Canvas, arms: list[Arm], drawn: list[float]) -> None:
    """Bits above each group of arms, and the line through the best of each."""
    axes = canvas.axes
    best = []
    for bits, group in groupby(range(len(arms)), key=lambda at: arms[at].bits.weights):
        places = list(group)
        middle, above = (places[0] + places[-1]) / 2, axes.get_xaxis_transform()
        axes.text(middle, 1.0, f"{bits} bit", transform=above, ha="center", va="bottom", color=MUTED)
        if places[-1] < len(arms) - 1:
            axes.axvline(places[-1] + 0.5, color=GRID, linewidth=0.8)
        best.append(max(places, key=lambda at: arms[at].recovery or 0))
    axes.plot(best, [drawn[at] for at in best], color=MUTED, linewidth=0.8, zorder=1)


def pareto(report: Report) -> Chart | None:
    """Proven recovery against cost, or size where no cost is known; None while there is nothing to compare."""
    amount = _amount(report)
    points = [
        (arm, x, y)
        for arm in report.arms
        if (x := amount.of(arm)) is not None and (y := arm.proven_recovery) is not None
    ]
    if all(arm.is_baseline for arm, _, _ in points):
        return None
    title = f"{amount.name} against proven quality"
    with Canvas("pareto", report, "lower bound of recovery", bottom=0.17) as canvas:
        canvas.axes.set_xlabel(amount.axis)
        canvas.axes.set_xlim(0, 1.15 * max(x for _, x, _ in points) or 1)
        canvas.limit(y for _, _, y in points)
        canvas.floor(right=True)
        drawn = [(x, canvas.arm(arm, x, y)) for arm, x, y in points]
        for (arm, _, _), (x, y) in zip(points, drawn, strict=True):
            canvas.label(_short(arm.name), x, y)
        canvas.steps(frontier(drawn))
        told = "; ".join(f"{arm.name}: {amount.text(x)}, {beside(y, report.floor)}" for arm, x, y in points)
        svg = canvas.svg([arm for arm, _, _ in points], title, f"{told}. The floor is {report.floor_told}.")
    caption = f"{amount.about} No arm is both {amount.less} and better proven than one on the line."
    return Chart(title, caption + _undrawn(report, [arm for arm, _, _ in points]), svg)


def frontier(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that no other one beats, being both less and higher; from the least on."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


def _amount(report: Report) -> _Amount:
    """By output tokens where two arms have a price for them, else by month, else by size."""
    units = report.table.units
    for field, unit in (("per_million_output_tokens", "a million output tokens"), ("monthly", "a month")):
        priced = [arm.cost for arm in report.arms if arm.cost and getattr(arm.cost, field) is not None]
        if len(priced) > 1 and {cost.currency for cost in priced} == {units.currency}:
            return _price(field, unit, units)
    return _Amount(
        "Size",
        "smaller",
        f"weights, {units.bytes_name}",
        "What is left and high is best. Costs are not known, so that the size of the weights stands for them.",
        lambda arm: None if arm.weight_bytes is None else arm.weight_bytes / units.bytes_size,
        lambda value: f"{significant(value)} {units.bytes_name}",
    )


def _price(field: str, unit: str, units: Units) -> _Amount:
    return _Amount(
        "Cost",
        "cheaper",
        f"{units.sign}, {unit}",
        f"What is left and high is best. Cost is that of {unit}.",
        lambda arm: getattr(arm.cost, field, None),
        lambda value: f"{money(value)} {units.currency} {unit}",
    )


def _undrawn(report: Report, drawn: list[Arm]) -> str:
    names = [arm.name for arm in report.arms if arm.name not in {other.name for other in drawn}]
    return f" Not drawn, for want of figures: {', '.join(names)}." if names else ""


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
