"""What a variant needs, how fast it is and what it costs: the figures of the report's one table."""

from typing import Annotated

from pydantic import Field

from quantroll.api.base import ApiModel

Level = Annotated[list[float], Field(min_length=9, max_length=9)]
"""One load of a benchmark: requests under way at once; TTFT p50 and p99, ITL p50 and p99 in milliseconds; output tokens
and requests a second; requests that failed; requests that were sent. A list, because a status has room for no names."""
MAX_LEVELS = 6

Short = Annotated[str, Field(max_length=128)]
Text = Annotated[str, Field(max_length=256)]


class MemoryFigures(ApiModel):
    """Memory by formula and as measured."""

    formula_bytes: int | None = None
    """Size of the weights by the model's configuration: scales and unquantized layers counted."""
    vram_bytes: int | None = None
    """Size of the weights with 20 % for the KV cache and the engine: what the rule of thumb asks of the GPUs."""
    kv_token_bytes: int | None = None
    """Size of one token in the KV cache."""
    kv_tokens: int | None = None
    """Tokens that the KV cache holds on the GPUs of one pod; absent where their memory is not known."""
    concurrency: int | None = None
    """Requests of the greatest length that these tokens are enough for."""
    fits_on: Annotated[list[Short], Field(max_length=3)] = []
    """The cheapest GPUs of the price table that hold it, the cheapest first, as NAME or NAMExCOUNT."""
    message: Text = ""
    """What is not known, and why."""


class BenchmarkFigures(ApiModel):
    """What the benchmark measured: the whole sweep, and the highest load inside the SLO."""

    key: Short
    """Content key of the benchmark."""
    concurrency: int | None = None
    """Requests under way at once; absent when no level was inside the SLO, and then so is what follows."""
    ttft_p50: float | None = None
    """Time to the first token, median, in milliseconds."""
    ttft_p99: float | None = None
    """Time to the first token, 99th percentile, in milliseconds."""
    itl_p50: float | None = None
    """Time between tokens, median, in milliseconds."""
    itl_p99: float | None = None
    """Time between tokens, 99th percentile, in milliseconds."""
    output_tokens_per_second: float | None = None
    """Tokens that all requests together got in a second."""
    requests_per_second: float | None = None
    """Requests that ended in a second."""
    seconds: float | None = None
    """How long the benchmark took."""
    levels: Annotated[list[Level], Field(max_length=MAX_LEVELS)] = []
    """The sweep, level by level: requests under way at once; TTFT p50 and p99, ITL p50 and p99 in milliseconds; output
    tokens and requests a second; requests that failed; requests that were sent."""
    failed: int = 0
    """Requests that failed in the whole sweep."""
    notes: Annotated[str, Field(max_length=512)] = ""
    """What the Job said of levels that failed."""
    message: Text = ""
    """What was odd: saturated, failed, outside the SLO."""


class CostFigures(ApiModel):
    """What it costs to serve, in the currency of the prices."""

    currency: Short = "USD"
    """Currency of all amounts."""
    gpu: Short = ""
    """GPU that was priced."""
    gpus: int = 0
    """GPUs of one replica."""
    hourly: float | None = None
    """Price of one replica for an hour."""
    per_million_output_tokens: float | None = None
    """Price of a million output tokens at the load inside the SLO and the assumed utilization."""
    per_million_requests: float | None = None
    """Price of a million requests, likewise."""
    replicas: int | None = None
    """Replicas that the declared demand needs."""
    monthly: float | None = None
    """Price of these replicas for 730 hours."""
    monthly_saving: float | None = None
    """What that is below the baseline's."""
    saving: float | None = None
    """The same as a share of the baseline's, in [0, 1]; negative where it costs more."""
    payback_days: float | None = None
    """Days until the saving has paid for the Jobs' own hours."""
    predicted_speedup: float | None = None
    """Output tokens a second against the baseline's, predicted from the bytes that one token reads."""
    measured_speedup: float | None = None
    """The same as measured."""
    worthwhile: bool | None = None
    """Whether the saving is worth it; absent where it is not known."""
    message: Text = ""
    """Why it is not worthwhile, or why a figure is absent."""
