"""The adapter against a real Prometheus that scrapes small real exporters: an engine of each revision and a prober."""

import asyncio
import json
import socket
import threading
import time
from contextlib import ExitStack, suppress
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, make_wsgi_app

from cluster.binaries import Binaries
from cluster.procs import State, wait_for
from quantroll.adapters import promql
from quantroll.adapters.metrics import PrometheusMetrics
from quantroll.adapters.prometheus import Prometheus
from quantroll.api import metrics
from quantroll.api.queries import CountQuery
from quantroll.domain.snapshot import QualityCounts, RequestCounts, Unknown

pytestmark = [pytest.mark.integration, pytest.mark.timeout(60)]

NAME = 'back\\slash and "quotes"'
WINDOW = 3600
# counts of the admin's own: here, of the prober's page
OF = "quantroll_eval_items_total{namespace=$namespace, name=$name, revision=$revision"
THUMBS = CountQuery(
    passed=f'sum(max by (outcome) (max_over_time({OF}, outcome="pass"}}[$window]))) # those that are right',
    total=f'sum(max by (outcome) (max_over_time({OF}, outcome=~"pass|fail"}}[$window])))',
)


class Quiet(WSGIRequestHandler):
    def log_message(self, *_):
        pass


class Exporter:
    """A metrics page whose counters can begin anew, as those of a process that was started again."""

    def __init__(self, declare):
        self._declare = declare
        self.restart()
        self._server = make_server("127.0.0.1", 0, self._page, WSGIServer, Quiet)
        self.target = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def _page(self, environ, start_response):
        return make_wsgi_app(self._registry)(environ, start_response)

    def restart(self):
        registry = CollectorRegistry()
        self._metrics = self._declare(registry)
        self._registry = registry

    def __getitem__(self, name):
        return self._metrics[name]

    def close(self):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def engine(registry):
    """As vLLM's page: a status has no series before it occurs, but for the completion that proves the pod."""
    found = Counter("http_requests", "", ["handler", "method", "status"], registry=registry)
    found.labels("/v1/completions", "POST", "2xx").inc()
    return {metrics.ENGINE_REQUESTS: found}


def prober(registry):
    model, answer = ["namespace", "name"], ["namespace", "name", "revision"]
    made = {
        metrics.EVAL_ITEMS: Counter(metrics.EVAL_ITEMS, "", [*answer, "slice", "source", "outcome"], registry=registry),
        metrics.PROBE_REQUESTS: Counter(metrics.PROBE_REQUESTS, "", [*answer, "status"], registry=registry),
        metrics.SOURCE_ITEMS: Gauge(metrics.SOURCE_ITEMS, "", model, registry=registry),
        metrics.INTERVAL: Gauge(metrics.INTERVAL, "", model, registry=registry),
        metrics.LAST_ANSWER: Gauge(metrics.LAST_ANSWER, "", answer, registry=registry),
    }
    for revision in ("r1", "r2"):
        for outcome in ("pass", "fail", "error"):
            made[metrics.EVAL_ITEMS].labels("team-a", NAME, revision, "", "probe", outcome)
    made[metrics.SOURCE_ITEMS].labels("team-a", NAME).set(40)
    made[metrics.INTERVAL].labels("team-a", NAME).set(1)
    return made


