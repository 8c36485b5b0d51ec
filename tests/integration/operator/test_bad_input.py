"""Bad input as a user meets it: a condition and an event with cause and remedy, nothing disturbed, recovery when fixed.

One operator looks after all of them, beside a neighbour for whom everything is well.
"""

import copy
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from cluster.kube import Client
from cluster.procs import wait_for
from cluster.testcontrol import ControlPlaneOnly
from integration.conftest import Cluster, with_crd, with_gateway_api
from integration.operator.conftest import SETTINGS, Operator, running
from integration.operator.player import Object, Player
from integration.rest import Rest, models
from quantroll.api.jobs import Report
from quantroll.builders import jobs as job_builders
from quantroll.constants import ENGINE_CONTAINER, LABEL_COMPONENT, LABEL_OWNER, LABEL_VARIANT, Component, Reason

# one worker has all of them: they share what takes long to set up
pytestmark = [pytest.mark.integration, pytest.mark.timeout(180), pytest.mark.xdist_group("bad input")]

NO_NODE = "no nodes available to schedule pods"  # in the words of the scheduler, which finds none here
Trouble = Callable[[Object], Object | None]


def spec_of(name: str) -> Object:
    """A model that is through in a second: one variant, one short step."""
    return {
        "model": {"source": f"pvc://tiny/{name}"},
        "variants": [{"name": "int8", "scheme": "W8A8", "algorithm": "RTN"}],
        "qualityGate": {"verifiedAgainst": "bfloat16", "evalSet": {"source": "pvc://tiny/eval.jsonl"}},
        "serving": {"engine": "vllm-cpu"},
        "rollout": {
            "steps": [{"weight": 50, "duration": "1s"}],
            "analysis": {"metrics": []},
            "routing": {"parentRefs": [{"name": "public"}]},
            "deadlines": {"modelLoad": "60s", "drain": "1s"},
            "rollback": {"keepWarm": "0s"},
        },
        "driftCheck": {"schedule": "@weekly"},
        "storage": {"reclaimPolicy": "Delete"},
    }


class Node(Player):
    """A player on whose node things go wrong: `trouble` gives the status of a model's pods, by name of the model.

    What it returns is what the kubelet or the scheduler would report; None leaves the pod to the ordinary course.
    """

    def __init__(self, client: Client, namespace: str) -> None:
        super().__init__(client, namespace)
        self.trouble: dict[str, Trouble] = {}

    def looks_again(self, name: str) -> None:
        """The trouble is over: pods that are as they were go on, too."""
        del self.trouble[name]
        self._answered.clear()

    def _ran(self, pod: Object) -> Object | None:
        trouble = self.trouble.get(pod["metadata"]["labels"][LABEL_OWNER])
        return (trouble and trouble(pod)) or super()._ran(pod)

    def _served(self, pod: Object) -> Object | None:
        trouble = self.trouble.get(pod["metadata"]["labels"][LABEL_OWNER])
        return (trouble and trouble(pod)) or super()._served(pod)


