"""Pairs and latencies from whatever a Prometheus may answer: clean counts, or Unknown with the cause."""

import asyncio
import json
import math

import pytest

from quantroll.adapters import promql
from quantroll.adapters.metrics import NoMetrics, PrometheusMetrics
from quantroll.adapters.prometheus import Prometheus
from quantroll.domain.snapshot import Histogram, PairCounts, Unknown
from unit.adapters.prometheus_server import AMPLE, JSON, NOW, document, serving

PAIRS = [
    *(
        ({"part": "counted", "revision": "r2", "cell": cell}, count)
        for cell, count in (("both", "90.4"), ("harm", "5.2"), ("gain", "2"), ("neither", "3"))
    ),
    ({"part": "distinct"}, "50"),
    ({"part": "interval"}, "4"),
    ({"part": "last", "revision": "r2"}, str(NOW - 30)),
    ({"part": "other"}, str(NOW - 30)),
]
BUCKETS = [
    ({"part": "counted", "revision": "r2", "le": "+Inf"}, "12"),
    ({"part": "counted", "revision": "r2", "le": "0.5"}, "10.6"),
    ({"part": "counted", "revision": "r2", "le": "1e-3"}, "3"),
    ({"part": "now", "revision": "r2"}, "3"),
]


@pytest.fixture
def server():
    with serving() as script:
        yield script


def asked(server, question, **more):
    async def run():
        metrics = PrometheusMetrics(Prometheus(server.url, timeout=AMPLE), AMPLE)
        try:
            if question == "pairs":
                return await metrics.pairs("team-a", "chat", "r2", "r1", 600, more.get("ago", 0))
            return await metrics.latency(question, "team-a", "chat", "r2", 600)
        finally:
            metrics.close()

    return asyncio.run(run())


def without(series, part):
    return [(labels, value) for labels, value in series if labels["part"] != part]


def test_pairs_are_the_four_cells(server):
    server.vector(*PAIRS)
    assert asked(server, "pairs") == PairCounts(both=90, harm=5, gain=2, neither=3, distinct=50)
    query = server.asked[0]["query"]
    assert 'quantroll_probe_pairs_total{namespace="team-a",name="chat",revision="r2",reference="r1"}[600s]' in query
    assert "[600s] offset" not in query
    assert 'answer_timestamp_seconds{namespace="team-a",name="chat",revision="r1"}' in query


def test_pairs_up_to_a_moment_are_asked_of_the_window_that_ends_there(server):
    server.vector(*PAIRS)
    asked(server, "pairs", ago=90)
    query = server.asked[0]["query"]
    assert query.count("[600s] offset 90s") == query.count("[600s]")
    assert "[1d] offset 690s" in query, "what was there before the window began is no birth in it"


def test_cells_that_nothing_fell_into_are_zero(server):
    server.vector(*without(PAIRS, "counted"))
    assert asked(server, "pairs") == PairCounts(0, 0, 0, 0, distinct=50)


@pytest.mark.parametrize(
    ("series", "cause"),
    [
        ([], "no recent word of the prober about revision r2"),
        (without(PAIRS, "last"), "no recent word of the prober"),
        ([*without(PAIRS, "last"), ({"part": "last", "revision": "r2"}, str(NOW - 601))], "stale: the prober had"),
        ([*without(PAIRS, "last"), ({"part": "last", "revision": "r2"}, "0")], "has had no answer from revision r2"),
        (without(PAIRS, "other"), "no recent word of the prober about revision r1"),
        ([*without(PAIRS, "other"), ({"part": "other"}, str(NOW - 601))], "latest answer from revision r1 at"),
        ([*PAIRS, ({"part": "counted", "revision": "r3", "cell": "harm"}, "1")], "mixes other revisions"),
        ([*PAIRS, ({"part": "counted", "revision": "r2", "cell": "harm"}, "NaN")], "'NaN' where a count belongs"),
        (without(PAIRS, "distinct"), "no series where quantroll_probe_source_items"),
        (without(PAIRS, "interval"), "no series where quantroll_probe_interval_seconds"),
    ],
)
def test_pairs_that_are_not_clean(server, series, cause):
    server.vector(*series)
    said = asked(server, "pairs")
    assert isinstance(said, Unknown), said
    assert cause in said.cause


@pytest.mark.parametrize(
    ("metric", "name"),
    [("ttft-p99", "vllm:time_to_first_token_seconds"), ("itl-p99", "vllm:inter_token_latency_seconds")],
)
def test_a_histogram_has_its_bounds_in_order(server, metric, name):
    server.vector(*BUCKETS)
    assert asked(server, metric) == Histogram((0.001, 0.5, math.inf), (3, 10, 12))
    assert f'{name}_bucket{{namespace="team-a",name="chat",revision="r2"}}[600s]' in server.asked[0]["query"]


@pytest.mark.parametrize(
    ("series", "cause"),
    [
        ([], "no recent latencies of revision r2: are its pods scraped, and is its engine vLLM?"),
        (BUCKETS[:3], "no recent latencies"),
        (BUCKETS[3:], "no whole histogram of revision r2"),
        (BUCKETS[1:], "no whole histogram"),
        ([*BUCKETS, ({"part": "counted", "revision": "r2", "le": "soon"}, "1")], "ends at 'soon', which is no number"),
        ([*BUCKETS, ({"part": "counted", "revision": "r2", "le": "NaN"}, "1")], "which is no number"),
        ([*BUCKETS, ({"part": "counted", "revision": "r2"}, "1")], "which is no number"),
        ([*BUCKETS, ({"part": "counted", "revision": "r3", "le": "1"}, "1")], "mixes other revisions"),
        ([*BUCKETS[1:], ({"part": "counted", "revision": "r2", "le": "+Inf"}, "NaN")], "'NaN'"),
    ],
)
def test_a_histogram_that_is_not_clean(server, series, cause):
    server.vector(*series)
    said = asked(server, "ttft-p99")
    assert isinstance(said, Unknown), said
    assert cause in said.cause


@pytest.mark.parametrize("body", [json.dumps(document("none")), "<html>", "", json.dumps(document([], warnings=["w"]))])
def test_no_answer_is_unknown(server, body):
    server.says((200, JSON, body))
    for question in ("pairs", "ttft-p99", "itl-p99"):
        assert isinstance(asked(server, question), Unknown)


def test_questions_stay_short_enough_for_a_url():
    """Proxies limit a URL to 8 KiB or so; names are as long as they may be."""
    names = ("n" * 63, "m" * 40, "r" * 10, "s" * 10)
    for query in (
        promql.pairs_query(*names, 999_999, 999_999),
        promql.latency_query("vllm:time_to_first_token_seconds", *names[:3], 999_999),
    ):
        assert len(query) < 5000


def test_without_a_prometheus_it_is_said_what_to_set():
    metrics = NoMetrics()
    for asking in (metrics.pairs("a", "b", "r2", "r1", 60, 0), metrics.latency("ttft-p99", "a", "b", "r2", 60)):
        assert "set prometheus.url" in asyncio.run(asking).cause
