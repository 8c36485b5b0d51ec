"""Services: one for each revision, which the route points to, and the stable one for clients inside the cluster."""

import json
from collections.abc import Sequence

from quantroll.api.status import RejectedRevision
from quantroll.builders import engine, names
from quantroll.builders.meta import Manifest, Owner, labels, object_meta, revision_selector
from quantroll.constants import ANNOTATION_REJECTED, LABEL_REVISION, Component

PORT = 80


def revision_service(owner: Owner, *, variant: str, revision: str) -> Manifest:
    """Service of one revision's pods: a backend of the route, and the way to ask a revision past the split."""
    marks = labels(owner, Component.SERVE, variant=variant, revision=revision)
    return _service(owner, names.revision(owner.name, revision), marks, revision_selector(owner, revision))


def stable_service(owner: Owner, *, stable: str, selected: str, rejected: Sequence[RejectedRevision] = ()) -> Manifest:
    """Service `<name>`: the pods of the revision `selected`, or of all that serve where that is empty.

    Promotion moves its selector and touches no pod. Its label names the stable revision in any case, and an annotation
    what was taken back, for when the status is lost.
    """
    selector = revision_selector(owner, selected)
    if not selected:
        del selector[LABEL_REVISION]
    marks = labels(owner, Component.SERVE, revision=stable)
    notes = {ANNOTATION_REJECTED: json.dumps([r.to_wire() for r in rejected], sort_keys=True)} if rejected else None
    return _service(owner, names.stable_service(owner.name), marks, selector, notes)


def _service(
    owner: Owner, name: str, marks: dict[str, str], selector: dict[str, str], notes: dict[str, str] | None = None
) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": object_meta(owner, name, marks, annotations=notes),
        "spec": {
            "type": "ClusterIP",
            "selector": selector,
            "ports": [{"name": engine.PORT_NAME, "port": PORT, "targetPort": engine.PORT_NAME, "protocol": "TCP"}],
        },
    }