class Bench:
    """A namespace with an operator, a node, and what a user can see of a model."""

    def __init__(self, rest: Rest, node: Node, operator: Operator) -> None:
        self.rest, self.node, self.operator, self.namespace = rest, node, operator, node.namespace

    def create(self, name: str, **changes: Object) -> str:
        spec = {**spec_of(name), **changes}
        manifest = {"apiVersion": "quantroll.io/v1alpha1", "kind": "QuantizedModel", "metadata": {"name": name}}
        code, answer = self.rest.request("POST", models(self.namespace), {**manifest, "spec": spec})
        assert code == 201, answer
        return name

    def edit(self, name: str, spec: Object) -> None:
        code, answer = self.rest.request("PATCH", models(self.namespace, name), {"spec": spec})
        assert code == 200, answer

    def status(self, name: str) -> Object:
        return self.rest.request("GET", models(self.namespace, name))[1].get("status") or {}

    def conditions(self, name: str) -> dict[str, Object]:
        return {c["type"]: c for c in self.status(name).get("conditions", [])}

    def wait(self, name: str, until: Callable[[Object], object], timeout: float = 45) -> Object:
        try:
            wait_for(name, lambda: until(self.status(name)), timeout, every=0.3)
        except TimeoutError:
            answer, runs = self.rest.request("GET", models(self.namespace, name)), self.operator.runs
            raise AssertionError(f"never seen of {name}, operator {runs=}: {answer}") from None
        return self.status(name)

    def stalls(self, name: str, reason: str) -> str:
        """Waits for the condition and the event; returns the condition's message."""
        stalled = {"type": "Stalled", "status": "True", "reason": reason}
        self.wait(name, lambda s: any(stalled.items() <= c.items() for c in s.get("conditions", [])))
        message: str = self.conditions(name)["Stalled"]["message"]
        wait_for("event", lambda: message in self.events(name, reason), 10, every=0.1)
        return message

    def told(self, name: str, reason: str, words: str) -> None:
        """An event says so, a moment after the status does."""
        wait_for("event", lambda: any(words in text for text in self.events(name, reason)), 10, every=0.1)

    def events(self, name: str, reason: str) -> list[str]:
        items = self.rest.request("GET", f"/api/v1/namespaces/{self.namespace}/events")[1]["items"]
        return [e["message"] for e in items if (e["involvedObject"]["name"], e["reason"]) == (name, reason)]

    def recovers(self, name: str, *, phase: str = "Steady", timeout: float = 60) -> Object:
        def well(status: Object) -> bool:
            stalled = [c["status"] for c in status.get("conditions", []) if c["type"] == "Stalled"]
            return status.get("phase") == phase and stalled == ["False"]

        return self.wait(name, well, timeout)

    def served(self, name: str) -> list[tuple[str, int]]:
        """Uid and generation of what serves a model, and how many of them there are."""
        path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{self.namespace}/httproutes/{name}"
        found = [self.rest.request("GET", path)[1], *self.children("deployments", name)]
        return [(body["metadata"]["uid"], body["metadata"]["generation"]) for body in found]

    def children(self, kind: str, name: str) -> list[Object]:
        group = {"jobs": "apis/batch/v1", "deployments": "apis/apps/v1"}.get(kind, "api/v1")
        items: list[Object] = self.rest.request("GET", f"/{group}/namespaces/{self.namespace}/{kind}")[1]["items"]
        return [i for i in items if i["metadata"].get("labels", {}).get(LABEL_OWNER) == name]


@pytest.fixture(scope="module")
def bench(cluster: Cluster, rest: Rest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    namespace = f"test-{secrets.token_hex(4)}"
    assert rest.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})[0] == 201
    operator = Operator(cluster.client, tmp_path_factory.mktemp("operator"), namespace, copy.deepcopy(SETTINGS))
    with running(operator), Node(cluster.client, namespace) as node:
        here = Bench(rest, node, operator)
        here.create("neighbour")
        yield here
    rest.request("DELETE", f"/api/v1/namespaces/{namespace}")


@pytest.fixture(autouse=True)
def neighbour(bench: Bench) -> Iterator[None]:
    """Whatever one model brings about, another one is served all the while, by the same objects."""
    bench.recovers("neighbour")
    before = bench.served("neighbour")
    yield
    assert bench.served("neighbour") == before
    assert bench.status("neighbour")["phase"] == "Steady"


def kind_of(pod: Object) -> str:
    kind: str = pod["metadata"]["labels"][LABEL_COMPONENT]
    return kind


def waiting(name: str, reason: str, message: str, image: str = "x") -> Object:
    return {"name": name, "image": image, "imageID": "", "ready": False, "restartCount": 0,
            "state": {"waiting": {"reason": reason, "message": message}}}  # fmt: skip


def prepare_says(reason: Reason, message: str) -> Trouble:
    """The prepare Job ends with this; the others are not reached."""

    def trouble(pod: Object) -> Object | None:
        return None if kind_of(pod) != Component.PREPARE else failed_with(pod, reason, message)

    return trouble


def failed_with(pod: Object, reason: Reason, message: str) -> Object:
    key = pod["metadata"]["annotations"]["quantroll.io/key"]
    said = Report(kind=kind_of(pod), key=key, reason=reason, message=message).model_dump_json(by_alias=True)
    ended = {"exitCode": 65, "reason": "Error", "message": said, "startedAt": TIME, "finishedAt": TIME}
    return {"phase": "Failed", "conditions": [], "containerStatuses": [ended_with(job_builders.CONTAINER, ended)]}


