"""Room, windows, promotion and rollback by command, Flapping, scaling and a new engine, on a real API server."""

import copy
from datetime import UTC, datetime, timedelta

import pytest

from integration.operator.conftest import SETTINGS, Operator
from integration.operator.test_spine import FOREVER, condition, phase, spec_with
from integration.rest import models

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]


def ruled(*variants, steps=None, replicas=None, **rollout):
    spec = spec_with(*variants, steps=steps)
    spec["rollout"] |= rollout
    if replicas:
        spec["serving"] = {**spec["serving"], "replicas": replicas}
    return spec


def replicas_of(rest, namespace):
    """Pods that the Deployments of revisions ask for, by variant."""
    found = rest.request("GET", f"/apis/apps/v1/namespaces/{namespace}/deployments")[1]["items"]
    serving = [d for d in found if d["metadata"]["labels"].get("quantroll.io/component") == "serve"]
    return {d["metadata"]["labels"]["quantroll.io/variant"]: d["spec"]["replicas"] for d in serving}


def test_promote_then_rollback_then_abort_of_a_way_back(operator, player, apply, status, command):
    apply(ruled("gptq4", steps=FOREVER, rollback={"keepWarm": "0s"}))
    name = status(phase("Analyzing"), timeout=80)["rollout"]["id"]
    assert not command("promote", f"{name}:7")["accepted"]
    assert command("promote", name)["accepted"]
    steady = status(phase("Steady"), timeout=60)
    assert steady["stable"]["rollout"] == name
    player.never_ready = {"baseline"}
    assert command("rollback", name)["accepted"]
    back = status(phase("RollingBack"))["rollout"]["id"]
    assert command("abort", back)["accepted"]
    kept = status(phase("Steady"), timeout=40)
    assert kept["stable"]["revision"] == steady["stable"]["revision"]
    assert kept.get("rejected", []) == []
    player.never_ready = set()
    assert command("rollback", name)["accepted"]
    done = status(phase("RolledBack"), timeout=60)
    assert (done["stable"]["variant"], done["rejected"][0]["reason"]) == ("baseline", "RollbackRequested")
    assert not command("rollback", name)["accepted"], "an old name does nothing"


def test_pods_give_room_one_by_one(operator, player, apply, status, rest, namespace):
    steps = [{"weight": 50, "duration": "2s"}]
    apply(ruled("gptq4", steps=steps, replicas=3, capacity={"mode": "Replace"}))
    seen = set()

    def settled(s):
        now = replicas_of(rest, namespace)
        if s.get("candidate"):
            seen.add(sum(now.values()))
        return s.get("phase") == "Steady" and now == {"gptq4": 3}

    status(settled, timeout=100)
    assert max(seen) <= 4, "what is applied one after the other overlaps by one at most"


def test_a_closed_window_is_waited_for_and_an_open_one_is_not(operator, player, apply, status):
    far = (datetime.now(UTC) + timedelta(days=3)).strftime("%a")
    closed = [{"days": [far], "from": "08:00", "to": "09:00", "timeZone": "Europe/Berlin"}]
    apply(ruled("gptq4", windows=closed))
    waiting = status(lambda s: "rollout window" in s.get("message", ""), timeout=60)
    assert waiting["phase"] == "Selecting"
    assert "08:00 (Europe/Berlin)" in waiting["message"]
    week = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
    apply(ruled("gptq4", windows=[{"days": week, "from": "00:00", "to": "24:00"}]))
    status(phase("Steady"), timeout=60)
    apply(ruled("gptq4", windows=[{**closed[0], "timeZone": "Europe/Atlantis"}]))
    bad = status(lambda s: condition(s, "Stalled")["reason"] == "SpecInvalid")
    assert "rollout.windows.0.timeZone: there is no time zone 'Europe/Atlantis'" in condition(bad, "Stalled")["message"]


