"""The charts: what is drawn, what is said of it, and that text of others stays text."""

import re
import xml.etree.ElementTree as ET

import pytest

from quantroll.report.charts import charts, frontier
from quantroll.report.report import report_on
from quantroll.report.subject import read
from unit.report import documents

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script> $\\frac{1}{0}$ $x$ 数学 & \"'"


def drawn(document):
    return charts(report_on(read(document)))


def texts(chart):
    return [element.text for element in ET.fromstring(chart.svg).iter(f"{SVG}text")]


def test_quality_against_bits_names_arms_widths_and_the_floor():
    quality, _ = drawn(documents.proven())
    told = texts(quality)
    assert [one for one in told if one in ("baseline", "int8", "gptq4", "rtn4")][:4] == [
        "baseline",
        "int8",
        "gptq4",
        "rtn4",
    ]
    assert {"16 bit", "8 bit", "4 bit", "floor 0.94", "0.1631 ↓", "PASS", "FAIL", "serves"} <= set(told)
    assert "one-sided at 95 % each" in quality.caption


def test_a_chart_is_described_for_those_who_cannot_see_it():
    for chart in drawn(documents.costed()):
        root = ET.fromstring(chart.svg)
        assert root.get("role") == "img"
        named = root.get("aria-labelledby").split()
        found = {element.get("id"): element.text for element in root if element.get("id") in named}
        assert found[named[0]] == chart.title
        assert "awq4" in found[named[1]]
        assert "The floor is 0.94." in found[named[1]]


def test_cost_against_proven_quality():
    _, pareto = drawn(documents.costed())
    assert pareto.title == "Cost against proven quality"
    assert {"$, a million output tokens", "fp8", "int8", "awq4", "baseline"} <= set(texts(pareto))
    assert "gptq4-g32" not in texts(pareto)
    assert pareto.caption.endswith("Not drawn, for want of figures: gptq4-g32.")


def test_a_month_stands_for_tokens_and_size_for_costs_that_are_not_known():
    document = documents.costed()
    for arm in (document["status"]["baseline"], *document["status"]["variants"]):
        arm.get("cost", {}).pop("perMillionOutputTokens", None)
    assert "$, a month" in texts(drawn(document)[1])
    for arm in (document["status"]["baseline"], *document["status"]["variants"]):
        arm.pop("cost", None)
    pareto = drawn(document)[1]
    assert pareto.title == "Size against proven quality"
    assert "weights, GB" in texts(pareto)


def test_amounts_of_two_currencies_are_not_compared():
    document = documents.costed()
    document["status"]["variants"][0]["cost"]["currency"] = "EUR"
    assert drawn(document)[1].title == "Size against proven quality"


def test_nothing_is_drawn_for_nothing():
    assert drawn(documents.pending()) == []
    only_baseline = documents.proven()
    only_baseline["status"]["variants"] = []
    assert drawn(only_baseline) == []


def test_nothing_beats_a_point_of_the_frontier():
    points = [(3, 0.99), (1, 0.9), (2, 0.9), (2, 0.95), (4, 0.98), (1, 0.8)]
    assert frontier(points) == [(1, 0.9), (2, 0.95), (3, 0.99)]
    assert frontier([]) == []


def test_charts_of_one_page_share_no_id_and_have_only_the_pages_colours():
    found = drawn(documents.costed())
    ids = [re.findall(r'\bid="([^"]+)"', chart.svg) for chart in found]
    together = [one for some in ids for one in some]
    assert len(together) == len(set(together))
    for chart, own in zip(found, ids, strict=True):
        assert set(re.findall(r"url\(#([^)]+)\)", chart.svg)) <= set(own)
        assert set(re.findall(r'href="#([^"]+)"', chart.svg)) <= set(own)
        assert re.findall(r"(?:fill|stroke)[:=]\"? ?(?:#|rgb|black|white)", chart.svg) == []
        assert "<style" not in chart.svg
        assert "http" not in chart.svg.replace("http://www.w3.org/", "")


@pytest.mark.parametrize("count", [1, 7])
def test_long_names_are_cut_and_those_of_many_arms_turned(count):
    document = documents.proven()
    row = document["status"]["variants"][1]
    document["status"]["variants"] = [{**row, "name": f"a-name-that-is-long-{at}"} for at in range(count)]
    quality, _ = drawn(document)
    assert texts(quality).count("a-name-that-i…") == count
    assert ("rotate(-25" in quality.svg) == (count > 1)


def test_names_of_others_are_text_and_no_formula():
    for chart in drawn(documents.hostile(HOSTILE)):
        root = ET.fromstring(chart.svg)
        assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
            "svg", "title", "desc", "g", "path", "text", "use", "defs", "clipPath", "rect",
        }  # fmt: skip
        assert "<script>alert…" in texts(chart)
        assert HOSTILE in root.find(f"{SVG}desc").text


def test_the_floor_of_a_difference_is_drawn_as_a_recovery():
    document = documents.costed()
    document["spec"]["qualityGate"].update(comparison="Difference", maxDrop=0.02)
    for chart in drawn(document):
        assert "floor 0.9716" in texts(chart)
