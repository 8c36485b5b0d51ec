"""One pass against a recorded cluster: what is written, in which order, and what happens when a write fails."""

import asyncio
import copy
import math
from datetime import UTC, datetime, timedelta

import pytest

from quantroll.api.engine import EngineProfile
from quantroll.api.jobs import INPUT_VARIABLE, JOB_INPUT, DataFacts, ModelFacts, PrepareResult, Report
from quantroll.api.prices import PriceTable
from quantroll.api.status import QuantizedModelStatus
from quantroll.builders.jobs import CONTAINER
from quantroll.constants import ANNOTATION_KEY, LABEL_COMPONENT
from quantroll.controller import reconcile
from quantroll.controller.children import Children
from quantroll.controller.departed import PAUSE, Departed
from quantroll.controller.difference import stamped
from quantroll.controller.gather import Outside
from quantroll.controller.reconcile import REFUSED_PAUSE, Reconciler
from quantroll.controller.written import LAG
from quantroll.domain.plan import plan
from quantroll.errors import Conflict, NotFound, Refused, Unreachable
from quantroll.ports import Telemetry
from quantroll.settings import Images, Settings
from unit.controller.bodies import container, ended, pod, running, waiting
from unit.domain.world import spec_with

KEY = ("team", "tiny")
SETTINGS = Settings(
    images=Images(client="client:1", quantize="quantize:1"),
    engines={"vllm-cpu": EngineProfile(image="vllm:1", device="cpu")},
)


class Recorder:
    """A cluster, engines and clock; writes are noted, shown again by `look`, and fail when told to."""

    def __init__(self):
        self.at = datetime(2026, 3, 2, 8, tzinfo=UTC)
        self.model = {
            "apiVersion": "quantroll.io/v1alpha1", "kind": "QuantizedModel", "spec": spec_with(),
            "metadata": {"name": "tiny", "namespace": "team", "uid": "u-1", "generation": 1, "resourceVersion": "7"},
        }  # fmt: skip
        self.objects = {}
        self.unseen = {}  # what is there without the watches' showing it
        self.did, self.fails, self.asked = [], {}, []
        self.gateway = True
        self.there = True
        self.uid = "u-1"

    # what the controller needs

    def look(self, key):
        assert key == KEY
        if not self.there:
            return None
        by_kind = {}
        for (kind, name), body in self.objects.items():
            by_kind.setdefault(kind, {})[name] = body
        return copy.deepcopy(self.model), Children(by_kind)

    def _do(self, what, name):
        self.did.append((what, name))
        for pattern in ((what, name), (what, None)):
            if pattern in self.fails:
                raise self.fails[pattern]

    async def write_status(self, ref, resource_version, status):
        self._do("status", status["phase"])
        assert resource_version == self.model["metadata"]["resourceVersion"]
        assert (ref.name, ref.uid) == ("tiny", self.uid)
        self.model["status"] = status
        self.model["metadata"]["resourceVersion"] += "1"

    async def apply(self, manifest, *, force):
        self._do("force" if force else "create", f"{manifest['kind']}/{manifest['metadata']['name']}")
        body = copy.deepcopy(manifest)
        body["metadata"] |= {"uid": f"uid-{len(self.did)}", "generation": 1}
        self.objects[manifest["kind"], manifest["metadata"]["name"]] = body

    async def put_back(self, manifest, resource_version):
        name = manifest["metadata"]["name"]
        self._do("put back", f"{manifest['kind']}/{name}")
        body = self.objects[manifest["kind"], name]
        assert resource_version == body["metadata"]["resourceVersion"]
        body["spec"] = copy.deepcopy(manifest["spec"])

    async def read(self, ref):
        return self.unseen.get((ref.kind, ref.name))

    async def delete(self, ref):
        self._do("delete", f"{ref.kind}/{ref.name}")
        assert ref.uid, "only the very object that was seen"
        self.objects.pop((ref.kind, ref.name), None)

    async def emit(self, about, event):
        self._do("event", event.reason)

    async def has_gateway_api(self):
        return self.gateway

    async def in_flight(self, pod_ips):
        self.asked.append(pod_ips)
        return 0

    async def progress(self, pod_ip):
        self.asked.append(pod_ip)
        return 0.6

    def now(self):
        return self.at

    # what tests do with it

    def run(self, settings=SETTINGS):
        """One pass of a fresh operator."""
        return self.again(self.operator(settings))

    def operator(self, settings=SETTINGS):
        return Reconciler(self.look, settings, Outside(self, self, self), self)

    def again(self, reconciler):
        self.did.clear()
        return asyncio.run(reconciler.run_pass(KEY))

    def job(self, component="prepare"):
        return next(b for (k, _), b in self.objects.items()
                    if k == "Job" and b["metadata"]["labels"][LABEL_COMPONENT] == component)  # fmt: skip

    def pod_of(self, job, status):
        made = pod(status, owner=job["metadata"]["uid"])
        self.objects["Pod", "p"] = made

    def prepared(self):
        """The prepare Job ends well."""
        job = self.job()
        key = job["metadata"]["annotations"][ANNOTATION_KEY]
        facts = PrepareResult(
            model=ModelFacts(digest="a" * 64, weight_bytes=9, architecture="X", dtype="bfloat16"),
            eval_set=DataFacts(sha256="b" * 64, items=2000),
        )
        report = Report(kind="prepare", key=key, prepare=facts).model_dump_json(by_alias=True)
        self.pod_of(job, container(ended(0, "Completed", report)))
        done = {"type": "Complete", "status": "True", "lastTransitionTime": "2026-03-02T08:00:00Z"}
        job["status"] = {"conditions": [done]}


