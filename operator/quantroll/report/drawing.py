"""What both charts are drawn with: one look, marks by verdict, and SVG that follows the page's colours.

Matplotlib draws with text as text and in sentinel colours, which are then replaced by the page's CSS variables, so that
a chart follows the page into dark mode. See docs/adr/0019-the-reports-charts.md.
"""

import io
import re
import warnings
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from itertools import pairwise
from typing import Any, Self

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from quantroll.domain.rules import beside
from quantroll.report.arms import PASS, REFERENCE, Arm
from quantroll.report.report import Report

WIDTH, HEIGHT = 330, 250
"""Of a chart, in points of its own: few, so that its letters are still large enough on a telephone."""
BELOW = 0.15
"""Recovery so far below the floor is told at the edge and not drawn to scale: it would flatten all the rest."""

INK, MUTED, GRID, FLOOR, GOOD, BAD, UNSURE, SERVES = (f"#0000{number:02x}" for number in range(1, 9))
_VARIABLES = {
    INK: "var(--ink)", MUTED: "var(--muted)", GRID: "var(--rule)", FLOOR: "var(--floor)", GOOD: "var(--good)",
    BAD: "var(--bad)", UNSURE: "var(--unsure)", SERVES: "var(--accent)",
}  # fmt: skip
_MARKS = {
    REFERENCE: ("D", INK, "baseline"),
    PASS: ("o", GOOD, "PASS"),
    "FAIL": ("X", BAD, "FAIL"),
    "INCONCLUSIVE": ("^", UNSURE, "INCONCLUSIVE"),
}
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none", "text.parse_math": False, "font.size": 8.5, "text.color": INK, "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED, "axes.linewidth": 0.6, "axes.spines.top": False, "axes.spines.right": False,
    "xtick.color": MUTED, "ytick.color": MUTED, "xtick.major.size": 0, "ytick.major.size": 0, "grid.color": GRID,
    "grid.linewidth": 0.5, "axes.axisbelow": True, "axes.formatter.useoffset": False,
}  # fmt: skip
_FONT = re.compile(r"font-family: [^;]*")
_SVG = "http://www.w3.org/2000/svg"
_LINK = "http://www.w3.org/1999/xlink"
_PLACES = ((9, 0, "left"), (-9, 0, "right"), (0, 11, "center"), (0, -11, "center"), (7, 9, "left"), (7, -9, "left"),
           (-7, 9, "right"), (-7, -9, "right"))  # fmt: skip


