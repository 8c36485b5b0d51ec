"""The kill test's own judgement: what it would not notice, it would not test."""

import asyncio
from collections import Counter

from integration.operator.kill.oracles import Invariants, differences, normal
from integration.operator.kill.proxy import Fuse, Moment, Write
from integration.operator.kill.run import Outcome
from integration.operator.kill.stories import PROMOTED
from integration.operator.kill.world import World


def pod(name, revision, *, ready=True, going=False):
    meta = {"name": name, "labels": {"quantroll.io/revision": revision}}
    if going:
        meta["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    return {"metadata": meta, "status": {"conditions": conditions}}


def route(**weights):
    return {"spec": {"rules": [{"backendRefs": [{"name": f"tiny-{k}", "weight": w} for k, w in weights.items()]}]}}


def stable(revision):
    return {"status": {"stable": {"revision": revision, "servedAt": "2026-01-01T00:00:00Z"}}}


def job(uid, key="k", component="quantize"):
    labels = {"quantroll.io/component": component}
    return {"metadata": {"name": "j", "uid": uid, "labels": labels, "annotations": {"quantroll.io/key": key}}}


def watching(*pods, serves="old"):
    found = Invariants("tiny", replicas=2)
    for body in pods:
        found.pod(body)
    found.model(stable(serves))
    return found


def test_a_rollout_that_goes_well_breaks_nothing():
    seen = watching(pod("a", "old"), pod("b", "new"))
    seen.route(route(old=90, new=10))
    seen.pod(pod("c", "new"))
    seen.route(route(new=100))
    seen.model(stable("new"))
    seen.pod(pod("a", "old"), gone=True)
    for each in (job("1"), job("1"), job("2", key="other"), job("3", "p", "prepare"), job("4", "p", "prepare")):
        seen.job(each)
    assert seen.broken == []


def test_weights_that_do_not_add_up():
    seen = watching(pod("a", "old"))
    seen.route(route(old=90))
    assert seen.broken == ["weights do not sum to 100: {'old': 90}"]


def test_traffic_for_a_candidate_without_the_pods_for_it():
    seen = watching(pod("a", "old"), pod("b", "new"), pod("c", "new", ready=False))
    seen.route(route(old=40, new=60))
    assert seen.broken == ["new has 60 % and 1 ready pods"]


def test_traffic_before_anything_is_ready():
    seen = Invariants("tiny", replicas=2)
    seen.route(route(old=100))
    assert seen.broken == ["old has 100 % and 0 ready pods"]


def test_the_stable_loses_its_last_pod():
    for event in ({"gone": True}, {}):
        seen = watching(pod("a", "old"), pod("b", "new"))
        seen.pod(pod("a", "old", going=not event), **event)
        assert seen.broken == ["stable old has no ready pod"]


def test_a_promotion_to_nothing():
    seen = watching(pod("a", "old"))
    seen.model(stable("new"))
    assert seen.broken == ["stable new has no ready pod"]


def test_a_second_job_for_a_key():
    seen = watching(pod("a", "old"))
    seen.job(job("1"))
    seen.job(job("2"))
    assert seen.broken == ["a second Job for quantize k: j"]


def test_the_normal_form_keeps_what_matters():
    uid = "0b8f2c1e-1f2d-4c3b-9a4e-5d6f7a8b9c0d"
    body = {
        "metadata": {"name": "x", "uid": uid, "namespace": "kill-1", "annotations": {"quantroll.io/key": "k"}},
        "spec": {
            "at": "2026-01-01T00:00:00Z",
            "of": [f"{uid}/kill-1", '{"at": "2026-01-01T00:00:00Z"}'],
            "n": 3,
            "clusterIP": "10.0.0.1",
        },
    }
    assert normal(body, "kill-1") == {
        "metadata": {"annotations": {"quantroll.io/key": "k"}, "name": "x", "namespace": "NAMESPACE"},
        "spec": {"at": "TIME", "n": 3, "of": ["UID/NAMESPACE", '{"at": "TIME"}']},
    }


def test_a_key_that_is_made_from_a_time_is_the_same_in_every_run():
    key = "933c154e73" + "0a" * 27
    body = {"name": "tiny-confirm-933c154e73", "annotations": {"quantroll.io/key": key}, "other": "933c154e73"}
    found = normal(body, "kill-1", {key})
    assert found == {
        "annotations": {"quantroll.io/key": "DATED"}, "name": "tiny-confirm-DATED", "other": "933c154e73"
    }  # fmt: skip
    assert normal({"name": "tiny-quantize-933c154e73"}, "kill-1", {key}) == {"name": "tiny-quantize-933c154e73"}


def test_differences_are_named_by_their_place():
    one = {"a": [1, {"b": 2}], "c": 3, "same": "x"}
    assert differences(one, {"a": [1, {"b": 4}], "d": 5, "same": "x"}) == [
        ".a[1].b: 2 became 4",
        ".c: 3 became None",
        ".d: None became 5",
    ]
    assert differences([1], [1, 2], "list") == ["list: [1] became [1, 2]"]
    assert differences(one, one) == []


def outcome(**changes):
    jobs = "/apis/batch/v1/namespaces/kill-1/jobs"
    writes = [Write("PATCH", f"{jobs}/a", 201), Write("PATCH", f"{jobs}/a", 200)]
    plain = {
        "fuse": Fuse(1, Moment.AFTER),
        "writes": writes,
        "created": Counter({"jobs/a": 1}),
        "end": {},
        "broken": [],
    }
    return Outcome(**{**plain, "fired": True, "seconds": 1.0, **changes})


def test_an_object_made_twice_is_found_though_the_end_is_the_same():
    golden = outcome(created=Counter({"jobs/a": 1}))
    assert golden.against(golden) == []
    assert outcome(created=Counter({"jobs/a": 2})).against(golden) == ["jobs/a made 2 times, not 1"]
    assert outcome(created=Counter()).against(golden) == ["jobs/a made 0 times, not 1"]


def test_a_phase_that_has_passed_is_not_waited_for():
    async def passed():
        world = World(None, "kill", PROMOTED)
        for writes, phase in enumerate(("Shifting", "Analyzing", "Shifting", "Steady")):
            world.counts = lambda writes=writes: writes
            await world._quantizedmodels({"status": {"phase": phase}}, gone=False)
        return await world.wait("Analyzing", 1)

    assert asyncio.run(passed()) == 1
