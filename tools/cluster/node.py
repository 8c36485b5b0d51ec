"""One real node: containerd, kubelet and kube-proxy beside the control plane, as a `kind` node is, without Docker.

It has its own mount, pid, uts and ipc namespaces, so /var/lib, /var/log and /run are private to it and every pod dies
with it; and its own cgroup in every hierarchy, named after the cluster.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import IO

from . import archive, cgroups, kubelet, nodeinit
from .binaries import Binaries
from .controlplane import ControlPlane
from .kubelet import NAME
from .procs import State, wait_for

PAUSE = "localhost/pause:1"
LAYERS = "io.containerd.snapshotter.v1.overlayfs/snapshots"

CONTAINERD = """
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "/run/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "/var/lib/containerd/opt"
[plugins."io.containerd.nri.v1.nri"]
  disable = true
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "{pause}"
[plugins."io.containerd.cri.v1.runtime"]
  restrict_oom_score_adj = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "{work}/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd]
    default_runtime_name = "runc"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
        BinaryName = "/usr/sbin/runc"
        SystemdCgroup = false
"""


def copy_root(root: Path, to: Path) -> None:
    """Copy a containerd root that is not in use: databases for real, and all else by hard links.

    Content and unpacked layers are never written in place (overlayfs copies up). Both folders have to be on one
    filesystem.
    """
    subprocess.run(["cp", "-al", root, to], check=True)
    for db in [*to.glob("*.db"), *to.glob("*/*.db")]:
        own = db.with_suffix(".own")
        shutil.copy2(db, own)
        own.replace(db)


def refer_to_root(root: Path, to: Path) -> None:
    """The same for as long as the other stays where it is: the layers, most of it by far, are symbolic links to its."""

    def but_layers(within: str, names: list[str]) -> list[str]:
        return names if Path(within) == root / LAYERS else []

    def copy(source: str, target: str) -> None:
        (shutil.copy2 if source.endswith(".db") else os.link)(source, target)

    shutil.copytree(root, to, copy_function=copy, ignore=but_layers)
    for layer in (root / LAYERS).iterdir():
        (to / LAYERS / layer.name).symlink_to(layer)


class Node:
    """The node's configuration and life."""

    def __init__(self, state: State, binaries: Binaries) -> None:
        self.state, self.bin = state, binaries
        self.work = state.dir / "node"

    def start(self, cp: ControlPlane | None, image_store: Path | None = None) -> None:
        """Start the node, on what is in an image store if one is given; the API has to answer already.

        Without a control plane it is only containerd, to fill another image store. Returns when it takes images.
        """
        (self.work / "varlib").mkdir(parents=True, mode=0o755)
        if image_store:
            stays = cp is not None and nodeinit.sees(image_store)
            (refer_to_root if stays else copy_root)(image_store, self.work / "varlib" / "containerd")
        cgroups.make(self.state.data["id"])
        (self.work / "containerd.toml").write_text(CONTAINERD.format(pause=PAUSE, work=self.work))
        run = {"containerd": [str(self.bin("containerd")), "--config", f"{self.work}/containerd.toml"]}
        run |= kubelet.configure(self.work, cp, self.bin) if cp else {}
        (self.work / "init.json").write_text(
            json.dumps({"hostname": NAME, "path": self.bin.path, "log": str(self.state.dir / "log"), "run": run})
        )
        self.state.spawn(
            "node",
            "unshare",
            "--mount",
            "--pid",
            "--fork",
            "--uts",
            "--ipc",
            "--kill-child",
            "--",
            sys.executable,
            "-m",
            f"{__package__}.nodeinit",
            self.work,
        )
        pid = self.work / "init.pid"
        self.state.record("node-init", int(wait_for("node init", lambda: pid.exists() and pid.read_text(), 10)))
        wait_for("containerd", lambda: self.ctr("version"), 60)
        pause = self.work / "pause.tar"
        archive.write(pause, PAUSE, {"pause": self.bin("pause").read_bytes()}, ["/pause"])
        self.load(pause)

    def ctr(self, *args: str, stdin: IO[bytes] | None = None) -> str:
        """containerd's client, inside the node's mount namespace."""
        self.state.check("node")
        enter = ["nsenter", "--target", str(self.state.pid("node-init")), "--mount", "--"]
        return subprocess.run(
            [*enter, self.bin("ctr"), "-n", "k8s.io", *args], stdin=stdin, check=True, capture_output=True, text=True
        ).stdout

    def load(self, image: Path) -> str:
        """Import a docker or OCI archive, or an OCI layout (through a pipe: it may lie where the node cannot see)."""
        command = ["tar", "-C", str(image), "-c", "."] if image.is_dir() else ["cat", str(image)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as source:
            return self.ctr(
                "images", "import", "--local", "--label", "io.cri-containerd.pinned=pinned", "-", stdin=source.stdout
            )

    def pull(self, reference: str) -> None:
        """Fetch and unpack an image of the cluster's registry. Raises RuntimeError with what containerd said."""
        try:
            self.ctr("images", "pull", "--plain-http", reference)
        except subprocess.CalledProcessError as e:
            raise RuntimeError(f"{reference}: {e.stderr.strip()}") from e

    def images(self) -> list[str]:
        """The names of all images the node has."""
        return self.ctr("images", "list", "--quiet").split()

    def drop(self, reference: str) -> None:
        """Remove an image, and its layers unless others use them."""
        self.ctr("images", "remove", "--sync", reference)
