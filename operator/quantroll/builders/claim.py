"""The claim that artifacts and results are written to."""

from quantroll.api.spec import Storage
from quantroll.builders import names
from quantroll.builders.meta import Manifest, Owner, labels, object_meta
from quantroll.constants import Component

_DEFAULT_SIZE = "100Gi"


def artifacts_claim(owner: Owner, storage: Storage) -> Manifest:
    """ReadWriteMany claim: Jobs on any node write to it while pods on others read.

    It goes with its owner only when the user said so. Raises ValueError when the user named a claim of their own.
    """
    if storage.claim_name is not None:
        raise ValueError(f"{storage.claim_name} is the user's own claim")
    spec: Manifest = {
        "accessModes": ["ReadWriteMany"],
        "resources": {"requests": {"storage": str(storage.size or _DEFAULT_SIZE)}},
    }
    if storage.storage_class_name is not None:
        spec["storageClassName"] = storage.storage_class_name
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": object_meta(
            owner,
            names.artifacts_claim(owner.name, storage),
            labels(owner, Component.ARTIFACTS),
            owned=storage.reclaim_policy == "Delete",
        ),
        "spec": spec,
    }