@pytest.mark.parametrize("reason", ["EngineUnknown", "SpecInvalid"])
def test_abort_works_under_a_spec_that_cannot_be_taken_up(reason, operator, player, apply, status, command):
    spec = ruled("gptq4", steps=FOREVER)
    apply(spec)
    rollout = status(phase("Analyzing"), timeout=80)["rollout"]
    spoilt = copy.deepcopy(spec)
    if reason == "EngineUnknown":
        spoilt["serving"]["engine"] = "unheard-of"
    else:
        spoilt["driftCheck"]["schedule"] = "0 0 31 2 *"
    apply(spoilt)
    held = status(lambda s: condition(s, "Stalled")["reason"] == reason)
    assert (held["phase"], held["rollout"]["id"], held["rollout"]["weight"]) == ("Analyzing", rollout["id"], 10)
    assert command("abort", rollout["id"])["accepted"]
    done = status(phase("RolledBack"), timeout=40)
    assert (done["rejected"][0]["reason"], condition(done, "Stalled")["reason"]) == ("Aborted", reason)
    apply(spec)
    status(lambda s: condition(s, "Stalled")["reason"] == "RolledBack", timeout=40)


def test_two_rollbacks_flap_and_are_remembered_beyond_the_status(
    operator, player, apply, status, command, rest, namespace
):  # fmt: skip
    player.never_ready = {"gptq4", "int8"}
    apply(ruled("int8", "gptq4", deadlines={"modelLoad": "6s"}))
    flaps = lambda s: s.get("conditions") and condition(s, "Suspended")["reason"] == "Flapping"  # noqa: E731
    done = status(flaps, timeout=90)
    assert done["phase"] == "RolledBack"
    assert [entry["variant"] for entry in done["rejected"]] == ["int8", "gptq4"], "the next proven one was tried"
    _, model = rest.request("GET", models(namespace, "tiny"))
    assert rest.request("PUT", models(namespace, "tiny", "status"), {**model, "status": {}})[0] == 200
    again = status(flaps, timeout=60)
    assert again["rejected"] == done["rejected"]
    player.never_ready = set()
    assert command("retry", done["rejected"][1]["rollout"])["accepted"]
    assert status(phase("Steady"), timeout=60)["stable"]["variant"] == "gptq4"


def test_the_scale_subresource_scales_and_disturbs_nothing(operator, player, apply, status, rest, namespace):
    apply(ruled("gptq4", steps=FOREVER))
    before = status(lambda s: s.get("phase") == "Analyzing" and s["rollout"].get("since"), timeout=80)
    jobs = len(player.finished)
    path = models(namespace, "tiny", "scale")
    code, scale = rest.request("GET", path)
    assert (code, scale["spec"]["replicas"], scale["status"]["replicas"]) == (200, 2, 2)
    assert scale["status"]["selector"] == "quantroll.io/name=tiny,quantroll.io/component=serve"
    assert rest.request("PATCH", path, {"spec": {"replicas": 3}})[0] == 200
    both = {"baseline": 3, "gptq4": 3}
    after = status(lambda s: s.get("replicas") == 3 and replicas_of(rest, namespace) == both)
    assert after["rollout"]["id"] == before["rollout"]["id"]
    assert len(player.finished) == jobs
    assert after["resolved"]["generation"] == 1


def test_a_new_engine_is_verified_and_rolled_out_while_the_old_one_serves(
    cluster, namespace, tmp_path, player, apply, status
):  # fmt: skip
    process = Operator(cluster.client, tmp_path, namespace, copy.deepcopy(SETTINGS))
    process.start()
    apply(ruled("gptq4"))
    before = status(phase("Steady"), timeout=80)
    process.stop()
    process.configure(lambda s: s["engines"]["vllm-cpu"].update(image="example.com/vllm-cpu:2"))
    process.start()
    candidate = status(phase("CandidateStarting", "Shifting", "Analyzing"), timeout=80)
    assert candidate["stable"]["revision"] == before["stable"]["revision"]
    done = status(phase("Steady"), timeout=60)
    process.stop()
    assert done["stable"]["spec"]["profile"]["image"] == "example.com/vllm-cpu:2"
    assert [kind for kind, _ in player.finished].count("quantize") == 1, "nothing is made again"
    assert "Traceback" not in process.log
