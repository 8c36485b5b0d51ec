"""Runs the layers of the test suite, and says at the end how each went, how long it took and which tests failed.

One after the other: on two processors each of them has work for both, so that two at a time take as long, and their
tests say within how many seconds something has to come about. How busy the processors were is told with the times.
"""

import os
import subprocess
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from pathlib import Path

from . import cache

LAYERS = ("setup", "lint", "type", "imports", "unit", "jobs", "integration", "e2e", "faults", "node")
ON_A_NODE = ("e2e", "faults", "node")


def run(layers: Sequence[str] = LAYERS) -> int:
    """Run `make LAYER` for each, all of them whatever fails; 0 if none failed. E2E=skip leaves the node out.

    Without a complete setup nothing else can be judged: then the rest is not run.
    """
    lines, failed, began = [], False, time.monotonic()
    skipped = ON_A_NODE if os.environ.get("E2E") == "skip" else ()
    for layer in layers:
        if layer in skipped:
            lines.append(f"{layer:12} SKIPPED (E2E=skip): nothing was tested on a node")
            continue
        cache.say(f"layer {layer}")
        at, worked = time.monotonic(), _worked()
        code = _make(layer)
        took, worked = time.monotonic() - at, _worked() - worked
        busy = 100 * worked / (took * (os.cpu_count() or 1))
        lines.append(f"{layer:12} {'FAILED' if code else 'ok':7} {took:7.1f} s, processors {busy:3.0f} % busy")
        failed |= bool(code)
        if layer == "setup" and failed:
            lines.append("nothing else was run: the setup is not complete")
            break
    print("\n" + "\n".join(lines))
    print(f"{'all':12} {'FAILED' if failed else 'ok':7} {time.monotonic() - began:7.1f} s", flush=True)
    for layer in (layer for layer in layers if layer not in skipped):
        for told in failures(_report(layer)):
            print(f"{layer}: {told}", flush=True)
    return int(failed)


def _worked() -> float:
    """Seconds that all processors of this machine have worked since it started, for whomever."""
    ticks = [int(part) for part in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]]
    idle = ticks[3] + ticks[4]  # idle, and waiting for a disk
    return (sum(ticks[:8]) - idle) / os.sysconf("SC_CLK_TCK")


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


def _make(layer: str) -> int:
    """`make LAYER`, with a report of its tests."""
    report = _report(layer)
    report.unlink(missing_ok=True)  # that of an earlier run says nothing about this one
    env = {**os.environ, "PYTEST_ADDOPTS": f"{os.environ.get('PYTEST_ADDOPTS', '')} --junitxml={report}"}
    command = ["make", "--no-print-directory", layer]
    return subprocess.run(command, cwd=cache.CHECKOUT, env=env, check=False).returncode
