"""`quantroll`, which is also the kubectl plugin: the gate by hand, and the report."""

from typing import Annotated

import typer

from quantroll import __version__
from quantroll.cli.report import report
from quantroll.domain.gate import Evidence, Thresholds, Verdict, judge
from quantroll.domain.paired import Cells

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Rolls out quantized LLMs that are proven good enough."
)

app.command()(report)

EXIT_CODES = {Verdict.PASS: 0, Verdict.FAIL: 1, Verdict.INCONCLUSIVE: 2, Verdict.ERROR: 3}


@app.command()
def version() -> None:
    """Print the version."""
    typer.echo(__version__)


@app.command()
def gate(
    both: Annotated[int, typer.Option(min=0, help="Items that both answered right.")],
    harm: Annotated[int, typer.Option(min=0, help="Right by the baseline, wrong by the variant.")],
    gain: Annotated[int, typer.Option(min=0, help="Wrong by the baseline, right by the variant.")],
    neither: Annotated[int, typer.Option(min=0, help="Items that both answered wrong.")],
    min_acceptable: Annotated[float, typer.Option(min=0.01, max=1, help="Floor of variant / baseline.")] = 0.94,
    confidence: Annotated[float, typer.Option(min=0.5, max=0.9999, help="One-sided.")] = 0.95,
    min_samples: Annotated[int, typer.Option(min=1)] = 500,
    min_baseline: Annotated[float, typer.Option(min=0, max=1)] = 0.5,
) -> None:
    """Judge paired counts as the operator does. Exit status: 0 PASS, 1 FAIL, 2 INCONCLUSIVE, 3 ERROR."""
    evidence = Evidence(
        Cells(both, harm, gain, neither), errors_baseline=0, errors_variant=0, prompts_match=True, overlap=0
    )
    thresholds = Thresholds(min_acceptable, confidence, min_samples, min_baseline, max_error_rate=0)
    judgement = judge(evidence, thresholds)
    typer.echo(f"{judgement.verdict} ({judgement.reason}): {judgement.message}")
    raise typer.Exit(EXIT_CODES[judgement.verdict])
