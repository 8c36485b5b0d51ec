"""Regex: what an expression finds in an answer, compared with the expected text.

RE2 takes time linear in the answer's length, whatever the expression: no answer can hold an evaluation up.
"""

from collections.abc import Callable
from typing import Any

import re2

from quantroll.api.spec import Regex
from quantroll_jobs.datafiles import Item
from quantroll_jobs.scorers.errors import ScoringError


def compiled(expression: str, field: str) -> Any:
    """An expression of RE2; raises ScoringError that names the field."""
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        said = error.args[0]
        cause = said.decode(errors="replace") if isinstance(said, bytes) else str(said)
        raise ScoringError(f"qualityGate.scoring.{field}: {cause}") from None


def scorer(settings: Regex | None) -> Callable[[str, Item], float]:
    """1 if the first match, or the first group in it that is not empty, equals the expected text."""
    if settings is None:
        raise ScoringError("qualityGate.scoring.regex: scorer Regex needs a pattern")
    expression = compiled(settings.pattern, "regex.pattern")

    def score(answer: str, item: Item) -> float:
        found = expression.search(answer)
        if found is None:
            return 0.0
        groups = [group for group in found.groups() if group]
        text = groups[0] if groups else found.group()
        return float(text.strip() == item.expected.strip())

    return score
