"""Everything that a Prometheus may answer, by a server on loopback: a clean count, or Unknown with its cause."""

import asyncio
import json
import socket
import ssl
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cluster.pki import PKI
from quantroll.adapters.metrics import NoMetrics, PrometheusMetrics, metrics_from
from quantroll.adapters.prometheus import BYTES_LIMIT, SERIES_LIMIT, Prometheus
from quantroll.api.queries import CountQuery
from quantroll.controller.queue import WorkQueue
from quantroll.domain.snapshot import QualityCounts, RequestCounts, Unknown
from quantroll.settings import Settings
from unit.adapters.prometheus_server import (
    AMPLE,
    JSON,
    NOW,
    breaks_off,
    document,
    drips,
    floods,
    hangs,
    serving,
    speaks_nonsense,
)

ITEMS = [
    ({"part": "counted", "revision": "r1", "outcome": "pass"}, "90.4"),
    ({"part": "counted", "revision": "r1", "outcome": "fail"}, "10.2"),
    ({"part": "counted", "revision": "r1", "outcome": "error"}, "3"),
    ({"part": "distinct"}, "50"),
    ({"part": "interval"}, "60"),
    ({"part": "last", "revision": "r1"}, str(NOW - 30)),
]
COMPLETIONS = {"revision": "r1", "handler": "/v1/completions"}
REQUESTS = [
    ({"part": "now", **COMPLETIONS, "status": "2xx"}, "1000"),
    ({"part": "counted", **COMPLETIONS, "status": "2xx"}, "100.9"),
    ({"part": "counted", **COMPLETIONS, "status": "5xx"}, "6.6"),
    ({"part": "counted", "revision": "r1", "status": "2xx"}, "20.7"),
    ({"part": "counted", "revision": "r1", "status": "5xx"}, "1"),
]

UP = CountQuery(
    passed='sum(increase(f_total{ns=$namespace,m=$name,r=$revision,u="1"}[$window])) # those with thumbs',
    total="sum(increase(f_total{ns = $namespace, m=$name, r=$revision}[$window:1m]))",
)
COUNTS = [({"part": "passed"}, "90.4"), ({"part": "total"}, "101.9")]


@pytest.fixture
def server():
    with serving() as script:
        yield script


def asked(url, question, *, timeout=AMPLE, **options):
    """What the adapter says to one question."""

    async def run():
        metrics = PrometheusMetrics(Prometheus(url, timeout=timeout, **options), timeout, {"up": UP})
        named = ("up",) if question == "counted" else ()
        try:
            return await getattr(metrics, question)(*named, "team-a", "chat", "r1", 600)
        finally:
            metrics.close()

    return asyncio.run(run())


def test_requests_of_users_are_those_of_the_engine_without_the_probers(server):
    server.vector(*REQUESTS)
    assert asked(server.url, "requests") == RequestCounts(total=107 - 21, failed=6 - 1)


def test_answers_are_counted_by_outcome_and_errors_are_neither(server):
    server.vector(*ITEMS)
    assert asked(server.url, "quality") == QualityCounts(right=90, wrong=10, distinct=50)


def test_a_question_is_one_query_for_one_moment_and_names_what_it_is_about(server):
    server.vector(*ITEMS)
    asked(server.url, "quality")
    asked(server.url, "requests")
    assert len(server.asked) == 2
    for question in server.asked:
        assert 'namespace="team-a",name="chat"' in question["query"]
        assert 'revision="r1"' in question["query"]
        assert "[600s]" in question["query"]
        assert "time" not in question, "the server's own clock decides"
        assert question["timeout"] == "20s"
        assert question["limit"] == str(SERIES_LIMIT + 1)


PAGE = (200, "text/html; charset=utf-8", "<!doctype html><title>Log in</title>")
TOO_MANY = [({"part": "counted", "revision": "r1", "status": str(n)}, "1") for n in range(SERIES_LIMIT + 1)]
REFUSAL = json.dumps({"status": "error", "errorType": "execution", "error": "query processing\nwould load too much"})