@pytest.fixture
def world():
    return Recorder()


def names(world, *verbs):
    return [name for verb, name in world.did if verb in verbs]


def test_the_intent_is_written_before_it_is_carried_out(world):
    assert world.run() == math.inf
    assert [verb for verb, _ in world.did] == ["status", "create", "create", "event"], "nobody waits for an event"
    assert names(world, "create")[0] == "PersistentVolumeClaim/tiny-artifacts"
    assert names(world, "create")[1].startswith("Job/tiny-prepare-")


def test_a_second_pass_writes_nothing(world):
    world.run()
    assert world.run() == math.inf
    assert world.did == []


def test_a_lost_write_is_followed_by_nothing(world):
    world.fails["status", None] = Conflict("somebody was first")
    assert world.run() == pytest.approx(0.1)
    assert [verb for verb, _ in world.did] == ["status"], "no event, no child"


@pytest.mark.parametrize("error", [Unreachable("down"), Refused("no")])
def test_a_status_that_cannot_be_written_is_followed_by_nothing(world, error):
    world.fails["status", None] = error
    with pytest.raises(type(error)):
        world.run()
    assert world.objects == {}


def test_an_object_that_is_gone_or_going_is_left_alone(world):
    world.there = False
    assert world.run() is None
    world.there = True
    world.model["metadata"]["deletionTimestamp"] = "2026-03-02T08:00:00Z"
    assert world.run() is None
    assert world.did == []


def test_an_object_that_goes_during_a_pass_is_left_alone_until_the_watch_tells(world):
    told = Told()
    operator = Reconciler(world.look, SETTINGS, Outside(world, world, world, told), world)
    world.fails["status", None] = NotFound("gone")
    assert world.again(operator) is None
    assert told.heard == [("gone", KEY)]
    assert world.again(operator) is None
    assert world.did == [], "a watch that broke shows it for ever"
    world.fails.clear()
    world.model["metadata"]["uid"] = "u-2"
    world.uid = "u-2"
    assert world.again(operator) is not None
    assert ("status", "Pending") in world.did, "another one of that name"


def test_a_write_that_finds_nothing_is_made_again_while_the_object_is_there(world):
    operator = world.operator()
    world.fails["status", None] = NotFound("no such path, says a proxy")
    world.unseen["QuantizedModel", "tiny"] = world.model
    assert world.again(operator) == 1.0
    world.fails.clear()
    world.again(operator)
    assert ("status", "Pending") in world.did


