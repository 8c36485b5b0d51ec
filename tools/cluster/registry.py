"""An image registry whose storage outlives clusters: what was pushed once is there for the next one.

Inside a cluster it answers on 127.0.0.1:5000, an address that containerd trusts without TLS; pods name its images by
digest. To push, no cluster is needed: `serving` runs one for a moment, on the same storage.
"""

import json
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from bootstrap import cache

from .binaries import Binaries
from .procs import State, wait_for

HOST = "127.0.0.1:5000"


def storage() -> Path:
    """The folder with all blobs and manifests."""
    return cache.root() / "registry"


def blob(digest: str) -> Path:
    """The file of one blob (`sha256:…`), there or not."""
    algorithm, value = digest.split(":")
    return storage() / "docker/registry/v2/blobs" / algorithm / value[:2] / value / "data"


def has(reference: str) -> bool:
    """Whether an image named by digest is in the storage."""
    return blob(reference.split("@")[1]).exists()


def forget(tag: str) -> None:
    """Remove a tag of all images; what it stood for is garbage then, unless another tag stands for it."""
    for folder in storage().glob(f"docker/registry/v2/repositories/quantroll/*/_manifests/tags/{tag}"):
        shutil.rmtree(folder)


def write_config(path: Path, address: str) -> Path:
    """The registry's configuration. (JSON is YAML.)"""
    storage().mkdir(parents=True, exist_ok=True)
    path.write_text(
        json.dumps(
            {
                "version": "0.1",
                "log": {"level": "warn", "accesslog": {"disabled": True}},
                "storage": {
                    "filesystem": {"rootdirectory": str(storage())},
                    "delete": {"enabled": True},
                    "maintenance": {"uploadpurging": {"enabled": False}},
                },
                "http": {"addr": address},
            }
        )
    )
    return path


def start(state: State, binaries: Binaries) -> None:
    """Start it inside the cluster's network namespace."""
    config = write_config(state.dir / "registry.json", HOST)
    state.spawn("registry", binaries("registry"), "serve", config, env={"OTEL_TRACES_EXPORTER": "none"})


def collect_garbage(binaries: Binaries) -> None:
    """Remove all blobs that no tagged image has. Nobody may push meanwhile."""
    with tempfile.TemporaryDirectory(prefix="quantroll-registry-") as folder:
        config = write_config(Path(folder) / "registry.json", HOST)
        subprocess.run(
            [binaries("registry"), "garbage-collect", "--delete-untagged", "--quiet", config],
            check=True,
            env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
            stdout=subprocess.DEVNULL,
        )


class Served(NamedTuple):
    """A registry that runs for a moment: its address, and what to put before a command so that it can reach it."""

    address: str
    enter: Sequence[str]


@contextmanager
def serving(binaries: Binaries, *, isolated: bool) -> Iterator[Served]:
    """A registry while the block runs: in a network namespace of its own, or on the machine's loopback.

    The address of an isolated one (needs root) never changes. That matters: buildah remembers by address which
    compressed layers a registry has, and compresses gigabytes again for an address that it does not know.
    """
    address = HOST if isolated else _free_address()
    with tempfile.TemporaryDirectory(prefix="quantroll-registry-") as folder:
        config = write_config(Path(folder) / "registry.json", address)
        command: list[object] = [binaries("registry"), "serve", config]
        if isolated:
            command = ["unshare", "--net", "--", "sh", "-c", 'ip link set lo up && exec "$@"', "sh", *command]
        log = Path(folder) / "log"
        with (
            log.open("w") as out,
            subprocess.Popen(
                list(map(str, command)), stdout=out, stderr=out, env={**os.environ, "OTEL_TRACES_EXPORTER": "none"}
            ) as process,
        ):
            served = Served(address, ["nsenter", f"--net=/proc/{process.pid}/ns/net", "--"] if isolated else [])
            try:
                wait_for("registry", lambda: _answers(process, served, log), 20)
                yield served
            finally:
                process.terminate()


def _free_address() -> str:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _answers(process: subprocess.Popen[bytes], served: Served, log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"registry ended:\n{log.read_text()[-2000:]}")
    return _connects(served.enter, served.address)


def _connects(enter: Sequence[str], address: str) -> bool:
    probe = [*enter, "bash", "-c", f"exec 3<>/dev/tcp/{address.replace(':', '/')}"]
    return not subprocess.run(probe, check=False, capture_output=True).returncode


def listening(state: State) -> bool:
    """Whether the registry inside the cluster takes connections; raises RuntimeError when it has ended."""
    state.check("registry")
    return _connects(state.netns(), HOST)
