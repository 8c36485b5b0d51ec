"""The one table: what stands in it, what is missing and why, and how numbers are told."""

import json

import pytest

from contract.filled import filled
from quantroll.api.status import QuantizedModelStatus
from quantroll.report.numbers import money, percent, significant
from quantroll.report.report import report_on
from quantroll.report.subject import NotAQuantizedModel, read
from quantroll.tools import crdgen
from unit.report import documents

TITLES = [
    "variant", "bits W/A/KV", "weights GB", "VRAM x1.2 GB", "fits on", "KV tokens", "TTFT ms p50/p99", "ITL ms p50/p99",
    "tok/s at SLO", "rps", "replicas", "$/1M out", "$/1M requests", "$/month", "score", "recovery", "harm/gain",
    "worst slice", "verdict", "reason",
]  # fmt: skip


def table(document):
    return report_on(read(document)).table


def row(document, name):
    found = table(document)
    texts = next([cell.text for cell in row] for row in found.rows if row[0].text == name)
    return dict(zip(found.titles, texts, strict=True))


def test_every_column_in_order_where_everything_is_known():
    assert table(documents.costed()).titles == TITLES
    assert table(documents.costed()).left_out == []


def test_a_row_with_everything():
    assert list(row(documents.costed(), "awq4").values()) == [
        "awq4", "4/16/16", "5.49", "6.59", "NVIDIA-L4", "118,784", "84.2/310", "18.3/41.7", "1,610", "12.6", "2",
        "0.280", "35.78", "1,183", "0.6945", "0.9851 [0.9755, 0.9942]", "42/21", "edge 0.9512 (n 240)",
        "PASS", "Proven",
    ]  # fmt: skip


def test_the_baseline_is_the_reference_and_recovers_nothing():
    found = row(documents.costed(), "baseline")
    assert found["verdict"] == "reference"
    assert (found["recovery"], found["harm/gain"], found["worst slice"]) == ("", "", "")
    assert found["bits W/A/KV"] == "16/16/16"


def test_what_is_missing_is_a_dash_with_its_reason_and_never_a_zero():
    found = table(documents.costed())
    cells = dict(zip(found.titles, found.rows[-1], strict=True))
    reasons = {title: found.notes[cell.note - 1] for title, cell in cells.items() if cell.note}
    assert {cell.text for cell in cells.values() if cell.note} == {"-"}
    assert reasons["rps"] == "no load was inside the SLO: p99 TTFT 612 ms at 1"
    assert reasons["$/month"] == "the status has no costs"
    assert reasons["fits on"] == "the status has no memory figures"
    assert len(found.notes) == 3
    assert "0" not in {cell.text for row in found.rows for cell in row}


def test_columns_without_any_value_are_left_out_and_named_with_the_reason():
    found = table(documents.proven())
    kept = ["variant", "bits W/A/KV", "weights MB", "score", "recovery", "harm/gain", "verdict", "reason"]
    assert found.titles == kept
    assert found.left_out == [
        "VRAM x1.2 MB, fits on, KV tokens: the status has no memory figures",
        "TTFT ms p50/p99, ITL ms p50/p99, tok/s at SLO, rps: no benchmark has run",
        "replicas, $/1M out, $/1M requests, $/month: the status has no costs",
        "worst slice: the eval set has no slices",
    ]


def test_just_applied_there_is_a_row_for_each_declared_variant():
    found = table(documents.pending())
    assert [[cell.text for cell in row] for row in found.rows] == [
        ["baseline", "16/16/16", "reference"], ["fp8", "8/8/16", "-"], ["int4", "4/16/16", "-"],
    ]  # fmt: skip
    assert found.notes == ["not measured yet"]


def test_a_message_of_the_figures_is_the_reason():
    document = documents.costed()
    document["status"]["variants"][0]["cost"] = {"message": "no price for NVIDIA-L4"}
    document["status"]["variants"][0]["memory"] = {"vramBytes": 1, "message": "no memory size for NVIDIA-L4"}
    record = table(document).records[1]
    assert record["monthly"] is None
    assert record["missing"]["monthly"] == "no price for NVIDIA-L4"
    assert record["missing"]["kvTokens"] == "no memory size for NVIDIA-L4"


