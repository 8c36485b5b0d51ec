"""How the speed of every form of the model is measured."""

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from quantroll.api.base import ApiModel, Matches, Rule, rules
from quantroll.api.figures import MAX_LEVELS

Latency = Annotated[
    str,
    StringConstraints(max_length=12),
    Matches(r"[0-9]{1,6}(\.[0-9]{1,3})?m?s", "must be milliseconds or seconds, such as 60ms or 0.5s"),
]


def milliseconds(latency: str) -> float:
    """The length of a `Latency`; the API server has checked its form."""
    return float(latency[:-2]) if latency.endswith("ms") else float(latency[:-1]) * 1000


class Slo(ApiModel):
    """What users may expect, of the slowest one in a hundred."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.ttftP99) || has(self.itlP99)", "an SLO needs a limit: set ttftP99, itlP99 or both"),
        ),
    )

    at_concurrency: Annotated[int, Field(ge=1, le=4096)] | None = None
    """Requests under way at once at which it has to hold at least. A variant that does not hold it there is not chosen.
    Default: at the lowest level."""
    ttft_p99: Latency | None = None
    """Limit of the time to the first token, 99th percentile."""
    itl_p99: Latency | None = None
    """Limit of the time between two tokens, 99th percentile."""


class Benchmark(ApiModel):
    """A Job beside the engine that asks it so many requests at once, level by level."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            (
                (
                    "!has(self.slo) || !has(self.slo.atConcurrency)"
                    " || self.slo.atConcurrency <= self.concurrency[self.concurrency.size() - 1]"
                ),
                "slo.atConcurrency may not be above the last of concurrency: more is not measured",
            ),
        ),
    )

    concurrency: Annotated[
        list[Annotated[int, Field(ge=1, le=4096)]],
        Field(min_length=1, max_length=MAX_LEVELS),
        Rule(
            "self.isSorted() && self.all(c, self.exists_one(d, d == c))",
            "must rise from level to level",
        ),
    ]
    """Requests under way at once, level by level."""
    prompt_tokens: Annotated[int, Field(ge=8, le=100_000)] = 512
    """Tokens of a prompt; they are random, so that none is answered from a cache."""
    output_tokens: Annotated[int, Field(ge=2, le=100_000)] = 128
    """Tokens of every answer."""
    slo: Slo | None = None
    """What users may expect; costs are told at the highest level that holds it. Default: at the highest level."""
