"""`quantroll samples`: how many items an eval set needs, or what those it has can prove; nothing is measured for it."""

import json
from typing import Annotated

import typer

from quantroll.cli.gate import Output
from quantroll.domain.paired import expected_cells, power_at, required_n

_ITEMS = 10**9  # of the table that stands for the rates: so many that rounding does not show


def samples(
    *,
    baseline: Annotated[float, typer.Option(min=0.01, max=1, help="Expected score of the full-precision model.")],
    churn: Annotated[float, typer.Option(min=0, max=1, help="Expected share of items that get right or wrong.")],
    recovery: Annotated[float, typer.Option(min=0.01, max=2, help="Expected recovery of the variant.")],
    floor: Annotated[float, typer.Option(min=0.01, max=1, help="Floor of variant / baseline.")] = 0.94,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="One-sided.")] = 0.95,
    power: Annotated[
        float | None, typer.Option(min=0.5, max=0.9999, help="Chance that the proof succeeds. Default: 0.8.")
    ] = None,
    items: Annotated[int | None, typer.Option(min=1, help="Tell the chance for so many items instead.")] = None,
    output: Annotated[Output, typer.Option("-o", "--output")] = Output.TEXT,
) -> None:
    """Tell the number of items that would prove such a variant good enough, by the normal approximation.

    With --items it is the chance that so many prove it. Churn of published comparisons: about 4 % at 8 bits, 8 % at 4
    bits. Exit status: 0; 64 wrong use, also for rates that no data can have, and where no number of items would do.
    """
    try:
        cells = expected_cells(baseline, churn, recovery, _ITEMS)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    if items is not None and power is not None:
        raise typer.BadParameter("give --items or --power: the one is asked for, the other told")
    needed, chance = items, power or 0.8
    if items is None:
        needed = required_n(cells, floor, confidence, chance)
    else:
        chance = power_at(items, cells, floor, confidence)
    if needed is None:
        raise typer.BadParameter(f"no number of items proves a recovery of {recovery:g} to reach a floor of {floor:g}")
    if output is Output.JSON:
        rates = {"baseline": baseline, "churn": churn, "recovery": recovery}
        told = {"requiredN": needed} if items is None else {"n": items}
        typer.echo(json.dumps({**told, **rates, "floor": floor, "confidence": confidence, "power": round(chance, 4)}))
    else:
        typer.echo(
            f"{needed} items: they prove a recovery of {recovery:g} to reach {floor:g} in {100 * chance:.4g} % of"
            f" cases, at a baseline score of {baseline:g} and {100 * churn:g} % churn"
            f" ({100 * confidence:g} % one-sided)"
        )
