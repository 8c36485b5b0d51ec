"""Calibration samples that show an item of the eval set: they would let a variant be fitted to its own test.

A sample overlaps when its text contains the question of an eval item. Both are normalised first: NFKC, case folded,
runs of white space made one space, none at the ends. A question counts as contained where it begins at the text's start
or after a character that is neither a letter nor a digit. A question of fewer than `SHORTEST` characters ("Why?") would
be found in half of all texts: it has to be the whole text, or a whole line of it.

Time is O(words of the calibration set x log items), whatever the texts: of questions that begin alike only the shortest
is kept, so that no question is a prefix of another one, and one binary search a position decides.
"""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable

SHORTEST = 8
_ANCHOR = 16  # characters; a cheap look before the search
_STARTS = re.compile(r"(?<![^\W_])\S")


def normalise(text: str) -> str:
    """The text as it is compared."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class QuestionIndex:
    """Finds out whether a text contains one of many questions."""

    def __init__(self, questions: Iterable[str]) -> None:
        """Index the questions of an eval set."""
        normalised = {normalise(question) for question in questions}
        self._short = {question for question in normalised if len(question) < SHORTEST}
        self._long: list[str] = []
        for question in sorted(normalised - self._short):
            if not self._long or not question.startswith(self._long[-1]):
                self._long.append(question)
        self._width = min([_ANCHOR, *(len(question) for question in self._long)])
        self._anchors = {question[: self._width] for question in self._long}
        self._longest = max((len(question) for question in self._long), default=0)

    def found_in(self, text: str) -> bool:
        """Whether the text shows one of the questions."""
        if self._short and any(normalise(line) in self._short for line in (text, *text.splitlines())):
            return True
        normal = normalise(text)
        return any(self._begins_at(normal, match.start()) for match in _STARTS.finditer(normal))

    def _begins_at(self, text: str, position: int) -> bool:
        if text[position : position + self._width] not in self._anchors:
            return False
        here = text[position : position + self._longest]
        before = bisect_right(self._long, here)
        return before > 0 and here.startswith(self._long[before - 1])
