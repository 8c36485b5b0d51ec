"""Start processes that outlive us, write each down as it starts, and stop exactly those.

A process is known by its pid and the kernel's start time of it: a pid that was given to somebody else since then is
never touched. The record is rewritten after every start, so a start that was cut short can be cleaned up too.
"""

import ctypes
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PACKAGE_PARENT = Path(__file__).resolve().parent.parent
LIBC, PR_SET_PDEATHSIG = ctypes.CDLL(None), 1
HELD = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}


def start_time(pid: int) -> str | None:
    """The kernel's start time of a live process; None if there is none of that pid, or only a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else fields[19]


def reap(pid: int) -> None:
    """Collect an ended child of ours; others' children are none of our business."""
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)


def wait_for(what: str, ok: Callable[[], Any], timeout: float, every: float = 0.05) -> Any:
    """Poll until `ok` returns something true; an OSError or a failed command counts as not yet."""
    end, last = time.monotonic() + timeout, None
    while time.monotonic() < end:
        try:
            if got := ok():
                return got
        except (OSError, subprocess.CalledProcessError) as e:
            last = e
        time.sleep(every)
    raise TimeoutError(f"{what}: not within {timeout:g} s ({last})")


@contextmanager
def signals_held() -> Iterator[set[int | signal.Signals]]:
    """No Ctrl-C between a start and its record."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, HELD)
    try:
        yield old
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


class State:
    """The record of one cluster in DIR/state.json."""

    def __init__(self, folder: Path) -> None:
        self.dir = folder
        self.path = folder / "state.json"
        name = f"quantroll-{secrets.token_hex(4)}"
        self.data: dict[str, Any] = {"id": name, "processes": [], "ports": {}, "seconds": {}}
        if self.path.exists():
            self.data = json.loads(self.path.read_text())

    def save(self) -> None:
        """Replace the file in one step: a reader never sees half of it."""
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.data, indent=1) + "\n")
        new.replace(self.path)

    def record(self, name: str, pid: int) -> None:
        self.data["processes"].append({"name": name, "pid": pid, "start": start_time(pid)})
        self.save()

    def forget(self, pid: int) -> None:
        self.data["processes"] = [p for p in self.data["processes"] if p["pid"] != pid]
        self.save()

    def alive(self) -> list[dict[str, Any]]:
        """The recorded processes that still run."""
        for p in self.data["processes"]:
            if p["pid"] != os.getpid():
                reap(p["pid"])
        return [p for p in self.data["processes"] if p["start"] and start_time(p["pid"]) == p["start"]]

    def pid(self, name: str) -> int:
        return next(int(p["pid"]) for p in self.alive() if p["name"] == name)

    def log(self, name: str) -> Path:
        return self.dir / "log" / f"{name}.log"

    # -- start ------------------------------------------------------------
    def netns(self) -> list[str]:
        """A command prefix that runs what follows in the cluster's network namespace, under the same pid."""
        return ["nsenter", f"--net=/proc/{self.pid('netns')}/ns/net", "--"]

    def spawn(
        self,
        name: str,
        *argv: object,
        inside: bool = True,
        env: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
        mortal: bool = False,
    ) -> int:
        """Start a detached process with little of our environment, its output in log/NAME.log; returns its pid.

        A `mortal` one gets SIGTERM when the thread that started it ends, for callers that may be killed at any time.
        """
        prefix = self.netns() if inside else []
        base = {
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": str(self.dir),
            "LANG": "C.UTF-8",
            "PYTHONPATH": str(PACKAGE_PARENT),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self.log(name).parent.mkdir(exist_ok=True)
        with open(self.log(name), "ab") as log, signals_held() as old:

            def prepare() -> None:
                os.setsid()
                if mortal:
                    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
                signal.pthread_sigmask(signal.SIG_SETMASK, old)

            p = subprocess.Popen(
                [*prefix, *map(str, argv)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.dir,
                env={**base, **(env or {})},
                pass_fds=pass_fds,
                preexec_fn=prepare,  # noqa: PLW1509 - runs in the main thread only: the signal mask is a thread's
            )
            p.returncode = 0  # it is meant to outlive this object: no warning when it is collected
            self.record(name, p.pid)
        return p.pid

    def spawn_module(self, name: str, module: str, *argv: object, **options: Any) -> int:
        """`spawn` for a module of this package."""
        return self.spawn(name, sys.executable, "-m", f"{__package__}.{module}", *argv, **options)

    def check(self, name: str) -> None:
        """Raise with the end of its log if the process has ended."""
        if name not in {p["name"] for p in self.alive()}:
            text = self.log(name).read_text(errors="replace") if self.log(name).exists() else ""
            raise RuntimeError(f"{name} ended:\n{text[-3000:]}")

    # -- stop -------------------------------------------------------------
    def end(self, name: str, timeout: float = 10) -> None:
        """End the processes of one name, by force after so many seconds, and forget them; the others run on."""
        self._stop(timeout, {name})
        self.data["processes"] = [p for p in self.data["processes"] if p["name"] != name]
        self.save()

    def stop(self, last: Sequence[str] = (), timeout: float = 10) -> list[str]:
        """Ask all to end, those named in `last` when the others have, then make them; names of those that had to be."""
        if "up" in {p["name"] for p in self._others()}:  # it would go on starting others; it cleans up itself
            self._stop(timeout=60, only={"up"})
            self.data["processes"] = json.loads(self.path.read_text())["processes"] if self.path.exists() else []
        names = {p["name"] for p in self._others()}
        killed = self._stop(timeout, names - set(last)) + self._stop(timeout, names)
        self.data["processes"] = [p for p in self.data["processes"] if p["pid"] == os.getpid()]
        return killed

    def _stop(self, timeout: float, only: set[str]) -> list[str]:
        def these() -> list[dict[str, Any]]:
            return [p for p in self._others() if p["name"] in only]

        for p in reversed(these()):
            self._signal(p, signal.SIGTERM)
        end = time.monotonic() + timeout
        while these() and time.monotonic() < end:
            time.sleep(0.05)
        killed = these()
        for p in killed:
            self._signal(p, signal.SIGKILL)
        wait_for("killed processes to be gone", lambda: not these(), 10)
        return [p["name"] for p in killed]

    def _others(self) -> list[dict[str, Any]]:
        return [p for p in self.alive() if p["pid"] != os.getpid()]

    @staticmethod
    def _signal(p: dict[str, Any], number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(p["pid"], number)
