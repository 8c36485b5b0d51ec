"""Stored answers of two arms, one JSON object a line, as evaluate Jobs write them; paired by id."""

import json
from dataclasses import dataclass
from math import fsum
from pathlib import Path
from typing import Any

from quantroll.domain.evidence import Evidence
from quantroll.domain.graded import Sums
from quantroll.domain.paired import Cells

_OUTCOMES = {"right": 1.0, "wrong": 0.0, "error": 0.0}
_RIGHT_FROM = 0.5  # a graded score that counts as right in the four cells, as in the operator's Jobs

Key = tuple[str, int]


class ResultsError(ValueError):
    """A file that cannot be used, by line and cause."""


@dataclass(frozen=True, slots=True)
class Result:
    """What one arm made of one item, asked for the how-manieth time."""

    request: str
    prompt: str
    score: float
    error: bool
    length: int
    cluster: str = ""


def read(path: Path) -> dict[Key, Result]:
    """The results of a file by id and repeat; raises ResultsError."""
    try:
        lines = path.read_text(encoding="utf-8").split("\n")  # not at U+2028, which answers may have
    except OSError as error:
        raise ResultsError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ResultsError(f"{path}: not UTF-8 at byte {error.start}") from None
    found: dict[Key, Result] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            key, result = _parsed(line)
        except ResultsError as error:
            raise ResultsError(f"{path}, line {number}: {error}") from None
        if key in found:
            raise ResultsError(f"{path}, line {number}: id {key[0]!r} comes twice")
        found[key] = result
    if not found:
        raise ResultsError(f"{path}: no results")
    return found


def paired(baseline: dict[Key, Result], variant: dict[Key, Result]) -> Evidence:
    """The evidence that two arms make: what both were asked counts, and whether that was all, and the same."""
    shared = baseline.keys() & variant.keys()
    same = baseline.keys() == variant.keys() and all(_same(baseline[key], variant[key]) for key in shared)
    items = sorted({name for name, _ in shared})
    before, after = (_scores(arm, shared) for arm in (baseline, variant))
    scores = [(before[name], after[name]) for name in items]
    clusters = _clusters(baseline) | _clusters(variant)
    if torn := next((name for name, told in _clusters(baseline).items() if told != clusters[name]), None):
        raise ResultsError(f"id {torn!r} is of another cluster in the two files: they are of different eval sets")
    graded = any(score not in (0.0, 1.0) for pair in scores for score in pair)
    lengths = [_mean_length(arm, shared) for arm in (baseline, variant)]
    return Evidence(
        cells=_cells(scores),
        errors_baseline=_errors(baseline, shared),
        errors_variant=_errors(variant, shared),
        prompts_match=same,
        overlap=0,
        sums=_sums(items, scores, clusters) if graded or clusters else None,
        length_ratio=lengths[1] / lengths[0] if lengths[0] else None,
    )


def _parsed(line: str) -> tuple[Key, Result]:
    try:
        found = json.loads(line)
    except json.JSONDecodeError as error:
        raise ResultsError(f"not JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, or lists in lists without end
        raise ResultsError(f"not JSON that can be read: {error}") from None
    if not isinstance(found, dict):
        raise ResultsError("not a JSON object")
    name, request = _text(found, "id", needed=True), _text(found, "request", needed=True)
    outcome, repeat, score = found.get("outcome"), found.get("repeat", 0), found.get("score")
    if not isinstance(outcome, str) or outcome not in _OUTCOMES:
        raise ResultsError(f"outcome is {outcome!r}, and can be {', '.join(_OUTCOMES)}")
    if not isinstance(repeat, int) or isinstance(repeat, bool) or repeat < 0:
        raise ResultsError(f"repeat is {repeat!r}, and has to be a number from 0 on")
    if score is None or outcome == "error":
        score = _OUTCOMES[outcome]
    elif not isinstance(score, int | float) or isinstance(score, bool) or not 0 <= score <= 1:
        raise ResultsError(f"score is {score!r}, and has to lie in [0, 1]")
    answer = _text(found, "answer")
    prompt, cluster = _text(found, "prompt"), _text(found, "cluster")
    return (name, repeat), Result(request, prompt, float(score), outcome == "error", len(answer), cluster)


def _text(found: dict[str, Any], field: str, *, needed: bool = False) -> str:
    value = found.get(field, "")
    if not isinstance(value, str) or (needed and not value):
        raise ResultsError(f"{field} is {value!r}, and has to be a text" if field in found else f"{field} is missing")
    return value


def _same(one: Result, other: Result) -> bool:
    """Whether both were asked the same: the request, and the prompt as far as both engines told it."""
    return one.request == other.request and (one.prompt == other.prompt or not (one.prompt and other.prompt))


def _scores(arm: dict[Key, Result], shared: set[Key]) -> dict[str, float]:
    """An item's score is the mean over its repeats."""
    found: dict[str, list[float]] = {}
    for name, repeat in shared:
        found.setdefault(name, []).append(arm[name, repeat].score)
    return {name: fsum(scores) / len(scores) for name, scores in found.items()}


def _errors(arm: dict[Key, Result], shared: set[Key]) -> int:
    return len({name for name, repeat in shared if arm[name, repeat].error})


def _mean_length(arm: dict[Key, Result], shared: set[Key]) -> float:
    lengths = [arm[key].length for key in shared if not arm[key].error]
    return fsum(lengths) / len(lengths) if lengths else 0.0


def _clusters(arm: dict[Key, Result]) -> dict[str, str]:
    """Clusters by item, where they are told: answers of an older version tell none."""
    return {name: result.cluster for (name, _), result in arm.items() if result.cluster}


def _cells(scores: list[tuple[float, float]]) -> Cells:
    sides = [(before >= _RIGHT_FROM, after >= _RIGHT_FROM) for before, after in scores]
    return Cells(*(sides.count(side) for side in ((True, True), (True, False), (False, True), (False, False))))


def _sums(items: list[str], scores: list[tuple[float, float]], clusters: dict[str, str]) -> Sums:
    """The sums over clusters, as an evaluate Job reports them; an item without one is its own."""
    parts: dict[tuple[bool, str], list[tuple[float, float]]] = {}
    for name, pair in zip(items, scores, strict=True):
        parts.setdefault((name in clusters, clusters.get(name, name)), []).append(pair)
    totals = [(fsum(x for x, _ in part), fsum(y for _, y in part), len(part)) for part in parts.values()]
    products = [(x, y, x * x, x * y, y * y, x * n, y * n, float(n * n)) for x, y, n in totals]
    return Sums.of(len(scores), [len(totals), *(fsum(column) for column in zip(*products, strict=True))])
