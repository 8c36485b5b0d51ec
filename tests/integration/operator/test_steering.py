"""Commands, suspension, analysis and routing without a gateway, against a real API server; a scripted Prometheus."""

import copy
import json
import time
from datetime import datetime

import pytest

from cluster.procs import wait_for
from integration.operator.conftest import SETTINGS, Operator, running
from integration.operator.test_spine import FOREVER, condition, phase, spec_with
from integration.rest import models
from unit.adapters.prometheus_server import serving

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]

ANALYSIS = {"interval": "1s", "failureLimit": 1, "metrics": [{"name": "error-ratio", "max": 0.01, "minSamples": 10}]}
COMPLETIONS = {"handler": "/v1/completions"}


class Prometheus:
    """Answers questions about any revision with the counts that a test sets; None: an outage."""

    def __init__(self, script):
        self.script = script
        self.requests = (500, 0)  # all, failed
        self.answers = (390, 10)  # right, wrong
        self.up = True
        self.candidate = None  # the first revision whose requests are asked for: nothing is known of any other's
        script.says(self._answer)

    def _answer(self, request, script):
        query = script.asked[-1]["query"]
        revision = query.split('revision="', 1)[1].split('"', 1)[0]
        now = time.time()
        if self.candidate is None and "quantroll_eval_items_total" not in query:
            self.candidate = revision
        if not self.up:
            request.send_error(503)
            return
        if "quantroll_eval_items_total" in query:
            right, wrong = self.answers
            series = [
                ({"part": "counted", "revision": revision, "outcome": "pass"}, str(right)),
                ({"part": "counted", "revision": revision, "outcome": "fail"}, str(wrong)),
                ({"part": "distinct"}, "1000"),
                ({"part": "interval"}, "1"),
                ({"part": "last", "revision": revision}, str(now)),
            ]
        elif revision != self.candidate:
            series = []
        else:
            total, failed = self.requests
            common = {"revision": revision, **COMPLETIONS}
            series = [
                ({"part": "now", **common, "status": "2xx"}, str(total)),
                ({"part": "counted", **common, "status": "2xx"}, str(total - failed)),
                ({"part": "counted", **common, "status": "5xx"}, str(failed)),
            ]
        send(request, series, now)


def send(request, series, now):
    result = [{"metric": labels, "value": [now, value]} for labels, value in series]
    body = json.dumps({"status": "success", "data": {"resultType": "vector", "result": result}}).encode()
    request.send_response(200)
    request.send_header("Content-Type", "application/json")
    request.end_headers()
    request.wfile.write(body)


@pytest.fixture
def prometheus():
    with serving() as script:
        yield Prometheus(script)


@pytest.fixture
def operator(cluster, namespace, tmp_path, prometheus):
    """An operator that knows the scripted Prometheus."""
    settings = {**copy.deepcopy(SETTINGS), "prometheus": {"url": prometheus.script.url, "timeoutSeconds": 2}}
    with running(Operator(cluster.client, tmp_path, namespace, settings)) as process:
        yield process


def analyzed(*variants, **rollout):
    spec = spec_with(*variants)
    spec["rollout"] |= {"analysis": ANALYSIS, **rollout}
    return spec


def test_errors_of_the_candidate_take_it_back_and_a_retry_tries_again(
    operator, player, prometheus, apply, status, command
):
    prometheus.requests = (500, 50)
    apply(analyzed("gptq4", steps=FOREVER))
    done = status(phase("RolledBack"), timeout=80)
    entry = done["rejected"][0]
    assert (entry["variant"], entry["reason"]) == ("gptq4", "AnalysisFailed")
    assert "50 of 500 requests failed" in entry["message"]
    assert done["stable"]["variant"] == "baseline"
    prometheus.requests = (500, 0)
    spec = analyzed("gptq4")
    apply(spec)
    time.sleep(2)
    assert status()["phase"] == "RolledBack", "an edit does not bring it back"
    assert not command("retry", "9-nothing-0")["accepted"]
    assert command("retry", entry["rollout"])["accepted"]
    done = status(phase("Steady"), timeout=60)
    assert done["stable"]["variant"] == "gptq4"


def test_without_an_answer_the_step_is_held_and_goes_on_with_it(operator, player, prometheus, apply, status):
    prometheus.up = False
    apply(analyzed("gptq4"))
    held = status(
        lambda s: s.get("conditions") and condition(s, "Stalled")["reason"] == "MetricsUnavailable", timeout=80
    )
    assert "503" in condition(held, "Stalled")["message"]
    assert held["phase"] == "Analyzing"
    assert held["rollout"]["analysis"]["failures"] == 0
    prometheus.up = True
    done = status(phase("Steady"), timeout=60)
    assert done["stable"]["variant"] == "gptq4"


def test_approval_abort_and_suspension(operator, player, apply, status, command, rest, namespace):
    spec = analyzed("gptq4", steps=[{"weight": 10, "duration": "1s", "approval": True}])
    apply(spec)
    waiting = status(phase("AwaitingApproval"), timeout=80)
    name = waiting["rollout"]["id"]
    assert condition(waiting, "AwaitingApproval")["status"] == "True"
    assert not command("approve", "1-other-0:0")["accepted"]
    apply({**spec, "suspend": True})
    held = status(lambda s: condition(s, "Suspended")["status"] == "True", timeout=20)
    assert held["rollout"]["step"] == 0
    assert command("approve", f"{name}:0")["accepted"]
    time.sleep(2)
    assert status()["rollout"]["step"] == 0, "nothing moves while it is suspended"
    assert command("abort", name)["accepted"], "abort is stronger"
    done = status(lambda s: s.get("rejected"), timeout=30)
    assert done["rejected"][0]["reason"] == "Aborted"
    apply({**spec, "suspend": False})
    done = status(lambda s: condition(s, "Suspended")["status"] == "False", timeout=30)
    assert done["phase"] == "RolledBack"
    assert not command("abort", name)["accepted"], "an old name does nothing"