def test_an_event_that_is_refused_stops_nothing(world):
    world.fails["event", None] = Refused("the namespace is going away")
    world.run()
    assert len(names(world, "create")) == 2


def test_what_is_written_is_told_whatever_becomes_of_the_children(world):
    world.fails["create", None] = Conflict("somebody was first")
    assert world.run() == pytest.approx(0.1)
    assert [verb for verb, _ in world.did] == ["status", "create", "event"]


def test_what_is_refused_is_told_the_rest_is_done_and_it_recovers(world):
    world.fails["create", "PersistentVolumeClaim/tiny-artifacts"] = Refused("exceeded quota")
    operator = world.operator()
    assert world.again(operator) == pytest.approx(0.1)
    assert any(kind == "Job" for kind, _ in world.objects), "the rest is done"
    assert world.again(operator) == REFUSED_PAUSE
    assert ("event", "Refused") in world.did
    stalled = next(c for c in world.model["status"]["conditions"] if c["type"] == "Stalled")
    assert stalled["reason"] == "Refused"
    assert "PersistentVolumeClaim tiny-artifacts: exceeded quota" in stalled["message"]
    assert world.again(operator) == REFUSED_PAUSE
    assert names(world, "status", "event") == [], "said once"
    world.fails.clear()
    assert world.again(operator) == pytest.approx(0.1)
    world.again(operator)
    stalled = next(c for c in world.model["status"]["conditions"] if c["type"] == "Stalled")
    assert stalled["status"] == "False"


CLAIM = ("PersistentVolumeClaim", "tiny-artifacts")


def test_an_object_of_somebody_else_is_not_touched(world):
    world.unseen[CLAIM] = {"metadata": {"name": "tiny-artifacts", "labels": {"app": "theirs"}}}
    operator = world.operator()
    world.again(operator)
    assert "PersistentVolumeClaim/tiny-artifacts" not in names(world, "create", "force")
    world.again(operator)
    stalled = next(c for c in world.model["status"]["conditions"] if c["type"] == "Stalled")
    assert stalled["reason"] == "NameTaken"


def test_what_a_watch_does_not_show_yet_is_not_made_twice(world):
    world.run()
    world.unseen[CLAIM] = world.objects.pop(CLAIM)
    assert world.run() == math.inf
    assert world.did == []


def test_a_child_that_was_changed_is_put_back_and_only_that(world):
    world.run()
    world.prepared()
    world.run()
    name = next(n for k, n in world.objects if k == "Deployment")
    world.objects["Deployment", name]["spec"]["replicas"] = 0
    world.run()
    assert world.did == [("force", f"Deployment/{name}")]


def test_what_somebody_adds_to_a_child_is_taken_out_of_it(world):
    world.run()
    world.prepared()
    world.run()
    name = next(n for k, n in world.objects if k == "Deployment")
    body = world.objects["Deployment", name]
    written = copy.deepcopy(body["spec"])
    body["metadata"]["resourceVersion"] = "9"
    body["spec"]["template"]["spec"]["nodeSelector"] = {"pool": "a"}
    world.run()
    assert world.did == [("put back", f"Deployment/{name}")], "applied, it would stay: it is somebody else's"
    assert body["spec"] == written
    world.run()
    assert world.did == []


