"""Process 1 of the node: sets up its namespaces, then runs containerd, the kubelet and kube-proxy.

Started by `node` in new mount, pid, uts and ipc namespaces. When it ends, the kernel ends every process of the node,
and the mounts made here go with the namespace.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

STARTS, WINDOW = 10, 60.0
"""Times within so many seconds that a kubelet is started again, as systemd would: containerd has its socket before it
answers a kubelet."""
PAUSE = 0.5  # seconds before it is started again
OWN_FOLDERS = {"varlib": "/var/lib", "varlog": "/var/log", "run": "/run"}
"""By their names in the node's folder; what the machine has at these places, the node does not see."""
SYSCTLS = {  # the kubelet insists on these machine-wide values: it sees, and may write, files of its own instead
    "vm/overcommit_memory": "1",
    "vm/panic_on_oom": "0",
    "kernel/panic": "10",
    "kernel/panic_on_oops": "1",
    "kernel/keys/root_maxkeys": "1000000",
    "kernel/keys/root_maxbytes": "25000000",
}


def mount(*args: object) -> None:
    subprocess.run(["mount", *map(str, args)], check=True)


def sees(path: Path) -> bool:
    """Whether the node finds at a path what the machine has there."""
    return not any(path.resolve().is_relative_to(at) for at in OWN_FOLDERS.values())


def private_machine(work: Path, hostname: str) -> None:
    """Mounts that make /proc, /sys and the writable system folders the node's own."""
    mount("--make-rprivate", "/")
    mount("-t", "proc", "proc", "/proc")
    # a sysfs of this network namespace, with the cgroup mounts moved onto it
    held = work / "cgroup-hold"
    held.mkdir(exist_ok=True)
    mount("--rbind", "/sys/fs/cgroup", held)
    mount("-t", "sysfs", "sysfs", "/sys")
    mount("--rbind", held, "/sys/fs/cgroup")
    subprocess.run(["umount", "-R", "-l", held], check=True)
    for name, at in OWN_FOLDERS.items():
        (work / name).mkdir(exist_ok=True)
        mount("--bind", work / name, at)
    mount("--make-rshared", "/")  # volumes with mount propagation
    for key, value in SYSCTLS.items():
        own = work / ("sysctl-" + key.replace("/", "_"))
        own.write_text(value)
        mount("--bind", own, f"/proc/sys/{key}")
    subprocess.run(["hostname", hostname], check=True)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")  # of this network namespace only


def main(work: Path) -> None:
    (work / "init.pid").write_text(os.readlink("/proc/self"))  # still the outer /proc: the pid as others see it
    conf = json.loads((work / "init.json").read_text())
    private_machine(work, conf["hostname"])
    env = {**os.environ, "PATH": conf["path"], "HOME": "/var/lib"}
    procs: dict[int, tuple[str, subprocess.Popen[bytes]]] = {}  # held, or Python would wait for them in our place

    def start(name: str) -> subprocess.Popen[bytes]:
        with open(Path(conf["log"]) / f"{name}.log", "ab") as log:
            process = subprocess.Popen(conf["run"][name], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env)
        procs[process.pid] = (name, process)
        return process

    for name in conf["run"]:
        process = start(name)
        if name == "containerd":
            while process.poll() is None and not Path("/run/containerd/containerd.sock").exists():
                time.sleep(0.05)

    stop: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: stop.append(number))
    lately: list[float] = []  # when a kubelet was started again
    while not stop:  # process 1 collects orphans (the shims' children come to it)
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            break
        name = procs[pid][0] if pid in procs else ""
        lately = [at for at in lately if time.monotonic() - at < WINDOW]
        if name == "kubelet" and len(lately) < STARTS:
            lately.append(time.monotonic())
            print(f"kubelet ended with status {status}: it is started again", file=sys.stderr, flush=True)
            time.sleep(PAUSE)
            start(name)
        elif name:
            sys.exit(f"{name} ended with status {status}: so does the node")
        elif not pid:
            time.sleep(0.2)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