TIME = "2026-01-01T00:00:00Z"


def ended_with(name: str, ended: Object) -> Object:
    return {"name": name, "image": "x", "imageID": "x", "ready": False, "restartCount": 0,
            "state": {"terminated": ended}}  # fmt: skip


BAD_FILES = {
    Reason.MODEL_NOT_FOUND: "there is no /claims/tiny/model: check spec.model.source",
    Reason.NOT_SAFETENSORS: "weights are pytorch_model.bin: convert them to safetensors",
    Reason.ADAPTER_ONLY: "this is a LoRA adapter: merge it into its base model",
    Reason.EVAL_SET_MISSING: "there is no /claims/tiny/eval.jsonl",
    Reason.EVAL_SET_DIGEST: "the eval set is not the one that is pinned",
    Reason.EVAL_SET_MALFORMED: "line 7 is not JSON",
}


def test_files_that_cannot_be_used(bench):
    """All at once: each has its own condition, each is tried again as soon as its spec is edited."""
    names = {reason: f"bad-{index}" for index, reason in enumerate(BAD_FILES)}
    for reason, name in names.items():
        bench.node.trouble[name] = prepare_says(reason, BAD_FILES[reason])
        bench.create(name)
    for reason, name in names.items():
        assert bench.stalls(name, reason) == BAD_FILES[reason]
        assert bench.conditions(name)["Ready"]["status"] == "False"
        assert bench.status(name)["phase"] == "Pending"
        assert bench.children("deployments", name) == []
    for name in names.values():
        del bench.node.trouble[name]
        bench.edit(name, {"rollout": {"deadlines": {"drain": "2s"}}})
    for name in names.values():
        bench.wait(name, lambda s: "prepared" in s and "prepareFailure" not in s)
        bench.wait(name, lambda _, name=name: bench.conditions(name)["Stalled"]["status"] == "False")
        assert bench.rest.request("DELETE", models(bench.namespace, name))[0] == 200


def test_a_file_repaired_in_place_is_found_without_an_edit(bench):
    bench.node.trouble["repaired"] = prepare_says(Reason.EVAL_SET_MALFORMED, "line 7 is not JSON")
    bench.create("repaired")
    bench.stalls("repaired", "EvalSetMalformed")
    del bench.node.trouble["repaired"]
    bench.recovers("repaired", timeout=70)
    assert len(bench.events("repaired", "EvalSetMalformed")) == 1


def test_too_few_items(bench):
    bench.create("few", qualityGate={**spec_of("few")["qualityGate"], "minSamples": 2001})
    message = bench.stalls("few", "EvalSetTooSmall")
    assert "2000 distinct items" in message
    assert "add items" in message
    assert [job["metadata"]["labels"][LABEL_COMPONENT] for job in bench.children("jobs", "few")] == ["prepare"]
    bench.edit("few", {"qualityGate": {"minSamples": 500}})
    bench.recovers("few")


def test_a_claim_that_is_missing(bench):
    lacking = '0/3 nodes are available: persistentvolumeclaim "tiny" not found. preemption: not helpful'
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": lacking}
    bench.node.trouble["unclaimed"] = lambda _: {"phase": "Pending", "conditions": [unscheduled]}
    bench.create("unclaimed")
    message = bench.stalls("unclaimed", "VolumeMissing")
    assert 'persistentvolumeclaim "tiny" not found' in message
    assert "create the claim" in message
    bench.node.looks_again("unclaimed")
    bench.recovers("unclaimed")


