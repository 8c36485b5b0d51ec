"""Calibration samples that show an item of the eval set: they would let a variant be fitted to its own test.

A sample overlaps when its text contains the question of an eval item. Both are normalised first: NFKC, case folded,
runs of white space made one space, none at the ends. A question counts as contained where it begins at the text's start
or after a character that is neither a letter nor a digit. A question of fewer than `SHORTEST` characters ("Why?") would
be found in half of all texts: it has to be the whole text, or a whole line of it. Time is O(words of the calibration
set x log items), whatever the texts: of questions that begin alike only the shortest is kept, so that no question is a
prefix of another one, and one binary search a position decides.

A sample overlaps, too, when it shares a passage with an item: words in a row, at least `PASSAGE` of which are no
boilerplate. That length is the one that GPT-3's and lm-eval's decontamination use. Boilerplate is what more than
`COMMON` of the items share, phrase by phrase, such as an instruction that they all begin with: shared by the
calibration set as well, it gives nothing away. Words are runs of letters and digits; what is written without blanks
between words is held to the first rule alone.
"""

import re
import unicodedata
from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from itertools import groupby

SHORTEST = 8
PASSAGE = 13  # words
COMMON = 0.05  # share of the items, and always more than one of them
_PHRASE = 3  # words
_ANCHOR = 16  # characters; a cheap look before the search
_STARTS = re.compile(r"(?<![^\W_])\S")
_WORD = re.compile(r"[^\W_]+")


def normalise(text: str) -> str:
    """The text as it is compared."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


class QuestionIndex:
    """Finds out whether a text contains one of many questions."""

    def __init__(self, questions: Iterable[str]) -> None:
        """Index the questions of an eval set."""
        normalised = {normalise(question) for question in questions} - {""}
        self._short = {question for question in normalised if len(question) < SHORTEST}
        self._long: list[str] = []
        for question in sorted(normalised - self._short):
            if not self._long or not question.startswith(self._long[-1]):
                self._long.append(question)
        self._width = min([_ANCHOR, *(len(question) for question in self._long)])
        self._anchors = {question[: self._width] for question in self._long}
        self._longest = max((len(question) for question in self._long), default=0)

    def find(self, text: str) -> str | None:
        """A question that the text shows, normalised; None without one."""
        if self._short:
            lines = [normalise(line) for line in (text, *text.splitlines())]
            if short := next((line for line in lines if line in self._short), None):
                return short
        normal = normalise(text)
        found = (self._at(normal, match.start()) for match in _STARTS.finditer(normal))
        return next((question for question in found if question), None)

    def _at(self, text: str, position: int) -> str | None:
        if text[position : position + self._width] not in self._anchors:
            return None
        here = text[position : position + self._longest]
        before = bisect_right(self._long, here)
        return self._long[before - 1] if before > 0 and here.startswith(self._long[before - 1]) else None


class PassageIndex:
    """Finds out whether a text shares a passage with one of many."""

    def __init__(self, texts: Iterable[str]) -> None:
        """Index what the items of an eval set show."""
        passages, phrases, count = array("q"), array("q"), 0
        for count, text in enumerate(texts, start=1):  # noqa: B007 - how many there were is wanted
            words = _words(text)
            passages.extend(_hashes(words, PASSAGE))
            phrases.extend(set(_hashes(words, _PHRASE)))
        self._passages = array("q", sorted(passages))
        most = max(1.0, COMMON * count)
        self._boilerplate = {phrase for phrase, same in groupby(sorted(phrases)) if sum(1 for _ in same) > most}

    def find(self, text: str) -> str | None:
        """The beginning of a passage that the text shares, as words; None without one."""
        words = _words(text)
        for first, last in self._runs(words):
            common = self._common(words, first, last)
            bare = [n for n in range(first, last) if n not in common]
            if len(bare) >= PASSAGE:
                return " ".join(words[bare[0] : bare[0] + PASSAGE])
        return None

    def _runs(self, words: list[str]) -> Iterator[tuple[int, int]]:
        """Where words in a row are shared: from the first to behind the last."""
        begun: int | None = None
        for n, passage in enumerate(_hashes(words, PASSAGE)):
            place = bisect_left(self._passages, passage)
            if place < len(self._passages) and self._passages[place] == passage:
                begun = n if begun is None else begun
            elif begun is not None:
                yield begun, n + PASSAGE - 1
                begun = None
        if begun is not None:
            yield begun, len(words)

    def _common(self, words: list[str], first: int, last: int) -> set[int]:
        """Which words of a run belong to boilerplate."""
        start = max(0, first - _PHRASE + 1)
        phrases = enumerate(_hashes(words[start : last + _PHRASE - 1], _PHRASE), start=start)
        return {n + k for n, phrase in phrases if phrase in self._boilerplate for k in range(_PHRASE)}


def _words(text: str) -> list[str]:
    return _WORD.findall(normalise(text))


def _hashes(words: list[str], length: int) -> Iterator[int]:
    """A number of 64 bits for each so many words in a row, the same for the same words within one process."""
    return (hash(tuple(words[n : n + length])) for n in range(len(words) - length + 1))
