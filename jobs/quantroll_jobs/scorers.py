"""Scorers: an answer and what was expected, to right or wrong."""

from collections.abc import Callable


def exact_match(answer: str, expected: str) -> bool:
    """Equal, apart from white space at the two ends. Case, punctuation and inner white space count."""
    return answer.strip() == expected.strip()


SCORERS: dict[str, Callable[[str, str], bool]] = {"ExactMatch": exact_match}
