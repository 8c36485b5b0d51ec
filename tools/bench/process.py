"""The operator as a process, and what the kernel says of it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import yaml

from bench.models import SETTINGS
from bootstrap import cache
from cluster.procs import LIBC, PR_SET_PDEATHSIG

_TICKS = os.sysconf("SC_CLK_TCK")
COMMAND = [
    sys.executable, "-m", "kopf", "run", "--module=quantroll.app", "--standalone", "--all-namespaces",
    "--log-format=json",
]  # fmt: skip


def _mortal() -> None:
    """In the child: end with the thread that started it, for one that is killed stops nothing."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Operator:
    """`kopf run` as the chart starts it, with the chart's default settings."""

    def __init__(self, folder: Path, kubeconfig: Path) -> None:
        self.log = folder / "operator.log"
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(SETTINGS))
        self._env = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "QUANTROLL_CONFIG": str(config),
            "PYTHONPATH": str(cache.CHECKOUT / "operator"),
            "MALLOC_ARENA_MAX": "2",
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of the running process. Raises RuntimeError with the end of its log when it does not run."""
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError(f"the operator does not run:\n{self.log.read_text(errors='replace')[-3000:]}")
        return self._process.pid

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(COMMAND, stdout=log, stderr=log, env=self._env, preexec_fn=_mortal)  # noqa: PLW1509 - runs in the main thread only

    def stop(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=30)
            self._process = None

    @property
    def resident(self) -> float:
        """Its resident set in MiB."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024

    @property
    def cpu(self) -> float:
        """Seconds of processor time that it has used."""
        return processor_time(self.pid)


def processor_time(pid: int) -> float:
    """Seconds that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
