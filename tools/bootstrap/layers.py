"""Runs the layers of the test suite, and says at the end how each went, how long it took and which tests failed.

Several at a time, for those with a cluster wait for it as often as they compute. First the one whose tests wait for an
API server in seconds has the machine; then those with a node, in `LANES`, one after the other in each. What only
computes is beside all of them. First what takes one processor and has time: it is nice, and gets little of what others
want. Then the unit tests, which take all, and are like any other: in them, too, something has to answer in time.
"""

import os
import subprocess
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from . import cache

NICE = ("lint", "type", "imports", "jobs")
COMPUTING = (*NICE, "unit")
FIRST = ("integration",)
LANES = (("e2e",), ("faults", "node"))
WEIGHTS = {"e2e": 2}  # of a node's pods beside those of the other lane: what takes longest decides when all has ended
ON_A_NODE = tuple(layer for lane in LANES for layer in lane)
LAYERS = ("setup", *COMPUTING, *FIRST, *ON_A_NODE)
NICENESS = 10  # a tenth of what another process gets; the last, 19, would be too little to answer within seconds


@dataclass(frozen=True, slots=True)
class Spent:
    """Seconds of all processors: those in which they worked, those in which nobody wanted them or all waited for a
    disk, and those in which a virtual machine would have worked, had its host not been busy with another one."""

    worked: float
    idle: float
    stolen: float

    def __sub__(self, before: "Spent") -> "Spent":
        return Spent(self.worked - before.worked, self.idle - before.idle, self.stolen - before.stolen)

    def told(self) -> str:
        """In words: by the seconds alone, a run on a machine that others use cannot be compared with another."""
        whole = self.worked + self.idle + self.stolen
        share = [100 * part / whole if whole else 0 for part in (self.worked, self.stolen)]
        return f"processors worked {self.worked:.0f} s ({share[0]:.0f} %), the host took {share[1]:.0f} %"


class Layers:
    """The layers of one run, and what became of each."""

    def __init__(self, skipped: Sequence[str] = ()) -> None:
        self._skipped = skipped
        self._took: dict[str, tuple[int, float]] = {}
        self._stopped = threading.Event()

    def one(self, layer: str, *, beside: bool = False) -> bool:
        """Run `make LAYER`; True if nothing failed."""
        at = time.monotonic()
        if beside:
            code, output = _make_beside(layer)
            cache.say(f"layer {layer} (ran beside the others)\n{output}")
        else:
            cache.say(f"layer {layer}")
            code = _make(layer)
        self._took[layer] = code, time.monotonic() - at
        return not code

    def all(self, layers: Sequence[str]) -> None:
        """Run some, with what they say: as it comes in the first lane, and of all others when they have ended."""
        wanted = [layer for layer in layers if layer not in self._skipped]
        first, (shown, *others) = [layer for layer in wanted if layer not in (*COMPUTING, *ON_A_NODE)], LANES
        with self._beside(wanted, COMPUTING):
            self._lane(first)
            with ExitStack() as stack:
                for lane in others:
                    stack.enter_context(self._beside(wanted, lane))
                self._lane([layer for layer in shown if layer in wanted])

    @contextmanager
    def _beside(self, wanted: Sequence[str], lane: Sequence[str]) -> Iterator[None]:
        """Those of a lane while the block runs, and on until they have ended."""
        own = [layer for layer in lane if layer in wanted]
        thread = threading.Thread(target=self._lane, args=[own], kwargs={"beside": True})
        thread.start()
        try:
            yield
        except BaseException:
            self._stopped.set()
            raise
        finally:
            thread.join()

    def _lane(self, layers: Sequence[str], *, beside: bool = False) -> None:
        for layer in layers:
            if not self._stopped.is_set():
                self.one(layer, beside=beside)

    def failed(self, layers: Sequence[str]) -> list[str]:
        """Those that did, and those that were to run and have not ended."""
        wanted = [layer for layer in layers if layer not in self._skipped]
        return [layer for layer in wanted if layer not in self._took or self._took[layer][0]]

    def told(self, layers: Sequence[str]) -> Iterator[str]:
        """How each went, a line each."""
        for layer in layers:
            if layer in self._skipped:
                yield f"{layer:12} SKIPPED (E2E=skip): nothing was tested on a node"
            elif layer in self._took:
                code, took = self._took[layer]
                yield f"{layer:12} {'FAILED' if code else 'ok':7} {took:7.1f} s"
            else:
                yield f"{layer:12} FAILED  was not run"

    def failures(self) -> Iterator[str]:
        """The tests that failed, a line each."""
        for layer in self._took:
            yield from (f"{layer}: {told}" for told in failures(_report(layer)))


def run(layers: Sequence[str] = LAYERS) -> int:
    """Run `make LAYER` for each, all of them whatever fails; 0 if none failed. E2E=skip leaves the node out.

    Without a complete setup nothing else can be judged: then the rest is not run.
    """
    began, before = time.monotonic(), processors()
    running = Layers(ON_A_NODE if os.environ.get("E2E") == "skip" else ())
    first, rest = [layer for layer in layers if layer == "setup"], [layer for layer in layers if layer != "setup"]
    complete = all(running.one(layer) for layer in first)
    if complete:
        running.all(rest)
    failed = running.failed(layers)
    took, spent = time.monotonic() - began, processors() - before
    print("\n" + "\n".join(running.told(layers)))
    if not complete:
        print("nothing else was run: the setup is not complete")
    print(f"{'all':12} {'FAILED' if failed else 'ok':7} {took:7.1f} s, {spent.told()}", flush=True)
    for told in running.failures():
        print(told, flush=True)
    return int(bool(failed))


def processors(stat: Path = Path("/proc/stat")) -> Spent:
    """What all processors of this machine have spent since it started, for whomever."""
    ticks = [int(part) for part in stat.read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    user, nice, system, idle, waiting, irq, softirq, stolen = (tick / os.sysconf("SC_CLK_TCK") for tick in ticks)
    return Spent(user + nice + system + irq + softirq, idle + waiting, stolen)


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
    command, env = _command(layer)
    return subprocess.run(command, cwd=cache.CHECKOUT, env=env, check=False).returncode


def _make_beside(layer: str) -> tuple[int, str]:
    """The same out of sight; its exit status and output."""
    command, env = _command(layer)
    done = subprocess.run(
        ["nice", "-n", str(NICENESS), *command] if layer in NICE else command,
        cwd=cache.CHECKOUT,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    return done.returncode, done.stdout


def _command(layer: str) -> tuple[list[str], dict[str, str]]:
    report = _report(layer)
    report.unlink(missing_ok=True)  # that of an earlier run says nothing about this one
    told = {
        "PYTEST_ADDOPTS": f"{os.environ.get('PYTEST_ADDOPTS', '')} --junitxml={report}",
        "QUANTROLL_CPU_WEIGHT": str(WEIGHTS.get(layer, 1)),
    }
    return ["make", "--no-print-directory", layer], {**os.environ, **told}
