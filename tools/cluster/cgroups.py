"""The cluster's own cgroup in every hierarchy of the machine, version 1 or 2."""

import os
import sys
import time
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")


def hierarchies() -> list[Path]:
    """The cgroup mounts: one for version 2, one a controller for version 1 (and `unified`, where runc makes one)."""
    if (CGROUPS / "cgroup.controllers").exists():
        return [CGROUPS]
    return [d for d in CGROUPS.iterdir() if d.is_dir() and not d.is_symlink()]


def make(name: str) -> None:
    """One in each; with $QUANTROLL_CPU_WEIGHT, pods get so many times what another cluster's get of a processor."""
    weight = int(os.environ.get("QUANTROLL_CPU_WEIGHT", "1"))
    for h in hierarchies():
        d = h / name
        d.mkdir(exist_ok=True)
        if h.name.startswith("cpuset"):
            for f in ("cpuset.cpus", "cpuset.mems"):
                (d / f).write_text((h / f).read_text())
        if h == CGROUPS:
            (h / "cgroup.subtree_control").write_text("+cpu +memory +pids +cpuset")
        for file, usual in (("cpu.shares", 1024), ("cpu.weight", 100)):  # of version 1, of version 2
            if (d / file).exists():
                (d / file).write_text(str(usual * weight))


def drop(name: str) -> None:
    """Remove the cluster's cgroups; they may take a moment to empty after their last process."""
    end = time.monotonic() + 10
    for h in hierarchies():
        for d, _, _ in os.walk(h / name, topdown=False):
            while True:
                try:
                    os.rmdir(d)
                    break
                except FileNotFoundError:
                    break
                except OSError as e:
                    if time.monotonic() > end:
                        print(f"cgroup {d}: {e}", file=sys.stderr)
                        break
                    time.sleep(0.05)
