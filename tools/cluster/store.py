"""Images unpacked once for any number of clusters.

Unpacking the large images takes a minute. So a containerd of its own does it once, into a folder of CACHE/store, and
the nodes of all clusters start from that: its unpacked layers, hundreds of thousands of files that nobody ever writes
to, stay where they are and are referred to. The store follows the images that are asked for: what is missing is added,
older versions are dropped, in a new folder, and the old one goes with the last cluster that uses it.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bootstrap import cache

from . import registry
from .binaries import Binaries
from .procs import State

if TYPE_CHECKING:
    from .cluster import Cluster

LARGE = 1 << 20  # bytes; smaller blobs are not worth a link
BLOBS = "io.containerd.content.v1.content/blobs/sha256"


def folder() -> Path:
    return cache.root() / "store"


def ensure(references: Sequence[str], binaries: Binaries, user: State) -> Path | None:
    """A store that holds these images, for as long as this cluster is there; None when none are asked for."""
    if not references:
        return None
    record = folder() / "store.json"
    with cache.lock(folder() / "lock"):
        known = json.loads(record.read_text()) if record.exists() else {}
        if not set(references) <= set(known.get("images", ())):
            known = _made(references, known, binaries)
            record.write_text(json.dumps(known, indent=1))
        current: Path = folder() / known["folder"]
        users = _users(current)
        users.mkdir(parents=True, exist_ok=True)
        (users / user.data["id"]).write_text(str(user.path))
        _drop_unused(current)
    return current


def _made(references: Sequence[str], known: dict[str, Any], binaries: Binaries) -> dict[str, Any]:
    """A new folder with these images and what else was known; returns its record."""
    for left in folder().glob("build-*"):
        _cluster(left, binaries).down()
        remove(left)
    new, work = (Path(tempfile.mkdtemp(prefix=prefix, dir=folder())) for prefix in ("images-", "build-"))
    with cache.step("unpacking images"):
        _cluster(work, binaries).make_store(folder() / known["folder"] if known else None, references, new)
    share_blobs(new)
    names = {r.split("@")[0] for r in references}
    kept = [r for r in known.get("images", ()) if r.split("@")[0] not in names]
    return {"folder": new.name, "images": [*references, *kept]}


def _users(store: Path) -> Path:
    """Where the clusters of a store are written down, each with the path of its state."""
    return store.with_name(f"{store.name}.users")


def _drop_unused(current: Path) -> None:
    for store in folder().iterdir():
        users = _users(store)
        if not store.is_dir() or store.suffix == users.suffix:
            continue
        for user in users.glob("*"):
            if not _is_there(user.name, Path(user.read_text())):
                user.unlink()
        if store != current and not any(users.glob("*")):
            remove(store)
            remove(users)


def _is_there(name: str, state: Path) -> bool:
    """Whether a cluster is: another one may have its folder by now."""
    try:
        return bool(json.loads(state.read_text())["id"] == name)
    except OSError:
        return False


def remove(path: Path) -> None:
    """A folder of hundreds of thousands of files, for which Python's own way takes longer."""
    subprocess.run(["rm", "-rf", "--one-file-system", path], check=True)


def share_blobs(containerd: Path) -> None:
    """Make containerd's copies of the layers hard links to the registry's files: they are the same bytes."""
    for blob in (containerd / BLOBS).iterdir():
        twin = registry.blob(f"sha256:{blob.name}")
        if blob.stat().st_size < LARGE or not twin.exists() or twin.stat().st_ino == blob.stat().st_ino:
            continue
        aside = blob.with_suffix(".link")
        os.link(twin, aside)
        aside.replace(blob)


def _cluster(work: Path, binaries: Binaries) -> "Cluster":
    from .cluster import Cluster  # noqa: PLC0415 - the two modules need each other

    return Cluster(work, binaries)
