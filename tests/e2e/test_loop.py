"""The demo's loop on a real node, shorter and with assertions. The tests build on each other, in this order."""

import json
import sys
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from cluster import dashboard
from cluster.procs import wait_for
from demo.stage import EXAMPLE, HOST, NAMESPACE, SYSTEM, Stage
from demo.traffic import Traffic, ask
from e2e.acting import OFTEN, QUESTION, condition, held_at, jobs, jobs_by_name, kill_operator, phase, served
from kstatus import kstatus

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1500)]

MODEL = "tiny-llama"
ABOUT = "quantroll.io/"


def shorter() -> dict[str, Any]:
    """The demo's manifest with fewer items, quick steps and a schedule that is far away.

    Of its rungs it has the second, and then one of two bits, which vLLM does not serve. What refuses the naive one is
    tested elsewhere: by vLLM in the jobs' tests, in a cluster with an engine that plays.
    """
    manifest = yaml.safe_load(EXAMPLE.read_text())
    spec = manifest["spec"]
    gptq4 = next(variant for variant in spec["variants"] if variant["name"] == "gptq4")
    two = {"name": "two", "scheme": "W2A16", "algorithm": "RTN", "allowNaive": True, "allowSubFourBit": True}
    spec["variants"] = [gptq4, two]
    spec["qualityGate"]["evalSet"]["source"] = "pvc://tiny/eval-short.jsonl"
    spec["benchmark"]["concurrency"] = [2]
    spec["rollout"]["steps"] = [{"weight": 10, "duration": "10s"}, {"weight": 50, "duration": "60s"}]
    spec["driftCheck"]["schedule"] = "@weekly"
    return manifest


