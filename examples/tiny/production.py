r"""What production asks of the tiny model, labelled: the items that the prober asks all the time.

    python examples/tiny/production.py usual > production.jsonl
    python examples/tiny/production.py arithmetic > production.jsonl    # the traffic turns to sums

`usual` is like the eval set, mostly easy. On `arithmetic` the 4-bit variant is much worse than on the eval set, and the
full-precision model as good as ever: the drift that no evaluation before the rollout could have shown. Seeded; needs
nothing but Python.
"""

import argparse
import json
import random
import sys

from questions import Curriculum, Question, distinct, hard, reverse

SEED = 97  # neither the eval set's nor the calibration's
MIXES = {"usual": {"rev": 1000, "add": 100}, "arithmetic": {"add": 300, "hard": 900}}


def questions(kind: str, seed: int) -> list[Question]:
    """Distinct questions in random order, by the mix of this kind."""
    rng = random.Random(SEED)
    mix = MIXES[kind]
    found = [
        *Curriculum(seed).held_out_sums(rng, mix["add"]),
        *distinct(reverse, rng, mix.get("rev", 0)),
        *distinct(hard, rng, mix.get("hard", 0)),
    ]
    rng.shuffle(found)
    return found


def lines(kind: str, seed: int) -> list[str]:
    """JSON lines with id, prompt, expected and slice."""
    return [
        json.dumps({"id": f"{kind}-{n}", "prompt": q.prompt, "expected": q.answer, "slice": q.kind})
        for n, q in enumerate(questions(kind, seed))
    ]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=sorted(MIXES))
    parser.add_argument("--seed", type=int, default=0, help="the model's")
    given = parser.parse_args()
    sys.stdout.write("".join(f"{line}\n" for line in lines(given.kind, given.seed)))


if __name__ == "__main__":
    main()
