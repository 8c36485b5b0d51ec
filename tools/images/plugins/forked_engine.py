"""A plugin of vLLM: on CPUs the engine's process is forked from the API server's instead of started from nothing.

Most of a start is the import of torch and vLLM, which both processes need, and a forked one has already. vLLM starts
processes anew on CPUs because of the threads that its workers bind; here it is forked only where there are no such
workers and no such threads. It is for the throw-away cluster and the tests;
engines on GPUs never see it.
"""

import os
import signal
import socket
from contextlib import suppress
from functools import cache

from vllm.config import VllmConfig
from vllm.platforms.cpu import CpuPlatform


def register() -> None:
    """Have vLLM fork where it can; it asks for the way once the configuration is known."""
    configure = CpuPlatform.check_and_update_config

    def and_fork(_: type[CpuPlatform], config: VllmConfig) -> None:
        configure(config)
        if config.parallel_config.distributed_executor_backend == "uni" and os.environ.get("OMP_NUM_THREADS") == "1":
            os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "fork"
            _prepare()

    CpuPlatform.check_and_update_config = classmethod(and_fork)


@cache
def _prepare() -> None:
    os.register_at_fork(after_in_child=_let_go)


def _let_go() -> None:
    """Of signals and of the port, which are the API server's.

    Else the engine would hand its own signals on to it, and clients would wait at a port that nobody answers once the
    server has ended. The server takes the port before, and listens after the fork.
    """
    signal.set_wakeup_fd(-1)
    with open(os.devnull, "rb") as nothing:
        for number in _ports():
            os.dup2(nothing.fileno(), number, inheritable=False)  # the number stays taken: an object may close it yet


def _ports() -> list[int]:
    """Descriptors of all sockets of the internet's families."""
    numbers = [int(name) for name in os.listdir("/proc/self/fd")]
    return [number for number in numbers if _family(number) in (socket.AF_INET, socket.AF_INET6)]


def _family(number: int) -> int | None:
    with suppress(OSError):  # the folder itself was open while it was listed
        if os.readlink(f"/proc/self/fd/{number}").startswith("socket:"):
            with socket.socket(fileno=os.dup(number)) as copy:
                return copy.family
    return None