@pytest.mark.parametrize(
    ("answer", "cause"),
    [
        (PAGE, "its answer is text/html and not JSON"),
        ((200, JSON, ""), "not JSON"),
        ((200, JSON, "[" * 100_000), "not JSON"),
        ((200, JSON, "[]"), "not JSON: is it a Prometheus?"),
        ((200, JSON, "{}"), "not what Prometheus answers (status)"),
        ((200, JSON, '{"status": "error"}'), "not what Prometheus answers (status)"),
        ((200, JSON, json.dumps(document("no list"))), "not what Prometheus answers (data.result)"),
        ((200, JSON, json.dumps(document([{"metric": {}}]))), "not what Prometheus answers (data.result.0.value)"),
        (
            (200, JSON, '{"status": "success", "data": {"resultType": "scalar", "result": [1, "2"]}}'),
            "not what Prometheus answers (data.resultType)",
        ),
        ((200, JSON, json.dumps(document([], warnings=["store-1 is\naway"]))), "incomplete: store-1 is away"),
        ((301, JSON, ""), "HTTP 301: it sends us elsewhere; is there a login in front of it?"),
        ((302, "text/html", ""), "HTTP 302: it sends us elsewhere"),
        ((400, JSON, REFUSAL), "HTTP 400: query processing would load too much"),
        ((401, "text/plain", "Unauthorized"), "HTTP 401: it wants a bearer token, or another one"),
        ((403, "text/html", "<html>"), "HTTP 403: it wants a bearer token, or another one"),
        ((404, "text/plain", "404 page not found"), "HTTP 404"),
        ((422, JSON, REFUSAL), "HTTP 422: query processing would load too much"),
        ((429, "text/plain", "slow down"), "HTTP 429"),
        ((500, "text/html", "<html>" + "x" * 9999), "HTTP 500"),
        ((503, JSON, REFUSAL), "HTTP 503: query processing would load too much"),
        (breaks_off, "the question could not be asked"),
        (speaks_nonsense, "the question could not be asked"),
        (floods, f"its answer is longer than {BYTES_LIMIT // 2**20} MiB"),
    ],
)
def test_what_is_no_answer_is_unknown_and_says_why(server, answer, cause):
    server.says(answer)
    for question in ("requests", "quality", "counted"):
        said = asked(server.url, question)
        assert isinstance(said, Unknown)
        assert said.cause.startswith(f"Prometheus at {server.url}: ")
        assert cause in said.cause
        assert said.cause.isprintable()
        assert len(said.cause) < 300
        assert said == asked(server.url, question), "the same words every time: they are kept in a status"


def test_too_many_series(server):
    server.vector(*TOO_MANY)
    assert f"more than {SERIES_LIMIT} series" in asked(server.url, "requests").cause


def test_nobody_there():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        assert asked(url, "requests") == Unknown(f"Prometheus at {url}: Connection refused")


def test_a_host_name_that_does_not_exist(monkeypatch):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert asked("http://nowhere.test", "quality").cause.endswith("http://nowhere.test: its host name is not known")


@pytest.mark.parametrize("slow", [hangs, drips])
def test_an_answer_that_takes_too_long(server, slow):
    server.says(slow)
    began = time.monotonic()
    said = asked(server.url, "requests", timeout=0.5)
    assert time.monotonic() - began < 3
    assert "no answer within 0.5 s" in said.cause


def test_hanging_questions_do_not_hold_up_other_work(server):
    """Host names are looked up in asyncio's own threads, of which there are few."""
    server.says(hangs)

    async def run():
        metrics = PrometheusMetrics(Prometheus(server.url, timeout=4), 4)
        waiting = [asyncio.create_task(metrics.quality("team-a", "chat", "r1", 600)) for _ in range(40)]
        await asyncio.sleep(0)
        await asyncio.gather(*(asyncio.to_thread(int) for _ in range(40)))
        assert not any(question.done() for question in waiting)
        assert all(isinstance(said, Unknown) for said in await asyncio.gather(*waiting))
        metrics.close()

    asyncio.run(run())


