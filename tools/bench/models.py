"""The resources that are applied. Pure."""

from typing import Any

from bench.stages import DTYPE
from quantroll.api.spec import Storage
from quantroll.builders import names
from quantroll.constants import API_VERSION, KIND

Object = dict[str, Any]

PER_NAMESPACE = 100
ALONE = "bench-alone"  # the namespace of the one rollout whose writes are counted
DATA = "data"  # name of the user's claim
STORAGE_CLASS: Object = {
    "apiVersion": "storage.k8s.io/v1",
    "kind": "StorageClass",
    "metadata": {"name": "bench", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
    "provisioner": "kubernetes.io/no-provisioner",
    "volumeBindingMode": "Immediate",
}
SETTINGS: Object = {
    "images": {"client": "example.com/client:1", "quantize": "example.com/quantize:1"},
    "engines": {"vllm-cpu": {"image": "example.com/vllm-cpu:1", "device": "cpu", "args": ["--enforce-eager"]}},
}


def _spec(variants: list[Object], steps: list[Object]) -> Object:
    return {
        "model": {"source": "pvc://data/model"},
        "variants": variants,
        "calibration": {"dataset": "pvc://data/calibration.jsonl", "samples": 256, "maxSequenceLength": 64},
        "qualityGate": {"verifiedAgainst": DTYPE, "evalSet": {"source": "pvc://data/eval.jsonl"}},
        "serving": {"engine": "vllm-cpu", "replicas": 1},
        "rollout": {
            "steps": steps,
            "analysis": {"metrics": []},
            "routing": {"parentRefs": [{"name": "public"}]},
            "deadlines": {"drain": "1s"},
        },
        "driftCheck": {"schedule": "@weekly"},
        "storage": {"reclaimPolicy": "Delete"},
    }


def _model(namespace: str, name: str, spec: Object) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": spec,
    }


WHAT = "each with a baseline, a variant, a step and one replica: 4 Jobs, 3 Deployments, 3 Services, route, claim, pods"
GPTQ4 = {"name": "gptq4", "scheme": "W4A16"}
INT8 = {"name": "int8", "scheme": "W8A8", "smoothQuantStrength": 0.8}


def alone() -> Object:
    """One model with two variants and five steps: a whole rollout."""
    return _model(ALONE, "one", _spec([GPTQ4, INT8], [_step(weight) for weight in (5, 10, 25, 50, 75)]))


def many(count: int) -> list[Object]:
    """Models with one variant and one step, in as many namespaces as they need."""
    spec = _spec([GPTQ4], [_step(50)])
    return [_model(f"bench-{n // PER_NAMESPACE}", f"model-{n:05}", spec) for n in range(count)]


def _step(weight: int) -> Object:
    return {"weight": weight, "duration": "1s"}


def volume(namespace: str, claim: str) -> Object:
    """A volume that is there for one claim, which is bound to it as soon as it is made."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": f"{namespace}-{claim}"},
        "spec": {
            "storageClassName": STORAGE_CLASS["metadata"]["name"],
            "capacity": {"storage": "100Ti"},
            "accessModes": ["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"],
            "claimRef": {"namespace": namespace, "name": claim},
            "hostPath": {"path": "/nowhere"},
        },
    }


def volumes(found: list[Object]) -> list[Object]:
    """One for the artifacts of each model, and one for the data of each namespace."""
    own = {(m["metadata"]["namespace"], names.artifacts_claim(m["metadata"]["name"], Storage())) for m in found}
    return [volume(*claim) for claim in sorted(own | {(namespace, DATA) for namespace, _ in own})]


def data_claim(namespace: str) -> Object:
    """The user's claim with model, eval set and calibration data."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": DATA, "namespace": namespace},
        "spec": {"accessModes": ["ReadOnlyMany"], "resources": {"requests": {"storage": "1Gi"}}},
    }