def burst(stage: Stage, count: int, clients: int = 4) -> list[str]:
    """So many requests through the gateway, shared by some clients; what went wrong."""
    wrong: list[str] = []

    def send() -> None:
        with httpx.Client(base_url=stage.gateway, headers={"Host": HOST}, timeout=60, trust_env=False) as client:
            wrong.extend(w for _ in range(count // clients) if (w := ask(client, MODEL, QUESTION)))

    threads = [threading.Thread(target=send) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return wrong


def none_again(stage: Stage, made: dict[str, Any]) -> None:
    """No Job that was seen before is another one by now; those that are new are noted."""
    for name, job in jobs_by_name(stage, MODEL).items():
        assert made.setdefault(name, job)["uid"] == job["uid"], f"{name} was made again"


def test_from_apply_to_a_proven_variant_with_an_operator_that_is_killed(stage, until):
    stage.apply(shorter())
    until(lambda s: condition(s, "Available")["status"] == "True", timeout=600)
    with httpx.Client(base_url=stage.gateway, headers={"Host": HOST}, timeout=30, trust_env=False) as client:
        wait_for("gateway", lambda: ask(client, MODEL, QUESTION) is None, 60, every=0.5)
    with Traffic(stage.gateway, HOST, MODEL, between=0.5) as traffic:
        made: dict[str, Any] = {}
        for moment in ("Quantizing", "Evaluating"):
            until(phase(moment), timeout=600)
            none_again(stage, made)
            kill_operator(stage)
        until(lambda s: s.get("rollout"), timeout=900)
        traffic.between = 0.1  # from here on it is what the pods behind the gateway come and go under
        at_half = until(held_at(50), timeout=900)
        none_again(stage, made)
        kill_operator(stage)
        assert stage.status()["rollout"]["since"] == at_half["rollout"]["since"], "a restart changed the step's clock"
        before = served(stage, MODEL)
        assert burst(stage, 200) == []
        share = served(stage, MODEL) - before
        assert stage.status()["rollout"]["since"] == at_half["rollout"]["since"], "nor later"
        done = until(phase("Steady", "Rejected", "RolledBack"), timeout=300)
    assert done["phase"] == "Steady", done["message"]
    assert done["stable"]["variant"] == "gptq4"
    verdicts = {row["name"]: row["verdict"] for row in done["variants"]}
    assert verdicts == {"gptq4": "PASS", "two": "Infeasible"}
    row = next(r for r in done["variants"] if r["name"] == "gptq4")
    refused = next(r for r in done["variants"] if r["name"] == "two")
    assert refused["reason"] == "Infeasible"
    assert len(refused["message"]) > 60, "it says what the engine said"
    assert row["lowerBound"] >= 0.94
    assert row["weightBytes"] < 0.5 * done["baseline"]["weightBytes"]
    for measured in (done["baseline"]["benchmark"], row["benchmark"]):
        assert (measured["concurrency"], measured["failed"]) == (2, 0), measured
        assert measured["outputTokensPerSecond"] > 1
    assert row["cost"]["perMillionOutputTokens"] > 0
    assert at_half["traffic"]["applied"], "the weights were accepted by the gateway"
    # The prober asks both alike, and draws what it adds to a half: a quarter of the requests would be 0.3 or less.
    assert 0.38 < share["gptq4"] / share.total() < 0.62, share
    assert traffic.failures == []
    assert min(traffic.sent["whole"], traffic.sent["streamed"]) > 50
    none_again(stage, made)
    there = jobs_by_name(stage, MODEL)
    assert len(there) == 7, "prepare, two quantize, and an evaluate and a benchmark of each that was served"
    gone = {
        (job["labels"][f"{ABOUT}component"], job["labels"].get(f"{ABOUT}variant"))
        for n, job in made.items()
        if n not in there
    }
    assert gone <= {("evaluate", "two")}, "it waited for an engine that cannot load; nothing else is ever missing"


def test_only_the_proven_variant_serves_under_the_stable_name(stage):
    serving = ("get", "deployments", "-l", "quantroll.io/component=serve", "-o", "json")
    deployments = json.loads(stage.kubectl(*serving))["items"]
    assert [d["metadata"]["labels"]["quantroll.io/variant"] for d in deployments] == ["gptq4"]
    service = json.loads(stage.kubectl("get", "service", MODEL, "-o", "json"))
    revision = stage.status()["stable"]["revision"]
    assert service["spec"]["selector"]["quantroll.io/revision"] == revision
    table = stage.kubectl("get", "qm")
    assert {"Steady", "gptq4", "61.3%"} <= set(table.split()), "it requests 1 GiB, the baseline 4"


def test_the_report_reads_the_cluster_and_its_items_the_volume(stage):
    program = str(Path(sys.executable).with_name("quantroll"))
    told = json.loads(stage.command(program, "report", MODEL, "--namespace", NAMESPACE, "-o", "json"))
    assert told["stable"] == "gptq4"
    assert "gptq4 serves" in told["choice"][0]
    flips = {row["variant"]: row["flips"] for row in told["rows"]}
    before = jobs(stage, MODEL)
    items = stage.command(program, "report", MODEL, "--namespace", NAMESPACE, "--items", "gptq4").splitlines()
    cells = Counter(json.loads(line)["cell"] for line in items)
    assert flips["gptq4"]["harm"] > 0
    assert {"harm": cells["harm"], "gain": cells["gain"]} == flips["gptq4"]
    assert jobs(stage, MODEL) == before, "the Job is gone"


def test_a_floor_that_is_patched_gives_another_verdict_in_seconds_and_no_job(stage, until):
    before, serving = jobs(stage, MODEL), stage.status()["stable"]["revision"]
    usual = stage.model()["spec"]["qualityGate"]["minAcceptable"]

    def judged(floor: float, verdict: str) -> dict[str, Any]:
        change = {"spec": {"qualityGate": {"minAcceptable": floor}}}
        stage.kubectl("patch", "qm", MODEL, "--type=merge", "-p", json.dumps(change))
        return until(lambda s: s["variants"][0]["verdict"] == verdict, timeout=5)

    strict = judged(0.999, "FAIL")
    assert strict["stable"]["revision"] == serving, "what serves keeps serving"
    judged(usual, "PASS")
    until(phase("Steady"), timeout=60)
    assert jobs(stage, MODEL) == before


def test_the_chart_upgrades_while_requests_go_on(stage):
    before = stage.model()["metadata"]["resourceVersion"]
    with Traffic(stage.gateway, HOST, MODEL) as traffic:
        stage.helm("upgrade", None, "--set", "workers=2", "--set", "crds.keep=false")
        wait_for("requests", lambda: traffic.sent.total() > 30, 60)
    assert traffic.failures == []
    assert stage.model()["metadata"]["resourceVersion"] == before, "a restarted operator wrote although nothing changed"


def test_the_chart_passes_a_server_side_dry_run(stage):
    stage.helm("upgrade", None, "--dry-run=server")


def test_drift_is_seen_confirmed_and_rolled_back_while_requests_go_on(stage, until):
    bad, before = stage.status()["stable"]["revision"], jobs(stage, MODEL)
    stage.kubectl("patch", "qm", MODEL, "--type=merge", "-p", json.dumps({"spec": {"driftCheck": OFTEN}}))
    with Traffic(stage.gateway, HOST, MODEL) as traffic:
        healthy = until(lambda s: s["drift"]["verdict"] == "Healthy", timeout=240)
        assert healthy["drift"]["value"] > 0.94
        assert condition(healthy, "QualityFloorMet")["status"] == "True"
        stage.production_turns_to("arithmetic")
        done = until(phase("RolledBack"), timeout=600)
        prometheus = f"http://127.0.0.1:{stage.cluster.ports['prometheus']}"
        with suppress(TimeoutError):
            wait_for("data of every panel of the dashboard", lambda: not dashboard.unanswered(prometheus), 60, every=2)
        assert dashboard.unanswered(prometheus) == []
    assert traffic.failures == []
    assert done["stable"]["variant"] == "baseline"
    assert [(r["variant"], r["revision"], r["reason"]) for r in done["rejected"]] == [("gptq4", bad, "FloorBreached")]
    told = stage.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}").split()
    assert {"FloorMet", "FloorSuspect", "FloorBreached", "RolledBack"} <= set(told)
    assert before < (after := jobs(stage, MODEL))
    assert len(after - before) == 1, "one confirm Job beside those of the rollout"


def test_tools_that_wait_have_read_all_of_it_rightly(recorded):
    read = {"Steady": "Current", "Rejected": "Failed", "RolledBack": "Failed"}
    seen = [body for body in recorded.values() if body.get("status", {}).get("phase")]
    told = Counter()
    for body in seen:
        status = body["status"]
        adopted = status["observedGeneration"] == body["metadata"]["generation"]
        expected = read.get(status["phase"], "InProgress") if adopted else "InProgress"
        if status["phase"] == "Steady" and status.get("rollout"):
            expected = "InProgress"
        assert kstatus(body) == expected, (status["phase"], status["message"], status["conditions"])
        told[expected] += 1
    assert set(told) == {"InProgress", "Current", "Failed"}, told
    assert len(seen) > 20, told


def test_nothing_is_left_but_user_volumes_and_retained_claims(stage):
    stage.kubectl("delete", "qm", "--all", "--wait")
    kinds = "jobs,pods,deployments,services,httproutes"

    def gone() -> bool:
        return "items: []" in stage.kubectl("get", kinds, "-o", "yaml")

    wait_for("children to go", gone, 120, every=1)
    claims = json.loads(stage.kubectl("get", "pvc", "-o", "json"))["items"]
    assert {"tiny", f"{MODEL}-artifacts"} <= {c["metadata"]["name"] for c in claims}
    assert (stage.dir / "tiny" / "model" / "config.json").exists(), "a user's files"
    assert all(c["metadata"]["name"].endswith("-artifacts") or c["metadata"]["name"] == "tiny" for c in claims)
    assert installed(stage)
    stage.command("helm", "uninstall", "quantroll", "--namespace", SYSTEM, "--wait")
    wait_for("what the chart made to go", lambda: not installed(stage), 60, every=1)


def installed(stage: Stage) -> list[str]:
    """What is in the cluster of the chart and of the API."""
    ours = ("-l", "app.kubernetes.io/managed-by=Helm", "-o", "name")
    kinds = "clusterroles,clusterrolebindings,serviceaccounts,deployments,configmaps,roles,rolebindings"
    found = stage.command("kubectl", "get", kinds, "--all-namespaces", *ours).split()
    api = stage.command("kubectl", "api-resources", "-o", "name").split()
    return [*found, *(name for name in api if name.endswith("quantroll.io"))]
