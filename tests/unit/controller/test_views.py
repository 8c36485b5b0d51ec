"""What pods, Jobs and routes say, in the snapshot's words."""

from datetime import UTC, datetime

import pytest

from quantroll.api.jobs import Report
from quantroll.api.status import Share
from quantroll.constants import Reason
from quantroll.controller import views
from quantroll.domain.snapshot import JobState
from unit.controller.bodies import (
    KEY,
    READY,
    container,
    ended,
    engine,
    job,
    pod,
    running,
    scheduled,
    waiting,
)

GOOD = Report(kind="evaluate", key=KEY).model_dump_json(by_alias=True)
BAD = Report(kind="evaluate", key=KEY, reason=Reason.INPUT_CHANGED, message="it changed").model_dump_json(by_alias=True)
TRACEBACK = """\
(EngineCore pid=17) ERROR 03-02 08:00:02 [core.py:1] EngineCore failed to start.
(EngineCore pid=17) ValueError: Weight input_size_per_partition = 100 is not divisible by min_thread_k = 128.
RuntimeError: Engine core initialization failed. See root cause above.
"""


@pytest.mark.parametrize(
    ("condition", "state"),
    [(None, JobState.ACTIVE), ("SuccessCriteriaMet", JobState.ACTIVE), ("FailureTarget", JobState.ACTIVE),
     ("Complete", JobState.SUCCEEDED), ("Failed", JobState.FAILED)],
)  # fmt: skip
def test_where_a_job_stands(condition, state):
    view = views.job_view(job(condition=condition), [])
    assert view.state is state
    assert (view.key, view.uid) == (KEY, "job-uid")
    at = datetime(2026, 3, 2, 8, tzinfo=UTC)
    assert view.finished_at == (None if state is JobState.ACTIVE else at)


def test_a_suspended_condition_that_is_false_is_no_end():
    body = job(condition="Failed")
    body["status"]["conditions"][0]["status"] = "False"
    assert views.job_view(body, []).state is JobState.ACTIVE


def test_the_report_is_read_from_the_jobs_own_container():
    own = pod(container(ended(0, "Completed", GOOD)), init=(engine(ended(137, "Error", "killed at its end")),))
    view = views.job_view(job(condition="Complete"), [own])
    assert view.report == Report.model_validate_json(GOOD)
    assert not view.unreadable


def test_pods_of_others_say_nothing():
    theirs = pod(container(ended(0, "Completed", GOOD)), owner="another")
    assert views.job_view(job(), [theirs]).report is None


def test_the_pod_that_was_made_last_is_believed():
    early = pod(container(ended(65, "Error", BAD)), created="2026-03-02T07:00:00Z")
    late = pod(container(ended(0, "Completed", GOOD)), created="2026-03-02T07:30:00Z")
    for order in ([early, late], [late, early]):
        assert views.job_view(job(), order).report.ok


@pytest.mark.parametrize(
    ("state", "unreadable"),
    [
        (ended(0, "Completed", "Traceback (most recent call last)"), True),
        (ended(0, "Completed", GOOD[:-4]), True),
        (ended(0, "Completed"), True),
        (ended(1, "Error", "Traceback (most recent call last)"), False),
        (ended(137, "OOMKilled"), False),
        (running(), False),
    ],
)
def test_a_message_that_is_no_report(state, unreadable):
    view = views.job_view(job(), [pod(container(state))])
    assert view.report is None
    assert view.unreadable is unreadable


