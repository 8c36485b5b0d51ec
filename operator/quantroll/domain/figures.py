"""The figures of all arms in the status: computed anew in every pass from what is known."""

from itertools import pairwise

from quantroll.api.figures import BenchmarkFigures
from quantroll.api.jobs import ModelFacts
from quantroll.api.spec import Dtype, QuantizedModelSpec, Serving, Variant
from quantroll.api.status import BaselineStatus, Evaluation, VariantStatus
from quantroll.constants import BASELINE
from quantroll.domain import benchmarking, footprint
from quantroll.domain.arms import Arm, Model, compared, cost_of, formula, memory_of
from quantroll.domain.draft import Draft
from quantroll.domain.pricing import Hardware, hardware_of

_KV_FLAG = "--kv-cache-dtype"


def fill(draft: Draft, spec: QuantizedModelSpec) -> None:
    """Write the figures of all arms into the status; a benchmark of something else is dropped."""
    status = draft.status
    if status.prepared is None or status.baseline is None:
        return
    facts = status.prepared.model
    model = Model(
        shape=facts.shape,
        parameters=facts.weight_bytes // footprint.width_of(spec.model.dtype),
        dtype=spec.model.dtype,
        kv_width=kv_width(status.resolved.profile.args if status.resolved else [], spec.model.dtype),
        economics=spec.economics,
        prices=draft.seen.prices,
    )
    whole = status.baseline
    fresh = benchmarking.current(spec, whole.revision, whole.benchmark)
    whole = whole.model_copy(update={"benchmark": fresh})
    base = _baseline(spec, whole, model, facts)
    cost = cost_of(model, base)
    draft.set(baseline=whole.model_copy(update={"memory": memory_of(model, base), "cost": cost}))
    for variant in spec.variants:
        row = next((row for row in status.variants if row.name == variant.name), None)
        if row:
            fresh = benchmarking.current(spec, row.revision, row.benchmark)
            row = row.model_copy(update={"benchmark": fresh})
            arm = _variant(spec, variant, row, model)
            figures = {"memory": memory_of(model, arm), "cost": compared(model, arm, base, cost)}
            draft.set_variant(row.model_copy(update=figures))


def saving_of(row: VariantStatus) -> str:
    """The saving as text for the column; empty where it is not known."""
    return "" if row.cost is None or row.cost.saving is None else f"{row.cost.saving:.1%}"


def kv_width(arguments: list[str], dtype: Dtype) -> int:
    """Bytes of one number in the KV cache; an engine profile's flags may ask for another than the model's."""
    words = " ".join(arguments).replace("=", " ").split()
    chosen = [value for flag, value in pairwise(words) if flag == _KV_FLAG]
    return 1 if chosen and chosen[-1].startswith("fp8") else footprint.width_of(dtype)


def _baseline(spec: QuantizedModelSpec, row: BaselineStatus, model: Model, facts: ModelFacts) -> Arm:
    serving = spec.serving_of(BASELINE)
    size, problem = formula(model, None)
    return Arm(
        serving=serving,
        formula_bytes=size,
        measured_bytes=facts.weight_bytes,
        benchmark=row.benchmark,
        jobs=_measured(serving, row.evaluation, row.benchmark),
        problem=problem,
        unmeasured="" if row.benchmark else benchmarking.problem(spec, row.revision, row.failure),
    )


def _variant(spec: QuantizedModelSpec, variant: Variant, row: VariantStatus, model: Model) -> Arm:
    serving = spec.serving_of(variant.name)
    size, problem = formula(model, variant)
    making = ((hardware_of(spec.jobs), row.artifact.seconds),) if row.artifact else ()
    return Arm(
        serving=serving,
        formula_bytes=size,
        measured_bytes=row.weight_bytes,
        benchmark=row.benchmark,
        jobs=(*making, *_measured(serving, row.evaluation, row.benchmark)),
        problem=problem,
        unmeasured="" if row.benchmark else benchmarking.problem(spec, row.revision, row.failure, row.verdict),
    )


def _measured(
    serving: Serving, evaluation: Evaluation | None, benchmark: BenchmarkFigures | None
) -> tuple[tuple[Hardware, float | None], ...]:
    return tuple((hardware_of(serving), result.seconds) for result in (evaluation, benchmark) if result)