def test_an_image_that_cannot_be_pulled_and_an_admin_who_corrects_it(bench):
    def trouble(pod: Object) -> Object | None:
        image = pod["spec"]["containers"][0]["image"]
        if kind_of(pod) != Component.QUANTIZE or image == "example.com/quantize:2":
            return None
        return {
            "phase": "Pending",
            "conditions": [],
            "containerStatuses": [
                waiting(job_builders.CONTAINER, "ImagePullBackOff", "Back-off pulling: manifest unknown", image)
            ],
        }

    bench.node.trouble["pulled"] = trouble
    bench.create("pulled")
    message = bench.stalls("pulled", "ImagePullFailed")
    assert "example.com/quantize:1" in message
    assert "manifest unknown" in message
    assert bench.conditions("pulled")["Available"]["status"] == "True"
    bench.operator.configure(lambda settings: settings["images"].update(quantize="example.com/quantize:2"))
    bench.operator.stop()
    bench.operator.start()
    bench.recovers("pulled")


def test_a_job_that_runs_out_of_memory(bench):
    killed = {"exitCode": 137, "reason": "OOMKilled", "startedAt": TIME, "finishedAt": TIME}

    def trouble(pod: Object) -> Object | None:
        if kind_of(pod) != Component.QUANTIZE:
            return None
        return {"phase": "Failed", "conditions": [], "containerStatuses": [ended_with(job_builders.CONTAINER, killed)]}

    bench.node.trouble["hungry"] = trouble
    bench.create("hungry")
    bench.stalls("hungry", "Rejected")
    row = bench.status("hungry")["variants"][0]
    assert (row["verdict"], row["reason"]) == ("ERROR", "OutOfMemory")
    assert "raise its limit" in row["message"]
    assert "raise its limit" in bench.conditions("hungry")["Verified"]["message"]
    bench.told("hungry", "OutOfMemory", "raise its limit")
    assert bench.conditions("hungry")["Available"]["status"] == "True", "the baseline serves on"
    del bench.node.trouble["hungry"]
    bench.edit("hungry", {"jobs": {"resources": {"limits": {"memory": "64Gi"}}}})
    bench.recovers("hungry")


TRACEBACK = """\
(EngineCore pid=17) ValueError: Weight input_size_per_partition = 100 is not divisible by min_thread_k = 128.
RuntimeError: Engine core initialization failed. See root cause above.
"""


def test_an_artifact_that_the_engine_cannot_load(bench):
    died = {"exitCode": 1, "reason": "Error", "message": TRACEBACK, "startedAt": TIME, "finishedAt": TIME}

    def trouble(pod: Object) -> Object | None:
        if kind_of(pod) != Component.EVALUATE or pod["metadata"]["labels"]["quantroll.io/variant"] != "int8":
            return None
        engine = waiting(ENGINE_CONTAINER, "CrashLoopBackOff", "back-off 20s")
        engine |= {"restartCount": 2, "lastState": {"terminated": died}}
        running = {"name": job_builders.CONTAINER, "image": "x", "imageID": "x", "ready": True, "restartCount": 0,
                   "state": {"running": {"startedAt": TIME}}}  # fmt: skip
        return {"phase": "Pending", "conditions": [], "initContainerStatuses": [engine],
                "containerStatuses": [running]}  # fmt: skip

    bench.node.trouble["unloadable"] = trouble
    bench.create("unloadable")
    bench.stalls("unloadable", "Rejected")
    row = bench.status("unloadable")["variants"][0]
    assert (row["verdict"], row["reason"]) == ("Infeasible", "Infeasible")
    assert "is not divisible by min_thread_k = 128" in row["message"]
    bench.told("unloadable", "Infeasible", "min_thread_k")
    assert "min_thread_k" in bench.conditions("unloadable")["Verified"]["message"]
    wait_for("Job gone", lambda: not [j for j in bench.children("jobs", "unloadable") if j["status"].get("active")], 20)
    assert bench.conditions("unloadable")["Available"]["status"] == "True"
    del bench.node.trouble["unloadable"]
    bench.edit("unloadable", {"serving": {"maxNumSeqs": 8}})
    done = bench.recovers("unloadable")
    assert done["stable"]["variant"] == "int8"


def test_an_engine_that_is_not_installed(bench):
    bench.create("sglang", serving={"engine": "sglang"})
    message = bench.stalls("sglang", "EngineUnknown")
    assert "known: vllm-cpu" in message
    bench.edit("sglang", {"serving": {"engine": "vllm-cpu"}})
    bench.recovers("sglang")