def test_while_it_hangs_one_question_at_a_time_waits_and_then_all_are_asked_again(server):
    """A pass that waits keeps a worker from other resources."""
    server.says(hangs)

    async def run():
        prometheus = Prometheus(server.url, timeout=2)
        metrics = PrometheusMetrics(prometheus, 2)

        async def ask():
            return await metrics.quality("team-a", "chat", "r1", 600)

        try:
            assert "no answer within" in (await ask()).cause
            assert len(server.asked) == 1
            said = await asyncio.gather(*(ask() for _ in range(30)))
            assert len({one.cause for one in said}) <= 2
            assert len(server.asked) == 2, "29 of them were not asked at all"
            server.vector(*ITEMS)
            prometheus._timeout = metrics._timeout = AMPLE  # what answers, answers however busy the machine is
            assert isinstance(await ask(), QualityCounts)
            assert all(isinstance(one, QualityCounts) for one in await asyncio.gather(*(ask() for _ in range(5))))
        finally:
            metrics.close()

    asyncio.run(run())


def test_one_that_fails_at_once_is_asked_every_time(server):
    server.says((400, JSON, REFUSAL))

    async def run():
        metrics = PrometheusMetrics(Prometheus(server.url, timeout=AMPLE), AMPLE)
        await asyncio.gather(*(metrics.quality("team-a", "chat", "r1", 600) for _ in range(6)))
        metrics.close()

    asyncio.run(run())
    assert len(server.asked) == 6


def test_while_prometheus_hangs_the_queues_other_keys_keep_their_pace(server):
    """Eight models are due for a drift check and wait; one that needs no Prometheus is looked at again and again."""
    server.says(hangs)

    async def run():
        metrics, passes = PrometheusMetrics(Prometheus(server.url, timeout=4), 4), 0
        answers, done = [], asyncio.Event()

        async def look(key):
            nonlocal passes
            if key[1] != "other":
                answers.append(await metrics.quality("team-a", key[1], "r1", 600))
                return 0.01
            passes += len(server.asked) > 4  # the first ones have come back empty-handed
            if passes >= 50:
                done.set()
            return 0.001

        queue = WorkQueue(look, workers=4, resync=300)
        for n in range(8):
            queue.add(("team-a", f"m{n}"))
        queue.add(("team-a", "other"))
        work = asyncio.create_task(queue.run())
        await asyncio.wait_for(done.wait(), 20)
        asked = len(server.asked)
        work.cancel()
        metrics.close()
        return asked, answers

    asked, answers = asyncio.run(run())
    assert asked == 5, "50 passes of the other in the time of one question"
    assert all(isinstance(said, Unknown) for said in answers)


def test_a_server_that_is_briefly_unwell_is_asked_once_more(server):
    server.says((503, "text/plain", "starting"), (200, JSON, json.dumps(document([]))))
    asked(server.url, "requests")
    assert len(server.asked) == 2
    server.says((503, "text/plain", "down"))
    asked(server.url, "requests")
    assert len(server.asked) == 4, "and not for ever"


def changed(series, part, value, **labels):
    """The same answer with one part's first series changed; without a value, it is not there."""
    at = next(number for number, (found, _) in enumerate(series) if found["part"] == part)
    new = [] if value is None else [({**series[at][0], **labels}, value)]
    return [*series[:at], *new, *series[at + 1 :]]