def test_a_variant_that_was_never_tried_says_so_when_everything_is_settled():
    document = documents.proven()
    document["spec"]["variants"].append({"name": "gptq3", "scheme": "W3A16", "allowSubFourBit": True})
    record = table(document).records[-1]
    assert record["variant"] == "gptq3"
    assert record["missing"]["score"] == "not tried: the ladder ended before it"
    assert record["bits"] == {"weights": 3, "activations": 16, "kvCache": 16}


@pytest.mark.parametrize("verdict", ["ERROR", "Infeasible"])
def test_a_variant_that_could_not_be_made_or_served_says_why(verdict):
    document = documents.proven()
    document["status"]["variants"][2] = {
        "name": "rtn4", "scheme": "W4A16", "bits": 4, "verdict": verdict, "reason": "BackendUnknown",
        "message": "backend AutoAWQ has no image here",
    }  # fmt: skip
    record = table(document).records[-1]
    assert record["missing"]["weightBytes"] == "backend AutoAWQ has no image here"
    assert record["verdict"] == verdict


def test_a_failed_job_is_the_reason_while_there_is_no_verdict():
    document = documents.proven()
    failure = {"key": "k", "job": "j", "reason": "OutOfMemory", "message": "give it more", "generation": 1}
    document["status"]["variants"][2] = {
        "name": "rtn4", "scheme": "W4A16", "bits": 4, "failure": {**failure, "at": documents.AT},
    }  # fmt: skip
    assert table(document).records[-1]["missing"]["score"] == "OutOfMemory: give it more"


def test_a_variant_that_the_spec_no_longer_names_keeps_its_row():
    document = documents.proven()
    del document["spec"]["variants"][1]
    assert [record["variant"] for record in table(document).records] == ["baseline", "int8", "rtn4", "gptq4"]


@pytest.mark.parametrize(
    ("args", "bits"),
    [([], 16), (["--kv-cache-dtype=fp8"], 8), (["--kv-cache-dtype", "fp8_e5m2"], 8), (["--kv-cache-dtype=auto"], 16),
     (["--kv-cache-dtype=fp8", "--kv-cache-dtype=bfloat16"], 16), (["--kv-cache-dtype=odd"], None),
     (["--kv-cache-dtype"], None)],
)  # fmt: skip
def test_the_kv_cache_has_the_models_type_or_the_engine_profiles(args, bits):
    document = documents.proven()
    document["status"]["resolved"]["profile"] = {**documents.PROFILE, "args": args}
    assert [record["bits"]["kvCache"] for record in table(document).records] == [bits] * 4


def test_full_precision_of_32_bits():
    document = documents.proven()
    document["spec"]["model"]["dtype"] = document["spec"]["qualityGate"]["verifiedAgainst"] = "float32"
    assert table(document).records[0]["bits"] == {"weights": 32, "activations": 32, "kvCache": 32}


def test_a_bound_that_is_not_known_is_a_dash_inside_the_interval():
    document = documents.proven()
    del document["status"]["variants"][1]["upperBound"]
    assert row(document, "gptq4")["recovery"] == "0.9680 [0.9608, -]"


def test_another_currency_is_told_beside_its_amount():
    document = documents.costed()
    document["status"]["variants"][0]["cost"]["currency"] = "EUR"
    assert row(document, "fp8")["$/month"] == "1,183 EUR"
    for arm in (document["status"]["baseline"], *document["status"]["variants"]):
        if "cost" in arm:
            arm["cost"]["currency"] = "EUR"
    assert row(document, "fp8")["EUR/month"] == "1,183"


