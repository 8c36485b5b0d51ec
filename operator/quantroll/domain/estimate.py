"""What a QuantizedModel will need and cost, from its spec and the model's sizes alone: before anything runs."""

from collections import Counter
from dataclasses import dataclass

from quantroll.api.figures import CostFigures, MemoryFigures
from quantroll.api.spec import QuantizedModelSpec, Variant
from quantroll.constants import BASELINE
from quantroll.domain import footprint
from quantroll.domain.arms import Arm, Model, compared, cost_of, formula, memory_of, speedup, usable_memory
from quantroll.domain.footprint import Fit
from quantroll.domain.pricing import Hardware, hardware_of


@dataclass(frozen=True, slots=True)
class GpuFit:
    """One kind of GPU of the price table and one form of the model."""

    gpu: str
    alone: Fit
    """Whether one of them holds it."""
    needed: int | None
    """How many hold it with the 20 % on top; None: not those of one node."""


@dataclass(frozen=True, slots=True)
class ArmEstimate:
    """One form of the model."""

    name: str
    bits: int
    weights: int | None
    """Size of the weights in bytes; None: no formula."""
    fit: Fit | None
    """Whether the GPUs that its pods ask for hold it; None: not known."""
    speedup: float | None
    """Output tokens a second against the baseline's on the same GPUs, by the bytes that one token reads."""
    memory: MemoryFigures
    cost: CostFigures
    gpus: tuple[GpuFit, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """The Jobs of one way through the ladder, were every variant tried; it ends earlier at the first failure."""

    jobs: dict[str, int]
    """Jobs by kind."""
    gpus_of_one_job: int
    """GPUs of the Job that asks for most; one runs at a time."""
    peak: dict[str, int]
    """GPUs at the same time, by kind: the baseline serves meanwhile, and then beside a candidate of full size."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What is to be expected."""

    arms: tuple[ArmEstimate, ...]
    work: Work


def estimate(spec: QuantizedModelSpec, model: Model) -> Estimate:
    """Memory, fit, cost and work by formula."""
    base = _arm(spec, model, None)
    cost = cost_of(model, base)
    found = [_estimated(model, BASELINE, footprint.width_of(model.dtype) * 8, base, base, cost)]
    for variant in spec.variants:
        arm = _arm(spec, model, variant)
        bits = variant.scheme.weight_bits
        found.append(_estimated(model, variant.name, bits, arm, base, compared(model, arm, base, cost)))
    return Estimate(tuple(found), work(spec))


def work(spec: QuantizedModelSpec) -> Work:
    """The Jobs, and the GPUs that they and what serves take at the same time."""
    variants = len(spec.variants)
    jobs = {"prepare": 1, "quantize": variants, "evaluate": variants + 1}
    if spec.benchmark:
        jobs["benchmark"] = variants + 1
    making, replicas = hardware_of(spec.jobs), spec.serving.replicas
    base, *others = (hardware_of(spec.serving_of(arm)) for arm in (BASELINE, *(v.name for v in spec.variants)))
    serving = Counter({base.product: base.count * replicas})
    moments = [serving + _counter(gpus) for gpus in (making, base, *others)]
    moments += [serving + _counter(gpus, replicas) for gpus in others]
    peak: Counter[str] = Counter()
    for moment in moments:
        peak |= moment
    return Work(jobs, max(gpus.count for gpus in (making, base, *others)), dict(sorted(peak.items())))


def _counter(gpus: Hardware, pods: int = 1) -> Counter[str]:
    return Counter({gpus.product: gpus.count * pods})


def _arm(spec: QuantizedModelSpec, model: Model, variant: Variant | None) -> Arm:
    size, problem = formula(model, variant)
    return Arm(
        serving=spec.serving_of(variant.name if variant else BASELINE),
        formula_bytes=size,
        measured_bytes=None,
        problem=problem,
        unmeasured="how many replicas the demand needs is known after the benchmark" if _waits(spec) else "",
    )


def _waits(spec: QuantizedModelSpec) -> bool:
    return spec.benchmark is not None and spec.economics.requests_per_month is not None


def _estimated(model: Model, name: str, bits: int, arm: Arm, base: Arm, cost: CostFigures) -> ArmEstimate:
    usable, weights = usable_memory(model, arm), arm.weights
    fits = footprint.fit(weights, usable * arm.serving.tensor_parallel_size) if weights and usable else None
    faster = speedup(model, arm, base)
    return ArmEstimate(
        name, bits, weights, fits, faster and round(faster, 2), memory_of(model, arm), cost, tuple(_fits(model, arm))
    )


def _fits(model: Model, arm: Arm) -> list[GpuFit]:
    if arm.weights is None:
        return []
    found = []
    for name, gpu in model.prices.gpus.items():
        usable = gpu.memory_gib * 2**30 * arm.serving.gpu_memory_utilization
        needed = footprint.gpus_needed(arm.weights, usable, model.shape.heads if model.shape else None)
        found.append(GpuFit(name, footprint.fit(arm.weights, usable), needed))
    return found
