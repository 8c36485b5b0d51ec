"""`kopf run` in a process that has the operator's libraries already: to load them takes a processor a second each time.

A real start from nothing is that of the kill test, the benchmark and the node.
"""

import multiprocessing
import os
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.context import ForkServerProcess
from pathlib import Path

_CONTEXT = multiprocessing.get_context("forkserver")
_CONTEXT.set_forkserver_preload(["kopf.cli", "quantroll.handlers.lifecycle", "quantroll.handlers.watches"])


def kopf_run(arguments: Sequence[str], env: Mapping[str, str], log: Path) -> ForkServerProcess:
    """A started process with this environment alone, which appends all that it says to a file."""
    process = _CONTEXT.Process(target=_run, args=(list(arguments), dict(env), log), daemon=True)
    process.start()
    return process


def _run(arguments: list[str], env: dict[str, str], log: Path) -> None:
    os.environ.clear()
    os.environ.update(env)
    with log.open("ab") as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    # loaded before the fork, and in no other process
    from kopf import cli  # noqa: PLC0415
    from kubernetes.aio.config import kube_config  # noqa: PLC0415

    kube_config.KUBE_CONFIG_DEFAULT_LOCATION = env["KUBECONFIG"]  # read when it was loaded

    cli.main(["run", *arguments])
