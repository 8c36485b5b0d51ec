"""From answers to the counts that a verdict is computed from.

An item's score is the mean over its repeats; a request that failed scores 0. Where scores lie between right and wrong,
or items share clusters, the sums are carried that the linear test needs; the four cells are carried always.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from math import fsum
from typing import Any

from quantroll.api.counts import ScorerCounts, SliceCounts
from quantroll.api.spec import ScorerName
from quantroll_jobs.datafiles import Item
from quantroll_jobs.evaluate.answers import Answer, Outcome, cell
from quantroll_jobs.scorers import is_right

CELLS = ("both", "harm", "gain", "neither")
DIGITS = 9  # significant ones of every sum and mean

Answers = Mapping[tuple[str, int], Answer]  # by id and repeat
Pair = tuple[Item, float, float]  # an item with the scores of baseline and variant


@dataclass(frozen=True, slots=True)
class Counting:
    """What is counted beside right and wrong."""

    repeats: int
    graded: bool
    """Whether an item's score can lie between 0 and 1."""
    by_slice: bool
    by_cluster: bool
    informing: Mapping[ScorerName, Callable[[str, Item], float]]
    """Scorers that gate nothing."""


def summary(counting: Counting, items: list[Item], answers: Answers, baseline: Answers | None = None) -> dict[str, Any]:
    """The fields of `Counts`, but for the engine's version; `baseline` are its answers to the same items."""
    arm = _arm(counting, items, answers)
    scores = arm.pop("scores")
    shared = [] if baseline is None else [item for item in items if (item.id, counting.repeats - 1) in baseline]
    found = {**arm, "informing": _informing(counting, (items, answers), (shared, baseline or {}))}
    if baseline is None:
        return found
    base = _arm(counting, shared, baseline)
    pairs = [(item, base["scores"][item.id], scores[item.id]) for item in shared]
    return {
        **found,
        **dict(zip(CELLS, _cells(pairs), strict=True)),
        "moments": _moments(counting, pairs),
        "slices": _slices(counting, pairs),
        "baseline_errors": base["errors"],
        "baseline_mean_length": base["mean_length"],
        "prompts_match": _match(answers, baseline),
    }


def noise(answers: Answers, again: Answers) -> dict[str, int]:
    """How many items were asked once more and answered both times, and how many changed between right and wrong."""
    pairs = [(answers[item, 0].outcome, answer.outcome) for (item, _), answer in again.items()]
    answered = [pair for pair in pairs if Outcome.ERROR not in pair]
    if not again:
        return {}
    return {"noise_items": len(answered), "noise_flips": sum(one is not other for one, other in answered)}


def _arm(counting: Counting, items: list[Item], answers: Answers) -> dict[str, Any]:
    """What one arm says by itself, and its score of every item."""
    scores: dict[str, float] = {}
    lengths: list[int] = []
    counts = {"errors": 0, "truncated": 0, "empty": 0}
    for item in items:
        mine = _of_item(counting, item, answers)
        said = [answer for answer in mine if answer.outcome is not Outcome.ERROR]
        scores[item.id] = fsum(answer.value for answer in mine) / len(mine)
        lengths += [len(answer.answer) for answer in said]
        counts["errors"] += len(said) < len(mine)
        counts["truncated"] += any(answer.finish_reason == "length" for answer in said)
        counts["empty"] += any(not answer.answer.strip() for answer in said)
    return {
        "items": len(items),
        "correct": sum(is_right(score) for score in scores.values()),
        "score": _mean(scores.values()) if counting.graded else None,
        "mean_length": _mean(lengths),
        "scores": scores,
        **counts,
    }


def _of_item(counting: Counting, item: Item, answers: Answers) -> list[Answer]:
    return [answers[item.id, repeat] for repeat in range(counting.repeats)]


def _informing(counting: Counting, *arms: tuple[list[Item], Answers]) -> list[ScorerCounts]:
    """Mean scores of both arms, the baseline second; over no items there is none."""

    def score(judge: Callable[[str, Item], float], items: list[Item], answers: Answers) -> float | None:
        return _mean(
            0.0 if answer.outcome is Outcome.ERROR else judge(answer.answer, item)
            for item in items
            for answer in _of_item(counting, item, answers)
        )

    found = [(name, *(score(judge, *arm) for arm in arms)) for name, judge in counting.informing.items()]
    return [ScorerCounts(scorer=name, score=own or 0.0, baseline_score=base) for name, own, base in found]


def _cells(pairs: Iterable[Pair]) -> list[int]:
    counts = dict.fromkeys(CELLS, 0)
    for _, before, after in pairs:
        counts[cell(is_right(before), is_right(after))] += 1
    return list(counts.values())


def _slices(counting: Counting, pairs: list[Pair]) -> list[SliceCounts]:
    """Items without a slice are in none."""
    if not counting.by_slice:
        return []
    parts: dict[str, list[Pair]] = {}
    for pair in pairs:
        parts.setdefault(pair[0].slice, []).append(pair)
    return [
        SliceCounts(name=name, cells=_cells(parts[name]), moments=_moments(counting, parts[name]))
        for name in sorted(parts)
        if name
    ]


def _moments(counting: Counting, pairs: list[Pair]) -> list[float] | None:
    """The sums that `Moments` names; None where the four cells say all."""
    if not (counting.graded or counting.by_cluster):
        return None
    clusters: dict[tuple[str, str], list[Pair]] = {}
    for pair in pairs:
        item = pair[0]
        clusters.setdefault(("cluster", item.cluster) if item.cluster else ("item", item.id), []).append(pair)
    sums = [
        (fsum(pair[1] for pair in cluster), fsum(pair[2] for pair in cluster), len(cluster))
        for cluster in clusters.values()
    ]
    products = [(x, y, x * x, x * y, y * y, x * n, y * n, n * n) for x, y, n in sums]
    totals = [fsum(column) for column in zip(*products, strict=True)] or [0.0] * 8
    return [float(len(sums)), *(_rounded(total) for total in totals)]


def _match(answers: Answers, baseline: Answers) -> bool:
    """Whether both arms were asked the same: the same requests, and the same prompts as far as engines told them."""
    if answers.keys() != baseline.keys():
        return False
    pairs = [(answer, baseline[key]) for key, answer in answers.items()]
    return all(
        one.request == other.request and (one.prompt == other.prompt or not (one.prompt and other.prompt))
        for one, other in pairs
    )


def _mean(values: Iterable[float]) -> float | None:
    found = list(values)
    return _rounded(fsum(found) / len(found)) if found else None


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