def test_an_edit_of_the_route_is_decided_upon_and_a_version_that_stays_only_once(world, monkeypatch):
    world.run()
    world.prepared()
    world.run()
    serving = pod(container(running(), name="engine"), conditions=({"type": "Ready", "status": "True"},))
    revision = world.model["status"]["stable"]["revision"]
    serving["metadata"]["labels"] |= {LABEL_COMPONENT: "serve", "quantroll.io/revision": revision}
    world.objects["Pod", "s"] = serving
    world.run()
    operator, written = world.operator(), copy.deepcopy(world.objects["HTTPRoute", "tiny"])
    asked = []
    monkeypatch.setattr(reconcile, "plan", lambda seen, now: asked.append(seen.route.edited) or plan(seen, now))

    def shown(generation, version, **rule):
        body = copy.deepcopy(written)
        body["metadata"] |= {"generation": generation, "resourceVersion": version}
        body["spec"]["rules"][0] |= rule
        world.objects["HTTPRoute", "tiny"] = body
        asked.clear()
        world.again(operator)
        return asked, names(world, "force")

    elsewhere = {"matches": [{"path": {"type": "PathPrefix", "value": "/v2"}}]}
    assert shown(1, "5") == ([False], [])
    assert shown(2, "6", **elsewhere) == ([True], ["HTTPRoute/tiny"])
    assert shown(2, "6", **elsewhere) == ([True], []), "our answer is on its way"
    assert shown(2, "7", **elsewhere) == ([False], ["HTTPRoute/tiny"]), "what a webhook makes of it stops no rollout"
    assert shown(3, "8", **elsewhere)[0] == [True]
    del written["metadata"]["annotations"]
    assert shown(4, "9")[0] == [True]


def test_a_claim_is_never_changed(world):
    world.run()
    world.objects["PersistentVolumeClaim", "tiny-artifacts"]["spec"]["resources"] = {"requests": {"storage": "1Ti"}}
    world.run()
    assert world.did == []


def test_a_claim_of_the_users_own_is_not_made(world):
    world.model["spec"]["storage"] = {"claimName": "theirs"}
    world.run()
    assert not any(kind == "PersistentVolumeClaim" for kind, _ in world.objects)


CORRECTED = SETTINGS.model_copy(update={"images": Images(client="client:2", quantize="quantize:1")})


def test_a_job_whose_image_cannot_be_pulled_is_replaced_once_the_admin_corrects_it(world):
    world.run()
    world.pod_of(world.job(), container(waiting("ImagePullBackOff")))
    world.run(CORRECTED)
    assert len(names(world, "delete")) == 1
    world.run(CORRECTED)
    assert world.job()["spec"]["template"]["spec"]["containers"][0]["image"] == "client:2"


def test_a_job_that_has_begun_is_not(world):
    world.run()
    world.pod_of(world.job(), container(running()))
    world.run(CORRECTED)
    assert names(world, "delete", "create", "force") == []


@pytest.mark.parametrize(
    "change",
    [
        lambda job: job["spec"].update(parallelism=0),
        lambda job: job["spec"].update(activeDeadlineSeconds=1),
        lambda job: job["spec"].pop("activeDeadlineSeconds"),
        lambda job: job["metadata"].update(ownerReferences=[]),
        lambda job: job["metadata"]["labels"].pop(LABEL_COMPONENT),
    ],
)
def test_what_somebody_changed_about_a_job_is_put_back(world, change):
    world.run()
    world.pod_of(job := world.job(), container(running()))
    name, whole = f"Job/{job['metadata']['name']}", copy.deepcopy(job["spec"])
    change(job)
    world.run()
    assert (names(world, "force"), names(world, "delete", "create", "put back")) == ([name], [])
    assert world.job()["spec"] == whole
    world.run()
    assert names(world, "force") == []


def test_what_the_job_controller_and_a_queue_write_into_a_job_is_left_to_them(world):
    world.run()
    world.pod_of(job := world.job(), container(running()))
    job["spec"] |= {"suspend": True, "completions": 1, "selector": {"matchLabels": {"controller-uid": "1"}}}
    job["spec"]["template"]["spec"] |= {"nodeSelector": {"pool": "gpu"}, "tolerations": [{"operator": "Exists"}]}
    job["spec"]["template"]["metadata"]["labels"]["controller-uid"] = "1"
    world.run()
    assert names(world, "force", "delete", "create", "put back") == []


