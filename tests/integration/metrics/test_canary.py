"""Pairs and latencies from a real Prometheus that scrapes a prober and two engines."""

import asyncio
import math
import time
from contextlib import ExitStack

import pytest
from prometheus_client import Counter
from prometheus_client import Histogram as Timer

from integration.metrics.test_prometheus import NAME, World, counted, engine, prober, unknown
from quantroll.api import metrics
from quantroll.domain.snapshot import Histogram, PairCounts

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

CELLS = ("both", "harm", "gain", "neither")
BOUNDS = (0.1, 0.5, math.inf)


def timed_engine(registry):
    """As vLLM's page, with two engine cores in one pod."""
    found = Timer(metrics.TTFT, "", ["model_name", "engine"], buckets=BOUNDS[:2], registry=registry)
    for core in "01":
        found.labels("tiny", core)
    found.labels("tiny", "0").observe(9)  # the completion that proves the pod
    return {**engine(registry), metrics.TTFT: found}


def paired_prober(registry):
    labels = ["namespace", "name", "revision", "reference", "slice", "cell"]
    pairs = Counter(metrics.PROBE_PAIRS, "", labels, registry=registry)
    for cell in CELLS:
        pairs.labels("team-a", NAME, "r2", "r1", "", cell)
    return {**prober(registry), metrics.PROBE_PAIRS: pairs}


class Canary(World):
    engine_page, prober_page = staticmethod(timed_engine), staticmethod(paired_prober)

    def took(self, seconds, count, core="0", revision="r2"):
        for _ in range(count):
            self.engines[revision][metrics.TTFT].labels("tiny", core).observe(seconds)

    def paired(self, part="", **cells):
        for cell, count in cells.items():
            self.prober[metrics.PROBE_PAIRS].labels("team-a", NAME, "r2", "r1", part, cell).inc(count)
        for revision in ("r1", "r2"):
            self.prober[metrics.LAST_ANSWER].labels("team-a", NAME, revision).set(time.time())

    def said(self, question, revision, ago=0):
        given = ("team-a", NAME, revision)
        if question == "pairs":
            return asyncio.run(self.metrics.pairs(*given, "r1", 600, ago))
        return asyncio.run(self.metrics.latency("ttft-p99", *given, 600))


@pytest.fixture
def world(tmp_path):
    with ExitStack() as stack:
        yield Canary(tmp_path, stack)


def test_pairs_of_a_real_prometheus(world):
    world.comes_to_say("pairs", "r2", unknown("no recent word of the prober about revision r2"))
    world.paired()
    world.comes_to_say("pairs", "r2", PairCounts(0, 0, 0, 0, distinct=40))
    world.paired(both=30, harm=2, gain=1, neither=4)
    world.paired("edge", both=5)  # a series that is born with what it counts
    first = PairCounts(35, 2, 1, 4, distinct=40)
    world.comes_to_say("pairs", "r2", first)
    looked = time.monotonic()
    time.sleep(2)
    world.paired(harm=50)
    world.comes_to_say("pairs", "r2", PairCounts(35, 52, 1, 4, distinct=40))
    ago = int(time.monotonic() - looked)
    assert world.said("pairs", "r2", ago) == first, "what had been answered at the moment of the look"
    assert world.said("pairs", "r1") == PairCounts(0, 0, 0, 0, distinct=40), "there are none of it with itself"
    world.prober[metrics.LAST_ANSWER].labels("team-a", NAME, "r1").set(time.time() - 3600)
    world.comes_to_say("pairs", "r2", unknown("latest answer from revision r1 at"))


def test_latencies_of_a_real_prometheus(world):
    none = Histogram(BOUNDS, (0, 0, 0))
    world.comes_to_say("latency", "r1", none)
    world.comes_to_say("latency", "r2", none)
    world.took(0.05, 90)
    world.took(0.3, 8, core="1")
    world.took(7, 2)
    world.comes_to_say("latency", "r2", Histogram(BOUNDS, (90, 98, 100)))
    assert world.said("latency", "r1") == none
    world.engines["r2"].restart()
    world.took(0.05, 50)
    world.comes_to_say("latency", "r2", counted(lambda said: 140 <= said.counts[0] <= 190 and said.counts[2] >= 150))
    assert "no recent latencies of revision r3" in world.said("latency", "r3").cause