@pytest.mark.parametrize(
    ("body", "reason", "says"),
    [
        (pod(container(waiting("ImagePullBackOff", "manifest unknown"))), Reason.IMAGE_PULL, "client:1: manifest"),
        (pod(container(waiting("ErrImagePull"))), Reason.IMAGE_PULL, "example.com/client:1: ErrImagePull"),
        (pod(container(waiting("InvalidImageName", "bad"))), Reason.IMAGE_PULL, "bad"),
        (pod(container(waiting("ErrImageNeverPull", "policy"))), Reason.IMAGE_PULL, "policy"),
        (pod(container(running()), init=(engine(waiting("ImagePullBackOff", "no")),)), Reason.IMAGE_PULL, "no"),
        (pod(container(waiting("CreateContainerConfigError", "runAsNonRoot"))), Reason.CONTAINER_CONFIG,
         "container job: runAsNonRoot"),
        (pod(container(ended(137, "OOMKilled"))), Reason.OUT_OF_MEMORY, "container job was killed"),
        (pod(init=(engine(waiting("CrashLoopBackOff"), restarts=3, last=ended(137, "OOMKilled")),)),
         Reason.OUT_OF_MEMORY, "container engine was killed"),
        (pod(engine(waiting("CrashLoopBackOff"), restarts=3, last=ended(1, "Error", TRACEBACK))), Reason.ENGINE_FAILED,
         "ValueError: Weight input_size_per_partition = 100"),
        (pod(conditions=(scheduled("0/3 nodes are available: 3 Insufficient nvidia.com/gpu."),)),
         Reason.UNSCHEDULABLE, "Insufficient nvidia.com/gpu"),
        (pod(conditions=(scheduled('0/1 nodes are available: persistentvolumeclaim "tiny" not found.'),)),
         Reason.VOLUME_MISSING, "create the claim"),
        (pod(conditions=(scheduled("0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims."),)),
         Reason.UNSCHEDULABLE, "unbound"),
    ],
)  # fmt: skip
def test_why_a_pod_does_not_get_on(body, reason, says):
    found = views.pod_problem(body)
    assert found.reason is reason
    assert says in found.message
    assert views.job_view(job(), [body]).problem == found
    assert views.server_view([body], None).problem == found


def test_since_when_a_pod_finds_no_node():
    since = {**scheduled("no GPU"), "lastTransitionTime": "2026-03-02T08:00:00Z"}
    assert views.pod_problem(pod(conditions=(since,))).since == datetime(2026, 3, 2, 8, tzinfo=UTC)
    assert views.pod_problem(pod(conditions=(scheduled("no GPU"),))).since is None


@pytest.mark.parametrize(
    "body",
    [
        {"metadata": {"name": "x"}},
        pod(),
        pod(container(waiting("ContainerCreating"))),
        pod(container(waiting("PodInitializing")), init=(engine(running()),)),
        pod(container(running())),
        pod(container(ended(0, "Completed"))),
        pod(conditions=({"type": "PodScheduled", "status": "True"},)),
        pod(engine(running(), restarts=1, last=ended(1, "Error", TRACEBACK))),  # it was restarted and may do now
    ],
)
def test_a_pod_that_gets_on(body):
    assert views.pod_problem(body) is None


def test_the_engine_beside_a_job():
    sidecar = engine(running(), restarts=2, last=ended(1, "Error", TRACEBACK))
    view = views.job_view(job(), [pod(container(running()), init=(sidecar,))])
    assert view.engine_restarts == 2
    assert view.engine_problem.message.startswith("ValueError: Weight")
    assert view.problem is None
    killed = engine(running(), restarts=2, last=ended(137, "OOMKilled"))
    view = views.job_view(job(), [pod(container(running()), init=(killed,))])
    assert view.engine_problem.reason is Reason.OUT_OF_MEMORY


@pytest.mark.parametrize(
    ("body", "started"),
    [
        (pod(), False),
        (pod(container(waiting("ImagePullBackOff"))), False),
        (pod(container(waiting("PodInitializing")), init=(engine(waiting("ImagePullBackOff")),)), False),
        (pod(container(waiting("ImagePullBackOff")), init=(engine(running()),)), False),
        (pod(container(running())), True),
        (pod(container(waiting("CrashLoopBackOff"), last=ended(1))), True),
        (pod(container(ended(0))), True),
        (pod(container(running()), owner="another"), False),
    ],
)
def test_whether_a_job_has_begun(body, started):
    """One that has not may be replaced by a corrected one."""
    assert views.has_started(job(), [body]) is started


def test_pods_that_serve():
    ready = pod(engine(running()), conditions=(READY,))
    leaving = pod(engine(running()), conditions=(READY,), deletionTimestamp="2026-03-02T08:00:00Z")
    loading = pod(engine(running()), conditions=({"type": "Ready", "status": "False"},))
    view = views.server_view([ready, ready, leaving, loading], 4)
    assert (view.ready, view.in_flight, view.problem) == (2, 4, None)
    assert views.revision_of(ready) == "r1"


