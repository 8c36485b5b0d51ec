"""What is told of each arm beside the table."""

from quantroll.report.report import report_on
from quantroll.report.subject import read
from quantroll.report.text import markdown, text
from unit.report import documents


def found(document, arm):
    return next((one for one in report_on(read(document)).findings if one.arm == arm), None)


def test_verdict_message_and_what_the_table_has_no_column_for():
    one = found(documents.costed(), "awq4")
    assert (one.verdict, one.message) == ("PASS (Proven)", "Recovery is proven to reach the floor.")
    assert one.details == (
        "2,000 items. Weights by formula 5.44 GB. A token takes 131,072 bytes of KV cache. Benchmark at 32 requests at"
        " once. Tokens a second against the baseline's: 2.29 measured, 2.92 predicted from bytes."
    )


def test_what_is_odd_about_the_answers():
    document = documents.proven()
    informing = [{"scorer": "F1", "score": 0.871, "baselineScore": 0.9021}, {"scorer": "Regex", "score": 0.5}]
    document["status"]["variants"][1]["evaluation"].update(
        errors=3, truncated=1200, meanLength=24.13, baselineMeanLength=20.0, informing=informing
    )
    assert found(document, "gptq4").details == (
        "2,000 items: 3 failed, 1,200 cut at maxTokens. Answers of 24.1 characters on average, the baseline's 20.0. F1,"
        " which does not gate, 0.8710, the baseline's 0.9021. Regex, which does not gate, 0.5000."
    )
    assert found(document, "int8").details == "2,000 items."


def test_what_changes_by_itself():
    document = documents.proven()
    document["status"]["baseline"]["evaluation"].update(noiseItems=200, noiseFlips=3)
    said = "Asked twice, 3 of 200 items changed between right and wrong."
    assert said in found(document, "baseline").details


def test_what_is_odd_about_the_benchmark_and_the_costs():
    document = documents.costed()
    row = document["status"]["variants"][0]
    row["benchmark"].update(failed=7, message="saturated above 32")
    row["cost"] = {"worthwhile": False, "message": "saves 12 USD, minMonthlySaving is 100."}
    assert found(document, "fp8").details.endswith(
        "Benchmark at 32 requests at once, 7 requests failed in the sweep. saturated above 32. Not worthwhile: saves 12"
        " USD, minMonthlySaving is 100."
    )


def test_of_an_arm_without_anything_to_say_nothing_is_said():
    assert report_on(read(documents.pending())).findings == []
    document = documents.proven()
    del document["status"]["baseline"]["evaluation"]
    assert found(document, "baseline") is None


def test_it_stands_in_text_and_markdown():
    report = report_on(read(documents.proven()))
    assert "\nbaseline: reference\n    2,000 items.\nint8: PASS (Proven): Recovery" in text(report)
    assert "- **baseline** reference: 2,000 items." in markdown(report)
    assert "- **rtn4** FAIL (BelowFloor): Recovery is below the floor 0.94, so is the whole interval. 2,000 items." in (
        markdown(report)
    )
