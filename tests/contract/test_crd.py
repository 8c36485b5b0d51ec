"""The CRD: up to date, described, bounded, and every rule of it covered by a case for the API server."""

import json
import shutil
from pathlib import Path

import pytest
from pydantic import ValidationError

from contract import constraints
from contract.constraints import Constraint, collect
from contract.filled import filled
from contract.manifests import Object
from quantroll.api.base import VALIDATIONS
from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import QuantizedModelStatus
from quantroll.tools import crdgen, generate

CHECKOUT = Path(__file__).resolve().parents[2]
NODES = dict(crdgen.nodes(crdgen.schema(), ""))
FIELDS = [path for path in NODES if path.startswith(("spec", "status")) and not path.endswith(("[]", "{}"))]
KEYWORDS_OF_STRUCTURAL_SCHEMAS = {
    "additionalProperties", "anyOf", "default", "description", "enum", "exclusiveMinimum", "format", "items",
    "maxItems", "maxLength", "maxProperties", "maximum", "minItems", "minLength", "minimum", "pattern", "properties",
    "required", "type", "x-kubernetes-int-or-string", "x-kubernetes-list-map-keys", "x-kubernetes-list-type",
    VALIDATIONS,
}  # fmt: skip
FIXED = {"^[0-9a-f]{64}$", "^[0-9a-f]{40}$", "^[A-Z]{3}$"}  # patterns that leave one length
WITHOUT_EFFECT = {
    "default", "description", "exclusiveMinimum", "items", "properties", "type", "anyOf", "additionalProperties",
    "x-kubernetes-int-or-string", "x-kubernetes-list-type",
}  # fmt: skip


def test_what_is_generated_is_up_to_date() -> None:
    assert generate.stale(CHECKOUT) == [], "run `make generate`"


def test_check_names_the_stale_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert generate.main(["--root", str(tmp_path)]) == 0
    assert generate.main(["--root", str(tmp_path), "--check"]) == 0

    crd = tmp_path / "crds" / generate.CRD_FILE
    crd.write_text(crd.read_text().replace("maximum: 100\n", "maximum: 101\n"))
    shutil.rmtree(tmp_path / "docs")
    assert generate.main(["--root", str(tmp_path), "--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"crds/{generate.CRD_FILE} is stale: run `make generate`",
        "docs/api.md is stale: run `make generate`",
    ]


def test_only_keywords_of_structural_schemas_are_left() -> None:
    assert {key for node in NODES.values() for key in node} == KEYWORDS_OF_STRUCTURAL_SCHEMAS


def test_every_keyword_that_can_refuse_something_has_cases() -> None:
    assert KEYWORDS_OF_STRUCTURAL_SCHEMAS - WITHOUT_EFFECT - {"format"} == {*constraints.MESSAGES, VALIDATIONS}
    assert [path for path, node in NODES.items() if "format" in node and not path.startswith("status")] == []


def test_every_rule_and_bound_has_cases() -> None:
    found = {(case.path, case.keyword, case.detail) for case in collect()}
    assert len(found) == len(list(collect()))
    details = {case.detail for case in collect() if case.detail}
    assert set(constraints.PAIRS) == details, "pairs without a rule"


def test_every_rule_about_a_change_has_one() -> None:
    assert constraints.transitions() == list(constraints.TRANSITIONS)


def test_a_new_rule_without_a_pair_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    schema = crdgen.schema()
    rule = {"rule": "self.replicas < 7", "message": "a message that no pair knows"}
    schema["properties"]["spec"]["properties"]["serving"][VALIDATIONS] = [rule]
    monkeypatch.setattr(crdgen, "schema", lambda: schema)
    with pytest.raises(KeyError, match="a message that no pair knows"):
        list(collect())


@pytest.mark.parametrize("path", FIELDS)
def test_every_field_has_a_description(path: str) -> None:
    text = NODES[path].get("description", "")
    assert text.endswith((".", "re:")), f"{path}: {text!r}"


@pytest.mark.parametrize("path", [path for path in NODES if path.startswith(("spec", "status"))])
def test_the_size_of_everything_is_bounded(path: str) -> None:
    node = NODES[path]
    if node.get("type") == "array":
        assert "maxItems" in node
    if "additionalProperties" in node:
        assert "maxProperties" in node
    if node.get("type") == "string":
        assert {"maxLength", "enum", "format"} & node.keys() or node["pattern"] in FIXED


@pytest.mark.parametrize("case", [c for c in collect() if "spec" in c.breaks], ids=lambda case: case.id)
def test_python_judges_as_the_api_server_does(case: Constraint) -> None:
    QuantizedModelSpec.model_validate(case.keeps["spec"])
    if case.python:
        with pytest.raises(ValidationError):
            QuantizedModelSpec.model_validate(case.breaks["spec"])
    else:
        QuantizedModelSpec.model_validate(case.breaks["spec"])


def test_the_api_server_fills_in_nothing_that_the_workload_decides() -> None:
    gate = "spec.qualityGate"
    for path in ("spec.variants", f"{gate}.minAcceptable", f"{gate}.generation.repeats"):
        assert "default" not in NODES[path]
        assert "Default: " in NODES[path]["description"]
    assert NODES[f"{gate}.generation"]["default"] == {}
    assert "variants" not in NODES["spec"]["required"]


def test_a_status_has_neither_defaults_nor_rules() -> None:
    inside: list[Object] = [node for path, node in NODES.items() if path.startswith("status")]
    assert inside
    assert not [node for node in inside if node.keys() & {"default", VALIDATIONS}]


def test_a_full_status_is_understood_and_stays_below_64_kib() -> None:
    average = "a" * 40  # digests are longer; names, schemes and most messages shorter
    wire = filled(crdgen.structural(QuantizedModelStatus, written_by_user=False), average)
    assert QuantizedModelStatus.model_validate(wire).to_wire() == wire
    assert len(json.dumps(wire)) < 65_536


def test_the_scale_subresource_reads_fields_that_there_are():
    version = crdgen.custom_resource_definition()["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    for path in version["subresources"]["scale"].values():
        node = schema
        for name in path.strip(".").split("."):
            node = node["properties"][name]
