"""Memory and cost of one form of the model, from what is known of it.

Nothing here is guessed: a figure that cannot be known is absent, and the message says why.
"""

from dataclasses import dataclass, field

from quantroll.api.figures import BenchmarkFigures, CostFigures, MemoryFigures
from quantroll.api.prices import PriceTable
from quantroll.api.shape import ModelShape
from quantroll.api.spec import Backend, Dtype, Economics, Serving, Variant
from quantroll.domain import economics, footprint
from quantroll.domain.draft import LIST_LIMIT, clip
from quantroll.domain.footprint import Format, UnknownSizeError
from quantroll.domain.pricing import Hardware, UnknownPriceError, hardware_of, hourly

FITS = 3
"""GPUs that the status names."""


@dataclass(frozen=True, slots=True)
class Model:
    """What all forms of the model have in common, and the prices."""

    shape: ModelShape | None
    """None: config.json does not say what the formulas need."""
    parameters: int | None
    """Counted, for a shape that has no formula."""
    dtype: Dtype
    kv_width: int
    """Bytes of one number in the KV cache."""
    economics: Economics
    prices: PriceTable


@dataclass(frozen=True, slots=True)
class Arm:
    """What is known of one form of the model."""

    serving: Serving
    formula_bytes: int | None
    measured_bytes: int | None
    benchmark: BenchmarkFigures | None = None
    jobs: tuple[tuple[Hardware, float | None], ...] = ()
    """Hardware and seconds of the Jobs that made and measured it; None: not known."""
    problem: str = ""
    """Why there is no size by formula."""
    unmeasured: str = ""
    """Why there is no benchmark, where one is asked for."""
    hardware: Hardware = field(init=False)
    """What one pod asks for."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "hardware", hardware_of(self.serving))  # frozen, and looked at again and again

    @property
    def weights(self) -> int | None:
        """Size of the weights: as measured, or by formula."""
        return self.measured_bytes or self.formula_bytes


@dataclass(slots=True)
class _Notes:
    """What a message says, in order."""

    texts: list[str] = field(default_factory=list)

    def add(self, text: str) -> None:
        if text and text not in self.texts:
            self.texts.append(text)

    def __str__(self) -> str:
        return clip("; ".join(self.texts), LIST_LIMIT)


def format_of(variant: Variant) -> Format:
    """How a variant's weights are kept."""
    return Format(
        variant.scheme, variant.resolved_group_size, tuple(variant.ignore), variant.backend is Backend.AUTO_AWQ
    )


def formula(model: Model, variant: Variant | None) -> tuple[int | None, str]:
    """Size of a variant's weights, or of the baseline's, or why it is not known."""
    shape, dtype = model.shape, model.dtype
    if shape is None:
        return None, "no size by formula: config.json lacks what it needs"
    form = format_of(variant) if variant else None
    try:
        if shape.intermediate is None and model.parameters is not None:  # counted, not by formula
            if form is None:
                return model.parameters * footprint.width_of(dtype), ""
            return footprint.quantized_bytes_of(model.parameters, shape, dtype, form), ""
        if form is None:
            return footprint.full_bytes(shape, dtype), ""
        return footprint.quantized_bytes(shape, dtype, form), ""
    except UnknownSizeError as error:
        return None, f"no size by formula: {error}"


def memory_of(model: Model, arm: Arm) -> MemoryFigures:
    """What an arm needs, and where it would fit."""
    notes, weights, serving, shape = _Notes(), arm.weights, arm.serving, model.shape
    notes.add(arm.problem)
    tokens = _kv_tokens(model, arm, notes)
    longest = serving.max_model_len or (shape.positions if shape else None)
    return MemoryFigures(
        formula_bytes=arm.formula_bytes,
        vram_bytes=footprint.with_overhead(weights) if weights else None,
        kv_token_bytes=footprint.kv_token_bytes(shape, model.kv_width) if shape else None,
        kv_tokens=tokens,
        concurrency=tokens // longest if tokens is not None and longest else None,
        fits_on=fits_on(model, weights, serving.gpu_memory_utilization)[:FITS] if weights else [],
        message=str(notes),
    )


def usable_memory(model: Model, arm: Arm) -> float | None:
    """Bytes that each GPU of an arm lends the engine; None where the price table does not know the GPU."""
    listed = model.prices.gpus.get(arm.hardware.product) if arm.hardware.count else None
    return listed.memory_gib * 2**30 * arm.serving.gpu_memory_utilization if listed else None


def _kv_tokens(model: Model, arm: Arm, notes: _Notes) -> int | None:
    shape, usable = model.shape, usable_memory(model, arm)
    if shape is None:
        notes.add("the KV cache of this architecture follows no formula that is known here")
    elif not arm.hardware.count:
        notes.add("no GPU is asked for")
    elif usable is None:
        gpu = arm.hardware.product or "its GPU"
        notes.add(f"the memory of {gpu} is not known: it is not in the admin's price table")
    elif arm.weights:
        return footprint.kv_tokens(shape, model.kv_width, arm.weights, usable, arm.serving.tensor_parallel_size)
    return None


def fits_on(model: Model, weights: int, utilization: float) -> list[str]:
    """The GPUs of the price table that hold the weights with the 20 % on top, the cheapest first."""
    found = []
    for name, gpu in model.prices.gpus.items():
        usable = gpu.memory_gib * 2**30 * utilization
        if count := footprint.gpus_needed(weights, usable, model.shape.heads if model.shape else None):
            price = model.economics.gpu_hourly_cost.get(name, gpu.usd_per_hour)
            found.append((price * count, name if count == 1 else f"{name}x{count}"))
    return [name for _, name in sorted(found)]