def test_programs_get_everything_unrounded_and_null_for_what_is_missing():
    wire = json.loads(json.dumps(report_on(read(documents.costed())).to_wire(), allow_nan=False))
    assert (wire["stable"], wire["candidate"], wire["phase"]) == ("baseline", "awq4", "Analyzing")
    best, last = wire["rows"][3], wire["rows"][4]
    assert best["recovery"] == {"value": 0.985106, "lowerBound": 0.97549, "upperBound": 0.994216}
    assert best["ttftMs"] == {"p50": 84.2, "p99": 310.5}
    assert best["weightBytes"] == 5_492_698_693
    assert best["worstSlice"] == {"name": "edge", "recovery": 0.9512, "items": 240}
    assert best["currency"] == "USD"
    assert last["monthly"] is None
    assert set(last["missing"]) >= {"monthly", "kvTokens", "requestsPerSecond"}


def test_a_status_with_every_field_full_is_told():
    schema = crdgen.structural(QuantizedModelStatus, written_by_user=False)
    found = table({**documents.proven(), "status": filled(schema)})
    assert found.titles == [title.replace("$", "word").replace("GB", "MB") for title in TITLES]
    assert len(found.rows) == 1 + 3 + 1  # the filled rows have one name


@pytest.mark.parametrize(
    ("value", "told"),
    [(0, "0"), (16.0605, "16.1"), (0.000394064, "0.000394"), (2840.4, "2,840"), (-3.456, "-3.46"), (118784, "118,784")],
)
def test_significant_digits(value, told):
    assert significant(value) == told


@pytest.mark.parametrize(
    ("value", "told"), [(2336, "2,336"), (24, "24.00"), (0.3806, "0.381"), (0, "0.00"), (-1952.4, "-1,952")]
)
def test_money(value, told):
    assert money(value) == told


@pytest.mark.parametrize(
    ("value", "told"), [(0.83562, "84 %"), (0, "0 %"), (1, "100 %"), (0.9996, "100.0 %"), (0.002, "0.2 %")]
)
def test_percent(value, told):
    assert percent(value) == told


@pytest.mark.parametrize(
    ("document", "said"),
    [
        ([], "not an object"),
        ("text", "not an object"),
        ({"kind": "List", "apiVersion": "v1", "items": []}, "give one object"),
        ({"kind": "QuantizedModel", "apiVersion": "other.io/v1"}, "is needed, this is other.io QuantizedModel"),
        ({"kind": "Pod", "apiVersion": "v1"}, "is needed"),
        ({**documents.proven(), "metadata": {}}, "metadata.name is missing"),
        ({**documents.proven(), "metadata": []}, "metadata.name is missing"),
        ({**documents.proven(), "spec": None}, "QuantizedModelSpec: spec"),
        ({**documents.proven(), "status": {"phase": "Dancing"}}, "QuantizedModelStatus: phase"),
        ({**documents.proven(), "status": []}, None),
        ({**documents.proven(), "status": "x"}, "QuantizedModelStatus"),
    ],
)
def test_what_is_no_quantized_model_is_refused_with_the_reason(document, said):
    if said is None:
        assert read(document).status.phase is None
        return
    with pytest.raises(NotAQuantizedModel, match=said):
        read(document)


def test_a_newer_operators_fields_are_left_out():
    document = documents.proven()
    document["status"]["news"] = {"a": 1}
    document["status"]["variants"][0]["news"] = 1
    document["spec"]["news"] = True
    assert report_on(read(document)).table.records == table(documents.proven()).records


def test_what_the_workload_stands_for_is_filled_in_as_it_was_pinned():
    document = documents.pending()
    document["spec"]["workload"] = "Reasoning"
    assert read(document).spec.quality_gate.min_acceptable == 0.97
    pinned = {"workload": "Reasoning", "minAcceptable": 0.96, "repeats": 4, "schemes": []}
    resolved = {"generation": 1, "engine": "vllm", "profile": documents.PROFILE, "preset": pinned}
    document["status"] = {"resolved": resolved}
    assert read(document).spec.quality_gate.min_acceptable == 0.96
