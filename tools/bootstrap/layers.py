"""Runs the layers of the test suite, and says at the end how each went and how long it took.

In stages; a stage is lanes side by side, and a lane is layers one after the other. Where two lanes share the machine,
one mostly computes (quantization and vLLM, on CPUs), and the other mostly waits for a real API server. What runs on a
node has the machine for itself: its tests say within how many seconds something has to come about, and a slow machine
with two of them at a time does not keep that.
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence

from . import cache

Lane = Sequence[str]
STAGES: Sequence[Sequence[Lane]] = (
    (("setup",),),
    (("lint", "type", "imports", "unit"),),
    (("jobs",), ("integration",)),
    (("e2e", "faults", "node"),),
)
ON_A_NODE = ("e2e", "faults", "node")


def run(stages: Sequence[Sequence[Lane]] = STAGES) -> int:
    """Run `make LAYER` for each, all of them whatever fails; 0 if none failed. E2E=skip leaves the node out.

    Without a complete setup nothing else can be judged: then the rest is not run.
    """
    lines, failed, began = [], False, time.monotonic()
    skipped = ON_A_NODE if os.environ.get("E2E") == "skip" else ()
    for stage in stages:
        ended = _side_by_side([[layer for layer in lane if layer not in skipped] for lane in stage])
        for layer in (layer for lane in stage for layer in lane):
            if layer in skipped:
                lines.append(f"{layer:12} SKIPPED (E2E=skip): nothing was tested on a node")
                continue
            code, took = ended[layer]
            lines.append(f"{layer:12} {'FAILED' if code else 'ok':7} {took:7.1f} s")
            failed |= bool(code)
        if "setup" in ended and failed:
            lines.append("nothing else was run: the setup is not complete")
            break
    print("\n" + "\n".join(lines))
    print(f"{'all':12} {'FAILED' if failed else 'ok':7} {time.monotonic() - began:7.1f} s", flush=True)
    return int(failed)


def _side_by_side(lanes: Sequence[Lane]) -> dict[str, tuple[int, float]]:
    """Exit code and seconds of each layer."""
    ended: dict[str, tuple[int, float]] = {}

    def one(lane: Lane) -> None:
        for layer in lane:
            at = time.monotonic()
            cache.say(f"layer {layer}")
            code = _make(layer, prefix=f"{layer}: " if len(lanes) > 1 else "")
            ended[layer] = code, time.monotonic() - at

    threads = [threading.Thread(target=one, args=(lane,)) for lane in lanes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ended


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
