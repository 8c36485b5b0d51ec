"""The cache folder, a lock for what is built in it, and progress lines for what takes long."""

import fcntl
import hashlib
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
TAG = "CACHEDIR.TAG"
BEAT = 30.0  # seconds between two signs of life of a long step


def root() -> Path:
    """The cache: $QUANTROLL_CACHE, or `quantroll` in the user's cache folder. It may be deleted at any time."""
    if own := os.environ.get("QUANTROLL_CACHE"):
        return Path(own).resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quantroll"


def tag() -> None:
    """Mark the folder as a cache (https://bford.info/cachedir): backups leave it out, and `remove` may remove it."""
    root().mkdir(parents=True, exist_ok=True)
    (root() / TAG).write_text("Signature: 8a477f597d28d172789f06886806bc55\n# Made by quantroll; may be deleted.\n")


def remove() -> None:
    """Remove the cache. Raises SystemExit when it is none of ours, or while something in it is mounted or runs."""
    if not root().exists():
        return
    if not (root() / TAG).exists():
        raise SystemExit(f"{root()} has no {TAG}, so it is not ours: not removed")
    mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    if used := [m for m in mounts if m.startswith(f"{root()}/")]:
        raise SystemExit(f"{root()} is in use ({used[0]} is mounted): not removed")
    if running := _running():
        ends = "a cluster ends by `make cluster-down` or `make demo-down` in its checkout"
        raise SystemExit(f"{root()} is in use ({running}): not removed; {ends}")
    with step(f"removing {root()}"):
        shutil.rmtree(root())


def _running() -> str:
    """A process whose program lies in the cache. A cluster has some; its pods run from layers that lie there too."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it has ended, or it is somebody else's
            program = (process / "exe").readlink()
            if program.is_relative_to(root().resolve()):
                return f"process {process.name} runs {program}"
    return ""


def digest(files: Iterable[Path], *more: str) -> str:
    """A short key over the contents of files and some words: what was built from them carries it in its name."""
    key = hashlib.sha256("\0".join(more).encode())
    for file in files:
        key.update(f"\0{file.name}\0".encode() + file.read_bytes())
    return key.hexdigest()[:16]


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """One process at a time past here; the kernel lets go of it when the holder ends, however it ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting for another process that holds {path}")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def say(text: str) -> None:
    """A line of progress, on standard error so that standard output stays usable."""
    print(f"==> {text}", file=sys.stderr, flush=True)


@contextmanager
def step(what: str) -> Iterator[None]:
    """Say what begins, every half minute that it still goes on, and at the end how long it took."""
    began, over = time.monotonic(), threading.Event()

    def beat() -> None:
        while not over.wait(BEAT):
            say(f"{what}: {time.monotonic() - began:.0f} s so far")

    say(what)
    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    outcome = "failed after"
    try:
        yield
        outcome = "done in"
    finally:
        over.set()
        thread.join()
        say(f"{what}: {outcome} {time.monotonic() - began:.1f} s")
