"""The loop against a real API server: controllers, garbage collection and conflicts are real, pods are played."""

import copy
import time

import pytest

from cluster.procs import wait_for
from integration.operator.player import report_for
from integration.rest import models
from unit.domain import world

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

SPEC = world.spec_with(
    rollout__steps=[{"weight": 10, "duration": "1s"}, {"weight": 50, "duration": "1s"}],
    rollout__analysis={"metrics": []},
    rollout__deadlines={"modelLoad": "20s", "drain": "2s"},
    storage={"reclaimPolicy": "Delete"},
)


def spec_with(*variants, steps=None):
    """SPEC with these variants only: every Job takes a second, since the Job controller looks at pods that often."""
    spec = copy.deepcopy(SPEC)
    spec["variants"] = [variant for variant in spec["variants"] if variant["name"] in variants]
    spec["rollout"]["steps"] = steps or spec["rollout"]["steps"]
    return spec


PHASES = [
    "Pending", "Baselining", "Quantizing", "Evaluating", "Quantizing", "Evaluating", "Quantizing", "Evaluating",
    "Selecting", "CandidateStarting", "Shifting", "Analyzing", "Shifting", "Analyzing", "Promoting", "Draining",
    "Steady",
]  # fmt: skip
FOREVER = [{"weight": 10, "duration": "1h"}]


def phase(*names):
    return lambda status: status.get("phase") in names


def condition(status, kind):
    return next(c for c in status["conditions"] if c["type"] == kind)


def test_three_variants_to_steady(operator, player, apply, status, rest, namespace):
    apply(SPEC)
    done = status(phase("Steady"), timeout=80)
    verdicts = {row["name"]: row["verdict"] for row in done["variants"]}
    assert verdicts == {"int8": "PASS", "gptq4": "PASS", "rtn4": "FAIL"}
    assert done["stable"]["variant"] == "gptq4"
    assert done["stable"]["recovery"] == "0.956"
    assert condition(done, "Ready")["status"] == "True"
    assert condition(done, "Stalled")["status"] == "False"
    assert (done["drift"]["schedule"], done["drift"]["verdict"]) == ("@weekly", "Pending")
    assert done["drift"]["next"] > done["stable"]["since"]
    assert [entry["phase"] for entry in done["history"]] == PHASES
    assert sorted(kind for kind, _ in player.finished) == ["evaluate"] * 4 + ["prepare"] + ["quantize"] * 3

    def deployed():
        found = rest.request("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments")[1]["items"]
        return {d["metadata"]["labels"].get("quantroll.io/variant"): d for d in found}

    wait_for("nothing but what serves, and the prober", lambda: set(deployed()) == {"gptq4", None}, 20)
    served = deployed()
    assert served["gptq4"]["spec"]["replicas"] == 2
    _, service = rest.request("GET", f"/api/v1/namespaces/{namespace}/services/tiny")
    assert service["spec"]["selector"]["quantroll.io/revision"] == done["stable"]["revision"]
    artifact = next(row["artifact"] for row in done["variants"] if row["name"] == "gptq4")
    engine = served["gptq4"]["spec"]["template"]["spec"]["containers"][0]
    assert f"/artifacts/{artifact['path']}" in [*engine.get("command", []), *engine["args"]]
    _, model = rest.request("GET", models(namespace, "tiny"))
    assert "finalizers" not in model["metadata"]
    assert not any("kopf" in name for name in model["metadata"].get("annotations", {}))
    version = model["metadata"]["resourceVersion"]
    time.sleep(2)
    assert rest.request("GET", models(namespace, "tiny"))[1]["metadata"]["resourceVersion"] == version, "idle writes"


@pytest.mark.long
@pytest.mark.timeout(300)  # seven starts of the operator, and what is waited for in each phase has its own limit
def test_killed_in_every_phase_it_goes_on(operator, player, apply, status):
    """Phases that pass in a moment are held: pods that load, or a gateway that does not answer."""
    player.never_ready = {"gptq4"}
    apply(SPEC)
    moments = ["Baselining", "Quantizing", "Evaluating", "CandidateStarting", "Shifting", "Analyzing", "Draining"]
    for moment in moments:
        player.accept_routes = moment != "Shifting"
        if moment == "Shifting":
            player.never_ready = set()
        status(phase(moment), timeout=60)
        operator.kill()
        operator.start()
    done = status(phase("Steady"), timeout=60)
    assert done["stable"]["variant"] == "gptq4"
    assert [entry["phase"] for entry in done["history"]] == PHASES, "a phase was gone through twice, or left out"
    jobs = [key for kind, key in player.finished if kind != "prepare"]
    assert len(jobs) == len(set(jobs)) == 7, "a Job ran twice"


