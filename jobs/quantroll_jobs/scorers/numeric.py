"""NumericTolerance: the last number of an answer, near enough to the expected one.

The last, because a model that explains itself ends with its result. A number is written with digits, at will with a
sign, commas between groups of three digits, a decimal point and an exponent; units and signs around it do not matter.
Numbers are compared as decimals: 1.1 is within 0.1 of 1, which it is not in binary.
"""

import re
from collections.abc import Callable, Iterator
from decimal import Decimal

from quantroll.api.spec import NumericTolerance
from quantroll_jobs.datafiles import DataError, Item

_MINUS = "\N{MINUS SIGN}-"
# Every part that may fail is optional, so that the time is linear in the text.
_NUMBER = re.compile(rf"(?<![0-9.])([+{_MINUS}]?)([0-9][0-9,]*|(?=\.[0-9]))(\.[0-9]+)?([eE][-+]?[0-9]{{1,6}})?")
_GROUPED = re.compile(r"[0-9]{1,3}(,[0-9]{3})+")


def numbers(text: str) -> Iterator[Decimal]:
    """The numbers of a text, in their order."""
    for match in _NUMBER.finditer(text):
        sign, digits, decimals, exponent = (part or "" for part in match.groups())
        digits = digits.rstrip(",")
        if "," in digits and not _GROUPED.fullmatch(digits):
            *others, digits = digits.split(",")  # a list without blanks
            yield from (Decimal(other) for other in others if other)
        # behind a word or a bracket it is a hyphen or an operator
        before = text[max(match.start() - 1, 0) : match.start()]
        negative = bool(sign) and sign in _MINUS and not re.fullmatch(r"[\w)\]]", before)
        yield Decimal(f"{'-' if negative else ''}{digits.replace(',', '') or 0}{decimals}{exponent}")


def scorer(tolerance: NumericTolerance | None) -> Callable[[str, Item], float]:
    """1 if |answer - expected| is at most `absolute`, or at most `relative` times |expected|."""
    tolerance = tolerance or NumericTolerance()
    absolute, relative = Decimal(repr(tolerance.absolute)), Decimal(repr(tolerance.relative))

    def score(answer: str, item: Item) -> float:
        expected = next(numbers(item.expected), None)
        said = None
        for said in numbers(answer):  # noqa: B007 - the last one is wanted
            pass
        if said is None or expected is None:
            return 0.0
        try:
            return float(abs(said - expected) <= max(absolute, relative * abs(expected)))
        except ArithmeticError:  # a number beyond all bounds
            return 0.0

    return score


def check(item: Item) -> None:
    """The expected text has to hold exactly one number."""
    if len(list(numbers(item.expected))) != 1:
        raise DataError(f"line {item.line}: expected must hold one number for NumericTolerance")