def cost_of(model: Model, arm: Arm) -> CostFigures:
    """What an arm costs by itself."""
    wanted, notes, pod = model.economics, _Notes(), arm.hardware
    measured = arm.benchmark if arm.benchmark and arm.benchmark.concurrency else None
    count, why = _replicas(wanted, arm, measured)
    try:
        price = hourly(pod, wanted, model.prices)
    except UnknownPriceError as error:
        price = None
        notes.add(f"no cost: {error}")
    else:
        notes.add(arm.unmeasured)
        notes.add(why)
    tokens, requests = (measured.output_tokens_per_second, measured.requests_per_second) if measured else (None, None)

    def million(rate: float | None) -> float | None:
        return _round(economics.per_million(price, rate, wanted.utilization), 4) if price and rate else None

    return CostFigures(
        currency=wanted.currency,
        gpu=pod.product,
        gpus=pod.count,
        hourly=_round(price, 4),
        per_million_output_tokens=million(tokens),
        per_million_requests=million(requests),
        replicas=count,
        monthly=_round(economics.monthly(price, count), 2) if price and count else None,
        message=str(notes),
    )


def _replicas(wanted: Economics, arm: Arm, measured: BenchmarkFigures | None) -> tuple[int | None, str]:
    """Replicas that the demand needs, or why they are not known."""
    demand = wanted.requests_per_month
    if demand is None:
        return arm.serving.replicas, ""
    if measured and measured.requests_per_second:
        return economics.replicas(demand, measured.requests_per_second, wanted.utilization), ""
    if arm.benchmark:
        return None, "replicas are not known: the benchmark found no load inside the SLO"
    return None, "" if arm.unmeasured else "replicas are not known before a benchmark: set spec.benchmark"


def compared(model: Model, arm: Arm, base: Arm, base_cost: CostFigures) -> CostFigures:
    """What a variant costs, beside the baseline."""
    own, notes = cost_of(model, arm), _Notes()
    notes.add(own.message)
    changes: dict[str, object] = {
        "predicted_speedup": _predicted(model, arm, base),
        "measured_speedup": _measured_speedup(arm, base),
    }
    if own.monthly is None or base_cost.monthly is None:
        if own.monthly is not None and base_cost.message:
            notes.add(f"baseline: {base_cost.message}")
        return own.model_copy(update={**changes, "message": str(notes)})
    less = _round(base_cost.monthly - own.monthly, 2) or 0.0
    spent = _spent(model, (*base.jobs, *arm.jobs), notes)
    days = economics.payback_days(spent, less) if spent is not None else None
    same = _same_hardware(arm.hardware, base.hardware) and own.replicas == base_cost.replicas
    against = economics.not_worthwhile(
        monthly_saving=less,
        minimum=model.economics.min_monthly_saving,
        payback=days,
        same_hardware=same,
        currency=own.currency,
    )
    if against:
        notes.texts.insert(0, against)
    return own.model_copy(
        update={
            **changes,
            "monthly_saving": less,
            "saving": _round(economics.saving(base_cost.monthly, own.monthly), 4),
            "payback_days": _round(days, 1),
            "worthwhile": against is None,
            "message": str(notes),
        }
    )


def _same_hardware(one: Hardware, other: Hardware) -> bool:
    """Whether two pods have as many GPUs of a kind, or without any the same CPUs and memory."""
    if one.count or other.count:
        return (one.product, one.count) == (other.product, other.count)
    return one == other


def speedup(model: Model, arm: Arm, base: Arm) -> float | None:
    """Output tokens a second against the baseline's on the same GPUs, by the bytes that one token reads.

    None for models whose layers are not Llama's: a mixture of experts does not read all of its weights.
    """
    if model.shape is None or model.shape.intermediate is None or not arm.weights or not base.weights:
        return None
    ours, theirs = (
        footprint.bytes_per_token(weights, model.shape, model.dtype) for weights in (arm.weights, base.weights)
    )
    return footprint.predicted_speedup(theirs, ours) if ours > 0 else None


def _predicted(model: Model, arm: Arm, base: Arm) -> float | None:
    """The same on the GPUs that the arms have; nothing is known of how fast another kind of GPU reads."""
    found = speedup(model, arm, base) if _same_kind(arm.hardware, base.hardware) else None
    shards = arm.serving.tensor_parallel_size / base.serving.tensor_parallel_size
    return None if found is None else _round(found * shards, 2)


def _same_kind(one: Hardware, other: Hardware) -> bool:
    return one.product == other.product if one.count or other.count else one.cpus == other.cpus


def _measured_speedup(arm: Arm, base: Arm) -> float | None:
    ours, theirs = (s.benchmark.output_tokens_per_second if s.benchmark else None for s in (arm, base))
    return _round(ours / theirs, 2) if ours and theirs else None


def _spent(model: Model, jobs: tuple[tuple[Hardware, float | None], ...], notes: _Notes) -> float | None:
    """Price of the hours of Jobs; one without a GPU costs nothing here, unless its CPUs have a price."""
    total = 0.0
    for pod, seconds in jobs:
        if not pod.count and not (pod.cpus and model.economics.cpu_hourly_cost):
            continue
        if seconds is None:
            notes.add("no payback: how long a Job took is not known")
            return None
        try:
            total += hourly(pod, model.economics, model.prices) * seconds / 3600
        except UnknownPriceError as error:
            notes.add(f"no payback: {error}")
            return None
    return total


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)