@pytest.mark.parametrize(
    ("series", "cause"),
    [
        ([], "no recent word of the prober about revision r1: is it running, and is it scraped?"),
        (changed(ITEMS, "last", None), "no recent word of the prober"),
        (changed(ITEMS, "last", "0"), "stale: the prober has had no answer from revision r1 yet"),
        (
            changed(ITEMS, "last", str(NOW - 601)),
            "had its latest answer from revision r1 at 2025-10-09",
        ),
        (changed(ITEMS, "last", str(NOW + 3600)), "the prober's clock is ahead of Prometheus'"),
        (changed(ITEMS, "last", str(NOW), revision="r2"), "mixes other revisions"),
        (changed(ITEMS, "counted", "1", revision="r2"), "mixes other revisions into its answer about revision r1"),
        (ITEMS[3:], "no counted answers of revision r1 in Prometheus"),
        (changed(ITEMS, "counted", "NaN"), "Prometheus has 'NaN' where a count belongs"),
        (changed(ITEMS, "counted", "+Inf"), "'+Inf'"),
        (changed(ITEMS, "counted", "-1"), "'-1'"),
        (changed(ITEMS, "counted", "many"), "'many'"),
        (changed(ITEMS, "distinct", "NaN"), "'NaN'"),
        (changed(ITEMS, "distinct", None), "no series where quantroll_probe_source_items should be one"),
        (
            [*ITEMS, ({"part": "distinct", "pod": "b"}, "60")],
            "several series disagree where quantroll_probe_source",
        ),
        ([*ITEMS, ({"part": "interval", "pod": "b"}, "1")], "several series disagree where quantroll_probe_interval"),
        (changed(ITEMS, "interval", None), "no series where quantroll_probe_interval_seconds"),
        ([({"__name__": "up"}, "1")], "another question than was asked"),
    ],
)
def test_counts_of_answers_that_are_not_clean(server, series, cause):
    server.vector(*series)
    said = asked(server.url, "quality")
    assert isinstance(said, Unknown), said
    assert cause in said.cause


@pytest.mark.parametrize(
    ("series", "cause"),
    [
        ([], "no recent counts of requests to revision r1: are its pods scraped, with their labels?"),
        (REQUESTS[1:], "no recent counts of requests"),
        ([REQUESTS[0], *REQUESTS[3:]], "Prometheus has not looked at revision r1 in the last 600 s"),
        (changed(REQUESTS, "counted", "NaN"), "'NaN'"),
        ([*REQUESTS[:3], *changed(REQUESTS[3:], "counted", "NaN")], "'NaN'"),
        (changed(REQUESTS, "counted", "-3"), "'-3'"),
        (changed(REQUESTS, "counted", "5", revision="r2"), "mixes other revisions"),
    ],
)
def test_counts_of_requests_that_are_not_clean(server, series, cause):
    server.vector(*series)
    said = asked(server.url, "requests")
    assert isinstance(said, Unknown), said
    assert cause in said.cause


@pytest.mark.parametrize(
    ("series", "counts"),
    [
        (REQUESTS[:2], RequestCounts(100, 0)),  # no error yet, and no prober
        ([*REQUESTS[:2], ({"part": "counted", "revision": "r1", "status": "2xx"}, "300")], RequestCounts(0, 0)),
        ([*REQUESTS[:3], ({"part": "counted", "revision": "r1", "status": "5xx"}, "9")], RequestCounts(98, 0)),
        (changed(REQUESTS[:2], "counted", "2.9999999999"), RequestCounts(3, 0)),
    ],
)
def test_requests_are_never_below_zero_and_lose_nothing_to_rounding(server, series, counts):
    server.vector(*series)
    assert asked(server.url, "requests") == counts


def test_a_query_of_the_admins_counts_by_revision_in_one_question(server):
    server.vector(*COUNTS)
    assert asked(server.url, "counted") == QualityCounts(right=90, wrong=11, distinct=None)
    (question,) = server.asked
    assert 'ns="team-a",m="chat",r="r1",u="1"}[600s])) # those with thumbs\n)' in question["query"]
    assert 'ns = "team-a", m="chat", r="r1"}[600s:1m]))\n)' in question["query"]