def test_a_finished_job_stays_for_its_log_and_one_of_no_use_goes(world):
    world.run()
    world.prepared()
    world.run()
    assert any("Job/tiny-evaluate" in name for name in names(world, "create"))
    assert names(world, "delete") == []
    world.model["spec"]["model"]["source"] = "pvc://other/model"
    world.model["metadata"]["generation"] = 2
    before = {name for kind, name in world.objects if kind == "Job"}
    world.run()
    gone = {name.removeprefix("Job/") for name in names(world, "delete")}
    assert any("evaluate" in name for name in gone), "it measures what nobody asks for any more"
    assert gone < before | {"x"}


def test_only_our_serving_children_are_removed(world):
    world.run()
    world.prepared()
    world.run()
    labels = {**world.job()["metadata"]["labels"], LABEL_COMPONENT: "serve", "quantroll.io/revision": "old"}
    for kind in ("Deployment", "Service"):
        meta = {"name": "tiny-old", "namespace": "team", "uid": "o", "labels": labels}
        world.objects[kind, "tiny-old"] = {"metadata": meta, "spec": {}}
        other = {"name": "other", "namespace": "team", "uid": "p", "labels": {**labels, LABEL_COMPONENT: "other"}}
        world.objects[kind, "other"] = {"metadata": other, "spec": {}}
    world.run()
    assert names(world, "delete") == ["Deployment/tiny-old", "Service/tiny-old"]


def test_a_spec_that_is_none_changes_no_child(world):
    world.run()
    before = copy.deepcopy(world.objects)
    world.model["spec"]["model"]["source"] = "s3://bucket"
    world.model["metadata"]["generation"] = 2
    world.run()
    assert world.objects == before
    stalled = next(c for c in world.model["status"]["conditions"] if c["type"] == "Stalled")
    assert stalled["reason"] == "SpecInvalid"
    assert stalled["message"].startswith("spec.model.source: ")
    assert world.model["status"]["observedGeneration"] == 2, "it was looked at: kstatus waits for that"


def test_a_status_that_cannot_be_read_counts_as_none(world):
    world.model["status"] = {"phase": "FromAnotherVersion"}
    world.run()
    assert QuantizedModelStatus.model_validate(world.model["status"]).phase == "Pending"


def test_a_job_that_went_just_now_is_made_again_a_moment_later(world):
    """Else the Job controller would take it for the old one, and wait for the pods of that."""

    def seconds() -> float:
        return world.at.timestamp()

    departed = Departed(seconds)
    operator = Reconciler(world.look, SETTINGS, Outside(world, world, world), world, departed)
    world.again(operator)
    name = world.job()["metadata"]["name"]
    del world.objects["Job", name]
    departed.note(KEY, name)
    assert 0 < world.again(operator) <= PAUSE
    assert ("create", f"Job/{name}") not in world.did
    world.at += timedelta(seconds=PAUSE)
    world.again(operator)
    assert ("create", f"Job/{name}") in world.did


def test_a_job_that_is_being_deleted_is_not_there(world):
    world.run()
    world.prepared()
    world.job()["metadata"]["deletionTimestamp"] = "2026-03-02T08:00:00Z"
    world.run()
    assert world.model["status"].get("prepared") is None


def test_the_next_look_is_when_the_plan_wants_it(world):
    world.gateway = False
    assert 5 <= world.run() <= 60


def test_nobody_is_asked_for_load_that_does_not_matter(world):
    world.run()
    world.prepared()
    world.run()
    assert world.asked == []


def test_the_load_of_what_leaves_is_asked_of_all_pods_that_may_have_requests(world):
    world.run()
    world.prepared()
    world.run()
    revision = world.model["status"]["stable"]["revision"]
    world.model["status"]["rollout"] = {
        "id": "x", "step": 2, "weight": 100, "startedAt": "2026-03-02T08:00:00Z", "draining": revision,
        "since": "2026-03-02T08:00:00Z",
    }  # fmt: skip
    ready = {"type": "Ready", "status": "True"}
    for number, (conditions, started) in enumerate([((ready,), True), ((), True), ((), False)]):
        made = pod(container(running(), name="engine") | {"started": started}, conditions=conditions)
        made["metadata"]["labels"] |= {LABEL_COMPONENT: "serve", "quantroll.io/revision": revision}
        made["metadata"]["name"] = f"s-{number}"
        made["status"]["podIP"] = f"10.0.0.{number}"
        world.objects["Pod", f"s-{number}"] = made
    world.run()
    assert world.asked == [["10.0.0.0", "10.0.0.1"]]


