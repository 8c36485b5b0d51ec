"""Faults in real pods, under a constant load: engines that play break, people and Prometheus interfere.

Everything but the engine is real: Jobs, the quantized checkpoint, pods, the gateway, Prometheus, the operator. What
hits all models, the operator or Prometheus, is played in a cluster of its own, beside the one for the others.
"""

import json
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import httpx
import pytest

from cluster.procs import wait_for
from demo.stage import NAMESPACE
from demo.traffic import ask
from e2e.acting import (
    FOREVER,
    OFTEN,
    QUESTION,
    condition,
    held_at,
    jobs,
    kill_operator,
    listed,
    more_requests,
    phase,
    pods,
    stays,
)

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]
hits_all = pytest.mark.xdist_group("hits all models")
hits_one = pytest.mark.xdist_group("hits one model")

SETTLED = phase("Steady", "Rejected", "RolledBack")


def weights(shares):
    return {share["revision"]: share["weight"] for share in shares}


def route_of(stage, name):
    """The weights as they stand in the HTTPRoute, by Service."""
    route = stage.read(f"/apis/gateway.networking.k8s.io/v1/namespaces/{NAMESPACE}/httproutes/{name}")
    return {ref["name"]: ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]}


@hits_all
def test_the_operator_is_killed_at_three_points_of_a_rollout(play, stage):
    model = play("killed", steps=[{"weight": 10, "duration": "5s"}, {"weight": 50, "duration": "5s", "approval": True}])
    with model.traffic() as traffic:
        model.until(phase("CandidateStarting", "Shifting"))
        kill_operator(stage)
        half = model.until(held_at(50))["rollout"]
        kill_operator(stage)
        again = model.until(phase("AwaitingApproval"))["rollout"]
        assert again["since"] == half["since"], "a restart changed the step's clock"
        made = jobs(stage, model.name)
        model.command("approve", f"{again['id']}:{again['step']}/now")
        model.until(phase("Draining"), timeout=60)
        kill_operator(stage)
        done = model.until(SETTLED)
        more_requests(traffic)
    assert (done["phase"], done["stable"]["variant"]) == ("Steady", "w8"), done["message"]
    assert traffic.failures == []
    assert jobs(stage, model.name) == made, "a Job was made again"
    assert len(made) == 4, "prepare, quantize, two evaluate"
    assert {"Promoting", "Steady"} <= model.events()


@hits_one
def test_streams_outlive_the_end_of_the_revision_that_answers_them(play, stage):
    model = play("streaming", steps=[{"weight": 50, "duration": "3s", "approval": True}])
    with model.traffic() as traffic:
        asked = model.until(phase("AwaitingApproval"))["rollout"]
        model.tell("baseline", token_seconds=6)  # an answer of four tokens takes 18 seconds
        ended: list[str | None] = []

        def stream() -> None:
            with httpx.Client(base_url=stage.gateway, headers={"Host": model.host}, timeout=60, trust_env=False) as one:
                ended.append(ask(one, model.name, QUESTION, stream=True))

        streams = [threading.Thread(target=stream) for _ in range(10)]  # half of them go to the baseline
        for thread in streams:
            thread.start()
        time.sleep(1)
        model.command("approve", f"{asked['id']}:{asked['step']}/now")
        model.until(phase("Draining"))
        at_the_end = sum(thread.is_alive() for thread in streams)
        assert pods(stage, f"name={model.name}", "variant=baseline"), "they are still being answered"
        done = model.until(SETTLED)
        for thread in streams:
            thread.join(timeout=60)
    assert (done["phase"], done["stable"]["variant"]) == ("Steady", "w8"), done["message"]
    assert at_the_end > 0
    assert ended == [None] * 10
    assert traffic.failures == []
    wait_for("its pods to go", lambda: not pods(stage, f"name={model.name}", "variant=baseline"), 60)


@hits_one
def test_a_candidate_whose_pods_crash_at_half_of_the_traffic_is_taken_back(play, stage):
    model = play("crashing", steps=[{"weight": 10, "duration": "5s"}, {"weight": 50, "duration": FOREVER}])
    with model.traffic() as traffic:
        model.until(held_at(50))
        assert more_requests(traffic) == []
        model.tell("w8", exit=1)
        done = model.until(phase("RolledBack"), timeout=90)
        lost = len(traffic.failures)
        assert more_requests(traffic, 60) == []
    print(f"{lost} requests failed with the pods that crashed: {traffic.failures[:5]}")
    assert lost <= 60, "those of the moment until the gateway knew"
    assert [(r["variant"], r["reason"]) for r in done["rejected"]] == [("w8", "CandidateUnavailable")]
    assert weights(done["traffic"]["applied"]) == {done["stable"]["revision"]: 100}
    assert done["stable"]["variant"] == "baseline"
    assert route_of(stage, model.name) == {f"{model.name}-{done['stable']['revision']}": 100}
    assert condition(done, "Available")["status"] == "True"
    assert condition(done, "Stalled")["status"] == "True"
    assert {"RollingBack", "RolledBack"} <= model.events()
    wait_for("the candidate's pods to go", lambda: not pods(stage, f"name={model.name}", "variant=w8"), 60)


