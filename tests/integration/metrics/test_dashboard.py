"""Every query of the dashboard has data in a real Prometheus that scrapes the operator's page, engines and a prober."""

import asyncio
import json
import socket
import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from cluster import dashboard
from cluster.binaries import Binaries
from cluster.procs import State, wait_for
from quantroll.adapters.metrics import PrometheusMetrics
from quantroll.adapters.metrics_page import MetricsPage
from quantroll.adapters.prometheus import Prometheus
from quantroll.adapters.telemetry import OperatorTelemetry
from quantroll.api import metrics
from quantroll.controller.queue import WorkQueue
from unit.domain.world import World

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]

REVISIONS = ("r1", "r2")


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Told(World):
    """A world whose passes are told to the operator's telemetry under a key."""

    def watch(self, telemetry, key):
        self.telemetry, self.key = telemetry, key
        return self

    def tick(self, *args, **kwargs):
        before = self.status
        decided = super().tick(*args, **kwargs)
        self.telemetry.stands(self.key, self.status)
        if self.status != before:
            self.telemetry.changed(before, self.status)
        return decided


def models(telemetry):
    """One that serves and was checked, one in the middle of a rollout, one whose candidate was taken back."""
    checked = Told().watch(telemetry, ("team-a", "checked"))
    checked.until("Steady")
    checked.settle()
    while checked.status.drift.last is None:
        checked.now = max(checked.now, checked.status.drift.next)
        checked.tick()
        checked.works()
    moving = Told().watch(telemetry, ("team-a", "moving"))
    moving.until("Analyzing")
    back = Told().watch(telemetry, ("team-b", "back"))
    back.until("Analyzing")
    back.commands["abort"] = f"{back.status.rollout.id}/1"
    back.until("RolledBack")
    return [checked, moving, back]


@contextmanager
def operator(port, prometheus_port):
    """The operator's queue, its questions and its page, in a thread with a loop of its own."""
    telemetry, ended = OperatorTelemetry(), threading.Event()
    worlds = {world.key: world for world in models(telemetry)}
    asked = PrometheusMetrics(Prometheus(f"http://127.0.0.1:{prometheus_port}", timeout=5), 5, telemetry=telemetry)

    async def run_pass(key):
        worlds[key].tick()
        telemetry.requested("PUT", "200", 0.01)
        await asked.requests("team-a", "checked", "r1", 60)
        return 0.2

    async def live():
        queue = WorkQueue(run_pass, workers=2, resync=300, telemetry=telemetry)
        async with MetricsPage(telemetry, port, lambda: telemetry.now_is(queue.depth, {"Job": time.time()})):
            working = asyncio.create_task(queue.run())
            for key in worlds:
                queue.add(key)
            await asyncio.to_thread(ended.wait)
            working.cancel()
            await asyncio.gather(working, return_exceptions=True)

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        asked.close()


class Pods:
    """Metrics pages of an engine of each revision and of a prober, as vLLM and the prober write them."""

    def __init__(self, stack):
        self.engines, self.targets = [], []
        for revision in REVISIONS:
            registry = CollectorRegistry()
            self.engines.append(
                (
                    Counter("http_requests", "", ["handler", "method", "status"], registry=registry),
                    Histogram("vllm:time_to_first_token_seconds", "", ["model_name"], registry=registry),
                    Histogram("vllm:inter_token_latency_seconds", "", ["model_name"], registry=registry),
                    Gauge("vllm:num_requests_running", "", ["model_name"], registry=registry),
                    Gauge("vllm:num_requests_waiting", "", ["model_name"], registry=registry),
                )
            )
            self._serve(registry, stack, revision=revision, pod=revision)
        registry, answer = CollectorRegistry(), ["namespace", "name", "revision"]
        self.items = Counter(metrics.EVAL_ITEMS, "", [*answer, "slice", "source", "outcome"], registry=registry)
        self.pairs = Counter(metrics.PROBE_PAIRS, "", [*answer, "reference", "slice", "cell"], registry=registry)
        self._serve(registry, stack, pod="prober")

    def _serve(self, registry, stack, **labels):
        port = free_port()
        server, thread = start_http_server(port, "127.0.0.1", registry)
        stack.callback(thread.join)
        stack.callback(server.server_close)
        stack.callback(server.shutdown)
        where = {"namespace": "team-a", "name": "checked", **labels}
        self.targets.append({"targets": [f"127.0.0.1:{port}"], "labels": where})

    def work(self):
        """A request to each revision, and a question of the prober."""
        for requests, first, between, running, waiting in self.engines:
            requests.labels("/v1/completions", "POST", "2xx").inc()
            for histogram in (first, between):
                histogram.labels("checked").observe(0.05)
            running.labels("checked").set(1)
            waiting.labels("checked").set(0)
        for revision in REVISIONS:
            for outcome in ("pass", "fail"):
                self.items.labels("team-a", "checked", revision, "", "probe", outcome).inc()
        self.pairs.labels("team-a", "checked", "r2", "r1", "", "both").inc()


def test_every_query_of_the_dashboard_has_data(tmp_path):
    with ExitStack() as stack:
        state, pods = State(tmp_path), Pods(stack)
        stack.callback(state.stop)
        page, port = free_port(), free_port()
        ours = [{"targets": [f"127.0.0.1:{page}"], "labels": {"pod": "operator"}}]
        config = tmp_path / "prometheus.yml"
        document = {
            "global": {"scrape_interval": "2s", "scrape_timeout": "2s", "evaluation_interval": "2s"},
            "scrape_configs": [
                {"job_name": "pods", "static_configs": pods.targets},
                {"job_name": "operator", "honor_labels": True, "static_configs": ours},
            ],
            "rule_files": [str(dashboard.FILE.parents[1] / "files" / "rules.yaml")],
        }
        config.write_text(json.dumps(document))
        state.spawn(
            "prometheus",
            Binaries.for_tests()("prometheus"),
            f"--config.file={config}",
            f"--storage.tsdb.path={tmp_path}/data",
            f"--web.listen-address=127.0.0.1:{port}",
            inside=False,
            mortal=True,
        )
        stack.enter_context(operator(page, port))
        url = f"http://127.0.0.1:{port}"

        missing = ["nothing was asked yet"]

        def all_answered():
            pods.work()
            try:
                missing[:] = dashboard.unanswered(url, rate_interval="30s")
            except OSError as error:  # it is starting
                missing[:] = [str(error)]
            return not missing

        try:
            wait_for("data for every panel", all_answered, 60, every=0.5)
        except TimeoutError:
            pytest.fail("\n".join(missing))

        # labels are those of the models, not of the operator's pod
        found = dashboard.ask(url, "quantroll_info")
        assert {(s["metric"]["namespace"], s["metric"]["name"]) for s in found} == {
            ("team-a", "checked"), ("team-a", "moving"), ("team-b", "back"),
        }  # fmt: skip
        alert = 'ALERTS{alertname="QuantrollRolledBack",alertstate="firing"}'
        wait_for("the alert", lambda: [s["metric"]["name"] for s in dashboard.ask(url, alert)] == ["back"], 20)