def test_none_proven_is_rejected_and_the_baseline_keeps_serving(operator, player, apply, status):
    spec = copy.deepcopy(SPEC)
    spec["variants"] = spec["variants"][2:]
    del spec["calibration"]
    apply(spec)
    done = status(phase("Rejected"), timeout=60)
    assert done["stable"]["variant"] == "baseline"
    assert condition(done, "Stalled")["reason"] == "Rejected"
    assert condition(done, "Available")["status"] == "True"
    assert "candidate" not in done
    assert done["traffic"]["applied"] == [{"revision": done["stable"]["revision"], "weight": 100}]


def test_load_deadline_takes_the_candidate_back_and_remembers(operator, player, apply, status, rest, namespace):
    player.never_ready = {"gptq4"}
    spec = spec_with("gptq4")
    spec["rollout"]["deadlines"]["modelLoad"] = "5s"
    apply(spec)
    done = status(phase("RolledBack"), timeout=80)
    assert done["stable"]["variant"] == "baseline"
    assert [(entry["variant"], entry["reason"]) for entry in done["rejected"]] == [("gptq4", "LoadDeadlineExceeded")]
    assert condition(done, "Stalled")["status"] == "True"
    time.sleep(3)
    assert status()["phase"] == "RolledBack", "a rejected revision was tried again"
    _, deployments = rest.request("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments")
    serving = [d["metadata"]["labels"] for d in deployments["items"]]
    assert [s["quantroll.io/variant"] for s in serving if s["quantroll.io/component"] == "serve"] == ["baseline"]


def test_a_changed_threshold_gives_a_new_verdict_without_any_job(operator, player, apply, status):
    apply(spec_with("int8", "gptq4"))
    status(phase("Steady"), timeout=80)
    ran = len(player.finished)
    strict = spec_with("int8", "gptq4")
    strict["qualityGate"]["minAcceptable"] = 0.99
    apply(strict)
    done = status(lambda s: s["variants"][1].get("verdict") == "FAIL" and s["phase"] == "Steady", timeout=60)
    assert done["stable"]["variant"] == "int8", "the smallest variant that is proven at the new floor"
    assert len(player.finished) == ran


def test_a_spec_changed_in_mid_shift_supersedes(operator, player, apply, status):
    apply(spec_with("int8", "gptq4", steps=FOREVER))
    status(phase("Analyzing"), timeout=60)
    strict = spec_with("int8", "gptq4")
    strict["qualityGate"]["minAcceptable"] = 0.99
    apply(strict)
    done = status(phase("Steady"), timeout=60)
    assert done["stable"]["variant"] == "int8"
    assert done.get("rejected", []) == [], "superseded is not rejected"


