"""F1 of the words that answer and expected text share, as SQuAD's evaluation script (version 2.0) computes it."""

import re
import string
from collections import Counter

from quantroll_jobs.datafiles import Item

_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ARTICLES = re.compile(r"\b(a|an|the)\b")


def words(text: str) -> list[str]:
    """The words that count: lower case, without ASCII punctuation and English articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def score(answer: str, item: Item) -> float:
    """Harmonic mean of precision and recall over words; 1 if neither text has any."""
    said, wanted = words(answer), words(item.expected)
    if not said or not wanted:
        return float(said == wanted)
    shared = (Counter(said) & Counter(wanted)).total()
    if not shared:
        return 0.0
    precision, recall = shared / len(said), shared / len(wanted)
    return 2 * precision * recall / (precision + recall)