class World:
    """Prometheus, and what it scrapes once a second."""

    engine_page, prober_page = staticmethod(engine), staticmethod(prober)

    def __init__(self, folder, stack):
        self.state, self.folder = State(folder), folder
        stack.callback(self.state.stop)
        self.engines = {revision: Exporter(self.engine_page) for revision in ("r1", "r2")}
        self.prober = Exporter(self.prober_page)
        for exporter in (*self.engines.values(), self.prober):
            stack.callback(exporter.close)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.start()
        self.metrics = PrometheusMetrics(Prometheus(f"http://127.0.0.1:{self.port}", timeout=5), 5, {"thumbs": THUMBS})
        stack.callback(self.metrics.close)

    def start(self):
        pods = [({"revision": revision, "pod": revision}, exporter) for revision, exporter in self.engines.items()]
        pods.append(({"pod": "prober"}, self.prober))
        targets = [
            {"targets": [exporter.target], "labels": {"namespace": "team-a", "name": NAME, **labels}}
            for labels, exporter in pods
        ]
        config = self.folder / "prometheus.yml"
        once_a_second = {"scrape_interval": "1s", "scrape_timeout": "1s"}
        jobs = [{"job_name": name, "static_configs": targets} for name in ("pods", "the same pods again")]
        config.write_text(json.dumps({"global": once_a_second, "scrape_configs": jobs}))
        self.state.spawn(
            "prometheus",
            Binaries.for_tests()("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={self.folder}/data",
            f"--web.listen-address=127.0.0.1:{self.port}",
            inside=False,
            mortal=True,
        )

    def request(self, revision, status, count, *, handler="/v1/completions"):
        self.engines[revision][metrics.ENGINE_REQUESTS].labels(handler, "POST", status).inc(count)

    def probed(self, revision, status, count):
        """Requests of the prober, which the engine counts as well unless they never got there."""
        self.prober[metrics.PROBE_REQUESTS].labels("team-a", NAME, revision, status).inc(count)
        if status != "none":
            self.request(revision, status, count)

    def answered(self, revision, at=None, **outcomes):
        for outcome, count in outcomes.items():
            self.prober[metrics.EVAL_ITEMS].labels("team-a", NAME, revision, "", "probe", outcome).inc(count)
        self.prober[metrics.LAST_ANSWER].labels("team-a", NAME, revision).set(at or time.time())

    def said(self, question, revision):
        named = ("thumbs",) if question == "counted" else ()
        return asyncio.run(getattr(self.metrics, question)(*named, "team-a", NAME, revision, WINDOW))

    def comes_to_say(self, question, revision, wanted):
        """Wait until the adapter gives this answer, or one that this is true of."""

        def matches():
            self.last = self.said(question, revision)
            return wanted(self.last) if callable(wanted) else self.last == wanted

        with suppress(TimeoutError):
            wait_for(f"{question} of {revision}", matches, 45, every=0.2)
        assert matches(), f"{self.last} instead of {wanted}"


def counted(wanted):
    """That counts are there of which this is true; a page may be read before its counters are all there again."""
    return lambda said: not isinstance(said, Unknown) and wanted(said)


def a_step_passes():
    """Wait until the question has a step at which it sees what has been scraped by now."""
    following = (int(time.time()) // promql._STEP + 1) * promql._STEP
    wait_for("a step of the query", lambda: time.time() >= following + 2, 20, every=0.2)


def unknown(cause):
    return lambda said: isinstance(said, Unknown) and cause in said.cause


@pytest.fixture
def world(tmp_path):
    with ExitStack() as stack:
        yield World(tmp_path, stack)


def test_what_a_real_prometheus_is_asked_and_says(world):
    # nothing but the pods themselves: no user has come yet, no prober has asked
    world.comes_to_say("requests", "r1", RequestCounts(0, 0))
    world.comes_to_say("requests", "r2", RequestCounts(0, 0))
    assert "no recent word of the prober about revision r1" in world.said("quality", "r1").cause
    assert "no recent counts of requests to revision r3" in world.said("requests", "r3").cause

    # scraped once a second, what comes before the first step would count twice where a process starts again
    a_step_passes()

    # the prober's counters begin at zero, and it asks nothing before that has been seen
    for revision in ("r1", "r2"):
        world.answered(revision, **{"pass": 0, "fail": 0, "error": 0})
        world.comes_to_say("quality", revision, QualityCounts(right=0, wrong=0, distinct=40))

    # the first errors and the other handler make series that are born with what they count
    world.request("r1", "2xx", 90)
    world.request("r1", "5xx", 7)
    world.request("r1", "2xx", 3, handler="/v1/chat/completions")
    world.request("r1", "2xx", 1000, handler="/v1/embeddings")
    world.request("r2", "2xx", 5)
    world.probed("r1", "2xx", 20)
    world.probed("r1", "5xx", 2)
    world.probed("r1", "none", 50)
    world.answered("r1", **{"pass": 15, "fail": 5, "error": 2})
    world.answered("r2", **{"pass": 1})
    world.comes_to_say("requests", "r1", RequestCounts(100, 7))
    world.comes_to_say("requests", "r2", RequestCounts(5, 0))
    world.comes_to_say("quality", "r1", QualityCounts(right=15, wrong=5, distinct=40))
    world.comes_to_say("quality", "r2", QualityCounts(right=1, wrong=0, distinct=40))

    # a query of the admin's, of one revision; a revision that nobody has heard of is no zero
    assert world.said("counted", "r1") == QualityCounts(right=15, wrong=5, distinct=None)
    assert world.said("counted", "r2") == QualityCounts(right=1, wrong=0, distinct=None)
    assert "passed of query thumbs has no series" in world.said("counted", "r3").cause

    # an answer of long ago is not news
    world.answered("r1", at=time.time() - 700)
    world.comes_to_say("quality", "r1", unknown("stale: the prober had its latest answer from revision r1 at "))

    # without Prometheus nothing is known; with it again, what it had stored counts on
    world.state.end("prometheus")
    for question in ("requests", "quality"):
        assert world.said(question, "r1") == Unknown(f"Prometheus at http://127.0.0.1:{world.port}: Connection refused")
    world.answered("r1")
    world.start()
    world.comes_to_say("requests", "r1", RequestCounts(100, 7))
    world.comes_to_say("quality", "r1", QualityCounts(right=15, wrong=5, distinct=40))

    # processes that start again count from zero: all is counted, stretched to the window's edges and never less
    world.prober.restart()
    world.answered("r1", **{"pass": 4, "fail": 1})
    world.comes_to_say("quality", "r1", counted(lambda said: 19 <= said.right <= 29 and 6 <= said.wrong <= 9))
    world.engines["r2"].restart()
    world.request("r2", "2xx", 4)
    world.comes_to_say("requests", "r2", counted(lambda said: 10 <= said.total <= 15 and not said.failed))


def test_what_an_engine_counted_in_its_first_life_is_not_lost(world):
    """A burst of errors makes a series that is born with it; the engine starts again and counts few ever since."""
    world.comes_to_say("requests", "r1", RequestCounts(0, 0))
    world.request("r1", "5xx", 50)
    world.comes_to_say("requests", "r1", RequestCounts(50, 50))
    a_step_passes()
    world.engines["r1"].restart()
    world.request("r1", "5xx", 2)
    world.comes_to_say("requests", "r1", counted(lambda said: said.failed >= 52))
    assert world.said("requests", "r1").failed <= 60, "and nothing counts twice"


HOSTILE = {
    "refused for too much": (THUMBS.model_copy(update={"total": "sum(" * 3000}), "HTTP 4"),
    "a scalar": (THUMBS.model_copy(update={"total": "scalar(vector(5))"}), "HTTP 400"),
    "a matrix": (THUMBS.model_copy(update={"total": "prometheus_build_info[5m]"}), "HTTP 400"),
    "no PromQL": (THUMBS.model_copy(update={"passed": "select * from answers"}), "HTTP 400"),
    "NaN": (THUMBS.model_copy(update={"total": "vector(0)/0"}), "'NaN' where a count belongs"),
    "Inf": (THUMBS.model_copy(update={"passed": "vector(1)/0"}), "'+Inf' where a count belongs"),
    "negative": (THUMBS.model_copy(update={"passed": "vector(-1)"}), "'-1' where a count belongs"),
    "empty": (THUMBS.model_copy(update={"passed": "nothing_of_this_name"}), "passed of query empty has no series"),
    "many series": (
        THUMBS.model_copy(update={"total": 'up{pod="prober"}'}),
        "total of query many series has 2 series, and has to be summed up to one",
    ),
    "a share": (THUMBS.model_copy(update={"passed": "vector(0.93)", "total": "vector(1)"}), ""),
    "mixed revisions": (THUMBS.model_copy(update={"total": "sum by (revision) (quantroll_eval_items_total)"}), "mixes"),
}


def test_what_a_real_prometheus_can_be_made_to_say_is_unknown_or_right(world):
    for revision in ("r1", "r2"):
        world.answered(revision, **{"pass": 1, "fail": 1})
        world.comes_to_say("quality", revision, lambda said: isinstance(said, QualityCounts))
    asking = {name: query for name, (query, _) in HOSTILE.items()}
    adapter = PrometheusMetrics(Prometheus(f"http://127.0.0.1:{world.port}", timeout=5), 5, asking)
    for name, (_, cause) in HOSTILE.items():
        said = asyncio.run(adapter.counted(name, "team-a", NAME, "r1", WINDOW))
        if cause:
            assert isinstance(said, Unknown), (name, said)
            assert cause in said.cause, name
        else:
            assert said == QualityCounts(0, 1, None), "a share is one answer: too few for any minSamples"
    adapter.close()
