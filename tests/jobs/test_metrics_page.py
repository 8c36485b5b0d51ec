"""The page of metrics of the real engine: what the one that plays in tests of the node has, is there."""

import time
import urllib.request

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.jobs import SERVED_MODEL
from e2e.engine.engine import Figures

pytestmark = [pytest.mark.jobs, pytest.mark.timeout(600)]


def series(page):
    """Each series without its value: name, labels without values, and the bound of a bucket."""
    return {
        (sample.name, frozenset(sample.labels), sample.labels.get("le", ""))
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def kinds(page):
    return {family.name: family.type for family in text_string_to_metric_families(page)}


@pytest.fixture
def page(baseline_engine):
    """After a completion."""
    deadline = time.monotonic() + 300
    with httpx.Client(base_url=baseline_engine.url, timeout=60, trust_env=False) as client:
        while time.monotonic() < deadline:
            assert baseline_engine.process.poll() is None
            try:
                reply = client.post("/v1/completions", json={"model": SERVED_MODEL, "prompt": "Q:1+1", "max_tokens": 3})
            except httpx.TransportError:
                time.sleep(0.5)
                continue
            assert reply.status_code == 200
            break
    with urllib.request.urlopen(f"{baseline_engine.url}/metrics", timeout=10) as response:
        return response.read().decode()


def test_the_engine_that_plays_counts_as_vllm_does(page):
    played = Figures(SERVED_MODEL)
    played.finished("stop", 5, 3, 0.01, [0.01, 0.01])
    played.responded("/v1/completions", "POST", 200)
    assert series(played.page()) - series(page) == set()
    ours, theirs = kinds(played.page()), kinds(page)
    assert ours == {name: theirs[name] for name in ours}