def route(*answers, refs=({"name": "public"},), generation=3):
    weights = {"aaa": 90, "bbb": 10, "ccc": 0}
    backends = [{"name": f"tiny-{revision}", "weight": weight} for revision, weight in weights.items()]
    return {
        "metadata": {"name": "tiny", "namespace": "team", "generation": generation},
        "spec": {"parentRefs": list(refs), "rules": [{"backendRefs": backends}]},
        "status": {"parents": list(answers)},
    }


def answer(ref, *, generation=3, **otherwise):
    told = {"Accepted": "True", "ResolvedRefs": "True"} | otherwise
    conditions = [
        {"type": kind, "status": status, "reason": "Because", "message": "words", "observedGeneration": generation}
        for kind, status in told.items()
    ]
    return {"parentRef": ref, "controllerName": "example.com/gateway", "conditions": conditions}


PUBLIC = {"name": "public"}


def test_an_accepted_route():
    view = views.route_view(route(answer(PUBLIC)), "tiny")
    assert view.shares == (Share(revision="aaa", weight=90), Share(revision="bbb", weight=10))
    assert view.named == {"aaa", "bbb", "ccc"}
    assert view.accepted
    assert view.message == ""


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (route(), "gateway team/public has not answered"),
        (route(answer({"name": "other"})), "has not answered"),
        (route(answer(PUBLIC, generation=2)), "not answered to the latest weights"),
        (route({"parentRef": PUBLIC, "conditions": []}), "not answered to the latest weights"),
        (route(answer(PUBLIC, Accepted="False")), "Accepted is False: Because: words"),
        (route(answer(PUBLIC, ResolvedRefs="False")), "ResolvedRefs is False"),
        (route(answer(PUBLIC), refs=(PUBLIC, {"name": "second"})), "gateway team/second"),
        (route(answer(PUBLIC), refs=({"name": "public", "sectionName": "https"},)), "has not answered"),
        (route(answer({"name": "public", "namespace": "theirs"})), "gateway team/public has not answered"),
        (route(answer(PUBLIC), refs=({"name": "public", "namespace": "gateways"},)), "gateway gateways/public has not"),
    ],
)
def test_a_route_that_is_not_accepted(body, says):
    view = views.route_view(body, "tiny")
    assert not view.accepted
    assert says in view.message


@pytest.mark.parametrize("old", [answer(PUBLIC, generation=1, Accepted="False"), {"parentRef": PUBLIC}])
def test_what_a_controller_that_is_gone_has_left_behind_keeps_nothing_up(old):
    assert views.route_view(route(old, answer(PUBLIC)), "tiny").accepted
    assert views.route_view(route(answer(PUBLIC), old), "tiny").accepted


def test_of_several_answers_a_refusal_is_told():
    for other in (answer(PUBLIC, generation=1), answer(PUBLIC)):
        view = views.route_view(route(other, answer(PUBLIC, ResolvedRefs="False")), "tiny")
        assert (view.accepted, view.refused) == (False, True)
        assert "ResolvedRefs is False: Because: words" in view.message


def test_a_gateway_may_be_named_with_or_without_its_own_namespace():
    full = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "public", "namespace": "team"}
    assert views.route_view(route(answer(full)), "tiny").accepted
    assert views.route_view(route(answer(PUBLIC), refs=(full,)), "tiny").accepted


def test_a_route_that_nobody_has_looked_at_has_no_status():
    body = route()
    del body["status"]
    assert not views.route_view(body, "tiny").accepted


def test_evaluations_that_have_run_for_a_while_are_asked_how_far_they_are():
    since = datetime(2026, 1, 1, 12, tzinfo=UTC)
    bodies = [
        _evaluation("a", "2026-01-01T11:59:00Z", "10.0.0.1"),
        _evaluation("b", "2026-01-01T12:00:01Z", "10.0.0.2"),  # too young
        _evaluation("c", None, "10.0.0.3"),  # waits
        _evaluation("d", "2026-01-01T11:59:00Z", None),
        _evaluation("e", "2026-01-01T11:59:00Z", "10.0.0.5", component="quantize"),
    ]
    assert views.evaluating(bodies, since) == {"a": "10.0.0.1"}


def _evaluation(key, started, address, component="evaluate"):
    state = {"running": {"startedAt": started}} if started else {"waiting": {"reason": "PodInitializing"}}
    return {
        "metadata": {"labels": {"quantroll.io/component": component}, "annotations": {"quantroll.io/key": key}},
        "status": {"containerStatuses": [{"name": "job", "state": state}], **({"podIP": address} if address else {})},
    }
