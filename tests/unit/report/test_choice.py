"""What was chosen and why, in words that the figures bear out."""

import pytest

from quantroll.report.report import report_on
from quantroll.report.subject import read
from unit.report import documents


def said(document):
    return " ".join(report_on(read(document)).choice)


def test_the_smallest_of_the_proven():
    assert said(documents.proven()).startswith(
        "gptq4 serves: the smallest of the proven (int8 0.614, gptq4 0.394 MB of weights), recovery at least 0.9608."
    )


def test_the_cheapest_of_the_proven_is_being_tried():
    told = said(documents.costed())
    assert "The baseline serves. Proven: fp8, int8, awq4." in told
    assert "awq4 is being tried with 25 % of the requests: the cheapest of the proven (fp8 0.381, int8 0.341," in told


def test_the_month_decides_where_tokens_have_no_price():
    document = documents.costed()
    for row, monthly in zip(document["status"]["variants"], (1200, 1100, 900, None), strict=True):
        row.get("cost", {}).pop("perMillionOutputTokens", None)
        row.get("cost", {})["monthly"] = monthly
    assert "the cheapest of the proven (fp8 1,200, int8 1,100, awq4 900.00 USD a month)" in said(document)


def test_no_superlative_that_the_figures_do_not_bear_out():
    document = documents.proven()
    document["status"]["stable"] = documents.revision("r-int8", "int8")
    assert said(document).startswith("int8 serves: one of the proven (int8, gptq4), recovery at least 0.9986.")


def test_a_tie_is_no_superlative():
    document = documents.proven()
    document["status"]["variants"][0]["weightBytes"] = 394_064
    assert "smallest" not in said(document)


def test_the_only_one():
    document = documents.proven()
    document["status"]["variants"][0]["verdict"] = "ERROR"
    assert "gptq4 serves: the only proven one" in said(document)


def test_what_serves_may_be_proven_no_longer():
    document = documents.proven()
    document["status"]["variants"][1]["verdict"] = "FAIL"
    assert "gptq4 serves: it was proven once; the verdict of today is FAIL" in said(document)
    document["status"]["stable"] = documents.revision("r-older", "gptq4")
    assert "gptq4 serves: a revision that the present spec does not make any more." in said(document)


@pytest.mark.parametrize(("verdict", "told"), [("FAIL", "no variant is proven"), (None, "no variant is judged yet")])
def test_the_baseline_serves_while_nothing_is_proven(verdict, told):
    document = documents.proven()
    document["status"]["stable"] = documents.revision("r-baseline", "baseline")
    for row in document["status"]["variants"]:
        row["verdict"] = verdict
    assert f"The baseline serves: {told}." in said(document)


def test_nothing_serves_yet():
    assert said(documents.pending()) == "Nothing serves yet. The operator says: preparing: digesting the model"


def test_the_ladder_ended_before_the_rest():
    document = documents.proven()
    document["spec"]["variants"].append({"name": "gptq3", "scheme": "W3A16", "allowSubFourBit": True})
    assert "rtn4 is FAIL (BelowFloor); behind it, not judged: gptq3." in said(document)
    document["spec"]["ladder"] = "All"
    assert "behind it" not in said(document)


def test_a_saving_and_its_payback():
    document = documents.costed()
    document["status"]["stable"] = documents.revision("r-awq4", "awq4")
    assert "Beside the baseline it saves 3,489 USD a month, 75 %; its Jobs are paid for after 2.40 days." in said(
        document
    )
    cost = document["status"]["variants"][2]["cost"]
    cost["paybackDays"] = 0.0
    assert "its Jobs are paid for within a day." in said(document)
    cost.update(monthlySaving=-100, saving=-0.1, worthwhile=False, message="the replicas stay the same")
    del cost["paybackDays"]
    told = "Beside the baseline it costs more by 100.00 USD a month, 10 %; not worth it: the replicas stay the same."
    assert told in said(document)


def test_a_proven_one_that_is_not_worth_it():
    document = documents.costed()
    document["status"]["variants"][0]["cost"].update(worthwhile=False, message="saves 12 USD, minMonthlySaving is 100")
    assert "fp8 is proven, but not worth it: saves 12 USD, minMonthlySaving is 100" in said(document)


def test_what_was_taken_back_and_the_drift_check():
    document = documents.proven()
    status = document["status"]
    status["stable"] = documents.revision("r-baseline", "baseline")
    entry = {"key": "k", "generation": 1, "revision": "r-gptq4", "variant": "gptq4", "reason": "FloorBreached"}
    status["rejected"] = [{**entry, "message": "0.863 of 400", "at": documents.AT}]
    drift = {"schedule": "@weekly", "verdict": "Breached", "value": 0.863, "floor": 0.93953, "samples": 400}
    status["drift"] = drift
    told = said(document)
    assert "gptq4 was taken back on 2026-11-20 09:00 UTC, FloorBreached: 0.863 of 400" in told
    assert "The drift check is Breached: 0.8630 of 400 answers right, floor 0.93953." in told
    del drift["value"]
    assert "The drift check is Breached: no drift check has run" in said(document)


def test_a_rollback_under_way_and_a_candidate_that_waits():
    document = documents.costed()
    status = document["status"]
    status["rollout"].update(kind="Rollback", reason="FloorBreached", message="0.863 of 400")
    assert "The traffic goes back to awq4 (FloorBreached: 0.863 of 400)." in said(document)
    del status["rollout"]
    assert "awq4 is the candidate: the cheapest of the proven" in said(document)
    status["candidate"] = documents.revision("r-baseline", "baseline")
    assert "baseline is the candidate: the full-precision model." in said(document)


def test_a_status_that_lags_behind_says_so():
    document = documents.proven()
    assert report_on(read(document)).stale == ""
    document["metadata"]["generation"] = 2
    assert report_on(read(document)).stale == "The spec is at generation 2, the status at 1: it is behind."
    del document["status"]
    assert "the status at none" in report_on(read(document)).stale


def test_a_floor_below_the_baselines_score_is_told_as_a_recovery_too():
    document = documents.costed()
    document["spec"]["qualityGate"].update(comparison="Difference", maxDrop=0.02)
    found = report_on(read(document))
    assert "floor 0.02 below the baseline's score, a recovery of 0.9716, proven with 95 %" in found.basis
    wire = found.to_wire()
    assert (wire["comparison"], wire["minAcceptable"], wire["maxDrop"]) == ("Difference", None, 0.02)
    assert wire["floor"] == pytest.approx(1 - 0.02 / 0.705)
    del document["status"]
    found = report_on(read(document))
    assert "floor 0.02 below the baseline's score, proven" in found.basis
    assert found.to_wire()["floor"] is None
