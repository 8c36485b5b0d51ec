"""Quantize Jobs in processes that have a backend's libraries already: to load them takes a processor ten seconds.

Each Job is a process of its own all the same, forked from one that has loaded them and has never computed. A Job that
starts from nothing, as in its image, is run beside them, and has to give the same bytes.
"""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.jobs import ROOT, Ended, environment
from cluster.procs import wait_for
from quantroll.api.jobs import INPUT_VARIABLE, Report

_PARENT = """
import json, os, sys
from importlib import import_module
from quantroll_jobs.__main__ import main
import_module(sys.argv[1])
for line in sys.stdin:
    order = json.loads(line)
    if os.fork():
        continue
    if job := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(job, 0)[1])
        with open(order["ended"] + ".tmp", "w") as file:
            file.write(str(code))
        os.rename(order["ended"] + ".tmp", order["ended"])
        os._exit(0)
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(order["variables"])
    sys.exit(main())
"""


class Parent:
    """A process that has loaded a backend and forks Jobs; several may run beside one another."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process, self._lock = process, threading.Lock()

    def run_job(self, job: Any, log: Path, timeout: float = 400) -> Ended:
        """As `bench.jobs.run_job`."""
        output, ended = log.with_suffix(".output"), log.with_suffix(".ended")
        variables = {"QUANTROLL_TERMINATION_LOG": str(log), INPUT_VARIABLE: json.dumps(job.to_wire())}
        order = json.dumps({"variables": variables, "output": str(output), "ended": str(ended)})
        with self._lock:
            assert self._process.stdin
            self._process.stdin.write(f"{order}\n")
            self._process.stdin.flush()
        wait_for(f"the Job of {log.name}", lambda: ended.exists() or self._process.poll(), timeout, every=0.2)
        assert self._process.poll() is None, "what forks Jobs has ended"
        said = output.read_text(errors="replace")
        assert log.exists(), said
        return Ended(int(ended.read_text()), Report.model_validate_json(log.read_bytes()), said)


@contextmanager
def loaded(python: str, backend: str) -> Iterator[Parent]:
    """One with a module of `quantroll_jobs.quantize`, in the environment that has what it needs."""
    variables = environment(PYTHONPATH=os.pathsep.join([str(ROOT / "operator"), str(ROOT / "jobs")]))
    command = [python, "-c", _PARENT, f"quantroll_jobs.quantize.{backend}"]
    with subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, text=True) as process:
        yield Parent(process)
        process.terminate()