def test_inputs_reach_the_jobs_as_they_were_meant(world):
    world.model["spec"]["qualityGate"]["evalSet"]["source"] = "pvc://tiny/$(HOME)/eval.jsonl"
    world.run()
    env = world.job()["spec"]["template"]["spec"]["containers"][0]
    assert env["name"] == CONTAINER
    text = next(e["value"] for e in env["env"] if e["name"] == INPUT_VARIABLE)
    assert "$(HOME)" not in text.replace("$$", "")
    assert JOB_INPUT.validate_json(text.replace("$$", "$")).eval_set.path == "/claims/tiny/$(HOME)/eval.jsonl"


def test_the_clock_is_the_worlds(world):
    world.run()
    world.at += timedelta(days=1)
    world.run()
    assert world.did == [], "time alone changes no status"


def test_a_pass_over_what_the_watch_has_not_shown_yet_writes_nothing(world):
    operator = world.operator()
    world.again(operator)
    shown, model = world.look, copy.deepcopy(world.model)
    stale = {**model, "status": {}, "metadata": {**model["metadata"], "resourceVersion": "7"}}
    world.look = lambda key: (stale, shown(key)[1])
    operator._look = world.look
    assert 0 < world.again(operator) <= LAG
    assert world.did == []


def test_a_child_that_is_applied_is_not_applied_again_before_the_watch_shows_it(world):
    operator = world.operator()
    world.again(operator)
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s", "namespace": "team"}, "spec": {"a": 1}}
    seen = {**service, "metadata": {"name": "s", "uid": "s-1", "resourceVersion": "3"}, "spec": {"a": 2}}
    children = Children({"Service": {"s": seen}})
    asyncio.run(operator._ensure(stamped(service), children))
    asyncio.run(operator._ensure(stamped(service), children))
    assert names(world, "force") == ["Service/s"]
    seen["metadata"]["resourceVersion"] = "4"  # somebody changed it since
    asyncio.run(operator._ensure(stamped(service), children))
    asyncio.run(operator._ensure(stamped({**service, "spec": {"a": 5}}), children))
    assert names(world, "force") == ["Service/s"] * 3


def test_the_admins_price_table_reaches_the_status(world):
    gpus = {"NVIDIA-L4": {"usdPerHour": 0.805, "memoryGiB": 22.5}}
    prices = PriceTable.model_validate({"asOf": "2026-05-31", "source": "list", "gpus": gpus})
    settings = SETTINGS.model_copy(update={"prices": prices})
    world.run(settings)
    world.prepared()
    world.run(settings)
    assert world.model["status"]["baseline"]["memory"]["fitsOn"] == ["NVIDIA-L4"]
    world.run()
    assert world.model["status"]["baseline"]["memory"]["fitsOn"] == []


class Told(Telemetry):
    def __init__(self):
        self.heard = []

    def stands(self, key, status):
        self.heard.append(("stands", key, str(status.phase)))

    def changed(self, before, after):
        self.heard.append(("changed", before.phase and str(before.phase), str(after.phase)))

    def gone(self, key):
        self.heard.append(("gone", key))


def test_the_telemetry_is_told_of_what_was_written_and_of_what_is_gone(world):
    told = Told()
    operator = Reconciler(world.look, SETTINGS, Outside(world, world, world, told), world)
    world.again(operator)
    world.again(operator)
    assert told.heard == [("changed", None, "Pending"), ("stands", KEY, "Pending"), ("stands", KEY, "Pending")]
    told.heard.clear()
    world.fails["status", None] = Conflict("no")
    world.model["metadata"]["generation"], world.model["spec"] = 2, spec_with(serving__engine="other")
    world.again(operator)
    assert told.heard == [], "nothing was written"
    world.there = False
    world.again(operator)
    assert told.heard == [("gone", KEY)]
