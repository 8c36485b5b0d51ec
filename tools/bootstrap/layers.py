"""Runs the layers of the test suite, and says at the end how each went and how long it took.

One layer after the other, except where two share the machine well: integration mostly waits for a real API server, and
jobs mostly computes; a rollout takes its time whatever the machine does meanwhile.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from . import cache

LAYERS = (("setup",), ("lint",), ("type",), ("imports",), ("unit",), ("integration", "jobs"), ("e2e", "node"))


def run(layers: Sequence[Sequence[str]] = LAYERS) -> int:
    """Run `make LAYER` for each, all of them whatever fails; 0 if none failed. E2E=skip leaves the node out.

    Without a complete setup nothing else can be judged: then the rest is not run.
    """
    lines, failed, began = [], False, time.monotonic()
    for together in layers:
        if "e2e" in together and os.environ.get("E2E") == "skip":
            lines += [f"{layer:12} SKIPPED (E2E=skip): nothing was tested on a node" for layer in together]
            continue
        ended = _side_by_side(together)
        lines += [f"{layer:12} {'FAILED' if code else 'ok':7} {took:7.1f} s" for layer, (code, took) in ended.items()]
        failed |= any(code for code, _ in ended.values())
        if "setup" in ended and failed:
            lines.append("nothing else was run: the setup is not complete")
            break
    print("\n" + "\n".join(lines))
    print(f"{'all':12} {'FAILED' if failed else 'ok':7} {time.monotonic() - began:7.1f} s", flush=True)
    return int(failed)


def _side_by_side(layers: Sequence[str]) -> dict[str, tuple[int, float]]:
    """Exit code and seconds of each layer."""
    ended: dict[str, tuple[int, float]] = {}

    def one(layer: str) -> None:
        at = time.monotonic()
        cache.say(f"layer {layer}")
        code = _make(layer, prefix=f"{layer}: " if len(layers) > 1 else "")
        ended[layer] = code, time.monotonic() - at

    threads = [threading.Thread(target=one, args=(layer,)) for layer in layers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {layer: ended[layer] for layer in layers}


def _make(layer: str, prefix: str) -> int:
    """`make LAYER`; with a prefix, each of its lines carries it."""
    command = ["make", "--no-print-directory", layer]
    if not prefix:
        return subprocess.run(command, cwd=cache.CHECKOUT, check=False).returncode
    with subprocess.Popen(
        command, cwd=cache.CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
    ) as process:
        for line in process.stdout or ():
            sys.stdout.write(f"{prefix}{line}")
            sys.stdout.flush()
    return process.returncode