def test_a_name_that_is_taken(bench):
    services = f"/api/v1/namespaces/{bench.namespace}/services"
    theirs = {"metadata": {"name": "taken"}, "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]}}
    assert bench.rest.request("POST", services, theirs)[0] == 201
    bench.create("taken")
    assert "Service taken" in bench.stalls("taken", "NameTaken")
    assert bench.rest.request("GET", f"{services}/taken")[1]["spec"]["selector"] == {"app": "theirs"}
    assert bench.rest.request("DELETE", f"{services}/taken")[0] == 200
    bench.recovers("taken")


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlaneOnly]:
    """Another cluster, at first without the Gateway API, for what would reach into others' namespaces."""
    with ControlPlaneOnly(tmp_path_factory.mktemp("alone") / "control") as started:
        with_crd(started)
        yield started


@pytest.fixture(scope="module")
def alone(control: ControlPlaneOnly, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The one that has it to itself."""
    operator = Operator(control.client, tmp_path_factory.mktemp("operator"), "default", copy.deepcopy(SETTINGS))
    with closing(Rest(control.client)) as rest, running(operator), Node(control.client, "default") as node:
        yield Bench(rest, node, operator)


def test_the_gateway_api_is_installed_later(control, alone):
    """A cluster without it: models are made and proven all the same, and go on when it comes, without a restart."""
    alone.create("early")
    message = alone.stalls("early", "GatewayAPIMissing")
    assert "install its CRDs" in message
    alone.wait("early", lambda s: s.get("phase") == "Selecting")
    assert alone.conditions("early")["Available"]["status"] == "True"
    with_gateway_api(control)
    began = time.monotonic()
    done = alone.recovers("early", timeout=90)
    print(f"recovered after {time.monotonic() - began:.0f} s")
    assert done["stable"]["variant"] == "int8"


def test_a_candidate_without_a_node_is_taken_away_again(control, alone):
    with_gateway_api(control)
    alone.node.never_ready = {"int8"}
    usual = spec_of("roomless")["rollout"]
    alone.create("roomless", rollout={**usual, "deadlines": {"scheduling": "3s"}})
    done = alone.wait("roomless", lambda s: s.get("phase") == "RolledBack", timeout=90)
    assert done["rejected"][0]["reason"] == "CapacityBlocked"
    blocked = alone.conditions("roomless")["CapacityBlocked"]
    assert blocked["status"] == "True"
    assert NO_NODE in blocked["message"]

    def serving() -> list[str]:
        found = [d for d in alone.children("deployments", "roomless") if d["spec"]["replicas"]]
        labels = [d["metadata"]["labels"] for d in found]
        return [of[LABEL_VARIANT] for of in labels if of[LABEL_COMPONENT] == Component.SERVE]

    wait_for("its pods to go, which follow the status", lambda: serving() == ["baseline"], 20)
    alone.node.never_ready = set()


def test_a_spec_of_another_version_disturbs_nothing(control, alone):
    """A newer CRD has stored what this operator, put back to an older release, cannot read."""
    with_gateway_api(control)
    alone.create("foreign")
    before = alone.recovers("foreign", timeout=90)
    crd = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/quantizedmodels.quantroll.io"
    schema = alone.rest.request("GET", crd)[1]
    properties = schema["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    properties["futureField"] = {"type": "string"}
    assert alone.rest.request("PATCH", crd, {"spec": {"versions": schema["spec"]["versions"]}})[0] == 200

    def stored() -> bool:
        path = models(alone.namespace, "foreign")
        return alone.rest.request("PATCH", path, {"spec": {"futureField": "x"}})[0] == 200

    wait_for("the new schema", stored, 10, every=0.2)
    alone.operator.stop()  # a watch from before the change shows objects without the new field
    alone.operator.start()
    message = alone.stalls("foreign", "SpecInvalid")
    assert "futureField" in message
    assert "what serves is not touched" in message
    assert alone.status("foreign")["stable"] == before["stable"]
    components = [d["metadata"]["labels"][LABEL_COMPONENT] for d in alone.children("deployments", "foreign")]
    assert sorted(components) == [Component.PROBE, Component.SERVE]
    alone.edit("foreign", {"futureField": None})
    alone.recovers("foreign")
