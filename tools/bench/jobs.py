"""Jobs and engines as processes, each in the environment that its image has."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from quantroll.api.jobs import INPUT_VARIABLE, Report

ROOT = Path(__file__).parents[2]
SERVED_MODEL = "tiny"
_ENGINE_FLAGS = (
    "--max-model-len=256 --dtype=bfloat16 --enforce-eager --max-num-seqs=64 --kv-cache-memory-bytes=64M"
    " --shutdown-timeout=5 --distributed-executor-backend=uni"
)
# one process fewer, as in the demo's engine profile
_ENGINE_VARIABLES = {
    "PYTHONPATH": str(ROOT / "tools" / "images" / "plugins"),  # as in the image
    "VLLM_TARGET_DEVICE": "cpu",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_NO_USAGE_STATS": "1",
}


@dataclass(frozen=True)
class Ended:
    """A Job that ended."""

    code: int
    report: Report
    output: str


def environment(**more: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR", "LANG") if name in os.environ}
    one_thread = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return kept | one_thread | more


def start_job(job: Any, log: Path, python: str = sys.executable, **more: str) -> subprocess.Popen[str]:
    """Start a Job, with more variables of its environment; its report goes to `log`."""
    variables = environment(
        **more,
        PYTHONPATH=os.pathsep.join([str(ROOT / "operator"), str(ROOT / "jobs")]),
        QUANTROLL_TERMINATION_LOG=str(log),
        **{INPUT_VARIABLE: json.dumps(job.to_wire())},
    )
    return subprocess.Popen(
        [python, "-m", "quantroll_jobs"], env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run_job(job: Any, log: Path, python: str = sys.executable, timeout: float = 400, **more: str) -> Ended:
    """Run a Job to its end, with more variables of its environment."""
    with start_job(job, log, python, **more) as process:
        try:
            output, _ = process.communicate(timeout=timeout)
        finally:
            process.kill()
    assert log.exists(), output
    return Ended(process.returncode, Report.model_validate_json(log.read_bytes()), output)


class Process(Protocol):
    """What is asked of the process of an engine, as subprocess has it."""

    @property
    def pid(self) -> int:
        """Its number, and that of its group."""

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""

    def wait(self, timeout: float) -> int:
        """Its exit status, once it has ended; raises subprocess.TimeoutExpired."""


@dataclass(frozen=True)
class Engine:
    """A vLLM server that was started, and may be loading yet."""

    url: str
    process: Process
    log: Path

    def requests_answered(self) -> int:
        """Completions that it has finished, by its own count; 0 while it is loading."""
        try:
            with urllib.request.urlopen(f"{self.url}/metrics", timeout=10) as response:
                lines = response.read().decode().splitlines()
        except urllib.error.URLError:
            if self.process.poll() is not None:
                raise
            return 0
        return int(sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:request_success_total{")))


ENGINE = "vllm.entrypoints.openai.api_server"


def engine_environment() -> dict[str, str]:
    """That of vLLM on the CPU."""
    return environment(**_ENGINE_VARIABLES)


def engine_flags(model: Path, port: int, *more: str) -> list[str]:
    """Those of vLLM on the CPU that serves a model on loopback."""
    where = [f"--model={model}", f"--served-model-name={SERVED_MODEL}", "--host=127.0.0.1", f"--port={port}"]
    return [*where, *_ENGINE_FLAGS.split(), *more]


@contextmanager
def serving(python: str, model: Path, log: Path, *more_flags: str) -> Iterator[Engine]:
    """vLLM on the CPU, in a process group of its own, which is gone afterwards."""
    port = free_port()
    command = [python, "-m", ENGINE, *engine_flags(model, port, *more_flags)]
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command, env=engine_environment(), stdout=output, stderr=output, start_new_session=True
        ) as process,
    ):
        try:
            yield Engine(f"http://127.0.0.1:{port}", process, log)
        finally:
            end_group(process)


def free_port() -> int:
    """One of loopback that nobody has at the moment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    return port


def end_group(process: Process) -> None:
    """End a process and all of its group."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            process.wait(20)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue
