"""An image registry whose storage outlives clusters: what was pushed once is there for the next one.

Inside a cluster it answers on 127.0.0.1:5000, an address that containerd trusts without TLS; pods name its images by
digest. To push, no cluster is needed: `serving` runs one on the machine's loopback for a moment, on the same storage.
"""

import json
import os
import socket
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def write_config(path: Path, address: str) -> Path:
    """The registry's configuration. (JSON is YAML.)"""
    storage().mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({
        "version": "0.1", "log": {"level": "warn", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(storage())}, "delete": {"enabled": True},
                    "maintenance": {"uploadpurging": {"enabled": False}}},
        "http": {"addr": address}}))
    return path


def start(state: State, binaries: Binaries) -> None:
    """Start it inside the cluster's network namespace."""
    config = write_config(state.dir / "registry.json", HOST)
    state.spawn("registry", binaries("registry"), "serve", config, env={"OTEL_TRACES_EXPORTER": "none"})


def collect_garbage(binaries: Binaries) -> None:
    """Remove all blobs that no tagged image has. Nobody may push meanwhile."""
    with tempfile.TemporaryDirectory(prefix="quantroll-registry-") as folder:
        config = write_config(Path(folder) / "registry.json", HOST)
        subprocess.run([binaries("registry"), "garbage-collect", "--delete-untagged", "--quiet", config], check=True,
                       env={**os.environ, "OTEL_TRACES_EXPORTER": "none"}, stdout=subprocess.DEVNULL)


@contextmanager
def serving(binaries: Binaries) -> Iterator[str]:
    """A registry on a free port of the machine's loopback while the block runs; yields HOST:PORT."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    with tempfile.TemporaryDirectory(prefix="quantroll-registry-") as folder:
        config = write_config(Path(folder) / "registry.json", address)
        log = Path(folder) / "log"
        with log.open("w") as out, subprocess.Popen(
                [binaries("registry"), "serve", config], stdout=out, stderr=out,
                env={**os.environ, "OTEL_TRACES_EXPORTER": "none"}) as process:
            try:
                wait_for("registry", lambda: _answers(process, address, log), 20)
                yield address
            finally:
                process.terminate()


def _answers(process: subprocess.Popen[bytes], address: str, log: Path) -> bool:
    if process.poll() is not None:
        raise RuntimeError(f"registry ended:\n{log.read_text()[-2000:]}")
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://{address}/v2/", timeout=2) as reply:
        return bool(reply.status == 200)


def listening(state: State) -> bool:
    """Whether the registry inside the cluster takes connections; raises RuntimeError when it has ended."""
    state.check("registry")
    probe = [*state.netns(), "bash", "-c", f"exec 3<>/dev/tcp/{HOST.replace(':', '/')}"]
    return not subprocess.run(probe, check=False, capture_output=True).returncode
