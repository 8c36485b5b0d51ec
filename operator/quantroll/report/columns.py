"""The columns of the one table: for each what an arm has in it, and why it may have nothing."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from quantroll.domain.rules import beside
from quantroll.report.arms import Arm
from quantroll.report.numbers import grouped, money, significant

SMALL = 100e6  # bytes of weights below which they are told in MB: a tiny model's gigabytes are all zeros


@dataclass(frozen=True)
class Cell:
    """What stands in one place of the table."""

    text: str
    """Empty where the column does not apply to the arm, or has no value for it."""
    value: Any = None
    """The same for programs: JSON values, in the column's unit, without rounding."""
    missing: str = ""
    """Why there is no value, where there could be one."""


@dataclass(frozen=True)
class Units:
    """What the whole table is told in."""

    bytes_name: str
    bytes_size: float
    currency: str
    floor: float

    @classmethod
    def of(cls, arms: list[Arm], floor: float) -> "Units":
        """Gigabytes, or megabytes where all weights are small; the currency of the first arm that has a price."""
        sizes = [arm.weight_bytes for arm in arms if arm.weight_bytes is not None]
        name, size = ("MB", 1e6) if sizes and max(sizes) < SMALL else ("GB", 1e9)
        currency = next((arm.cost.currency for arm in arms if arm.cost), "USD")
        return cls(name, size, currency, floor)

    @property
    def sign(self) -> str:
        """The currency in a heading."""
        return "$" if self.currency == "USD" else self.currency


@dataclass(frozen=True)
class Column:
    """One column. `title` and `make` get the units that the whole table is told in."""

    key: str
    title: Callable[[Units], str]
    make: Callable[[Arm, Units], Cell]
    about: str
    """What it says, in a sentence for people."""
    numeric: bool = True


def _titled(text: str) -> Callable[[Units], str]:
    return lambda units: text.replace("{bytes}", units.bytes_name).replace("{money}", units.sign)


def _bits(arm: Arm, _: Units) -> Cell:
    bits = (arm.bits.weights, arm.bits.activations, arm.bits.kv_cache)
    value = {"weights": bits[0], "activations": bits[1], "kvCache": bits[2]}
    return Cell("/".join("-" if one is None else str(one) for one in bits), value)


def _weights(arm: Arm, units: Units) -> Cell:
    return _bytes(arm.weight_bytes, units, arm.unmade)


def _vram(arm: Arm, units: Units) -> Cell:
    return _bytes(arm.memory.vram_bytes if arm.memory else None, units, _no_memory(arm))


def _bytes(value: int | None, units: Units, missing: str) -> Cell:
    return Cell("", missing=missing) if value is None else Cell(significant(value / units.bytes_size), value)


def _fits_on(arm: Arm, _: Units) -> Cell:
    fits = arm.memory.fits_on if arm.memory else []
    return Cell(", ".join(fits), list(fits)) if fits else Cell("", missing=_no_memory(arm))


def _kv_tokens(arm: Arm, _: Units) -> Cell:
    tokens = arm.memory.kv_tokens if arm.memory else None
    return Cell("", missing=_no_memory(arm)) if tokens is None else Cell(grouped(tokens), tokens)


def _no_memory(arm: Arm) -> str:
    if arm.memory:
        return arm.memory.message or "memory or prices of the GPUs are not known"
    return arm.unmade or "the status has no memory figures"


def _latency(name: str) -> Callable[[Arm, Units], Cell]:
    def make(arm: Arm, _: Units) -> Cell:
        median, tail = (getattr(arm.benchmark, f"{name}_{part}", None) for part in ("p50", "p99"))
        if median is None and tail is None:
            return Cell("", missing=_no_benchmark(arm))
        text = "/".join("-" if one is None else significant(one) for one in (median, tail))
        return Cell(text, {"p50": median, "p99": tail})

    return make


def _rate(name: str) -> Callable[[Arm, Units], Cell]:
    def make(arm: Arm, _: Units) -> Cell:
        value = getattr(arm.benchmark, name, None)
        return Cell("", missing=_no_benchmark(arm)) if value is None else Cell(significant(value), value)

    return make


def _no_benchmark(arm: Arm) -> str:
    if arm.benchmark:
        return arm.benchmark.message or "no load was inside the SLO"
    return arm.unmade or "no benchmark has run"


def _replicas(arm: Arm, _: Units) -> Cell:
    replicas = arm.cost.replicas if arm.cost else None
    return Cell("", missing=_no_cost(arm)) if replicas is None else Cell(grouped(replicas), replicas)


