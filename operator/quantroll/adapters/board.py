"""Where every QuantizedModel stands, as series of the operator's metrics page.

Of each model a few figures are kept, of which series are made when somebody asks: they are gone with their model. Each
model has as many series as it has conditions and variants, whatever happens to it.
"""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from quantroll.api.status import QuantizedModelStatus, VariantStatus
from quantroll.constants import BASELINE

Key = tuple[str, str]
Values = Iterable[tuple[tuple[str, ...], float | None]]
MODEL = ("namespace", "name")  # labels of every series here
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(frozen=True, slots=True)
class Arm:
    """A row of the final table, or the baseline."""

    name: str
    score: float | None
    recovery: float | None = None
    lower_bound: float | None = None
    verdict: str | None = None


@dataclass(frozen=True, slots=True)
class Standing:
    """What is kept of one model."""

    info: tuple[str, str, str, str, str]
    conditions: tuple[tuple[str, str, str], ...]
    arms: tuple[Arm, ...]
    weight: float | None = None
    weight_applied: float | None = None
    rollout_since: float | None = None
    drift_verdict: str | None = None
    drift_score: float | None = None
    drift_floor: float | None = None
    drift_last: float | None = None
    drift_next: float | None = None


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its labels beside namespace and name, and its series of one model; None has none."""

    name: str
    help: str
    labels: tuple[str, ...]
    values: Callable[[Standing], Values]


def standing(status: QuantizedModelStatus) -> Standing:
    """What is kept of a status."""
    stable, candidate, base, drift = status.stable, status.candidate, status.baseline, status.drift
    applied = {share.revision: share.weight for share in status.traffic.applied}
    return Standing(
        info=(
            _word(status.phase or ""),
            _word(stable.variant if stable else ""),
            stable.revision if stable else "",
            _word(candidate.variant if candidate else ""),
            candidate.revision if candidate else "",
        ),
        conditions=tuple(_answer(c.type, c.status, c.reason) for c in status.conditions),
        arms=(*((Arm(BASELINE, base.score),) if base else ()), *(_arm(row) for row in status.variants)),
        weight=status.rollout.weight if status.rollout else None,
        weight_applied=applied.get(candidate.revision, 0) if candidate and status.rollout else None,
        rollout_since=_unix(status.rollout.started_at) if status.rollout else None,
        drift_verdict=_word(drift.verdict) if drift else None,
        drift_score=drift.value if drift else None,
        drift_floor=drift.floor if drift else None,
        drift_last=_unix(drift.last) if drift else None,
        drift_next=_unix(drift.next) if drift else None,
    )


@lru_cache(maxsize=1024)
def _answer(kind: str, status: str, reason: str) -> tuple[str, str, str]:
    """One copy of an answer that many models share."""
    return (kind, status, reason)


def _arm(row: VariantStatus) -> Arm:
    verdict = _word(row.verdict) if row.verdict else None
    return Arm(_word(row.name), row.score, row.recovery, row.lower_bound, verdict)


def _word(text: str) -> str:
    """One copy of a word that many models share."""
    return sys.intern(str(text))


def _unix(at: datetime | None) -> float | None:
    return at.timestamp() if at else None


def _scores(model: Standing) -> Values:
    return [((arm.name,), arm.score) for arm in model.arms]


def _deltas(model: Standing) -> Values:
    base = next((arm.score for arm in model.arms if arm.name == BASELINE), None)
    if base is None:
        return []
    return [((a.name,), None if a.score is None else a.score - base) for a in model.arms if a.name != BASELINE]


FAMILIES = (
    Family(
        "quantroll_info",
        "1 for each QuantizedModel, with its phase and the variants and revisions that are stable and candidate.",
        ("phase", "stable", "stable_revision", "candidate", "candidate_revision"),
        lambda model: [(model.info, 1)],
    ),
    Family(
        "quantroll_condition",
        "1 for each condition, with its present status (True, False, Unknown) and reason.",
        ("type", "status", "reason"),
        lambda model: [(condition, 1) for condition in model.conditions],
    ),
    Family(
        "quantroll_canary_weight",
        "Per cent of requests that the candidate is to get; only while there is a rollout.",
        (),
        lambda model: [((), model.weight)],
    ),
    Family(
        "quantroll_canary_weight_applied",
        "Per cent of requests that the gateway has accepted for the candidate; only while there is a rollout.",
        (),
        lambda model: [((), model.weight_applied)],
    ),
    Family(
        "quantroll_rollout_started_timestamp_seconds",
        "When the rollout under way began; only while there is one.",
        (),
        lambda model: [((), model.rollout_since)],
    ),
    Family("quantroll_eval_score", "Score in the evaluation, of the baseline and each variant.", ("arm",), _scores),
    Family("quantroll_eval_delta", "Score of a variant less that of the baseline.", ("arm",), _deltas),
    Family(
        "quantroll_eval_recovery",
        "Score of a variant divided by that of the baseline.",
        ("arm",),
        lambda model: [((arm.name,), arm.recovery) for arm in model.arms],
    ),
    Family(
        "quantroll_eval_recovery_lower_bound",
        "One-sided lower bound of recovery at the gate's confidence.",
        ("arm",),
        lambda model: [((arm.name,), arm.lower_bound) for arm in model.arms],
    ),
    Family(
        "quantroll_eval_verdict",
        "1 for each variant that has a verdict, with it.",
        ("arm", "verdict"),
        lambda model: [((arm.name, arm.verdict), 1) for arm in model.arms if arm.verdict],
    ),
    Family(
        "quantroll_drift_verdict",
        "1, with what the last drift check said.",
        ("verdict",),
        lambda model: [((model.drift_verdict,), 1)] if model.drift_verdict else [],
    ),
    Family(
        "quantroll_drift_score",
        "Share of right answers in the last drift check that could tell.",
        (),
        lambda model: [((), model.drift_score)],
    ),
    Family(
        "quantroll_drift_floor",
        "Share of right answers below which nothing may serve.",
        (),
        lambda model: [((), model.drift_floor)],
    ),
    Family(
        "quantroll_drift_last_success_timestamp_seconds",
        "When the last drift check ended that could tell.",
        (),
        lambda model: [((), model.drift_last)],
    ),
    Family(
        "quantroll_drift_next_timestamp_seconds",
        "When the next drift check is due.",
        (),
        lambda model: [((), model.drift_next)],
    ),
)


class Board:
    """All models, by namespace and name."""

    def __init__(self) -> None:
        self._models: dict[Key, Standing] = {}

    def put(self, key: Key, status: QuantizedModelStatus) -> None:
        """Where a model stands now."""
        self._models[key] = standing(status)

    def drop(self, key: Key) -> None:
        """A model is gone."""
        self._models.pop(key, None)

    def pages(self) -> Iterator[str]:
        """Each family as Prometheus' text, one at a time. May run in another thread.

        The client library's samples take ten times as long, half a second for a thousand models.
        """
        for family in FAMILIES:
            models = list(self._models.items())
            yield "".join(
                [f"# HELP {family.name} {family.help}\n# TYPE {family.name} gauge\n", *_lines(family, models)]
            )


def _lines(family: Family, models: list[tuple[Key, Standing]]) -> Iterator[str]:
    for (namespace, name), model in models:
        head = f'{family.name}{{namespace="{namespace}",name="{name}"'
        for values, value in family.values(model):
            if value is not None:
                more = "".join([f',{k}="{_quoted(v)}"' for k, v in zip(family.labels, values, strict=True)])
                yield f"{head}{more}}} {float(value)!r}\n"


def _quoted(text: str) -> str:
    """As the text format wants it; nothing that a model says can end a label."""
    return text.translate(_ESCAPES)