@hits_one
def test_stable_dies_while_the_candidate_has_a_tenth(play, stage):
    model = play("dying", steps=[{"weight": 10, "duration": FOREVER}])
    with model.traffic() as traffic:
        before = model.until(held_at(10))
        assert more_requests(traffic) == []
        model.tell("baseline", exit=1)
        model.until(lambda s: condition(s, "Available")["status"] == "False", timeout=60)
        assert more_requests(traffic) != [], "nine tenths of the requests have nobody to answer"
        model.command("abort", f"{before['rollout']['id']}/now")
        told = model.until(lambda s: condition(s, "Stalled")["reason"] == "NotServing", timeout=60)
        assert weights(told["traffic"]["desired"]) == weights(before["traffic"]["desired"])
        assert told["candidate"]["revision"] == before["candidate"]["revision"], "it serves, alone"
        model.lose("baseline")  # its successor has not been told to crash
        done = model.until(phase("RolledBack"), timeout=120)
        more_requests(traffic, 10)
        assert more_requests(traffic, 60) == []
    assert done["stable"] == before["stable"]
    assert [(r["variant"], r["reason"]) for r in done["rejected"]] == [("w8", "Aborted")]
    assert weights(done["traffic"]["applied"]) == {done["stable"]["revision"]: 100}
    assert condition(done, "Available")["status"] == "True"
    assert {"NotServing", "RolledBack"} <= model.events()


@hits_one
def test_a_route_that_is_edited_by_hand_is_put_back_and_the_step_begins_again(play, stage):
    model = play("edited", steps=[{"weight": 10, "duration": "30s"}])
    with model.traffic() as traffic:
        before = model.until(held_at(10))
        assert more_requests(traffic) == []
        ours = route_of(stage, model.name)
        assert sorted(ours.values()) == [10, 90]
        turned = [
            {"op": "replace", "path": f"/spec/rules/0/backendRefs/{place}/weight", "value": weight}
            for place, weight in enumerate(reversed(ours.values()))
        ]
        stage.kubectl("patch", "httproute", model.name, "--type=json", "-p", json.dumps(turned))
        wait_for("the route to be put back", lambda: route_of(stage, model.name) == ours, 20, every=0.2)
        again = model.until(lambda s: held_at(10)(s) and s["rollout"]["since"] > before["rollout"]["since"], timeout=30)
        assert weights(again["traffic"]["applied"]) == weights(before["traffic"]["applied"])
        done = model.until(SETTLED)
    assert (done["phase"], done["stable"]["variant"]) == ("Steady", "w8"), done["message"]
    assert traffic.failures == []


@hits_one
def test_the_spec_changes_while_the_candidate_has_traffic(play, stage):
    model = play("changed", steps=[{"weight": 10, "duration": FOREVER}])
    with model.traffic() as traffic:
        first = model.until(held_at(10))
        made = jobs(stage, model.name)
        steps = [{"weight": 10, "duration": "5s"}, {"weight": 50, "duration": "5s"}]
        model.patch({"serving": {"maxNumSeqs": 8}, "rollout": {"steps": steps}})
        model.until(lambda s: s.get("candidate", {}).get("revision") not in (None, first["candidate"]["revision"]))
        done = model.until(SETTLED)
        more_requests(traffic)
    assert (done["phase"], done["stable"]["variant"]) == ("Steady", "w8"), done["message"]
    assert done["stable"]["revision"] != first["candidate"]["revision"]
    assert done.get("rejected", []) == [], "what was superseded is not remembered"
    assert traffic.failures == []
    assert "RollingBack" in model.events()
    new = {job["metadata"]["labels"]["quantroll.io/component"] for job in other_jobs(stage, model.name, made)}
    assert new == {"evaluate"}, "the artifact is the same"


def other_jobs(stage, name, but):
    """A model's Jobs, but for some."""
    found = listed(stage, "/apis/batch/v1", "jobs", labelSelector=f"quantroll.io/name={name}")
    return [job for job in found if job["metadata"]["uid"] not in but]


@hits_all
def test_prometheus_stops_across_a_step_and_across_a_drift_check(play, stage):
    model = play("blind", steps=[{"weight": 10, "duration": "20s"}])
    with model.traffic() as traffic:
        model.until(held_at(10))
        stage.stop_prometheus()
        held = model.until(lambda s: condition(s, "Stalled")["reason"] == "MetricsUnavailable", timeout=60)
        assert "Connection refused" in condition(held, "Stalled")["message"]
        assert stays(lambda: held_at(10)(model.status()), 10), "no data never passes"
        stage.start_prometheus()
        done = model.until(SETTLED)
        assert (done["phase"], done["stable"]["variant"]) == ("Steady", "w8"), done["message"]
        serving = done["stable"]["revision"]

        model.patch({"driftCheck": OFTEN})
        healthy = model.until(lambda s: s["drift"]["verdict"] == "Healthy", timeout=240)
        assert healthy["drift"]["value"] == 1
        stage.stop_prometheus()
        unknown = model.until(lambda s: s["drift"]["verdict"] == "Unknown", timeout=120)
        assert unknown["stable"]["revision"] == serving
        assert condition(unknown, "QualityFloorMet")["status"] == "Unknown"
        stage.start_prometheus()
        again = model.until(lambda s: s["drift"]["verdict"] == "Healthy", timeout=180)
        assert again["stable"]["revision"] == serving
    assert traffic.failures == []
    assert {"MetricsUnavailable", "FloorMet", "QualityUnknown"} <= model.events()
    assert {"FloorSuspect", "RollingBack"} & model.events() == set()


@hits_all
def test_a_variant_that_answers_worse_is_refused_and_its_items_can_be_read(play, stage):
    model = play("worse", engine="scripted-worse")
    done = model.until(SETTLED)
    assert done["phase"] == "Rejected"
    row = done["variants"][0]
    assert (row["verdict"], row["reason"]) == ("FAIL", "BelowFloor")
    assert 0.6 < row["recovery"] < 0.8
    assert done["stable"]["variant"] == "baseline"
    program = str(Path(sys.executable).with_name("quantroll"))
    items = stage.command(program, "report", "worse", "--namespace", NAMESPACE, "--items", "w8").splitlines()
    cells = Counter(json.loads(line)["cell"] for line in items)
    assert cells["harm"] == row["flips"] > 120
    assert cells["gain"] == 0
