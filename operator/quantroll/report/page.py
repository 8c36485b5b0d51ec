"""The report as one HTML file: styles and charts inline, no script, nothing fetched; light and dark."""

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from quantroll.report.arms import REFERENCE
from quantroll.report.charts import charts
from quantroll.report.columns import VERDICT
from quantroll.report.report import Report

_TONES = {"PASS": "good", "FAIL": "bad", "INCONCLUSIVE": "unsure", "ERROR": "odd", "Infeasible": "odd"}


def html(report: Report) -> str:
    """The page. Every text in it is escaped by the template engine; the charts were escaped when they were drawn."""
    environment = Environment(
        loader=PackageLoader("quantroll.report", "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    drawn = [(chart, Markup(chart.svg)) for chart in charts(report)]  # noqa: S704 - serialized by an XML library
    return environment.get_template("page.html").render(
        report=report,
        table=report.table,
        charts=drawn,
        tones=_TONES,
        reference=REFERENCE,
        verdict=[column.key for column in report.table.columns].index(VERDICT),
    )
