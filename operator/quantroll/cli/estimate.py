"""`quantroll estimate`: memory, fit, speed, cost and Jobs of a QuantizedModel, before anything runs."""

import json
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import yaml
from pydantic import ValidationError

from quantroll.api.prices import PriceTable
from quantroll.api.shape import ShapeError, shape_of
from quantroll.api.spec import QuantizedModelSpec
from quantroll.cli.usage import WRONG_USE
from quantroll.constants import KIND
from quantroll.domain import footprint
from quantroll.domain.arms import Model
from quantroll.domain.estimate import ArmEstimate, Estimate
from quantroll.domain.estimate import estimate as estimated
from quantroll.domain.footprint import Fit
from quantroll.domain.presets import filled_in, preset_of

_COLUMNS = (
    "VARIANT", "BITS", "WEIGHTS GB", "WITH 20 %", "GPUS", "FIT", "KV TOKENS", "AT ONCE", "SPEED*", "A MONTH", "SAVING",
)  # fmt: skip


class Output(StrEnum):
    """What the estimate is printed as."""

    TABLE = "table"
    JSON = "json"


class KvCache(StrEnum):
    """Numeric type of the KV cache."""

    AUTO = "auto"
    FP8 = "fp8"


def estimate(
    manifest: Annotated[Path, typer.Option("-f", "--filename", help="The QuantizedModel, as YAML or JSON.")],
    config: Annotated[Path, typer.Option(help="config.json of the full-precision model.")],
    *,
    prices: Annotated[
        Path | None, typer.Option(help="Price table, as `prices` in the chart's values, or these values as a whole.")
    ] = None,
    parameters: Annotated[
        int | None, typer.Option(min=1, help="Number of parameters, for architectures that no formula counts.")
    ] = None,
    kv_cache_dtype: Annotated[
        KvCache, typer.Option(help="What the engine profile says by --kv-cache-dtype.")
    ] = KvCache.AUTO,
    output: Annotated[Output, typer.Option("-o", "--output")] = Output.TABLE,
) -> None:
    """Tell what a QuantizedModel will need and cost: memory, GPUs that hold it, expected speed, price of a month, Jobs.

    Only the files are read; nothing runs. What cannot be known is left out, and said. Exit status: 0; 64 wrong use.
    """
    spec = _spec(manifest)
    try:
        shape = shape_of(_mapping(config))
    except ShapeError as error:
        _refuse(config, str(error))
    model = Model(
        shape=shape,
        parameters=parameters,
        dtype=spec.model.dtype,
        kv_width=1 if kv_cache_dtype is KvCache.FP8 else footprint.width_of(spec.model.dtype),
        economics=spec.economics,
        prices=_prices(prices) if prices else PriceTable(),
    )
    found = estimated(spec, model)
    typer.echo(as_json(found) if output is Output.JSON else as_text(found, model))


def _refuse(path: Path, why: str) -> NoReturn:
    typer.echo(f"error: {path}: {why}", err=True)
    raise typer.Exit(WRONG_USE)


def _documents(path: Path) -> list[Any]:
    try:
        return [document for document in yaml.safe_load_all(path.read_text()) if document is not None]
    except (OSError, UnicodeDecodeError) as error:
        _refuse(path, f"cannot be read: {getattr(error, 'strerror', None) or error}")
    except yaml.YAMLError as error:
        _refuse(path, f"not YAML: {' '.join(str(error).split())}")


def _mapping(path: Path) -> dict[str, Any]:
    documents = _documents(path)
    if len(documents) != 1 or not isinstance(documents[0], dict):
        _refuse(path, "must hold one object")
    return documents[0]


def _spec(path: Path) -> QuantizedModelSpec:
    models = [found for found in _documents(path) if isinstance(found, dict) and found.get("kind") == KIND]
    if len(models) != 1:
        _refuse(path, f"must hold one {KIND}, and holds {len(models)}")
    try:
        spec = QuantizedModelSpec.model_validate(models[0].get("spec"))
    except ValidationError as error:
        _refuse(path, _first(error, "spec"))
    return filled_in(spec, preset_of(spec.workload))


def _prices(path: Path) -> PriceTable:
    found = _mapping(path)
    try:
        return PriceTable.model_validate(found.get("prices", found))
    except ValidationError as error:
        _refuse(path, _first(error, "prices"))


def _first(error: ValidationError, top: str) -> str:
    found = error.errors()[0]
    return f"{'.'.join(str(part) for part in (top, *found['loc']))}: {found['msg']}"


def as_json(found: Estimate) -> str:
    """The estimate for programs: sizes in bytes, amounts in the spec's currency."""
    arms = [
        {
            "name": arm.name,
            "bits": arm.bits,
            "weightBytes": arm.weights,
            "fit": arm.fit,
            "speedup": arm.speedup,
            "memory": arm.memory.to_wire(),
            "cost": arm.cost.to_wire(),
            "gpus": {gpu.gpu: {"alone": gpu.alone, "needed": gpu.needed} for gpu in arm.gpus},
        }
        for arm in found.arms
    ]
    work = {"jobs": found.work.jobs, "gpusOfOneJob": found.work.gpus_of_one_job, "peakGpus": found.work.peak}
    return json.dumps({"variants": arms, **work}, indent=2)


def as_text(found: Estimate, model: Model) -> str:
    """The estimate for people."""
    parts = [_aligned([_COLUMNS, *(_row(arm) for arm in found.arms)])]
    if model.prices.gpus:
        head = (f"GPU (prices of {model.prices.as_of})", *(arm.name for arm in found.arms))
        rows = [(gpu, *(_cell(arm, gpu) for arm in found.arms)) for gpu in model.prices.gpus]
        parts.append(_aligned([head, *rows]))
    work = found.work
    jobs = ", ".join(f"{count} {kind}" for kind, count in work.jobs.items())
    peak = ", ".join(f"{count} x {name or 'any GPU'}" for name, count in work.peak.items()) or "none"
    parts.append(
        "* output tokens a second against the baseline on the same GPUs, by the bytes that are read for a token\n"
        f"Jobs, one at a time: {jobs}; at most {work.gpus_of_one_job} GPUs each\n"
        f"GPUs at the same time, with what serves: {peak}"
    )
    notes = [f"{arm.name}: {text}" for arm in found.arms for text in (arm.memory.message, arm.cost.message) if text]
    return "\n\n".join([*parts, *(["\n".join(notes)] if notes else [])])


def _row(arm: ArmEstimate) -> tuple[str, ...]:
    memory, cost = arm.memory, arm.cost
    return (
        arm.name,
        str(arm.bits),
        _gigabytes(arm.weights),
        _gigabytes(memory.vram_bytes),
        f"{cost.gpus} x {cost.gpu or 'any'}" if cost.gpus else "-",
        arm.fit or "-",
        _text(memory.kv_tokens, ",d"),
        _text(memory.concurrency, ",d"),
        _text(arm.speedup, ".2f"),
        "-" if cost.monthly is None else f"{cost.monthly:,.0f} {cost.currency}",
        _text(cost.saving, ".1%"),
    )


def _cell(arm: ArmEstimate, name: str) -> str:
    fit = next((gpu for gpu in arm.gpus if gpu.gpu == name), None)
    if fit is None:
        return "-"
    if fit.alone is Fit.YES:
        return fit.alone
    return f"{fit.alone} (needs {fit.needed})" if fit.needed else f"{fit.alone} ({footprint.LARGEST_NODE} are too few)"


def _gigabytes(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e9:.2f}" if size < 1e10 else f"{size / 1e9:.1f}"


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
