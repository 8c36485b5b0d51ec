"""What watches the operator: tools that wait, events, and its metrics page, against a real API server."""

import http.client
import json
import socket
import threading
import urllib.request
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from prometheus_client.parser import text_string_to_metric_families

from cluster.procs import wait_for
from integration.operator.conftest import SETTINGS, Operator, running
from integration.operator.test_spine import FOREVER, phase, spec_with
from integration.rest import models
from kstatus import kstatus, waited_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]


@contextmanager
def recorded(client, namespace):
    """Every state of the namespace's QuantizedModels that the API server had, as a watch tells of them."""
    bodies, host = [], urlsplit(client.server).netloc
    connection = http.client.HTTPSConnection(host, context=client.ssl, timeout=400)
    connection.request("GET", f"{models(namespace)}?watch=1&timeoutSeconds=390")
    answer = connection.getresponse()
    sock = connection.sock

    def read():
        try:
            while line := answer.readline():
                bodies.append(json.loads(line)["object"])
        except (OSError, ValueError):  # closed by the test
            return

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    try:
        yield bodies
    finally:
        sock.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=10)
        connection.close()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_tools_that_wait_read_every_status_of_a_rollout_rightly(
    operator, player, apply, status, rest, cluster, namespace
):
    with recorded(cluster.client, namespace) as bodies:
        apply(spec_with("int8", "gptq4"))
        status(phase("Steady"), timeout=140)
        settled = len(bodies)
        spec = spec_with("int8", "gptq4")
        spec["serving"]["maxNumSeqs"] = 8
        apply(spec)
        status(lambda s: s["observedGeneration"] == 2 and s["phase"] == "Steady", timeout=140)
        wait_for("the last status", lambda: kstatus(bodies[-1]) == "Current", 10)

    written = [body for body in bodies if body.get("status")]
    assert {body["status"]["observedGeneration"] for body in written} == {1, 2}
    for generation in (1, 2):
        own = [body for body in written if body["metadata"]["generation"] == generation]
        read = [kstatus(body) for body in own]
        assert read == sorted(read, reverse=True), "InProgress, then Current"
        assert set(read) == {"InProgress", "Current"}
        for kind in ("Ready", "Promoted"):
            said = [waited_for(body, kind) for body in own]
            assert said == sorted(said), f"{kind} was told, and taken back"
            assert said[-1]
    adopted = next(body for body in bodies[settled:] if body["status"]["observedGeneration"] == 2)
    assert {c["type"]: c["status"] for c in adopted["status"]["conditions"] if c["type"] in ("Ready", "Promoted")} != {
        "Ready": "True", "Promoted": "True",
    }  # fmt: skip
    assert not waited_for(adopted, "Ready")
    assert not waited_for(adopted, "Promoted")
    cluster.client.kubectl(
        "-n", namespace, "wait", "qm/tiny", "--for=condition=Ready", "--for=condition=Promoted", "--timeout=10s"
    )

    events = rest.request("GET", f"/api/v1/namespaces/{namespace}/events")[1]["items"]
    ours = [e for e in events if e["involvedObject"]["name"] == "tiny"]
    told = [(e["reason"], e["message"]) for e in ours]
    assert len(told) == len(set(told)), "what is told again counts up"
    transitions = [body["status"]["history"][-1] for body in written]
    entered = {(entry["at"], entry["phase"]) for entry in transitions}
    phases = {name for _, name in entered}
    assert sum(e["count"] for e in ours if e["reason"] in phases) == len(entered), "one event a transition"


def test_the_metrics_page_tells_of_a_model_while_there_is_one(
    cluster, player, apply, status, rest, namespace, tmp_path
):
    port = free_port()
    settings = {**SETTINGS, "metrics": {"port": port}}

    def page():
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        return [s for family in text_string_to_metric_families(text) for s in family.samples]

    def of_model():
        return {s.name for s in page() if s.labels.get("name") == "tiny" and s.labels.get("namespace") == namespace}

    with running(Operator(cluster.client, tmp_path, namespace, settings)):
        apply(spec_with("gptq4", steps=FOREVER))
        status(phase("Analyzing"), timeout=140)
        wait_for("the weight", lambda: "quantroll_canary_weight_applied" in of_model(), 10)
        found = of_model()
        assert {"quantroll_info", "quantroll_condition", "quantroll_eval_score", "quantroll_canary_weight"} <= found
        samples = page()
        total = {s.name: s.value for s in samples if not set(s.labels) - {"name", "controller", "result", "verb"}}
        assert total["workqueue_adds_total"] > 10
        assert total["workqueue_work_duration_seconds_count"] > 10
        sent = {(s.labels["method"], s.labels["code"]) for s in samples if s.name == "rest_client_requests_total"}
        assert {("PUT", "200"), ("PATCH", "201"), ("POST", "201")} <= sent
        assert rest.request("DELETE", models(namespace, "tiny"))[0] == 200
        wait_for("no series of it", lambda: not of_model(), 20)