@pytest.mark.parametrize(
    ("series", "cause"),
    [
        ([], "passed of query up has no series, for revision r1"),
        (COUNTS[1:], "passed of query up has no series"),
        (COUNTS[:1], "total of query up has no series"),
        (
            [*COUNTS, ({"part": "total", "pod": "b"}, "101.9")],
            "total of query up has 2 series, and has to be summed up",
        ),
        (changed(COUNTS, "passed", "NaN"), "'NaN'"),
        (changed(COUNTS, "total", "+Inf"), "'+Inf'"),
        (changed(COUNTS, "total", "-1"), "'-1'"),
        (changed(COUNTS, "passed", "103"), "query up counts 103 that passed of 101"),
        (changed(COUNTS, "total", "101", revision="r2"), "mixes other revisions"),
        ([({}, "5")], "another question than was asked"),
    ],
)
def test_counts_of_a_query_that_are_not_clean(server, series, cause):
    server.vector(*series)
    said = asked(server.url, "counted")
    assert isinstance(said, Unknown), said
    assert cause in said.cause


def test_a_share_is_too_few_answers(server):
    server.vector(({"part": "passed"}, "0.93"), ({"part": "total"}, "1"))
    assert asked(server.url, "counted").answers == 1


def test_a_query_that_the_admin_has_not_defined(server):
    metrics = PrometheusMetrics(Prometheus(server.url), 1)
    said = asyncio.run(metrics.counted("up", "team-a", "chat", "r1", 600))
    assert said == Unknown("the chart's values have no query up in prometheus.queries")
    assert asyncio.run(NoMetrics().counted("up", "team-a", "chat", "r1", 600)).cause.startswith("no Prometheus")
    metrics.close()


def test_a_prober_that_asks_rarely_is_stale_after_five_gaps(server):
    rare = changed(ITEMS, "interval", "3600")
    server.vector(*changed(rare, "last", str(NOW - 5 * 3600 + 1)))
    assert asked(server.url, "quality").distinct == 50
    server.vector(*changed(rare, "last", str(NOW - 5 * 3600 - 1)))
    assert "stale" in asked(server.url, "quality").cause


def test_a_prober_and_its_successor_that_agree(server):
    server.vector(*ITEMS, ({"part": "distinct", "pod": "b"}, "50"), ({"part": "last", "revision": "r1"}, "5"))
    assert asked(server.url, "quality").distinct == 50


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
numbers = st.sampled_from(["1", "NaN", "-Inf", "1e999", "-0", "", "0x10", "9" * 400]) | st.text(max_size=5)
parts = st.sampled_from(["now", "counted", "distinct", "interval", "last", "passed", "total", "?"])
labels = {**COMPLETIONS, "status": "5xx", "outcome": "pass"}
metric = st.fixed_dictionaries({"part": parts}, optional={label: st.just(value) for label, value in labels.items()})
pair = st.tuples(st.floats() | st.integers() | st.just(NOW), numbers)
vectors = st.lists(st.fixed_dictionaries({"metric": metric | values, "value": pair | values}), max_size=6)


@pytest.fixture
def asking(server):
    """Asks each kind of question, over and over by one client: what it says."""
    metrics = PrometheusMetrics(Prometheus(server.url, timeout=AMPLE), AMPLE, {"up": UP})
    about = "team-a", "chat", "r1", 600

    async def every():
        return [await metrics.requests(*about), await metrics.quality(*about), await metrics.counted("up", *about)]

    with asyncio.Runner() as runner:
        yield lambda: runner.run(every())
    metrics.close()


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=(vectors | values).map(lambda result: json.dumps(document(result))) | values.map(json.dumps) | st.text())
def test_no_answer_makes_it_raise(server, asking, body):
    server.says((200, JSON, body.encode(errors="replace").decode()))
    assert all(isinstance(said, Unknown | RequestCounts | QualityCounts) for said in asking())


