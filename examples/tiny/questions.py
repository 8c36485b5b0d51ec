r"""The questions that the tiny model learns, is calibrated with and is asked: seeded, synthetic, with exact answers.

add   Q:37+05\nA:042      2-digit addition; a tenth of the pairs is never trained on
rev   Q:rev abcd\nA:dcba  string reversal
fact  Q:cap dqx\nA:wv     a memorised table; for half of the keys the second phrasing, "has", is held out
hard  Q:123+456\nA:0579   3-digit addition, rare in training: where quantization bites first
"""

import random
import string
from collections.abc import Callable
from dataclasses import dataclass

END = "<|end|>"
PHRASINGS = ("cap", "has")
KEYS = 300
EVAL_SEED = 4321
EVAL_COUNTS = {"rev": 1500, "fact": 150, "add": 250, "hard": 100}
CALIBRATION_LINES = 256


@dataclass(frozen=True)
class Question:
    """A prompt with its one right answer."""

    kind: str
    prompt: str
    answer: str


def add(left: int, right: int) -> Question:
    """Two digits plus two digits."""
    return Question("add", f"Q:{left:02d}+{right:02d}\nA:", f"{left + right:03d}")


def reverse(rng: random.Random) -> Question:
    """Four random letters, to be answered in reverse."""
    letters = "".join(rng.choice(string.ascii_lowercase) for _ in range(4))
    return Question("rev", f"Q:rev {letters}\nA:", letters[::-1])


def hard(rng: random.Random) -> Question:
    """Three digits plus three digits."""
    left, right = rng.randrange(100, 1000), rng.randrange(100, 1000)
    return Question("hard", f"Q:{left}+{right}\nA:", f"{left + right:04d}")


class Curriculum:
    """What is trained and what is held out, decided once by the seed."""

    def __init__(self, seed: int) -> None:
        """Split pairs and keys; the order of the draws is part of the model's identity."""
        rng = random.Random(seed)
        pairs = [(left, right) for left in range(100) for right in range(100)]
        rng.shuffle(pairs)
        self._held_pairs, self._trained_pairs = pairs[:1000], pairs[1000:]
        keys: set[str] = set()
        while len(keys) < KEYS:
            keys.add("".join(rng.choice(string.ascii_lowercase) for _ in range(3)))
        self._values = {key: "".join(rng.choice(string.ascii_lowercase) for _ in range(2)) for key in sorted(keys)}
        shuffled = sorted(self._values)
        rng.shuffle(shuffled)
        self._held_keys = set(shuffled[: KEYS // 2])
        self._trained_facts = [
            (phrasing, key) for key in shuffled for phrasing in (0, 1) if not (phrasing == 1 and key in self._held_keys)
        ]

    def fact(self, phrasing: int, key: str) -> Question:
        """The value of a key, asked in one of two phrasings."""
        return Question("fact", f"Q:{PHRASINGS[phrasing]} {key}\nA:", self._values[key])

    def training_question(self, rng: random.Random, hard_share: float) -> Question:
        """One question of the training distribution, with a share of `hard` ones."""
        if rng.random() < hard_share:
            return hard(rng)
        kind = rng.randrange(3)
        if kind == 0:
            return add(*rng.choice(self._trained_pairs))
        if kind == 1:
            return reverse(rng)
        return self.fact(*rng.choice(self._trained_facts))

    def eval_set(self) -> list[Question]:
        """Held-out questions, all distinct, in random order; what `EVAL_COUNTS` says of each kind."""
        rng = random.Random(EVAL_SEED)
        held = sorted(self._held_keys)
        questions = [
            *self.held_out_sums(rng, EVAL_COUNTS["add"]),
            *(self.fact(1, key) for key in rng.sample(held, EVAL_COUNTS["fact"])),
            *distinct(reverse, rng, EVAL_COUNTS["rev"]),
            *distinct(hard, rng, EVAL_COUNTS["hard"]),
        ]
        rng.shuffle(questions)
        return questions

    def held_out_sums(self, rng: random.Random, count: int) -> list[Question]:
        """2-digit additions that were never trained on."""
        return [add(*pair) for pair in rng.sample(self._held_pairs, count)]

    def calibration(self, seed: int, held_out: set[str]) -> list[str]:
        """Texts as in training, without `hard` questions and without any held-out prompt."""
        rng = random.Random(seed)
        texts: list[str] = []
        while len(texts) < CALIBRATION_LINES:
            question = self.training_question(rng, hard_share=0)
            if question.prompt not in held_out:
                texts.append(question.prompt + question.answer + END)
        return texts


def distinct(make: Callable[[random.Random], Question], rng: random.Random, count: int) -> list[Question]:
    """So many questions of which no two are the same."""
    found: dict[str, Question] = {}
    while len(found) < count:
        question = make(rng)
        found.setdefault(question.prompt, question)
    return list(found.values())
