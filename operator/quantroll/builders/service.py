"""Services: one for each revision, which the route points to, and the stable one for clients inside the cluster."""

from quantroll.builders import engine, names
from quantroll.builders.meta import Manifest, Owner, labels, object_meta, revision_selector
from quantroll.constants import Component

PORT = 80


def revision_service(owner: Owner, *, variant: str, revision: str) -> Manifest:
    """Service of one revision's pods: a backend of the route, and the way to ask a revision past the split."""
    marks = labels(owner, Component.SERVE, variant=variant, revision=revision)
    return _service(owner, names.revision(owner.name, revision), marks, revision)


def stable_service(owner: Owner, *, revision: str) -> Manifest:
    """Service `<name>`: the pods of the stable revision. Promotion moves its selector and touches no pod."""
    return _service(owner, names.stable_service(owner.name), labels(owner, Component.SERVE), revision)


def _service(owner: Owner, name: str, marks: dict[str, str], revision: str) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": object_meta(owner, name, marks),
        "spec": {
            "type": "ClusterIP",
            "selector": revision_selector(owner, revision),
            "ports": [{"name": engine.PORT_NAME, "port": PORT, "targetPort": engine.PORT_NAME, "protocol": "TCP"}],
        },
    }
