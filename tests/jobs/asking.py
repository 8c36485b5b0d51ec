"""The prober and the confirm Job against an engine that runs, as processes."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from bench.jobs import ROOT, SERVED_MODEL, environment
from quantroll.api.jobs import PROBE_VARIABLE, Arm, ConfirmInput, DataFile, ProbeInput

REVISIONS = ("aaaaaaaaaa", "bbbbbbbbbb")


@dataclass(frozen=True)
class Probed:
    """What Prometheus would read: the counts of all questions, by metric and (revision, outcome, status or cell)."""

    counts: dict[tuple[str, str, str], int]
    pairs: int


def arms(url: str) -> list[Arm]:
    """Two revisions, which one engine stands for."""
    return [Arm(revision=revision, endpoint=url) for revision in REVISIONS]


def confirm_input(key: str, store: Path, eval_set: DataFile, url: str) -> ConfirmInput:
    serving, target = arms(url)
    return ConfirmInput(
        key=key,
        store=str(store),
        eval_set=eval_set,
        items=200,
        scorer="ExactMatch",
        temperature=0,
        max_tokens=8,
        served_model=SERVED_MODEL,
        serving=serving,
        target=target,
        concurrency=16,
        ready_timeout_seconds=240,
    )


def probe(eval_set: DataFile, url: str, questions: int) -> Probed:
    """Run the prober until it has asked so many questions."""
    job = ProbeInput(
        namespace="jobs",
        name=SERVED_MODEL,
        source=eval_set,
        items_per_hour=36_000,
        scorer="ExactMatch",
        temperature=0,
        max_tokens=8,
        targets=arms(url),
    )
    with socket.socket() as free:
        free.bind(("", 0))
        port = free.getsockname()[1]
    variables = environment(
        PYTHONPATH=os.pathsep.join([str(ROOT / "operator"), str(ROOT / "jobs")]),
        QUANTROLL_PROBE_PORT=str(port),
        **{PROBE_VARIABLE: json.dumps(job.to_wire())},
    )
    with subprocess.Popen([sys.executable, "-m", "quantroll_jobs.probe"], env=variables) as process:
        try:
            deadline = time.monotonic() + 240
            while True:
                assert process.poll() is None
                assert time.monotonic() < deadline
                probed = _read(f"http://127.0.0.1:{port}/metrics")
                if probed is not None and probed.pairs >= questions:
                    return probed
                time.sleep(0.5)
        finally:
            process.kill()


def _read(url: str) -> Probed | None:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            text = response.read().decode()
    except urllib.error.URLError:
        return None  # it has not begun yet
    counts: dict[tuple[str, str, str], int] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if sample.name.endswith("_total") and sample.value:
                end = next(sample.labels[name] for name in ("outcome", "status", "cell") if name in sample.labels)
                place = (family.name, sample.labels["revision"], end)
                counts[place] = counts.get(place, 0) + int(sample.value)
    pairs = sum(count for (name, _, _), count in counts.items() if name == "quantroll_probe_pairs")
    return Probed(counts, pairs)
