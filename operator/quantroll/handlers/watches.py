"""Indexes of everything that is watched, and events that put the owner's key on the queue."""

from typing import Any

import kopf

from quantroll.constants import GROUP, LABEL_MANAGED_BY, LABEL_OWNER, MANAGER, PLURAL, VERSION
from quantroll.controller.packed import Packed
from quantroll.controller.queue import WorkQueue

CHILDREN = {
    "Job": ("batch", "v1", "jobs"),
    "Pod": ("", "v1", "pods"),
    "Deployment": ("apps", "v1", "deployments"),
    "Service": ("", "v1", "services"),
    "PersistentVolumeClaim": ("", "v1", "persistentvolumeclaims"),
    "HTTPRoute": ("gateway.networking.k8s.io", "v1", "httproutes"),
}
OURS = {LABEL_MANAGED_BY: MANAGER}
MODELS = "models"
BURST = 0.05  # seconds: a child seldom changes alone or only once, and all of it is one pass


def register(registry: kopf.OperatorRegistry) -> None:
    """Add indexes and event handlers for the model and its children."""
    kopf.index(GROUP, VERSION, PLURAL, id=MODELS, registry=registry)(by_itself)
    kopf.on.event(GROUP, VERSION, PLURAL, id="model", registry=registry)(model_seen)
    for kind, resource in CHILDREN.items():
        kopf.index(*resource, id=kind.lower(), labels=OURS, registry=registry)(by_owner)
        kopf.on.event(*resource, id=f"{kind.lower()}-event", labels=OURS, registry=registry)(child_seen)


def by_itself(namespace: str | None, name: str | None, body: kopf.Body, memo: kopf.Memo, **_: Any) -> dict[Any, Packed]:
    """Models under their own key."""
    return {(namespace, name): packed(PLURAL, body, memo)}


def by_owner(
    namespace: str | None, labels: kopf.Labels, body: kopf.Body, resource: kopf.Resource, memo: kopf.Memo, **_: Any
) -> dict[Any, Packed]:
    """Children under their owner's key."""
    return {(namespace, labels.get(LABEL_OWNER)): packed(resource.plural, body, memo)}


def packed(plural: str, body: kopf.Body, memo: kopf.Memo) -> Packed:
    """The object for the index. Emptied, for kopf keeps every one until all are listed, and nobody reads it there."""
    found: Packed = memo.packer.pack(plural, body)
    for part in ("spec", "status"):
        if part in body:
            body[part].clear()
    body["metadata"].pop("managedFields", None)
    return found


async def model_seen(*, type: str | None, namespace: str | None, name: str, memo: kopf.Memo, **_: Any) -> None:  # noqa: A002 - kopf's name
    """A model came, changed or went."""
    queue: WorkQueue = memo.queue
    if type == "DELETED":
        queue.forget((namespace or "", name))
    else:
        queue.add((namespace or "", name))


async def child_seen(*, namespace: str | None, labels: kopf.Labels, memo: kopf.Memo, **_: Any) -> None:
    """A child came, changed or went."""
    if owner := labels.get(LABEL_OWNER):
        memo.queue.add((namespace or "", owner), BURST)
