"""The record of a verification that `report -o json` prints."""

import json

from quantroll.report.report import report_on
from quantroll.report.subject import read
from unit.domain.world import World, spec_with, steady
from unit.report import documents
from unit.standing import scenes


def records(document):
    wire = json.loads(json.dumps(report_on(read(document)).to_wire(), allow_nan=False))
    return {row["variant"]: row["verification"] for row in wire["rows"]}


def test_it_has_all_that_a_verdict_stands_on():
    world = World(spec_with(qualityGate__generation={"noiseItems": 50}))
    world.record = "9" * 64
    world.settle()
    found = records(scenes.document(world))
    assert found["baseline"] is None
    mine, row = found["int8"], world.status.variants[0]
    assert (mine["items"], mine["bothRight"], mine["harm"], mine["gain"], mine["bothWrong"]) == (2000, 1985, 5, 2, 8)
    assert (mine["baselineScore"], mine["score"]) == (0.995, 0.9935)
    assert (mine["recovery"], mine["recoveryLowerBound"]) == (row.recovery, row.lower_bound)
    assert mine["recoveryUpperBound"] == row.upper_bound
    assert mine["method"].startswith("Nam-Blackwelder")
    assert (mine["comparison"], mine["confidence"], mine["alpha"], mine["floor"]) == ("Relative", 0.95, 0.05, 0.94)
    assert mine["mcnemarP"] == 0.2266, "one-sided"
    assert (mine["scorer"], mine["generation"]["maxTokens"]) == ("ExactMatch", 256)
    assert mine["evalSet"] == {"source": "pvc://tiny/eval.jsonl", "sha256": "b" * 64}
    assert (mine["model"]["digest"], mine["artifact"]["digest"]) == ("a" * 64, row.artifact.digest)
    assert (mine["recipe"]["scheme"], mine["calibration"]["sha256"], mine["calibration"]["overlap"]) == (
        "W8A8", "c" * 64, 0,
    )  # fmt: skip
    assert found["rtn4"]["calibration"] is None, "rounding needs none"
    assert (mine["engine"]["name"], mine["engine"]["image"]) == ("vllm-cpu", "example.com/vllm-cpu:1")
    assert mine["serving"]["maxNumSeqs"] == 64
    assert mine["errors"] == {"baseline": 0, "variant": 0}
    assert mine["promptsMatch"] is True
    folder = f"evaluations/{row.evaluation.key}"
    assert mine["record"] == {"file": f"{folder}/record.json", "sha256": "9" * 64}
    assert mine["answers"] == f"{folder}/items.jsonl"


def test_a_difference_is_told_beside_the_recovery():
    world = steady(spec_with(qualityGate__comparison="Difference", qualityGate__maxDrop=0.06))
    mine = records(scenes.document(world))["int8"]
    assert (mine["comparison"], mine["floor"], mine["difference"]) == ("Difference", -0.06, -0.0015)
    assert mine["differenceLowerBound"] < -0.0015 < mine["differenceUpperBound"]
    assert mine["method"].startswith("Tango")


def test_slices_have_their_own_bounds_and_what_the_data_do_not_bound_is_null():
    document = documents.proven()
    counts = document["status"]["variants"][1]["evaluation"]
    counts["slices"] = [{"name": "edge", "cells": [90, 4, 2, 4]}, {"name": "none", "cells": [0, 0, 0, 9]}]
    edge, none = records(document)["gptq4"]["slices"]
    assert (edge["items"], edge["harm"], edge["gain"]) == (100, 4, 2)
    assert edge["recoveryLowerBound"] < edge["recovery"] < edge["recoveryUpperBound"]
    assert (none["recovery"], none["recoveryLowerBound"], none["recoveryUpperBound"]) == (None, None, None)


def test_a_verdict_that_was_lost_has_no_record():
    document = documents.proven()
    del document["status"]["variants"][0]["verdict"]
    assert records(document)["int8"] is None
