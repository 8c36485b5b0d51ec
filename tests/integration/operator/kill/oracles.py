"""What must hold while the operator is killed, and what is compared at the end. Pure: objects in, findings out."""

import re
from collections.abc import Collection
from math import ceil
from typing import Any

from quantroll.constants import ANNOTATION_DESIRED, ANNOTATION_KEY, LABEL_COMPONENT, LABEL_REVISION, Component

Object = dict[str, Any]

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
_UID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_CONFIRMATION = re.compile(r"(?<=-confirm-)[0-9a-f]{10}")  # the beginning of its key
_BEGUN = re.compile(r"(?<=-[0-9a-f]{10}-)\d{12}")  # the second in which a rollout began, at the end of its id
# what the API server and its controllers give: another value in every run
_GIVEN = {
    "batch.kubernetes.io/controller-uid", "clusterIP", "clusterIPs", "controller-uid", "creationTimestamp",
    "deployment.kubernetes.io/revision", "managedFields", "resourceVersion", "uid", "volumeName",
}  # fmt: skip


class Invariants:
    """Fed with every event of a namespace; `broken` says what was seen that must not be."""

    def __init__(self, owner: str, replicas: int) -> None:
        self._owner, self._replicas = owner, replicas
        self._ready: dict[str, str] = {}  # revision by name of a pod that takes requests
        self._stable = ""  # revision that serves, once it has served
        self._jobs: dict[str, str] = {}  # uid by key
        self.broken: list[str] = []

    def pod(self, pod: Object, *, gone: bool = False) -> None:
        """A pod came, changed or went."""
        meta = pod["metadata"]
        conditions = pod.get("status", {}).get("conditions", [])
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
        if ready and not gone and not meta.get("deletionTimestamp"):
            self._ready[meta["name"]] = meta["labels"].get(LABEL_REVISION, "")
        else:
            self._ready.pop(meta["name"], None)
            self._serves()

    def model(self, model: Object) -> None:
        """The status changed."""
        stable = model.get("status", {}).get("stable", {})
        self._stable = stable.get("revision", "") if stable.get("servedAt") else ""
        self._serves()

    def route(self, route: Object) -> None:
        """The weights changed."""
        refs = [ref for rule in route["spec"]["rules"] for ref in rule["backendRefs"]]
        weights = {ref["name"].removeprefix(f"{self._owner}-"): ref["weight"] for ref in refs}
        if sum(weights.values()) != 100:
            self.broken.append(f"weights do not sum to 100: {weights}")
        for revision, weight in weights.items():
            serves = self._stable in ("", revision)  # it has all traffic, however many of its pods are left
            needed = 1 if serves else ceil(weight * self._replicas / 100)
            ready = list(self._ready.values()).count(revision)
            if weight and ready < needed:
                self.broken.append(f"{revision} has {weight} % and {ready} ready pods")

    def job(self, job: Object) -> None:
        """A Job came or changed."""
        key, uid = job["metadata"].get("annotations", {}).get(ANNOTATION_KEY, ""), job["metadata"]["uid"]
        component = job["metadata"].get("labels", {}).get(LABEL_COMPONENT)
        expensive = component in (Component.QUANTIZE, Component.EVALUATE)
        if expensive and self._jobs.setdefault(key, uid) != uid:
            self.broken.append(f"a second Job for {component} {key}: {job['metadata']['name']}")

    def _serves(self) -> None:
        if self._stable and self._stable not in self._ready.values():
            self.broken.append(f"stable {self._stable} has no ready pod")


def undated(name: str) -> str:
    """The name of an object as it is in every run: that of a confirmation is made from the date of its check."""
    return _CONFIRMATION.sub("DATED", name)


def normal(value: Any, namespace: str, dated: Collection[str] = ()) -> Any:
    """An object without what is different in every run: times, uids, the namespace, what the API server gives; and
    `dated` keys, which are made from a time.
    """
    if isinstance(value, dict):
        dropped = {*_GIVEN, ANNOTATION_DESIRED}  # a hash over the uid of the owner
        return {key: normal(item, namespace, dated) for key, item in sorted(value.items()) if key not in dropped}
    if isinstance(value, list):
        return [normal(item, namespace, dated) for item in value]
    if not isinstance(value, str):
        return value
    for key in dated:
        value = undated(value.replace(key, "DATED"))
    timeless = _BEGUN.sub("TIME", _TIME.sub("TIME", value))
    return _UID.sub("UID", timeless).replace(namespace, "NAMESPACE")


def differences(golden: Any, found: Any, where: str = "") -> list[str]:
    """Each place where two normal forms differ, in words."""
    if isinstance(golden, dict) and isinstance(found, dict):
        keys = sorted({*golden, *found})
        return [line for key in keys for line in differences(golden.get(key), found.get(key), f"{where}.{key}")]
    if isinstance(golden, list) and isinstance(found, list) and len(golden) == len(found):
        pairs = enumerate(zip(golden, found, strict=True))
        return [line for index, (one, other) in pairs for line in differences(one, other, f"{where}[{index}]")]
    return [] if golden == found else [f"{where}: {golden!r} became {found!r}"]
