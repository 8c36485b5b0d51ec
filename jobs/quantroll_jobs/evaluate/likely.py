"""Which of several texts a model finds most likely after a prompt, by the log probabilities that an engine echoes.

The prompt alone and with each choice behind it are sent as completions with `echo` and `logprobs`, as lm-eval does. A
choice's tokens are those behind what both echoes begin with: where the last letters of the prompt and the first of the
choice make one token, that token is the choice's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import fsum, isfinite
from typing import Any

# One token has to be generated, and is left out: not every engine takes 0.
_ASKED = {"temperature": 0, "max_tokens": 1, "echo": True, "logprobs": 1}


@dataclass(frozen=True, slots=True)
class Echo:
    """A text as the engine reads it."""

    tokens: tuple[str, ...]
    logprobs: tuple[float | None, ...]
    """Log probability of each token behind those before it; the first has none."""


def questions(body: dict[str, Any]) -> list[dict[str, Any]]:
    """What is sent for an item: its prompt, and its prompt with each choice, set apart by white space."""
    prompt = body["prompt"]
    gap = "" if prompt[-1:].isspace() else " "
    return [{"prompt": text, **_ASKED} for text in (prompt, *(f"{prompt}{gap}{choice}" for choice in body["choices"]))]


def echo_of(reply: Any) -> Echo:
    """What a reply says of the text that was sent; raises ValueError where the engine gives no log probabilities."""
    found = reply["choices"][0].get("logprobs")
    if not found or not found.get("tokens") or len(found["tokens"]) != len(found.get("token_logprobs") or ()):
        raise ValueError("the engine echoes no log probabilities, which MultipleChoice by Logprob needs")
    return Echo(tuple(found["tokens"][:-1]), tuple(found["token_logprobs"][:-1]))


def most_likely(echoes: Sequence[Echo], choices: Sequence[str], *, per_byte: bool) -> str:
    """The choice with the highest log probability, the first of several; `echoes` has that of the prompt alone first.

    `per_byte`: divided by the number of bytes of the choice's text.
    """
    alone, *whole = echoes
    scores = [
        behind(alone, echo) / (len(choice.encode()) if per_byte else 1)
        for echo, choice in zip(whole, choices, strict=True)
    ]
    return choices[scores.index(max(scores))]


def behind(alone: Echo, echo: Echo) -> float:
    """Log probability of what an echo has behind the prompt; raises ValueError where a token has none."""
    pairs = zip(alone.tokens, echo.tokens, strict=False)
    shared = next((place for place, (one, other) in enumerate(pairs) if one != other), len(alone.tokens))
    values = echo.logprobs[min(shared, len(echo.tokens) - 1) :]
    if any(value is None or not isfinite(value) for value in values):
        raise ValueError("a token of a choice has no log probability")
    return fsum(value for value in values if value is not None)
