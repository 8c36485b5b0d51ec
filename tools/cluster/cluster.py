"""A throw-away cluster in one folder. Needs root and Linux.

with Cluster(folder) as c:
    c.up(images=references().values(), with_gateway=True, with_volumes=8)
    c.client.apply(...)
"""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bootstrap import cache

from . import cgroups, dns, gateway, prometheus, registry, relay, store, volumes
from .binaries import SYSTEM, Binaries
from .controlplane import API_PORT, NODE_IP, ControlPlane
from .kube import Client, write_kubeconfig
from .kubelet import NAME
from .node import Node
from .procs import State, wait_for

OWN = [
    "127.0.0.1:2379",
    "127.0.0.1:2380",
    "Corefile",
    "etcd",
    "flex",
    "gateway",
    "inside.kubeconfig",
    "kubecache",
    "kubeconfig",
    "kubeconfigs",
    "log",
    "node",
    "pki",
    "prometheus",
    "registry.json",
    "volumes",
    ".kube",
    ".cache",
    ".config",
    ".local",
    ".client.pem",
    "state.new",
    "state.json",
]  # state.json last: until then `down` can be tried again


class Cluster:
    """One cluster in one folder."""

    NEEDS = ("unshare", "nsenter", "ip", "mount", "nft", "/usr/sbin/runc", "/usr/lib/cni/ptp")
    TOOLS = (
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kubelet",
        "kube-proxy",
        "kubectl",
        "containerd",
        "containerd-shim-runc-v2",
        "ctr",
        "coredns",
        "pause",
        "registry",
    )

    def __init__(self, folder: Path, binaries: Binaries | None = None) -> None:
        self.dir = Path(folder).resolve()
        self.state = State(self.dir)
        recorded = self.state.data.get("binaries")
        self.bin = binaries or (Binaries(map(Path, recorded)) if recorded else Binaries.pinned())
        self._client: Client | None = None
        self._began = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.down()

    @property
    def running(self) -> bool:
        """Whether there is anything for `down` to do."""
        return self.state.path.exists()

    @property
    def kubeconfig(self) -> Path:
        """An administrator's kubeconfig, for any shell of this machine."""
        return self.dir / "kubeconfig"

    @property
    def client(self) -> Client:
        """A client on the machine's loopback."""
        self._client = self._client or Client(self.bin, self.kubeconfig)
        return self._client

    @property
    def ports(self) -> dict[str, int]:
        """Ports on 127.0.0.1: api, gateway, prometheus."""
        return dict(self.state.data["ports"])

    # -- life -------------------------------------------------------------
    def up(
        self,
        *,
        images: Iterable[str] = (),
        with_gateway: bool = False,
        with_volumes: int = 0,
        with_prometheus: bool = False,
    ) -> None:
        """Start everything, and return when it is ready.

        `images` are references in the registry (`images.references()`): the node has them unpacked from the start.
        Raises SystemExit that names what this machine lacks.
        """
        self._check([*(["contour", "envoy"] if with_gateway else []), *([prometheus.NAME] if with_prometheus else [])])
        self._began = time.monotonic()
        with self._starting():
            unpacked = store.ensure(list(images), self.bin, self.state)
            self._mark("images")
            reached = {"gateway": (NODE_IP, gateway.ENVOY_PORT)} if with_gateway else {}
            if with_prometheus:
                reached[prometheus.NAME] = (NODE_IP, prometheus.PORT)
            cp = self._control_plane(reached)
            Node(self.state, self.bin).start(cp, unpacked)
            self._mark("node started")
            registry.start(self.state, self.bin)
            dns.start(self.state, self.bin, cp, self.client)
            self._mark("dns")
            if with_volumes:
                volumes.start(self.dir / "volumes", self.client, with_volumes)
            if with_gateway:
                gateway.start(self.state, self.bin, cp, self.client)
                self._mark("gateway")
            if with_prometheus:
                prometheus.install(self.state, self.bin, cp, self.client)
                self._mark("prometheus")
            self._wait("node", "node", self._node_ready)
            self._wait(
                "service account",
                "kube-controller-manager",
                lambda: self.client.get("/api/v1/namespaces/default/serviceaccounts/default"),
            )
            self._mark("ready")
            for name in [p["name"] for p in self.state.data["processes"]]:
                self.state.check(name)

    def _control_plane(self, more: dict[str, tuple[str, int]]) -> ControlPlane:
        relay.start(self.state, "relay", {"api": (NODE_IP, API_PORT), **more})
        cp = ControlPlane(self.state, self.bin)
        for path, server in (("inside.kubeconfig", cp.url), ("kubeconfig", f"https://127.0.0.1:{self.ports['api']}")):
            write_kubeconfig(self.dir / path, cp.pki, server, "admin", ["system:masters"])
        cp.start_api()
        self._wait("API", "kube-apiserver", lambda: self.client.get("/readyz") == b"ok")
        self._mark("api")
        cp.start_controllers()
        return cp

    def make_store(self, old: Path | None, references: Sequence[str], out: Path) -> None:
        """Unpack images, on top of those of an older store, into an empty folder that nodes can start from.

        Older versions of the same images are dropped. The cluster's folder is gone afterwards.
        """
        with self._starting():
            node = Node(self.state, self.bin)
            node.start(None, old)
            registry.start(self.state, self.bin)
            names = {r.split("@")[0] for r in references}
            had = node.images()
            for reference in references:
                if reference not in had:
                    with cache.step(f"unpacking {reference.split('@')[0]}"):
                        wait_for("registry", lambda: registry.listening(self.state), 20)
                        node.pull(reference)
            for reference in had:
                if reference not in references and reference.split("@")[0] in names:
                    node.drop(reference)
            self.state.stop(last=["netns"])
            (node.work / "varlib" / "containerd").rename(out)
        self.down()

    def _mark(self, step: str) -> None:
        seconds = time.monotonic() - self._began
        self.state.data["seconds"][step] = round(seconds, 1)
        self.state.save()
        cache.say(f"cluster: {step} after {seconds:.1f} s")

    def _check(self, more: Iterable[str]) -> None:
        """Say at once what is missing on this machine."""
        missing = [n for n in self.NEEDS if not shutil.which(n, path=SYSTEM)]
        missing += self.bin.missing([*self.TOOLS, *more])
        if os.geteuid():
            missing.append("root's rights")
        if missing:
            raise SystemExit(f"needed and not found: {', '.join(missing)}; `make setup` installs what it can")

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """A folder and a network namespace; on any error, Ctrl-C included, stop all again and leave only the logs."""
        self.dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if left := [x.name for x in self.dir.iterdir() if x.name != "log"]:
            raise SystemExit(f"{self.dir} is not empty ({', '.join(left[:3])}): another folder, or `down` first")
        shutil.rmtree(self.dir / "log", ignore_errors=True)
        try:
            self.state.data["binaries"] = [str(f) for f in self.bin.folders]
            self.state.record("up", os.getpid())
            self._network()
            yield
            self.state.forget(os.getpid())
        except BaseException:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            self.down(keep_logs=True)
            raise

    def down(self, *, keep_logs: bool = False) -> None:
        """Stop exactly what was started, and remove what was made. Nothing to do is fine."""
        if not self.state.path.exists():
            return
        self._client = None
        if killed := self.state.stop(last=("etcd", "netns")):  # the API server waits for its store
            print("had to be killed:", *killed, file=sys.stderr)
        cgroups.drop(self.state.data["id"])
        self._unmount()
        for name in OWN:
            path = self.dir / name
            if name == "log" and keep_logs:
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        if not any(self.dir.iterdir()):
            self.dir.rmdir()

    def _network(self) -> None:
        """A network namespace, held by a sleeping process; the one address all components share is on its `lo`."""
        # without a default route some programs find no address of their own; nothing leaves the namespace by it
        setup = f"ip link set lo up && ip addr add {NODE_IP}/32 dev lo && ip route add default dev lo"
        pid = self.state.spawn(
            "netns", "unshare", "--net", "--", "sh", "-c", f"{setup} && exec sleep infinity", inside=False
        )
        wait_for("network namespace", lambda: Path(f"/proc/{pid}/comm").read_text() == "sleep\n", 10)

    def _unmount(self) -> None:
        """The node's mounts went with its mount namespace; should one show here, take it away before removing files."""
        mounts = [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]
        for at in reversed([m for m in mounts if m.startswith(f"{self.dir}/")]):
            subprocess.run(["umount", "-l", at], check=True)

    def _wait(self, what: str, process: str, ok: Callable[[], Any], timeout: float = 120) -> None:
        def check() -> bool:
            self.state.check(process)
            return bool(ok())

        wait_for(what, check, timeout)

    def _node_ready(self) -> bool:
        conditions = self.client.read(f"/api/v1/nodes/{NAME}")["status"]["conditions"]
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    # -- use --------------------------------------------------------------
    def add_volume(self, name: str, namespace: str, folder: Path, size: str = "10Gi") -> None:
        """A bound claim NAME in NAMESPACE (which has to exist) on FOLDER of this machine, open to pods of any user.

        The folder must not lie under /var/lib, /var/log or /run, which the node has of its own; it outlives the
        cluster.
        """
        self.client.apply(*volumes.named(name, namespace, Path(folder).resolve(), size))
        claim = f"/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}"
        wait_for(f"claim {name}", lambda: self.client.read(claim)["status"].get("phase") == "Bound", 30)

    def load(self, image: Path) -> str:
        """Import one more image from a docker or OCI archive or layout."""
        return Node(self.state, self.bin).load(Path(image))

    def pull(self, reference: str) -> None:
        """Have the node fetch an image of the registry before a pod asks for it."""
        Node(self.state, self.bin).pull(reference)

    def run(self, argv: Sequence[str], **options: Any) -> subprocess.CompletedProcess[Any]:
        """Run a command inside the cluster's network namespace, with KUBECONFIG and PATH set for it."""
        env = {**self.client.env(), "KUBECONFIG": str(self.dir / "inside.kubeconfig"), **options.pop("env", {})}
        return subprocess.run([*self.state.netns(), *argv], env=env, check=options.pop("check", False), **options)
