"""What the API server makes of a QuantizedModel: defaults, order, status, columns, explanations."""

import json
from pathlib import Path

import pytest

from cluster.procs import wait_for
from contract.filled import filled
from contract.manifests import Object, minimal, quantized_model
from integration.conftest import Cluster
from integration.rest import Rest, models
from quantroll.api.spec import QuantizedModelSpec
from quantroll.api.status import QuantizedModelStatus
from quantroll.tools import crdgen

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

CHECKOUT = Path(__file__).resolve().parents[3]


def test_defaults_of_the_api_server_are_those_of_the_models(rest: Rest, namespace: str) -> None:
    code, stored = rest.request("POST", models(namespace), quantized_model(minimal()))
    assert code == 201, stored
    defaults = QuantizedModelSpec.model_validate(minimal()).to_wire()
    del defaults["qualityGate"]["minAcceptable"], defaults["qualityGate"]["generation"]["repeats"]  # by workload
    assert stored["spec"] == defaults


def test_variants_may_be_left_to_the_workload(rest: Rest, namespace: str) -> None:
    spec = {name: part for name, part in minimal().items() if name != "variants"}
    code, stored = rest.request("POST", models(namespace), quantized_model(spec))
    assert code == 201, stored
    assert "variants" not in stored["spec"]
    assert stored["spec"]["workload"] == "Chat"


def test_a_status_is_written_and_read_without_loss(rest: Rest, namespace: str) -> None:
    wire = filled(crdgen.structural(QuantizedModelStatus, written_by_user=False))
    status = QuantizedModelStatus.model_validate(wire)
    code, stored = rest.request("POST", models(namespace), quantized_model(minimal()))
    assert code == 201, stored
    path = models(namespace, "ticket-triage")

    code, answer = rest.request("PUT", f"{path}/status", {**stored, "status": status.to_wire()})
    assert code == 200, answer
    _, read = rest.request("GET", path)
    assert read["status"] == wire
    assert QuantizedModelStatus.model_validate(read["status"]) == status
    assert read["metadata"]["generation"] == 1, "a status does not make a new generation"

    code, answer = rest.request("PATCH", path, {"status": {"phase": "Steady"}, "spec": {"serving": {"replicas": 3}}})
    assert code == 200
    assert answer["status"] == wire, "status is written through its subresource alone"


def test_an_empty_status_stays_empty(rest: Rest, namespace: str) -> None:
    _, stored = rest.request("POST", models(namespace), quantized_model(minimal()))
    code, answer = rest.request("PUT", models(namespace, "ticket-triage", "status"), {**stored, "status": {}})
    assert code == 200
    assert answer.get("status", {}) == {}


def test_a_status_that_is_not_ours_is_refused(rest: Rest, namespace: str) -> None:
    _, stored = rest.request("POST", models(namespace), quantized_model(minimal()))
    path = models(namespace, "ticket-triage", "status")
    code, answer = rest.request("PUT", path, {**stored, "status": {"phase": "Fine"}})
    assert code == 422
    assert 'status.phase: Unsupported value: "Fine"' in answer["message"]
    code, answer = rest.request("PUT", path, {**stored, "status": {"fase": "Steady"}})
    assert code == 400
    assert 'unknown field "status.fase"' in answer["message"]


def test_server_side_apply_keeps_the_declared_order_of_variants(cluster: Cluster, namespace: str) -> None:
    def apply(*names: str) -> str:
        spec = {**minimal(), "variants": [{"name": name, "scheme": "FP8_DYNAMIC"} for name in names]}
        return cluster.client.apply(quantized_model(spec, namespace=namespace))

    def order() -> str:
        return cluster.client.kubectl("get", "qm", "-n", namespace, "-o", "jsonpath={.items[0].spec.variants[*].name}")

    apply("a", "b")
    apply("b", "c", "a")
    assert order() == "b c a"
    apply("c", "a")
    assert order() == "c a"


def test_kubectl_get_prints_the_columns(cluster: Cluster, rest: Rest, namespace: str) -> None:
    _, stored = rest.request("POST", models(namespace), quantized_model(minimal()))
    row: Object = {
        "conditions": [
            {"type": "Stalled", "status": "Unknown", "reason": "No", "lastTransitionTime": "2026-02-03T04:05:06Z"},
            {"type": "Ready", "status": "False", "reason": "Shifting", "lastTransitionTime": "2026-02-03T04:05:06Z"},
        ],
        "phase": "Analyzing",
        "stable": {"variant": "int8", "recovery": "0.991", "saving": "83.6%"},
        "candidate": {"variant": "fp8"},
        "rollout": {"id": "r1", "step": 1, "weight": 25, "startedAt": "2026-02-03T04:05:06Z"},
        "drift": {"schedule": "@weekly", "verdict": "Unknown"},
    }
    full = filled(crdgen.structural(QuantizedModelStatus, written_by_user=False))
    for role in ("stable", "candidate"):
        row[role] = {**full[role], **row[role]}
    code, answer = rest.request("PUT", models(namespace, "ticket-triage", "status"), {**stored, "status": row})
    assert code == 200, answer

    header, line = cluster.client.kubectl("get", "qm", "-n", namespace).splitlines()
    assert header.split() == [
        "NAME", "READY", "PHASE", "STABLE", "CANDIDATE", "WEIGHT", "RECOVERY", "SAVING", "DRIFT", "AGE",
    ]  # fmt: skip
    assert line.split()[:-1] == [
        "ticket-triage", "False", "Analyzing", "int8", "fp8", "25", "0.991", "83.6%", "Unknown",
    ]  # fmt: skip


def test_kubectl_explains_the_gate(cluster: Cluster) -> None:
    def explained() -> str:
        try:
            return cluster.client.kubectl("explain", "qm.spec.qualityGate")
        except RuntimeError:  # discovery follows the definition a moment later
            return ""

    text = " ".join(wait_for("kubectl explain", explained, 20, every=0.5).split())
    assert "What a variant must prove before it may serve" in text
    assert "evalSet <Object> -required-" in text
    assert "Floor of recovery, for comparison: Relative." in text


@pytest.mark.parametrize("path", sorted((CHECKOUT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_an_example_is_accepted(cluster: Cluster, namespace: str, path: Path) -> None:
    made = cluster.client.kubectl("create", "--dry-run=server", "-n", namespace, "-f", path, "-o", "json")
    assert json.loads(made)["kind"] == "QuantizedModel"


def test_kubectl_refuses_an_unknown_field_by_default(cluster: Cluster, namespace: str) -> None:
    manifest = json.dumps(quantized_model({**minimal(), "qualityGates": {}}))
    with pytest.raises(RuntimeError, match=r'unknown field "spec\.qualityGates"'):
        cluster.client.kubectl("create", "-n", namespace, "-f", "-", stdin=manifest)
