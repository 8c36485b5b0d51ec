"""What Kubernetes objects say, in the words of the snapshot. Pure: dicts in, views out."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from quantroll.api.jobs import Report
from quantroll.api.status import Share
from quantroll.builders import jobs as job_builders
from quantroll.builders import names
from quantroll.constants import (
    ANNOTATION_KEY,
    ENGINE_CONTAINER,
    LABEL_COMPONENT,
    LABEL_REVISION,
    Component,
    Reason,
)
from quantroll.domain.jobs import engine_cause
from quantroll.domain.snapshot import JobState, JobView, Problem, RouteView, ServerView

Body = Mapping[str, Any]

NAME_LIMIT = 128  # somebody else's backend may be called anything
_IMAGE_REASONS = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"})
_CONFIG_REASONS = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError"})


def job_view(job: Body, pods: Iterable[Body], progress: Mapping[str, float | None] | None = None) -> JobView:
    """A Job and what its pods say; `progress` of evaluations is by key."""
    own = sorted((p for p in pods if _controlled_by(p, job)), key=lambda p: str(p["metadata"]["creationTimestamp"]))
    state, finished_at = _job_state(job)
    report, unreadable = _report(own)
    key = job["metadata"].get("annotations", {}).get(ANNOTATION_KEY, "")
    engine = [s for pod in own for s in _container_statuses(pod) if s["name"] == ENGINE_CONTAINER]
    return JobView(
        name=job["metadata"]["name"],
        uid=job["metadata"]["uid"],
        key=key,
        state=state,
        finished_at=finished_at,
        report=report,
        unreadable=unreadable,
        problem=next((found for pod in reversed(own) if (found := pod_problem(pod))), None),
        engine_restarts=max((s.get("restartCount", 0) for s in engine), default=0),
        engine_problem=next((found for s in engine if (found := _died(s))), None),
        progress=(progress or {}).get(key),
    )


def evaluating(pods: Iterable[Body], since: datetime) -> dict[str, str]:
    """Addresses of evaluations whose client has run since then, by key."""
    found = {}
    for pod in pods:
        meta, address = pod["metadata"], pod.get("status", {}).get("podIP")
        if meta.get("labels", {}).get(LABEL_COMPONENT) != Component.EVALUATE or not address:
            continue
        states = [s.get("state", {}).get("running") for s in pod["status"].get("containerStatuses", [])]
        begun = [datetime.fromisoformat(running["startedAt"]) for running in states if running]
        if begun and min(begun) <= since:
            found[meta.get("annotations", {}).get(ANNOTATION_KEY, "")] = address
    return found


def has_started(job: Body, pods: Iterable[Body]) -> bool:
    """Whether the Job's own container ever ran; an engine beside one that cannot be pulled has nobody to answer to."""
    statuses = [s for p in pods if _controlled_by(p, job) for s in p.get("status", {}).get("containerStatuses", [])]
    return any(not s.get("state", {}).get("waiting") or s.get("lastState") for s in statuses)


def server_view(pods: Iterable[Body], in_flight: int | None) -> ServerView:
    """The pods of one revision."""
    living = [p for p in pods if not p["metadata"].get("deletionTimestamp")]
    return ServerView(
        ready=sum(is_ready(p) for p in living),
        problem=next((found for pod in living if (found := pod_problem(pod))), None),
        in_flight=in_flight,
    )


def is_ready(pod: Body) -> bool:
    """Whether a pod takes requests."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions", []))


def has_begun(pod: Body) -> bool:
    """Whether a pod's engine runs, and has answered once since it was started: it may have requests."""
    own = [status for status in _container_statuses(pod) if status["name"] == ENGINE_CONTAINER]
    return any(bool(status.get("started")) for status in own)


def route_view(route: Body, owner: str) -> RouteView:
    """The weights that the route carries, and whether every gateway it names has accepted them."""
    refs = [ref for rule in route["spec"].get("rules", []) for ref in rule.get("backendRefs", [])]
    prefix = names.revision(owner, "")
    named = [str(ref["name"]).removeprefix(prefix)[:NAME_LIMIT] for ref in refs]
    weights = [ref.get("weight", 1) for ref in refs]
    shares = tuple(
        Share(revision=revision, weight=weight) for revision, weight in zip(named, weights, strict=True) if weight
    )
    wrong, refused = _route_problem(route) or ("", False)
    return RouteView(shares=shares, named=frozenset(named), accepted=not wrong, refused=refused, message=wrong)


def _route_problem(route: Body) -> tuple[str, bool] | None:
    """What is wrong, and whether a gateway said so, or has merely not answered."""
    generation = route["metadata"].get("generation")
    parents = route.get("status", {}).get("parents", [])
    for ref in route["spec"].get("parentRefs", []):
        name = f"gateway {ref.get('namespace', route['metadata']['namespace'])}/{ref['name']}"
        answers = [p for p in parents if _same_parent(p["parentRef"], ref, route["metadata"]["namespace"])]
        if not answers:
            return f"{name} has not answered: does it exist, and does its controller run?", False
        # A controller that is gone leaves its answer behind: only what is said of the weights of now counts.
        wrong = [_answer_problem(answer, name, generation) for answer in answers]
        told = [found for found in wrong if found]
        if any(refused for _, refused in told) or len(told) == len(wrong):
            return max(told, key=lambda found: found[1])
    return None


