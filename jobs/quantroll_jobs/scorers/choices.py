"""MultipleChoice: which of an item's choices an answer names, by letter or by its whole text.

The choices have the letters A, B, C, ... in their order. What an answer names is the first of:

1. the choice whose text or letter is the whole answer;
2. the same for what follows the last "answer", "answer is" or "answer:" on its line, which may also begin with a
   letter that is set apart, as in "B.", "(B)", "B) Rome" or "B: Rome";
3. such a letter at the answer's beginning;
4. the only choice whose text stands in the answer.

By log probability no answer is asked for; `evaluate.likely` finds the choice, and its whole text is the answer.

Upper and lower case, white space and punctuation around do not matter.
"""

import re
import string

from quantroll_jobs.datafiles import DataError, Item

_AROUND = string.whitespace + ".,;:!?\"'`*()[]{}"  # not signs and currencies: -5 is not 5
_SAID = re.compile(r"\banswer(?:\s+is)?\b\s*[:=]?([^\n]*)", re.IGNORECASE)
# a letter set apart; a small one only where nothing but the end can follow, because "a" is a word
_END = r"[ \t]*(?:\n|$)"
_APART = re.compile(
    rf"\s*[\[({{*\"'$]*(?:([A-Z])(?:[\])}}*\"'$]|[.:,;](?=\s|$)|{_END})|([a-z])(?:[\])}}*\"'$]|[.:,;]?{_END}))"
)


def check(item: Item) -> None:
    """There have to be choices, distinct ones, and the expected text has to name one of them."""
    least, most = 2, len(string.ascii_uppercase)
    if not least <= len(item.choices) <= most:
        raise DataError(f"line {item.line}: MultipleChoice needs choices, a list of {least} to {most} texts")
    plain = [_plain(choice) for choice in item.choices]
    if len(set(plain)) != len(plain) or not all(plain):
        raise DataError(f"line {item.line}: two choices are the same, or one has neither letters nor digits")
    if _whole(item.expected, plain) is None:
        raise DataError(f"line {item.line}: expected is neither one of the choices nor the letter of one")


def check_likely(item: Item) -> None:
    """The same, and a prompt, which a choice can be put behind."""
    if item.prompt is None:
        raise DataError(f"line {item.line}: MultipleChoice by Logprob needs a prompt, which a choice can stand behind")
    check(item)


def score(answer: str, item: Item) -> float:
    """1 if the answer names the choice that is expected."""
    plain = [_plain(choice) for choice in item.choices]
    expected = _whole(item.expected, plain)
    return float(expected is not None and chosen(answer, plain) == expected)


def chosen(answer: str, plain: list[str]) -> int | None:
    """Index of the choice that an answer names; None without one. `plain` are the choices as they are compared."""
    places = [answer]
    if said := _SAID.findall(answer):
        places = [answer, said[-1]]
    for place in places:
        if (whole := _whole(place, plain)) is not None:
            return whole
    for place in reversed(places):
        if (apart := _APART.match(place)) and (index := _index(apart[1] or apart[2], len(plain))) is not None:
            return index
    text = _plain(answer)
    found = [index for index, choice in enumerate(plain) if re.search(rf"(?<!\w){re.escape(choice)}(?!\w)", text)]
    return found[0] if len(found) == 1 else None


def _whole(text: str, plain: list[str]) -> int | None:
    """Index of the choice that is the whole text: by its words first, since "A" may be the text of one."""
    bare = _plain(text)
    if bare in plain:
        return plain.index(bare)
    return _index(bare, len(plain)) if len(bare) == 1 else None


def _index(letter: str, count: int) -> int | None:
    index = string.ascii_uppercase.find(letter.upper())
    return index if 0 <= index < count else None


def _plain(text: str) -> str:
    """Case folded, white space made one blank, without white space and punctuation around."""
    return " ".join(text.casefold().split()).strip(_AROUND)
