"""`quantroll gate`: the operator's verdict on counts, or on two files of stored answers, without a cluster."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from quantroll.cli import results
from quantroll.domain.evidence import Evidence, Thresholds
from quantroll.domain.gate import Judgement, Verdict, judge
from quantroll.domain.paired import Cells
from quantroll.domain.rules import beside

EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 2, Verdict.ERROR: 3}
_CELLS = "X11,B,C,X00"
_MOST = 10_000_000  # as many items as the API takes


class Output(StrEnum):
    """What the verdict is printed as."""

    TEXT = "text"
    JSON = "json"


def gate(  # noqa: PLR0913 - one for each option
    *,
    cells: Annotated[
        str | None,
        typer.Option(
            metavar=_CELLS,
            help="Items that both answered right, only the baseline (harm), only the variant (gain), neither.",
        ),
    ] = None,
    baseline: Annotated[Path | None, typer.Option(help="items.jsonl of the full-precision model.")] = None,
    variant: Annotated[Path | None, typer.Option(help="items.jsonl of the variant; paired by id.")] = None,
    floor: Annotated[float, typer.Option(min=0.01, max=1, help="Floor of variant / baseline.")] = 0.94,
    max_drop: Annotated[
        float | None, typer.Option(min=0.0001, max=1, help="Compare the difference of the scores with this instead.")
    ] = None,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="One-sided.")] = 0.95,
    min_samples: Annotated[int, typer.Option(min=1, help="Items below which nothing is decided.")] = 500,
    min_baseline: Annotated[float, typer.Option(min=0, max=1, help="Score that the baseline must reach.")] = 0.5,
    max_error_rate: Annotated[float, typer.Option(min=0, max=1, help="Share of items that may fail.")] = 0.01,
    output: Annotated[Output, typer.Option("-o", "--output")] = Output.TEXT,
) -> None:
    """Judge a variant as the operator does, from counts or from stored answers.

    Exit status: 0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 ERROR, 64 wrong use.
    """
    evidence = _evidence(cells, baseline, variant)
    thresholds = Thresholds(floor, confidence, min_samples, min_baseline, max_error_rate, max_drop)
    judgement = judge(evidence, thresholds)
    if output is Output.JSON:
        typer.echo(json.dumps(_wire(judgement, evidence, floor), allow_nan=False))
    else:
        typer.echo(f"{judgement.verdict} ({judgement.reason}): {judgement.message}")
    raise typer.Exit(EXIT_CODES[judgement.verdict])


def _evidence(cells: str | None, baseline: Path | None, variant: Path | None) -> Evidence:
    if cells is not None and baseline is None and variant is None:
        return Evidence(_table(cells), errors_baseline=0, errors_variant=0, prompts_match=True, overlap=0)
    if cells is None and baseline is not None and variant is not None:
        try:
            return results.paired(results.read(baseline), results.read(variant))
        except results.ResultsError as error:
            raise typer.BadParameter(str(error)) from None
    raise typer.BadParameter(f"give --cells {_CELLS}, or --baseline and --variant: one of the two")


def _table(text: str) -> Cells:
    parts = text.split(",")
    if len(parts) != len(_CELLS.split(",")) or not all(part.strip().isdecimal() for part in parts):
        raise typer.BadParameter(f"{text!r} is not four counts {_CELLS}", param_hint="--cells")
    counts = [int(part) for part in parts]
    if max(counts) > _MOST:
        raise typer.BadParameter(f"counts are at most {_MOST}", param_hint="--cells")
    return Cells(*counts)


def _wire(judgement: Judgement, evidence: Evidence, floor: float) -> dict[str, str | int | float | None]:
    """The numbers with 4 decimals, or as many as keep them on their side of the floor; a bound without end is null."""
    values = (judgement.recovery, judgement.lower_bound, judgement.upper_bound)
    finite = (None if value in (None, float("inf")) else value for value in values)
    recovery, lower, upper = (None if value is None else float(beside(value, floor)) for value in finite)
    return {
        "verdict": judgement.verdict.value,
        "reason": judgement.reason.value,
        "recovery": recovery,
        "lowerBound": lower,
        "upperBound": upper,
        "n": evidence.cells.n,
        "harm": evidence.cells.harm,
        "gain": evidence.cells.gain,
        "mcnemarP": float(f"{judgement.mcnemar_p:.4g}"),
        "requiredN": judgement.required_n,
    }
