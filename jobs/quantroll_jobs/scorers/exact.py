"""ExactMatch."""

from quantroll_jobs.datafiles import Item


def score(answer: str, item: Item) -> float:
    """1 if equal, apart from white space at the two ends. Case, punctuation and inner white space count."""
    return float(answer.strip() == item.expected.strip())