class Canvas:
    """One chart on the way; a context manager, because matplotlib's style is global."""

    def __init__(self, key: str, report: Report, label: str, *, bottom: float) -> None:
        self.key = key
        self.report = report
        self._style = mpl.rc_context({**_STYLE, "svg.hashsalt": key})
        self._label, self._bottom = label, bottom
        self._labelled: list[tuple[str, float, float]] = []
        self._lines: list[tuple[float, float, float, float]] = []
        self._low = 0.0

    def __enter__(self) -> Self:
        self._style.__enter__()
        self._figure = Figure(figsize=(WIDTH / 72, HEIGHT / 72), dpi=72)
        self.axes = self._figure.subplots()
        self._figure.subplots_adjust(left=0.13, right=0.985, top=0.86, bottom=self._bottom)
        self.axes.set_ylabel(self._label)
        self.axes.grid(axis="y")
        return self

    def __exit__(self, *_: object) -> None:
        self._style.__exit__(None, None, None)

    def limit(self, values: Iterable[float]) -> None:
        """Room upwards for these values, the floor and 1; what is far below is told at the edge."""
        told = list(values)
        near = [self.report.floor, 1.0, *(value for value in told if value >= self.report.floor - BELOW)]
        room = 0.1 * (max(near) - min(near) or 0.1)
        self._low = max(min(near) - (room if min(told) >= min(near) else 3 * room), 0)
        self.axes.set_ylim(self._low, max(near) + room)

    def floor(self, *, right: bool) -> None:
        """The line below which nothing may ship, named at one end."""
        floor = self.report.floor
        self.axes.axhline(floor, color=FLOOR, linewidth=1, dashes=(4, 3), zorder=1)
        x, side = (0.995, "right") if right else (0.01, "left")
        across = self.axes.get_yaxis_transform()
        self.axes.text(x, floor, f"floor {self.report.floor_told}", transform=across, color=FLOOR, ha=side, va="bottom")
        left, end = self.axes.get_xlim()
        self._lines.append((left, floor, end, floor))

    def steps(self, points: list[tuple[float, float]]) -> None:
        """A step line through these points, from the left."""
        xs, ys = [x for x, _ in points], [y for _, y in points]
        self.axes.plot(xs, ys, drawstyle="steps-post", color=MUTED, linewidth=0.8, zorder=1)
        for (x, y), (next_x, next_y) in pairwise(points):
            self._lines += [(x, y, next_x, y), (next_x, y, next_x, next_y)]

    def arm(self, arm: Arm, x: float, y: float) -> float:
        """Its mark; where it was drawn, which is at the lower edge with its value beside it if it lies below."""
        mark, colour, _ = _mark(arm)
        edge = self._low + 0.035 * (self.axes.get_ylim()[1] - self._low)
        drawn = max(y, edge)
        if self._serves(arm):
            self.axes.plot([x], [drawn], "o", markersize=13, fillstyle="none", color=SERVES, zorder=3)
        self.axes.plot([x], [drawn], mark, markersize=5.5, color=colour, zorder=4, clip_on=False)
        if drawn > y:
            told = f"{beside(y, self.report.floor)} ↓"
            self.axes.annotate(told, (x, drawn), (0, 7), textcoords="offset points", ha="center", color=MUTED)
        return drawn

    def interval(self, arm: Arm, x: float) -> None:
        """The part of its interval that is on the chart."""
        if arm.recovery is None or arm.recovery < self._low:
            return
        low, high = (arm.recovery if bound is None else bound for bound in (arm.lower_bound, arm.upper_bound))
        self.axes.vlines(x, max(low, self._low), high, color=_mark(arm)[1], linewidth=1.4, zorder=2)
        for end in (low, high):
            if end >= self._low:
                self.axes.hlines(end, x - 0.09, x + 0.09, color=_mark(arm)[1], linewidth=1, zorder=2)

    def label(self, text: str, x: float, y: float) -> None:
        """A name beside a mark; where, is decided when all marks are known."""
        self._labelled.append((text, x, y))

    def svg(self, arms: list[Arm], title: str, description: str) -> str:
        """The chart with its legend as an SVG element, with title and description for those who cannot see it."""
        self._place_labels()
        self._legend(arms)
        out = io.StringIO()
        with warnings.catch_warnings():
            # fonts only serve to measure here; letters that they lack are drawn by the browser
            warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
            self._figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
        return _inline(out.getvalue(), self.key, title, description)

    def _serves(self, arm: Arm) -> bool:
        stable = self.report.subject.status.stable
        return stable is not None and stable.revision == arm.revision

    def _place_labels(self) -> None:
        """Each at the first place around its mark where it covers nothing; at the first of all if there is none."""
        points = [(text, *self.axes.transData.transform((x, y))) for text, x, y in self._labelled]
        taken = [(px - 5, py - 5, px + 5, py + 5) for _, px, py in points]
        taken += [self._strip(*line) for line in self._lines]
        for (text, px, py), (_, x, y) in zip(points, self._labelled, strict=True):
            boxes = [_box(text, px + dx, py + dy, side) for dx, dy, side in _PLACES]
            clear = [_inside(box) and not any(_cover(box, other) for other in taken) for box in boxes]
            at = clear.index(True) if True in clear else 0
            taken.append(boxes[at])
            dx, dy, side = _PLACES[at]
            self.axes.annotate(
                text, (x, y), (dx, dy), textcoords="offset points", ha=side, va="center", color=INK, zorder=5
            )

    def _strip(self, x: float, y: float, end_x: float, end_y: float) -> "Box":
        """What a line covers."""
        (left, low), (right, high) = self.axes.transData.transform(((x, y), (end_x, end_y)))
        return (left, low - 0.5, right + 0.5, high + 0.5)

    def _legend(self, arms: list[Arm]) -> None:
        marks = {_mark(arm)[2]: _mark(arm) for arm in arms}
        handles = [
            Line2D([], [], linestyle="", marker=mark, color=colour, markersize=5.5, label=name)
            for name, (mark, colour, _) in marks.items()
        ]
        if any(self._serves(arm) for arm in arms):
            handles.append(
                Line2D([], [], linestyle="", marker="o", fillstyle="none", color=SERVES, markersize=9, label="serves")
            )
        self._figure.legend(
            handles=handles, loc="upper left", bbox_to_anchor=(0.1, 1.01), ncols=len(handles), frameon=False,
            borderaxespad=0.1, handletextpad=0, columnspacing=0.7, fontsize=8,
        )  # fmt: skip


def _mark(arm: Arm) -> tuple[str, str, str]:
    return _MARKS.get(arm.verdict or "", ("s", MUTED, arm.verdict if arm.verdict == "ERROR" else "no verdict"))


Box = tuple[float, float, float, float]


def _box(text: str, x: float, y: float, side: str) -> Box:
    """About where a text of 8.5 points lies."""
    wide = 5 * len(text)
    left = {"left": x, "right": x - wide, "center": x - wide / 2}[side]
    return (left, y - 4.5, left + wide, y + 4.5)


def _inside(box: Box) -> bool:
    return box[0] >= 0.13 * WIDTH and box[2] <= WIDTH and box[1] >= 0.17 * HEIGHT and box[3] <= 0.9 * HEIGHT


def _cover(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def _inline(document: str, key: str, title: str, description: str) -> str:
    """An SVG document as an element of a page: no style that would leak, ids of its own, colours by variable."""
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _LINK)
    root = ET.fromstring(document)  # noqa: S314 - what matplotlib has just written
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{{{_SVG}}}metadata", f"{{{_SVG}}}style"):
                parent.remove(child)
    for element in root.iter():
        for name, value in element.attrib.items():
            element.set(name, _rewritten(name, value, key))
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.attrib.update(
        {"class": "chart", "role": "img", "aria-labelledby": f"{key}-title {key}-desc", "stroke-linejoin": "round"}
    )
    for at, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ET.Element(f"{{{_SVG}}}{tag}", {"id": f"{key}-{tag}"})
        element.text = text
        root.insert(at, element)
    return ET.tostring(root, encoding="unicode")


def _rewritten(name: str, value: str, key: str) -> str:
    if name == "id":
        return f"{key}-{value}"
    if name == f"{{{_LINK}}}href":
        return value.replace("#", f"#{key}-", 1)
    if name == "clip-path":
        return value.replace("url(#", f"url(#{key}-", 1)
    if name in ("style", "fill", "stroke"):
        value = _FONT.sub("font-family: inherit", value)
        for sentinel, variable in _VARIABLES.items():
            value = value.replace(sentinel, variable)
    return value
