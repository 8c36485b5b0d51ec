"""Kubernetes objects as the API server shows them, with what matters to the controller."""

from typing import Any

from quantroll.builders.jobs import CONTAINER
from quantroll.constants import ANNOTATION_KEY, ENGINE_CONTAINER, LABEL_OWNER, LABEL_REVISION, LABEL_VARIANT

Body = dict[str, Any]
KEY = "5" * 64
TIME = "2026-03-02T08:00:00Z"


def job(*, condition: str | None = None, uid: str = "job-uid", key: str = KEY, **meta: Any) -> Body:
    """A Job; `condition`: Complete, Failed, SuccessCriteriaMet, or none while it runs."""
    told = [{"type": condition, "status": "True", "lastTransitionTime": TIME}] if condition else []
    annotations = {ANNOTATION_KEY: key}
    return {
        "metadata": {"name": "tiny-evaluate-5555555555", "namespace": "team", "uid": uid, "annotations": annotations,
                     "labels": {LABEL_OWNER: "tiny"}} | meta,
        "spec": {"backoffLimit": 2},
        "status": {"conditions": told} if told else {"active": 1},
    }  # fmt: skip


def pod(
    *containers: Body, init: tuple[Body, ...] = (), conditions: tuple[Body, ...] = (), owner: str = "job-uid",
    created: str = TIME, **meta: Any,
) -> Body:  # fmt: skip
    """A pod of that Job, or of another owner."""
    references = [{"apiVersion": "batch/v1", "kind": "Job", "name": "x", "uid": owner, "controller": True}]
    return {
        "metadata": {"name": "tiny-evaluate-5555555555-abcde", "namespace": "team", "creationTimestamp": created,
                     "ownerReferences": references,
                     "labels": {LABEL_OWNER: "tiny", LABEL_REVISION: "r1", LABEL_VARIANT: "int8"}} | meta,
        "status": {"phase": "Pending", "conditions": list(conditions), "containerStatuses": list(containers),
                   "initContainerStatuses": list(init)},
    }  # fmt: skip


def container(state: Body, *, name: str = CONTAINER, restarts: int = 0, last: Body | None = None) -> Body:
    """One container's status."""
    return {
        "name": name, "image": "example.com/client:1", "imageID": "", "ready": "running" in state,
        "restartCount": restarts, "state": state, "lastState": last or {},
    }  # fmt: skip


def engine(state: Body, **more: Any) -> Body:
    """The engine's status."""
    return container(state, name=ENGINE_CONTAINER, **more)


def waiting(reason: str, message: str = "") -> Body:
    return {"waiting": {"reason": reason, "message": message} if message else {"reason": reason}}


def running() -> Body:
    return {"running": {"startedAt": TIME}}


def ended(code: int, reason: str = "Error", message: str = "") -> Body:
    told = {"message": message} if message else {}
    return {"terminated": {"exitCode": code, "reason": reason, "startedAt": TIME, "finishedAt": TIME} | told}


def scheduled(message: str) -> Body:
    """The scheduler's complaint."""
    return {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}


READY = {"type": "Ready", "status": "True"}
