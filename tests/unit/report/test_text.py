"""The report as text and as Markdown: widths, styles, and text of others that can do nothing."""

import re

import pytest

from quantroll.report.report import report_on
from quantroll.report.subject import clean, read
from quantroll.report.text import markdown, text
from unit.report import documents

ESCAPES = "\x1b[31mred\x1b[0m \x1b]8;;http://x\x07link \u202egnp \x9b2J \r\n second line \ud800 \x00"
MARKUP = (
    "<script>alert(1)</script> | **b** [x](http://evil.example/) `c` _i_ ~~s~~ &lt; @someone www.evil.example #1 $a$"
)


def test_a_wide_table_is_one_line_a_row_where_no_width_is_given():
    lines = text(report_on(read(documents.costed()))).splitlines()
    rows = [line for line in lines if line.startswith("awq4 ") and "4/16/16" in line]
    assert len(rows) == 1
    assert rows[0].endswith("PASS          Proven")


def test_a_wide_table_is_continued_below_with_the_names_again():
    told = text(report_on(read(documents.costed())), width=100)
    table = told.split("\n\n")[3:6]
    assert all(block.splitlines()[0].startswith("VARIANT") for block in table)
    assert all(len(line) <= 100 for block in table for line in block.splitlines())
    assert sum("0.9851 [0.9755, 0.9942]" in block for block in table) == 1


def test_a_width_that_holds_no_two_columns_still_ends():
    assert text(report_on(read(documents.costed())), width=1).count("VARIANT") == 19


def test_columns_line_up_where_letters_are_two_wide():
    document = documents.costed()
    document["status"]["variants"][0]["worstSlice"]["name"] = "数学"
    lines = text(report_on(read(document))).splitlines()
    ends = [line.index("PASS") for line in lines if re.match("(fp8|int8) .*PASS", line)]
    assert ends == [ends[1] - 2, ends[1]]  # two letters of two columns each are as wide as `edge`


def test_missing_values_have_numbered_notes_and_empty_columns_are_named():
    told = text(report_on(read(documents.costed())))
    assert "-[2]" in told
    assert "[2] no load was inside the SLO: p99 TTFT 612 ms at 1" in told
    assert "left out, no value: worst slice: the eval set has no slices" in text(report_on(read(documents.proven())))


def test_escape_codes_only_where_they_are_asked_for():
    found = report_on(read(documents.proven()))
    assert "\x1b" not in text(found)
    styled = text(found, styled=True)
    assert "\x1b[32mPASS\x1b[0m" in styled
    assert re.sub(r"\x1b\[\d+m", "", styled) == text(found)


@pytest.mark.parametrize("hostile", [ESCAPES, MARKUP], ids=["escapes", "markup"])
def test_text_of_others_cannot_steer_a_terminal(hostile):
    told = text(report_on(read(documents.hostile(hostile))))
    assert re.findall("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800]", told) == []
    assert told.encode()
    assert len(told.splitlines()) == len(text(report_on(read(documents.hostile("x")))).splitlines())


def test_cleaned_text_is_one_line():
    assert clean("a\r\n\tb") == "a b"
    assert clean("a\x1b[2Jb\u2028c") == "a�[2Jb�c"
    assert clean("Grüße, 数学 🙂 é") == "Grüße, 数学 🙂 é"


def test_markdown_has_one_table_and_notes():
    told = markdown(report_on(read(documents.costed())))
    rows = [line for line in told.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + 5
    assert {row.count("|") for row in rows} == {21}
    assert "- <sup>2</sup>" in rows[-1]
    assert "2. no load was inside the SLO" in told
    assert "Left out, no value" in markdown(report_on(read(documents.proven())))


def test_markdown_shows_markup_of_others_and_does_nothing_with_it():
    told = markdown(report_on(read(documents.hostile(MARKUP))))
    rows = [line for line in told.splitlines() if line.startswith("|")]
    assert {len(re.findall(r"(?<!\\)\|", row)) for row in rows} == {21}
    bare = told.replace("<sup>", "").replace("</sup>", "")
    assert re.findall(r"(?<!\\)[<`\[~_]", bare) == []
    assert "http://" not in told
    assert "@someone" not in told
    assert "www.evil" not in told
