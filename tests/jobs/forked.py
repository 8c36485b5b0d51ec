"""Processes that have the libraries of a backend, of vLLM or of lm-eval already: to load them takes 10 to 30 seconds.

Each is a process of its own all the same, forked from one that has loaded them and has never computed. A Job that
starts from nothing, as in its image, is run beside them, and has to give the same bytes; the engine of the
full-precision model starts from nothing, too.
"""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bench.jobs import (
    ENGINE,
    ROOT,
    Ended,
    Engine,
    end_group,
    engine_environment,
    engine_flags,
    environment,
    free_port,
)
from cluster.procs import wait_for
from quantroll.api.jobs import INPUT_VARIABLE, Report

_PARENT = """
import json, os, sys
from importlib import import_module
for name in sys.argv[1:]:
    import_module(name)
for line in sys.stdin:
    order = json.loads(line)
    if os.fork():
        continue
    if child := os.fork():
        for ended in (False, True):
            told = order["ended"] if ended else order["pid"]
            with open(told + ".tmp", "w") as file:
                file.write(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if ended else child))
            os.rename(told + ".tmp", told)
        os._exit(0)
    os.setsid()
    output = os.open(order["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    os.environ.update(order["variables"])
    sys.argv = ["forked", *order["arguments"]]
    exec(order["script"], {"__name__": "__main__"})
    sys.exit()
"""
_JOB = "import sys; from quantroll_jobs.__main__ import main; sys.exit(main())"
_SERVER = f"import runpy; runpy.run_module({ENGINE!r}, run_name='__main__', alter_sys=True)"


class Forked:
    """A forked process; `pid` is its group's number as well."""

    def __init__(self, pid: int, ended: Path) -> None:
        self.pid, self._ended = pid, ended

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        return int(self._ended.read_text()) if self._ended.exists() else None

    def wait(self, timeout: float) -> int:
        """Its exit status, once it has ended; raises subprocess.TimeoutExpired."""
        with suppress(TimeoutError):
            wait_for("the end of a forked process", self._ended.exists, timeout, every=0.2)
        code = self.poll()
        if code is None:
            raise subprocess.TimeoutExpired("a forked process", timeout)
        return code


class Parent:
    """A process that has loaded what it forks processes of; several may run beside one another."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process, self._lock = process, threading.Lock()

    def start(self, script: str, output: Path, *arguments: str, **variables: str) -> Forked:
        """One that runs a script, with more variables of its environment; what it prints goes to a file."""
        pid, ended = output.with_suffix(".pid"), output.with_suffix(".ended")
        files = {"output": str(output), "pid": str(pid), "ended": str(ended)}
        order = json.dumps({"script": script, "arguments": arguments, "variables": variables, **files})
        with self._lock:
            assert self._process.stdin
            self._process.stdin.write(f"{order}\n")
            self._process.stdin.flush()
        # the first one waits until the libraries are loaded
        wait_for(f"a process for {output.name}", lambda: pid.exists() or self._process.poll() is not None, 240)
        assert self._process.poll() is None, "what forks processes has ended"
        return Forked(int(pid.read_text()), ended)

    def told(self, script: str, folder: Path, given: Any, timeout: float = 240) -> Any:
        """What a script writes as JSON to the file that its second argument names; `given` is in that of its first."""
        files = folder / "given.json", folder / "told.json"
        files[0].write_text(json.dumps(given))
        output = folder / "script.output"
        assert self.start(script, output, *map(str, files)).wait(timeout) == 0, output.read_text(errors="replace")
        return json.loads(files[1].read_text())

    def run_job(self, job: Any, log: Path, timeout: float = 400) -> Ended:
        """As `bench.jobs.run_job`."""
        output = log.with_suffix(".output")
        variables = {"QUANTROLL_TERMINATION_LOG": str(log), INPUT_VARIABLE: json.dumps(job.to_wire())}
        code = self.start(_JOB, output, **variables).wait(timeout)
        said = output.read_text(errors="replace")
        assert log.exists(), said
        return Ended(code, Report.model_validate_json(log.read_bytes()), said)

    @contextmanager
    def serving(self, model: Path, log: Path) -> Iterator[Engine]:
        """As `bench.jobs.serving`, of a parent that has loaded vLLM."""
        port = free_port()
        process = self.start(_SERVER, log, *engine_flags(model, port))
        try:
            yield Engine(f"http://127.0.0.1:{port}", process, log)
        finally:
            end_group(process)


@contextmanager
def loaded(python: str, backend: str) -> Iterator[Parent]:
    """One with a module of `quantroll_jobs.quantize`, in the environment that has what it needs."""
    with _parent(python, _job_environment(), "quantroll_jobs.__main__", f"quantroll_jobs.quantize.{backend}") as parent:
        yield parent


@contextmanager
def loaded_harness(python: str, **variables: str) -> Iterator[Parent]:
    """One with lm-eval, which reads some variables of its environment while it is loaded."""
    with _parent(
        python, _job_environment(**variables), "quantroll_jobs.__main__", "quantroll_jobs.harness.ask"
    ) as parent:
        yield parent


@contextmanager
def loaded_engine(python: str) -> Iterator[Parent]:
    """One with vLLM."""
    with _parent(python, engine_environment(), ENGINE) as parent:
        yield parent


def _job_environment(**more: str) -> dict[str, str]:
    return environment(PYTHONPATH=os.pathsep.join([str(ROOT / "operator"), str(ROOT / "jobs")]), **more)


@contextmanager
def _parent(python: str, variables: dict[str, str], *modules: str) -> Iterator[Parent]:
    command = [python, "-c", _PARENT, *modules]
    with subprocess.Popen(command, env=variables, stdin=subprocess.PIPE, text=True) as process:
        yield Parent(process)
        process.terminate()
