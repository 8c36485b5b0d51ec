"""Runs the layers of the test suite, and says at the end how each went, how long it took and which tests failed.

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
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path

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
    for layer in (layer for stage in stages for lane in stage for layer in lane if layer not in skipped):
        for told in failures(_report(layer)):
            print(f"{layer}: {told}", flush=True)
    return int(failed)


def _report(layer: str) -> Path:
    """Where pytest says in JUnit's format how the tests of a layer went."""
    return cache.CHECKOUT / ".run" / "reports" / f"{layer}.xml"


def failures(report: Path, width: int = 200) -> Iterator[str]:
    """The tests that failed and the beginning of why, a line each. A layer without a report has none."""
    if not report.is_file():
        return
    for case in ET.parse(report).getroot().iter("testcase"):
        for kind in ("failure", "error"):
            if (found := case.find(kind)) is not None:
                why = " ".join(found.get("message", "").split())
                yield f"{case.get('classname')}::{case.get('name')}: {why}"[:width]


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
    report = _report(layer)
    report.unlink(missing_ok=True)  # that of an earlier run says nothing about this one
    env = {**os.environ, "PYTEST_ADDOPTS": f"{os.environ.get('PYTEST_ADDOPTS', '')} --junitxml={report}"}
    if not prefix:
        return subprocess.run(command, cwd=cache.CHECKOUT, env=env, check=False).returncode
    with subprocess.Popen(
        command,
        cwd=cache.CHECKOUT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    ) as process:
        for line in process.stdout or ():
            sys.stdout.write(f"{prefix}{line}")
            sys.stdout.flush()
    return process.returncode
