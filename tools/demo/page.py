"""What the demo shows of its QuantizedModel: the report, and what the drift check found."""

from pathlib import Path
from typing import Any

from quantroll.report.page import html
from quantroll.report.report import report_on
from quantroll.report.subject import read
from quantroll.report.text import text

Object = dict[str, Any]


def report(model: Object, file: Path) -> str:
    """The report as `kubectl quantroll report` tells it; the page with its charts goes to the file."""
    found = report_on(read(model))
    file.write_text(html(found))
    return text(found)


def drift(status: Object) -> str:
    """What the drift check found, and what came of it."""
    found, serves = status.get("drift", {}), status.get("stable", {})
    rejected = [f"{entry['variant']} (revision {entry['revision']}): {entry['reason']}" for entry in status["rejected"]]
    return (
        f"drift check: {found.get('verdict')}, {found.get('value')} of {found.get('samples')} items right, floor"
        f" {found.get('floor')}\nserves: {serves.get('variant')} (revision {serves.get('revision')})\n"
        f"not tried again by itself: {', '.join(rejected)}"
    )
