"""Whether a child as observed still is what was asked for."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from quantroll.api.base import parse_quantity
from quantroll.builders.meta import Manifest
from quantroll.constants import ANNOTATION_DESIRED

# The API server adds nothing to these maps of Services and of pods' templates ...
_OURS_ALONE = frozenset({"selector", "nodeSelector", "limits", "requests", "securityContext"})
# ... and sets none of these itself.
_WITHOUT_DEFAULT = frozenset(
    {
        "paused", "publishNotReadyAddresses", "externalIPs", "initContainers", "hostNetwork", "hostPID", "hostIPC",
        "hostAliases", "nodeSelector", "affinity", "tolerations", "priorityClassName", "runtimeClassName", "dnsConfig",
        "serviceAccountName", "imagePullSecrets", "command", "args", "env", "envFrom", "volumeDevices", "lifecycle",
        "volumes", "volumeMounts",
    }
)  # fmt: skip


def stamped(manifest: Manifest) -> Manifest:
    """The manifest with the hash of itself, by which a field that is no longer asked for is noticed."""
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    mark = {ANNOTATION_DESIRED: hashlib.sha256(text.encode()).hexdigest()[:16]}
    meta = {**manifest["metadata"], "annotations": {**manifest["metadata"].get("annotations", {}), **mark}}
    return {**manifest, "metadata": meta}


def differs(desired: Manifest, observed: Mapping[str, Any]) -> bool:
    """Whether anything that we ask for is otherwise; what the API server adds by default is no difference."""
    if has_more(desired, observed):
        return True
    return not (_marks_are_there(desired, observed) and includes(observed.get("spec", {}), desired.get("spec", {})))


def job_differs(desired: Manifest, observed: Mapping[str, Any]) -> bool:
    """The same of a Job, whose pods nobody can change any more, and which a queue like Kueue may suspend."""
    wanted = {name: value for name, value in desired["spec"].items() if name != "template"}
    return not (_marks_are_there(desired, observed) and includes(observed.get("spec", {}), wanted))


def _marks_are_there(desired: Manifest, observed: Mapping[str, Any]) -> bool:
    meta, seen = desired["metadata"], observed["metadata"]
    return all(includes(seen.get(part, {}), meta.get(part, {})) for part in ("labels", "annotations")) and includes(
        seen.get("ownerReferences", []), meta.get("ownerReferences", [])
    )


def same_stamp(desired: Manifest, observed: Mapping[str, Any]) -> bool:
    """Whether a child was made from this very manifest."""
    marks = observed["metadata"].get("annotations", {})
    return bool(marks.get(ANNOTATION_DESIRED) == desired["metadata"]["annotations"][ANNOTATION_DESIRED])


def includes(observed: Any, desired: Any) -> bool:
    """Whether every value asked for is there: mappings by key, lists element by element."""
    if observed == desired:  # as most are; what follows costs more
        return True
    if isinstance(desired, Mapping):
        return isinstance(observed, Mapping) and all(includes(observed.get(k), v) for k, v in desired.items())
    if isinstance(desired, list):
        if not desired and observed is None:
            return True
        pairs_up = isinstance(observed, list) and len(observed) == len(desired)
        return pairs_up and all(includes(o, d) for o, d in zip(observed, desired, strict=True))
    if desired is None or observed is None or isinstance(desired, bool):
        return desired is None or bool(desired == observed) or (desired is False and observed is None)
    return bool(_normal(desired) == _normal(observed))


def has_more(desired: Manifest, observed: Mapping[str, Any]) -> bool:
    """Whether the spec says more than was asked for, which then was set by somebody.

    A route is written with its defaults, so that whatever else is in it counts; of others, what has no default.
    """
    whole = desired["kind"] == "HTTPRoute"
    return _adds(observed.get("spec") or {}, desired.get("spec") or {}, whole=whole, within="")


def _adds(observed: Any, desired: Any, *, whole: bool, within: str) -> bool:
    if isinstance(observed, Mapping) and isinstance(desired, Mapping):
        return any(
            _adds(value, desired[key], whole=whole, within=key)
            if key in desired
            else bool(value) and (whole or within in _OURS_ALONE or key in _WITHOUT_DEFAULT)
            for key, value in observed.items()
        )
    if isinstance(observed, list) and isinstance(desired, list):
        pairs = zip(observed, desired, strict=False)
        return len(observed) > len(desired) or any(_adds(o, d, whole=whole, within=within) for o, d in pairs)
    return False


def _normal(value: Any) -> Any:
    """A quantity as a number: the API server writes 1024Mi as 1Gi."""
    number = parse_quantity(value)
    return value if number is None else number
