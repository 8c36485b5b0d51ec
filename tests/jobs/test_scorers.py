"""Scorers beside the programs whose rules they follow, which are in lm-eval's environment."""

import math
import random

import pytest

from quantroll_jobs.datafiles import Item
from quantroll_jobs.evaluate import likely
from quantroll_jobs.scorers import f1

pytestmark = [pytest.mark.jobs, pytest.mark.timeout(300)]
PAIRS = 3000
WORDS = [
    "the",
    "a",
    "An",
    "cat",
    "Cat!",
    "don't",
    "dont",
    "dog",
    "\u00c4-b",
    "1976,",
    "--",
    "the.",
    "theory",
    "\n",
    "x",
]
# SQuAD's official script as transformers has it, and lm-eval's own sums of log probabilities
PROGRAM = """
import json, sys
from lm_eval.models.openai_completions import LocalCompletionsAPI
from transformers.data.metrics.squad_metrics import compute_f1
with open(sys.argv[1]) as file:
    given = json.load(file)
f1 = [compute_f1(gold, said) for gold, said in given["pairs"]]
sums = [LocalCompletionsAPI.parse_logprobs([reply], None, [context])[0][0] for reply, context in given["echoes"]]
with open(sys.argv[2], "w") as file:
    json.dump({"f1": f1, "sums": sums}, file)
"""


@pytest.fixture(scope="module")
def told(tmp_path_factory, harness):
    draw = random.Random(7)
    pairs = [[" ".join(draw.choices(WORDS, k=draw.randrange(6))) for _ in "ab"] for _ in range(PAIRS)]
    echoes = [_echo(draw) for _ in range(200)]
    return pairs, echoes, harness.told(PROGRAM, tmp_path_factory.mktemp("told"), {"pairs": pairs, "echoes": echoes})


def _echo(draw):
    """A prompt and a choice behind it, as an engine echoes them, and how many tokens are the prompt's."""
    context, behind = draw.randrange(1, 5), draw.randrange(1, 5)
    tokens = [f"t{place}" for place in range(context + behind)]
    values = [None, *(draw.uniform(-9, 0) for _ in tokens[1:])]
    told = {
        "tokens": [*tokens, "!"],
        "token_logprobs": [*values, -0.1],
        "top_logprobs": [{token: value} for token, value in zip([*tokens, "!"], [*values, -0.1], strict=True)],
    }
    return {"choices": [{"index": 0, "text": "!", "logprobs": told}]}, context


def test_f1_is_that_of_squads_script(told):
    pairs, _, reference = told
    ours = [f1.score(said, Item("1", "?", (), gold, 1)) for gold, said in pairs]
    assert ours == pytest.approx(reference["f1"], abs=1e-12)
    assert len(set(ours)) > 10


def test_log_probabilities_are_summed_as_lm_eval_does(told):
    _, echoes, reference = told
    for (reply, context), expected in zip(echoes, reference["sums"], strict=True):
        echo = likely.echo_of(reply)
        alone = likely.Echo(echo.tokens[:context], echo.logprobs[:context])
        assert math.isclose(likely.behind(alone, echo), expected, abs_tol=1e-9)