def test_children_changed_or_deleted_by_hand_are_put_back(operator, player, apply, status, rest, namespace):
    apply(spec_with("gptq4", steps=FOREVER))
    before = status(lambda s: s.get("phase") == "Analyzing" and s["rollout"].get("since"), timeout=60)
    route = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes/tiny"
    _, found = rest.request("GET", route)
    refs = found["spec"]["rules"]
    refs[0]["backendRefs"][0]["weight"] = 1
    time.sleep(1.1)
    assert rest.request("PATCH", route, {"spec": {"rules": refs}})[0] == 200
    after = status(
        lambda s: s["phase"] == "Analyzing" and s["rollout"].get("since", "") > before["rollout"]["since"], timeout=20
    )
    assert after["traffic"]["applied"] == before["traffic"]["applied"]
    detour = {"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [{"name": "x", "value": "y"}]}}
    written = rest.request("GET", route)[1]["spec"]
    rules = [{**written["rules"][0], "filters": [detour]}]
    assert rest.request("PATCH", route, {"spec": {"hostnames": ["other.example.com"], "rules": rules}})[0] == 200
    wait_for("the route as it was", lambda: rest.request("GET", route)[1]["spec"] == written, 20)
    services = f"/api/v1/namespaces/{namespace}/services"
    for name in ("tiny", f"tiny-{after['candidate']['revision']}"):
        assert rest.request("DELETE", f"{services}/{name}")[0] == 200
    for name in ("tiny", f"tiny-{after['candidate']['revision']}"):
        wait_for(f"Service {name}", lambda at=f"{services}/{name}": rest.request("GET", at)[0] == 200, 20)
    before = status(lambda s: s["phase"] == "Analyzing" and s["rollout"].get("since"), timeout=20)
    time.sleep(1.1)
    assert rest.request("DELETE", route)[0] == 200
    status(
        lambda s: s["phase"] == "Analyzing" and s["rollout"].get("since", "") > before["rollout"]["since"], timeout=20
    )
    assert rest.request("GET", route)[1]["spec"] == written
    serving = f"/apis/apps/v1/namespaces/{namespace}/deployments/tiny-{before['stable']['revision']}"
    was = rest.request("GET", serving)[1]
    assert rest.request("DELETE", serving)[0] == 200

    def made_again():
        now = rest.request("GET", serving)[1]
        return now["metadata"].get("uid") not in (None, was["metadata"]["uid"]) and now["spec"] == was["spec"]

    wait_for("the Deployment", made_again, 20)


def adds_to(deployment):
    """What people try out by hand, in whatever they own of it."""
    deployment["spec"]["paused"] = True
    pod = deployment["spec"]["template"]["spec"]
    pod["nodeSelector"] = {"pool": "a"}
    pod["initContainers"] = [{"name": "first", "image": "example.com/first:1"}]
    pod["containers"][0]["env"].append({"name": "ADDED", "value": "1"})
    pod["containers"][0]["resources"].setdefault("limits", {})["cpu"] = "8"
    pod["containers"].append({"name": "beside", "image": "example.com/beside:1"})


def adds_to_the_selector(service):
    service["spec"]["selector"]["added"] = "by-hand"
    service["spec"]["publishNotReadyAddresses"] = True


def test_what_somebody_adds_to_children_is_taken_out_again(operator, player, apply, status, rest, namespace):
    apply(spec_with("gptq4", steps=FOREVER))
    stands = status(lambda s: s.get("phase") == "Analyzing" and s["rollout"].get("since"), timeout=60)
    deployments, services = (
        f"/apis/apps/v1/namespaces/{namespace}/deployments",
        f"/api/v1/namespaces/{namespace}/services",
    )
    serving = [f"tiny-{stands[part]['revision']}" for part in ("stable", "candidate")]
    changes = [(f"{deployments}/{name}", adds_to) for name in serving]
    changes += [(f"{services}/{name}", adds_to_the_selector) for name in ("tiny", *serving)]
    for path, change in changes:
        code = 409  # its controller may write in between
        while code == 409:
            body = rest.request("GET", path)[1]
            written = copy.deepcopy(body["spec"])
            change(body)
            code, answer = rest.request("PUT", path, body)
        assert code == 200, answer["message"]
        assert answer["spec"] != written
        wait_for(path, lambda at=path, was=written: rest.request("GET", at)[1]["spec"] == was, 20)
    versions = {path: rest.request("GET", path)[1]["metadata"]["generation"] for path, _ in changes[:2]}
    time.sleep(3)
    assert {path: rest.request("GET", path)[1]["metadata"]["generation"] for path in versions} == versions, (
        "and no more"
    )


def test_a_job_that_is_changed_is_put_back_and_one_that_is_deleted_made_again(
    operator, player, apply, status, rest, namespace
):
    player.script = lambda job, variant: None if job.kind == "quantize" else report_for(job, variant)
    apply(spec_with("gptq4"))
    status(phase("Quantizing"), timeout=60)
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"

    def quantizing():
        return [job for job in rest.request("GET", jobs)[1]["items"] if "-quantize-" in job["metadata"]["name"]]

    (before,) = wait_for("the Job", quantizing, 20)
    path = f"{jobs}/{before['metadata']['name']}"
    assert rest.request("PATCH", path, {"spec": {"parallelism": 0, "activeDeadlineSeconds": 99_999}})[0] == 200

    def is_back():
        (job,) = quantizing()
        asked, given = (one["spec"] for one in (before, job))
        return all(given[name] == asked[name] for name in ("parallelism", "activeDeadlineSeconds"))

    wait_for("what somebody has changed about it to be put back", is_back, 20)
    assert rest.request("DELETE", path, propagationPolicy="Background")[0] == 200
    wait_for("another", lambda: [j for j in quantizing() if j["metadata"]["uid"] != before["metadata"]["uid"]], 20)
    player.script = report_for
    assert status(phase("Steady"), timeout=100)["stable"]["variant"] == "gptq4"


def test_benchmarks_run_once_the_ladder_is_done(operator, player, apply, status, rest, namespace):
    spec = spec_with("int8", "gptq4", steps=FOREVER)
    spec["benchmark"] = {"concurrency": [1, 8], "slo": {"atConcurrency": 8, "itlP99": "10ms"}}
    apply(spec)
    done = status(phase("Analyzing"), timeout=80)
    assert [kind for kind, _ in player.finished][-3:] == ["benchmark"] * 3
    rows = [done["baseline"], *done["variants"]]
    assert [row["benchmark"]["concurrency"] for row in rows] == [8, 8, 8]
    assert [len(row["benchmark"]["levels"]) for row in rows] == [2, 2, 2]
    assert rows[1]["cost"]["message"].startswith("no cost: it asks for no GPU")
