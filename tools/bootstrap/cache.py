"""The cache folder, a lock for what is built in it, and progress lines for what takes long."""

import fcntl
import hashlib
import os
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
BEAT = 30.0  # seconds between two signs of life of a long step


def root() -> Path:
    """The cache: $QUANTROLL_CACHE, or `quantroll` in the user's cache folder. It may be deleted at any time."""
    if own := os.environ.get("QUANTROLL_CACHE"):
        return Path(own).resolve()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "quantroll"


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
