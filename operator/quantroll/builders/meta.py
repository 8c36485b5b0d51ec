"""Labels, owner references and metadata that all children share."""

from dataclasses import dataclass
from typing import Any

from quantroll.constants import (
    API_VERSION,
    KIND,
    LABEL_APP,
    LABEL_COMPONENT,
    LABEL_INSTANCE,
    LABEL_MANAGED_BY,
    LABEL_OWNER,
    LABEL_REVISION,
    LABEL_VARIANT,
    MANAGER,
    PLURAL,
    Component,
)

Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Owner:
    """The QuantizedModel that a child belongs to."""

    name: str
    namespace: str
    uid: str


def labels(
    owner: Owner, component: Component, *, variant: str | None = None, revision: str | None = None
) -> dict[str, str]:
    """Labels that say whose child this is and what for; enough to find it again when the status is lost."""
    found = {
        LABEL_APP: PLURAL,
        LABEL_INSTANCE: owner.name,
        LABEL_MANAGED_BY: MANAGER,
        LABEL_OWNER: owner.name,
        LABEL_COMPONENT: component.value,
        LABEL_VARIANT: variant,
        LABEL_REVISION: revision,
    }
    return {key: value for key, value in found.items() if value is not None}


def revision_selector(owner: Owner, revision: str) -> dict[str, str]:
    """Labels that select the pods which serve a revision, and nothing else."""
    return {LABEL_OWNER: owner.name, LABEL_COMPONENT: Component.SERVE.value, LABEL_REVISION: revision}


def scraped(port: int) -> dict[str, str]:
    """Annotations by which many a Prometheus finds what to scrape: the metrics page on a port of the pod."""
    return {"prometheus.io/scrape": "true", "prometheus.io/port": str(port), "prometheus.io/path": "/metrics"}


def owner_reference(owner: Owner) -> Manifest:
    """Reference by which garbage collection removes the child with its owner.

    It does not block the owner's deletion: that would need a right on `quantizedmodels/finalizers`, and no order of
    deletion depends on it.
    """
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": owner.name,
        "uid": owner.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def object_meta(
    owner: Owner,
    name: str,
    marks: dict[str, str],
    *,
    annotations: dict[str, str] | None = None,
    owned: bool = True,
) -> Manifest:
    """Metadata of a child with the labels `marks`; an unowned one outlives its owner."""
    meta: Manifest = {"name": name, "namespace": owner.namespace, "labels": marks}
    if annotations:
        meta["annotations"] = annotations
    if owned:
        meta["ownerReferences"] = [owner_reference(owner)]
    return meta
