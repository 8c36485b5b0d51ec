"""What all pods have in common: no rights, no token, nothing from the user's strings that Kubernetes would expand."""

from collections.abc import Mapping

from quantroll.api.spec import Placement, Resources
from quantroll.builders.meta import Manifest

JOB_USER = 65532  # of the Jobs' images

# What a process without a home and without the network needs. USER: libraries ask for the user's name, and an id
# without an entry in /etc/passwd has none.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108 - a volume of the pod's own
    "USER": "quantroll",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    **OFFLINE,
}
TMP_MOUNT = {"name": "tmp", "mountPath": "/tmp"}  # noqa: S108 - a volume of the pod's own
TMP_VOLUME = {"name": "tmp", "emptyDir": {}}


def literal(text: str) -> str:
    """Text that arrives unchanged in a container: Kubernetes expands `$(NAME)` in arguments and environment."""
    return text.replace("$", "$$")


def environment(values: Mapping[str, str]) -> list[Manifest]:
    """Environment of a container, in one order whatever the mapping's."""
    return [{"name": name, "value": values[name]} for name in sorted(values)]


def pod_defaults(user: int) -> Manifest:
    """Fields of a pod's spec that hold for every pod: Pod Security's `restricted`, no token, no injected variables."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": user,
            "fsGroup": user,
            "fsGroupChangePolicy": "OnRootMismatch",  # else every start walks over all checkpoints
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def container_security(*, read_only_root: bool) -> Manifest:
    """Security context of a container."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": read_only_root,
        "runAsNonRoot": True,
    }


def resources(wanted: Resources | None) -> Manifest:
    """Resources as given, quantities as text: the form in which the API server returns them."""
    if wanted is None:
        return {}
    parts = {"requests": wanted.requests, "limits": wanted.limits}
    return {part: {name: str(amount) for name, amount in given.items()} for part, given in parts.items() if given}


def placement(wanted: Placement) -> Manifest:
    """Fields of a pod's spec that say where it may run."""
    fields: Manifest = {}
    if wanted.node_selector:
        fields["nodeSelector"] = dict(wanted.node_selector)
    if wanted.tolerations:
        fields["tolerations"] = [toleration.to_wire() for toleration in wanted.tolerations]
    return fields


def uses_device(wanted: Resources | None) -> bool:
    """Whether an extended resource, such as nvidia.com/gpu, is asked for: all of them have a domain."""
    return wanted is not None and any("/" in name for name in wanted.limits)
