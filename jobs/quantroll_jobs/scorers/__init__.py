"""Scorers: an answer and its item, to a score in [0, 1].

All of them look at the answer as text; white space at its ends never counts. Most give 0 or 1. F1 is graded, and so is
the mean of repeated answers: where only right and wrong are counted, such a score is right from `RIGHT_FROM` on.
"""

from collections.abc import Callable
from dataclasses import dataclass

from quantroll.api.spec import ScorerName, Scoring
from quantroll_jobs.datafiles import Item
from quantroll_jobs.scorers import choices, exact, f1, numeric, pattern, schema
from quantroll_jobs.scorers.errors import ScoringError

__all__ = ["RIGHT_FROM", "Scorer", "ScoringError", "is_right", "make"]

RIGHT_FROM = 0.5
"""Score from which an answer is right to the four cells, the prober and the confirm Job."""


def _anything(_: Item) -> None:
    """Every text can be expected."""


@dataclass(frozen=True, slots=True)
class Scorer:
    """How answers are judged."""

    score: Callable[[str, Item], float]
    """The score of an answer, in [0, 1]; it never raises."""
    check: Callable[[Item], None] = _anything
    """Raises DataError for an item that no answer could be right for."""
    graded: bool = False
    """Whether there are scores between 0 and 1."""


def make(name: ScorerName, scoring: Scoring | None = None) -> Scorer:
    """The scorer of a name with its settings; raises ScoringError where these cannot be used."""
    scoring = scoring or Scoring()
    match name:
        case ScorerName.EXACT_MATCH:
            return Scorer(exact.score)
        case ScorerName.F1:
            return Scorer(f1.score, graded=True)
        case ScorerName.NUMERIC_TOLERANCE:
            return Scorer(numeric.scorer(scoring.numeric_tolerance), numeric.check)
        case ScorerName.REGEX:
            return Scorer(pattern.scorer(scoring.regex))
        case ScorerName.JSON_SCHEMA:
            return Scorer(schema.scorer(scoring.json_schema))
        case ScorerName.MULTIPLE_CHOICE:
            by_answer = scoring.multiple_choice is None or scoring.multiple_choice.by == "Answer"
            return Scorer(choices.score, choices.check if by_answer else choices.check_likely)
        case ScorerName.LM_EVAL:
            raise ScoringError("qualityGate.scorer: LMEval judges whole tasks, in its own image")


def is_right(score: float) -> bool:
    """Whether a score counts as right where only right and wrong are counted."""
    return score >= RIGHT_FROM
