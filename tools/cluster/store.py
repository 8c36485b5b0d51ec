"""Images unpacked once for any number of clusters.

Unpacking the large images takes a minute. So a containerd of its own does it once, into CACHE/store/current, and every
cluster's node starts from a copy made of hard links: a second or two, and no disk. The store follows the images that
are asked for: what is missing is added, older versions are dropped.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from bootstrap import cache

from . import registry
from .binaries import Binaries

if TYPE_CHECKING:
    from .cluster import Cluster

LARGE = 1 << 20  # bytes; smaller blobs are not worth a link
BLOBS = "io.containerd.content.v1.content/blobs/sha256"


def folder() -> Path:
    return cache.root() / "store"


@contextmanager
def in_use() -> Iterator[None]:
    """Nobody replaces the store while the block runs."""
    with cache.lock(folder() / "lock"):
        yield


def ensure(references: Sequence[str], binaries: Binaries) -> Path | None:
    """A store that holds these images; None when none are asked for."""
    if not references:
        return None
    current, record = folder() / "current", folder() / "images.json"
    with in_use():
        have = json.loads(record.read_text()) if record.exists() and current.exists() else []
        if set(references) <= set(have):
            return current
        for left in folder().glob("build-*"):
            _cluster(left, binaries).down()
            shutil.rmtree(left, ignore_errors=True)
        record.unlink(missing_ok=True)
        new, work = folder() / "new", Path(tempfile.mkdtemp(prefix="build-", dir=folder()))
        with cache.step("unpacking images"):
            _cluster(work, binaries).make_store(current if current.exists() else None, references, new)
        share_blobs(new)
        shutil.rmtree(current, ignore_errors=True)
        new.rename(current)
        names = {r.split("@")[0] for r in references}
        record.write_text(json.dumps([*references, *(r for r in have if r.split("@")[0] not in names)], indent=1))
    return current


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
