"""The gate by hand, on tables with known verdicts."""

import pytest
from typer.testing import CliRunner

from quantroll.cli.main import app


@pytest.mark.parametrize(
    ("cells", "code", "said"),
    [
        ((719, 45, 37, 185), 0, "PASS (Proven)"),
        ((685, 68, 18, 229), 1, "FAIL (BelowFloor)"),
        ((572, 66, 32, 305), 2, "INCONCLUSIVE (NotProven)"),
        ((10, 0, 0, 990), 3, "ERROR (BaselineTooWeak)"),
    ],
    ids=["proven", "below", "between", "weak"],
)
def test_verdict_and_exit_status(cells, code, said):
    names = ("--both", "--harm", "--gain", "--neither")
    arguments = [text for pair in zip(names, map(str, cells), strict=True) for text in pair]
    result = CliRunner().invoke(app, ["gate", *arguments])
    assert result.exit_code == code
    assert said in result.output


def test_version():
    assert CliRunner().invoke(app, ["version"]).output.strip().count(".") == 2