def _answer_problem(answer: Body, name: str, generation: int | None) -> tuple[str, bool] | None:
    """What is wrong by one controller's answer about one gateway."""
    told = {condition["type"]: condition for condition in answer.get("conditions", [])}
    for kind in ("Accepted", "ResolvedRefs"):
        found = told.get(kind)
        if found is None or found.get("observedGeneration") != generation:
            return f"{name} has not answered to the latest weights yet", False
        if found["status"] != "True":
            return f"{name}: {kind} is {found['status']}: {found.get('reason')}: {found.get('message', '')}", True
    return None


def _same_parent(told: Body, asked: Body, home: str) -> bool:
    same_place = told.get("namespace", home) == asked.get("namespace", home)
    return told["name"] == asked["name"] and same_place and told.get("sectionName") == asked.get("sectionName")


def pod_problem(pod: Body) -> Problem | None:
    """Why a pod does not get on; None while it does. What its containers say is newer than that it found no node."""
    if is_ready(pod):
        return None
    told = (found for status in _container_statuses(pod) if (found := _container_problem(status)))
    return next(told, None) or _unscheduled(pod)


def _unscheduled(pod: Body) -> Problem | None:
    for condition in pod.get("status", {}).get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            message = condition.get("message", "")
            if "persistentvolumeclaim" in message and "not found" in message:
                return Problem(Reason.VOLUME_MISSING, f"{message}; create the claim, this goes on by itself")
            since = condition.get("lastTransitionTime")
            return Problem(Reason.UNSCHEDULABLE, message, datetime.fromisoformat(since) if since else None)
    return None


def _container_problem(status: Body) -> Problem | None:
    state = status.get("state", {})
    waiting, ended = state.get("waiting") or {}, state.get("terminated") or {}
    reason, message = waiting.get("reason", ""), waiting.get("message", "")
    if reason in _IMAGE_REASONS:
        return Problem(Reason.IMAGE_PULL, f"image {status['image']}: {message or reason}")
    if reason in _CONFIG_REASONS:
        return Problem(Reason.CONTAINER_CONFIG, f"container {status['name']}: {message or reason}")
    if ended.get("reason") == "OOMKilled":
        return _out_of_memory(status)
    return _died(status) if reason == "CrashLoopBackOff" else None


def _died(status: Body) -> Problem | None:
    """Why a container that is restarted again and again ends."""
    ended = status.get("lastState", {}).get("terminated") or status.get("state", {}).get("terminated")
    if not ended:
        return None
    if ended.get("reason") == "OOMKilled":
        return _out_of_memory(status)
    return Problem(Reason.ENGINE_FAILED, engine_cause(ended.get("message", "")))


def _out_of_memory(status: Body) -> Problem:
    return Problem(
        Reason.OUT_OF_MEMORY,
        f"container {status['name']} was killed for want of memory: raise its limit, or choose a smaller setting",
    )


def _container_statuses(pod: Body) -> list[Body]:
    status = pod.get("status", {})
    return [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]


def _controlled_by(pod: Body, job: Body) -> bool:
    return any(o.get("uid") == job["metadata"]["uid"] for o in pod["metadata"].get("ownerReferences", []))


def _job_state(job: Body) -> tuple[JobState, datetime | None]:
    for condition in job.get("status", {}).get("conditions", []):
        if condition["status"] == "True" and condition["type"] in ("Complete", "Failed"):
            state = JobState.SUCCEEDED if condition["type"] == "Complete" else JobState.FAILED
            return state, datetime.fromisoformat(condition["lastTransitionTime"])
    return JobState.ACTIVE, None


def _report(pods: list[Body]) -> tuple[Report | None, bool]:
    """The report of the pod that ended last, and whether it left something that is no report."""
    for pod in reversed(pods):
        for status in pod.get("status", {}).get("containerStatuses", []):
            ended = status.get("state", {}).get("terminated")
            if status["name"] != job_builders.CONTAINER or not ended:
                continue
            try:
                return Report.model_validate_json(ended.get("message", "")), False
            except ValidationError:
                # a container that was killed leaves its log's end instead: no report, and no pretence of one
                return None, ended.get("exitCode") == 0
    return None, False


def revision_of(body: Body) -> str:
    """The revision label of a child."""
    return str(body["metadata"].get("labels", {}).get(LABEL_REVISION, ""))


def selected_revision(service: Body) -> str:
    """The revision whose pods a Service selects; empty where it selects those of all."""
    return str(service["spec"].get("selector", {}).get(LABEL_REVISION, ""))