def test_without_a_gateway_the_service_splits(operator, player, apply, status, rest, namespace):
    spec = analyzed("gptq4", steps=[{"weight": 50, "duration": "3s"}], routing={"mode": "Service"})
    apply(spec)
    shared = status(lambda s: s.get("phase") == "Analyzing", timeout=80)
    assert [share["weight"] for share in shared["traffic"]["applied"]] == [50, 50]
    selector = rest.request("GET", f"/api/v1/namespaces/{namespace}/services/tiny")[1]["spec"]["selector"]
    assert "quantroll.io/revision" not in selector
    done = status(phase("Steady"), timeout=60)
    selector = rest.request("GET", f"/api/v1/namespaces/{namespace}/services/tiny")[1]["spec"]["selector"]
    assert selector["quantroll.io/revision"] == done["stable"]["revision"]
    routes = rest.request("GET", f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes")[1]
    assert routes["items"] == []


@pytest.mark.long
@pytest.mark.timeout(300)
def test_drift_is_seen_confirmed_and_rolled_back(operator, player, prometheus, apply, status, rest, namespace):
    """The schedule has minutes; this test takes two of them."""
    spec = analyzed("gptq4")
    spec["driftCheck"] = {"schedule": "* * * * *", "window": "1h", "minSamples": 100, "confirm": {"items": 400}}
    apply(spec)
    steady = status(phase("Steady"), timeout=80)
    bad = steady["stable"]["revision"]
    prometheus.up = False
    unknown = status(lambda s: s["drift"]["verdict"] == "Unknown", timeout=75)
    assert "503" in unknown["drift"]["message"]
    assert condition(unknown, "QualityFloorMet")["status"] == "Unknown"
    assert unknown["stable"]["revision"] == bad
    prometheus.up, prometheus.answers = True, (320, 80)
    status(lambda s: s["drift"]["verdict"] in ("Suspect", "Breached"), timeout=75)
    done = status(phase("RolledBack"), timeout=60)
    assert done["stable"]["variant"] == "baseline"
    assert [(r["variant"], r["reason"], r["revision"]) for r in done["rejected"]] == [("gptq4", "FloorBreached", bad)]
    assert "confirmed" in done["drift"]["message"]

    def told():
        events = rest.request("GET", f"/api/v1/namespaces/{namespace}/events")[1]["items"]
        return {"QualityUnknown", "FloorSuspect", "FloorBreached", "RolledBack"} <= {e["reason"] for e in events}

    wait_for("events, which follow the status", told, 10)
    assert [kind for kind, _ in player.finished].count("confirm") == 1


def test_a_hostile_neighbour_stops_nobody(operator, player, apply, status, rest, namespace):
    hostile = spec_with("gptq4")
    hostile["qualityGate"]["evalSet"]["source"] = "pvc://tiny/" + "ü$(HOME)`x`;{{.}}%" * 50
    hostile["variants"][0]["ignore"] = ["re:" + "(a+)+" * 50, "$(reboot)"]
    name = "x" * 40
    notes = {
        "quantroll.io/abort": "\n" * 1000 + "/" * 1000,
        "quantroll.io/approve": "../../../etc/passwd:\u202e/☃",
        "quantroll.io/retry": "{" * 10_000,
        "quantroll.io/unknown": "x" * 100_000,
        "example.com/huge": "x" * 100_000,
    }
    manifest = {
        "apiVersion": "quantroll.io/v1alpha1",
        "kind": "QuantizedModel",
        "metadata": {"name": name, "annotations": notes, "labels": {"quantroll.io/name": "tiny"}},
        "spec": hostile,
    }
    code, answer = rest.request("POST", models(namespace), manifest)
    assert code == 201, answer
    apply(spec_with("gptq4"))
    done = status(phase("Steady"), timeout=80)
    assert done["stable"]["variant"] == "gptq4"
    seen = status(lambda s: len(s.get("commands", [])) == 3, name=name, timeout=30)
    assert not any(entry["accepted"] for entry in seen["commands"])
    assert status(name=name)["phase"], "it has a state of its own, too"


def test_a_restart_in_a_step_changes_no_clock_and_no_failure(operator, player, prometheus, apply, status):
    prometheus.requests = (500, 50)
    spec = analyzed("gptq4", steps=FOREVER)
    spec["rollout"]["analysis"] = {**ANALYSIS, "interval": "1h"}
    apply(spec)
    before = status(lambda s: s.get("rollout", {}).get("analysis"), timeout=80)
    assert before["rollout"]["analysis"]["failures"] == 1
    operator.kill()
    operator.start()
    time.sleep(5)
    after = status()
    assert after["rollout"] == before["rollout"]
    assert datetime.fromisoformat(after["rollout"]["expiresAt"]) > datetime.fromisoformat(after["rollout"]["since"])
