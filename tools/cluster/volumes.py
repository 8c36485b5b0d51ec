"""Volumes without a provisioner: a default StorageClass and a pool of hostPath volumes made beforehand.

A claim binds at once to any free volume that is large enough, whatever access modes it asks for. A released volume
stays Released: ask for as many as a test makes claims.
"""

from pathlib import Path

from .kube import Client, Object

CLASS = "hostpath"
MODES = ["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany"]


def objects(folder: Path, count: int, size: str) -> list[Object]:
    """The class and its volumes, whose folders must be open to all: fsGroup does nothing for hostPath."""
    items: list[Object] = [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "provisioner": "kubernetes.io/no-provisioner",
            "metadata": {"name": CLASS, "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
            "volumeBindingMode": "Immediate",
            "reclaimPolicy": "Retain",
        }
    ]
    for n in range(count):
        path = folder / f"pv-{n:03d}"
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(0o777)
        items.append(
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": path.name},
                "spec": {
                    "storageClassName": CLASS,
                    "capacity": {"storage": size},
                    "accessModes": MODES,
                    "persistentVolumeReclaimPolicy": "Retain",
                    "hostPath": {"path": str(path), "type": "Directory"},
                },
            }
        )
    return items


def start(folder: Path, client: Client, count: int = 8, size: str = "100Gi") -> None:
    """Make the pool under FOLDER."""
    client.apply(*objects(folder, count, size))


def named(name: str, namespace: str, folder: Path, size: str = "10Gi") -> list[Object]:
    """A claim NAME in NAMESPACE that is bound to FOLDER of this machine, and its volume."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o777)  # pods run as users that this machine does not know
    volume = f"{namespace}-{name}"
    return [
        {
            "apiVersion": "v1",
            "kind": "PersistentVolume",
            "metadata": {"name": volume},
            "spec": {
                "storageClassName": "",
                "capacity": {"storage": size},
                "accessModes": MODES,
                "persistentVolumeReclaimPolicy": "Retain",
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "name": name, "namespace": namespace},
                "hostPath": {"path": str(folder), "type": "Directory"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name, "namespace": namespace},
            "spec": {
                "storageClassName": "",
                "volumeName": volume,
                "accessModes": ["ReadWriteMany"],
                "resources": {"requests": {"storage": size}},
            },
        },
    ]
