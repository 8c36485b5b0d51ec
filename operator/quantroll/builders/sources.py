"""Claims as pods see them: `pvc://claim/path` stands read-only at /claims/CLAIM, the artifact claim at /artifacts."""

import hashlib
from collections.abc import Iterable

from quantroll.builders.meta import Manifest
from quantroll.constants import ARTIFACTS_MOUNT, CLAIMS_MOUNT


def read_mounts(paths: Iterable[str], store: str) -> list[Manifest]:
    """Read-only mounts that make these paths visible; `store` is the artifact claim."""
    mounts = {}
    for path in paths:
        claim, mount_path = _mount(path, store)
        mounts[mount_path] = {"name": _volume_name(claim), "mountPath": mount_path, "readOnly": True}
    return [mounts[mount_path] for mount_path in sorted(mounts)]


def store_mount(store: str) -> Manifest:
    """Mount of the artifact claim for a Job, which writes to it."""
    return {"name": _volume_name(store), "mountPath": ARTIFACTS_MOUNT}


def volumes(paths: Iterable[str], store: str, *, with_store: bool) -> list[Manifest]:
    """One volume for each claim, however often it is mounted: a pod that names a claim twice may never start.

    Only the artifact claim of a Job is writable. The kubelet changes owner and modes of what a writable volume holds to
    the pod's fsGroup, and the users' claims are not ours to change.
    """
    written = {store} if with_store else set()
    claims = {_mount(path, store)[0] for path in paths} | written
    return [
        {
            "name": _volume_name(claim),
            "persistentVolumeClaim": {"claimName": claim} | ({} if claim in written else {"readOnly": True}),
        }
        for claim in sorted(claims)
    ]


def _mount(path: str, store: str) -> tuple[str, str]:
    if path.startswith(f"{ARTIFACTS_MOUNT}/"):
        return store, ARTIFACTS_MOUNT
    claim, slash, _ = path.removeprefix(f"{CLAIMS_MOUNT}/").partition("/")
    if not path.startswith(f"{CLAIMS_MOUNT}/") or not claim or not slash:
        raise ValueError(f"not a path on a mounted claim: {path!r}")
    return claim, f"{CLAIMS_MOUNT}/{claim}"


def _volume_name(claim: str) -> str:
    # A claim's name may be longer than a volume's, and hold dots.
    return f"claim-{hashlib.sha256(claim.encode()).hexdigest()[:10]}"