def _amount(name: str) -> Callable[[Arm, Units], Cell]:
    def make(arm: Arm, units: Units) -> Cell:
        value = getattr(arm.cost, name, None)
        if arm.cost is None or value is None:
            return Cell("", missing=_no_cost(arm))
        other = "" if arm.cost.currency == units.currency else f" {arm.cost.currency}"
        return Cell(f"{money(value)}{other}", value)

    return make


def _no_cost(arm: Arm) -> str:
    if arm.cost:
        return arm.cost.message or "a price or a measured speed is not known"
    return arm.unmade or "the status has no costs"


def _score(arm: Arm, _: Units) -> Cell:
    return Cell("", missing=arm.unmeasured) if arm.score is None else Cell(f"{arm.score:.4f}", arm.score)


def _recovery(arm: Arm, units: Units) -> Cell:
    if arm.is_baseline:
        return Cell("")
    value = {"value": arm.recovery, "lowerBound": arm.lower_bound, "upperBound": arm.upper_bound}
    text = arm.recovery_text(units.floor)
    return Cell(text, value) if text else Cell("", missing=arm.unmeasured or "the baseline got nothing right")


def _flips(arm: Arm, _: Units) -> Cell:
    if arm.is_baseline:
        return Cell("")
    counts = arm.evaluation
    if counts is None or counts.harm is None or counts.gain is None:
        return Cell("", missing=arm.unmeasured or "the status has no counts")
    return Cell(f"{grouped(counts.harm)}/{grouped(counts.gain)}", {"harm": counts.harm, "gain": counts.gain})


def _slice(arm: Arm, units: Units) -> Cell:
    if arm.is_baseline:
        return Cell("")
    worst = arm.worst_slice
    if worst is None:
        return Cell("", missing=arm.unmeasured or "the eval set has no slices")
    recovery = "-" if worst.recovery is None else beside(worst.recovery, units.floor)
    return Cell(f"{worst.name} {recovery} (n {grouped(worst.items)})", worst.to_wire())


def _verdict(arm: Arm, _: Units) -> Cell:
    if arm.is_baseline:
        return Cell(arm.verdict or "", arm.verdict)
    return Cell(arm.verdict, arm.verdict) if arm.verdict else Cell("", missing=arm.unmeasured or "not judged yet")


def _reason(arm: Arm, _: Units) -> Cell:
    return Cell(arm.reason, arm.reason or None)


VARIANT, VERDICT = "variant", "verdict"
COLUMNS = (
    Column(VARIANT, _titled("variant"), lambda arm, _: Cell(arm.name, arm.name), "Name of the arm.", numeric=False),
    Column("bits", _titled("bits W/A/KV"), _bits, "Bits of weights, activations and KV cache."),
    Column("weightBytes", _titled("weights {bytes}"), _weights, "Size of the weights as measured."),
    Column("vramBytes", _titled("VRAM x1.2 {bytes}"), _vram, "Weights and 20 % for KV cache and engine."),
    Column("fitsOn", _titled("fits on"), _fits_on, "The cheapest GPUs of the price table that hold it.", numeric=False),
    Column("kvTokens", _titled("KV tokens"), _kv_tokens, "Tokens that the KV cache of one pod holds."),
    Column("ttftMs", _titled("TTFT ms p50/p99"), _latency("ttft"), "Time to the first token at the SLO's load."),
    Column("itlMs", _titled("ITL ms p50/p99"), _latency("itl"), "Time between tokens at the SLO's load."),
    Column(
        "outputTokensPerSecond", _titled("tok/s at SLO"), _rate("output_tokens_per_second"),
        "Output tokens a second at the highest load inside the SLO.",
    ),
    Column("requestsPerSecond", _titled("rps"), _rate("requests_per_second"), "Requests a second at that load."),
    Column("replicas", _titled("replicas"), _replicas, "Replicas that the declared demand needs."),
    Column(
        "perMillionOutputTokens", _titled("{money}/1M out"), _amount("per_million_output_tokens"),
        "Price of a million output tokens.",
    ),
    Column(
        "perMillionRequests", _titled("{money}/1M requests"), _amount("per_million_requests"),
        "Price of a million requests.",
    ),
    Column("monthly", _titled("{money}/month"), _amount("monthly"), "Price of the replicas for 730 hours."),
    Column("score", _titled("score"), _score, "Share of items answered correctly."),
    Column("recovery", _titled("recovery"), _recovery, "Score divided by the baseline's, with its interval."),
    Column("flips", _titled("harm/gain"), _flips, "Items that only the baseline, and only the variant, got right."),
    Column("worstSlice", _titled("worst slice"), _slice, "Part of the eval set that lost most.", numeric=False),
    Column(VERDICT, _titled("verdict"), _verdict, "What the gate says; only PASS may serve.", numeric=False),
    Column("reason", _titled("reason"), _reason, "Why, in one word.", numeric=False),
)  # fmt: skip