@pytest.mark.parametrize("hostile", ['a"} or vector(1) #', "back\\slash", 'end\\"', "two\nlines", "\ud800", "ä" * 300])
def test_a_hostile_name_stays_a_value(server, hostile):
    server.vector()

    async def run():
        metrics = PrometheusMetrics(Prometheus(server.url, timeout=AMPLE), AMPLE, {"up": UP})
        said = [await metrics.requests(hostile, hostile, hostile, 60), await metrics.quality(hostile, "n", "r", 0)]
        said.append(await metrics.counted("up", hostile, hostile, hostile, 60))
        metrics.close()
        return said

    assert all(isinstance(said, Unknown) for said in asyncio.run(run()))


def test_the_token_is_read_for_every_question(server, tmp_path):
    token = tmp_path / "token"
    server.vector(*ITEMS)

    async def run():
        metrics = PrometheusMetrics(Prometheus(server.url, token_file=str(token), timeout=AMPLE), AMPLE)
        said = []
        for text in ("first\n", "second", "two words", "", None):
            token.unlink() if text is None else token.write_text(text)
            said.append(await metrics.quality("team-a", "chat", "r1", 600))
        metrics.close()
        return said

    *good, spaced, empty, gone = asyncio.run(run())
    assert all(isinstance(said, QualityCounts) for said in good)
    assert [headers["Authorization"] for headers in server.headers] == ["Bearer first", "Bearer second"]
    assert spaced.cause == empty.cause == f"Prometheus at {server.url}: there is no bearer token in {token}"
    assert gone.cause.endswith(f"the bearer token in {token} cannot be read")


def test_what_the_environment_says_about_proxies_and_passwords_is_not_followed(server, monkeypatch, tmp_path):
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    server.vector(*ITEMS)
    assert isinstance(asked(server.url, "quality"), QualityCounts)
    assert "Authorization" not in server.headers[0]


@pytest.fixture
def authority(tmp_path):
    return PKI(tmp_path / "pki")


def test_a_private_authority_is_trusted_by_its_file_alone(authority, tmp_path):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(*authority.leaf("prometheus", "prometheus", ips=["127.0.0.1"]))
    with serving(tls) as server:
        server.vector(*ITEMS)
        assert isinstance(asked(server.url, "quality", ca_file=str(authority.ca_crt)), QualityCounts)
        assert "no trusted connection: " in asked(server.url, "quality").cause
        gone = str(tmp_path / "gone.crt")
        assert asked(server.url, "quality", ca_file=gone).cause.endswith(f"the CA file {gone} is not there")
        (tmp_path / "odd.crt").write_text("no certificate")
        assert "no trusted connection" in asked(server.url, "quality", ca_file=str(tmp_path / "odd.crt")).cause


BASE = {"images": {"client": "c:1", "quantize": "q:1"}, "engines": {"vllm": {"image": "v:1"}}}


def test_without_a_prometheus_nothing_is_known_and_it_is_said_what_to_set():
    metrics = metrics_from(Settings.model_validate(BASE))
    assert isinstance(metrics, NoMetrics)
    for question in (metrics.requests, metrics.quality):
        assert asyncio.run(question("team-a", "chat", "r1", 600)).cause == (
            "no Prometheus is configured: set prometheus.url in the chart's values"
        )
    metrics.close()


def test_the_admins_prometheus_is_asked_with_the_admins_token(server, tmp_path):
    (tmp_path / "token").write_text("secret")
    server.vector(*ITEMS)
    ours = {"url": f"{server.url}/", "bearerTokenFile": str(tmp_path / "token"), "timeoutSeconds": 3}
    metrics = metrics_from(Settings.model_validate(BASE | {"prometheus": ours}))
    assert isinstance(asyncio.run(metrics.quality("team-a", "chat", "r1", 600)), QualityCounts)
    metrics.close()
    assert server.headers[0]["Authorization"] == "Bearer secret"
    assert server.asked[0]["timeout"] == "3s"
