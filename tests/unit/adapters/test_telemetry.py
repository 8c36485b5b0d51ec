"""The operator's metrics page: what is counted, what vanishes with its model, and how much there can be."""

import asyncio
import json
import socket
import threading
import urllib.request

import pytest
from prometheus_client.parser import text_string_to_metric_families

from quantroll.adapters import board, metrics_page
from quantroll.adapters.metrics import PrometheusMetrics
from quantroll.adapters.metrics_page import MetricsPage
from quantroll.adapters.prometheus import Prometheus
from quantroll.adapters.telemetry import OperatorTelemetry
from quantroll.api.status import QuantizedModelStatus
from quantroll.constants import Reason
from quantroll.errors import ConfigurationError
from unit.adapters.prometheus_server import JSON, document, hangs, serving
from unit.domain.world import World, steady

KEY = ("team", "tiny")


class Telling(World):
    """A world whose passes are told to a telemetry."""

    def __init__(self, spec=None):
        super().__init__(spec)
        self.telemetry = OperatorTelemetry(now=self._seconds)

    def _seconds(self):
        return self.now.timestamp()

    def tick(self, *args, **kwargs):
        before = self.status
        decided = super().tick(*args, **kwargs)
        self.telemetry.stands(KEY, self.status)
        if self.status != before:
            self.telemetry.changed(before, self.status)
        return decided


def page(telemetry):
    """Every sample: (name, labels as a sorted tuple) to value. The parser refuses what is not the text format."""
    text = b"".join(telemetry.page()).decode()
    families = list(text_string_to_metric_families(text))
    names = [family.name for family in families]
    assert len(names) == len(set(names)), "a metric comes in two pieces"
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for family in families for s in family.samples}


def series(telemetry, name, **labels):
    """Values of a metric, by those labels that were not asked for."""
    found = {}
    for (metric, pairs), value in page(telemetry).items():
        given = dict(pairs)
        if metric == name and labels.items() <= given.items():
            rest = tuple(v for k, v in sorted(given.items()) if k not in labels and k not in ("namespace", "name"))
            found[rest] = value
    return found


def test_a_steady_model_and_nothing_of_it_when_it_is_gone():
    world = Telling()
    world.until("Steady")
    world.settle()
    told = world.telemetry
    info = series(told, "quantroll_info", phase="Steady", stable="gptq4", candidate="")
    assert list(info.values()) == [1]
    assert series(told, "quantroll_condition", type="Ready") == {("Settled", "True"): 1}
    scores = series(told, "quantroll_eval_score")
    assert scores[("baseline",)] == pytest.approx(0.995)
    assert set(scores) == {("baseline",), ("int8",), ("gptq4",), ("rtn4",)}
    assert series(told, "quantroll_eval_delta")[("gptq4",)] == pytest.approx(0.951 - 0.995)
    assert series(told, "quantroll_eval_verdict", arm="rtn4") == {("FAIL",): 1}
    assert series(told, "quantroll_eval_recovery", arm="gptq4")[()] == pytest.approx(0.9558, abs=1e-3)
    assert series(told, "quantroll_drift_verdict") == {("Pending",): 1}
    assert series(told, "quantroll_drift_next_timestamp_seconds")[()] > world.now.timestamp()
    assert series(told, "quantroll_canary_weight") == {}
    told.gone(KEY)
    told.gone(KEY)
    assert not [labels for _, labels in page(told) if dict(labels).get("name") == "tiny"]


def test_the_candidates_weight_as_asked_and_as_accepted():
    world = Telling()
    world.until("Shifting", but="route")
    assert series(world.telemetry, "quantroll_canary_weight") == {(): 10}
    assert series(world.telemetry, "quantroll_canary_weight_applied") == {(): 0}
    world.until("Analyzing")
    assert series(world.telemetry, "quantroll_canary_weight_applied") == {(): 10}
    assert series(world.telemetry, "quantroll_rollout_started_timestamp_seconds")[()] <= world.now.timestamp()


def test_what_becomes_of_rollouts_is_counted():
    world = Telling()
    world.until("Steady")
    told = world.telemetry
    assert series(told, "quantroll_rollout_total") == {("Promoted", "W4A16"): 1}
    assert series(told, "quantroll_rollout_duration_seconds_count")[("Promoted",)] == 1
    assert 300 <= series(told, "quantroll_rollout_duration_seconds_sum")[("Promoted",)] < 7200
    assert series(told, "quantroll_phase_duration_seconds_count", phase="Analyzing") == {("done",): 2}
    assert series(told, "quantroll_rollbacks_total") == {}


@pytest.mark.parametrize(("how", "outcome"), [("abort", "TakenBack"), ("edit", "Superseded")])
def test_a_candidate_that_is_taken_back(how, outcome):
    world = Telling()
    world.until("Analyzing")
    if how == "abort":
        world.commands["abort"] = f"{world.status.rollout.id}/1"
    else:
        world.edit(serving__maxNumSeqs=8)
    world.until("RolledBack" if how == "abort" else "CandidateStarting")
    assert series(world.telemetry, "quantroll_rollout_total") == {(outcome, "W4A16"): 1}
    taken = {("Aborted",): 1} if how == "abort" else {}
    assert series(world.telemetry, "quantroll_rollbacks_total") == taken


def test_failed_jobs_are_counted_once():
    world = Telling()
    world.tick()
    world.fail(world.job("prepare"), Reason.EVAL_SET_MISSING)
    for _ in range(3):
        world.tick()
    assert series(world.telemetry, "quantroll_job_failures_total") == {("Pending", "EvalSetMissing"): 1}


def test_the_queue_as_client_go_would_tell_it():
    now = [100.0]
    told = OperatorTelemetry(now=lambda: now[0])
    told.queued()
    told.started(KEY, 0.02)
    now[0] += 3
    (unfinished,) = series(told, "workqueue_unfinished_work_seconds").values()
    assert unfinished == 3
    assert list(series(told, "controller_runtime_active_workers").values()) == [1]
    told.ended(KEY, 3, failed=True)
    told.started(KEY, -0.01)
    told.ended(KEY, 0.01, failed=False)
    seen = page(told)
    queue = (("name", "quantizedmodels"),)
    assert seen["workqueue_adds_total", queue] == seen["workqueue_retries_total", queue] == 1
    assert seen["workqueue_work_duration_seconds_count", queue] == 2
    assert seen["workqueue_queue_duration_seconds_sum", queue] == pytest.approx(0.02)
    assert seen["workqueue_longest_running_processor_seconds", queue] == 0
    passes = series(told, "controller_runtime_reconcile_total", controller="quantizedmodels")
    assert passes == {("error",): 1, ("success",): 1}


def test_requests_and_questions():
    told = OperatorTelemetry()
    told.requested("PUT", "200", 0.01)
    told.requested("PUT", "409", 0.01)
    told.requested("GET", "<error>", 30)
    told.asked("ok", 0.1)
    told.asked("timeout", 10)
    assert series(told, "rest_client_requests_total") == {("200", "PUT"): 1, ("409", "PUT"): 1, ("<error>", "GET"): 1}
    assert series(told, "rest_client_request_duration_seconds_count") == {("PUT",): 2, ("GET",): 1}
    asked = series(told, "quantroll_metric_query_total")
    assert asked == {("ok",): 1, ("empty",): 0, ("nan",): 0, ("timeout",): 1, ("error",): 0}


def test_a_thousand_models_have_a_bounded_number_of_series():
    status = steady().status
    told = OperatorTelemetry()
    least = len(page(told))
    for number in range(1000):
        told.stands((f"team-{number % 20}", f"model-{number}"), status)
    text = b"".join(told.page())
    assert (text.count(b"\n") - least) / 1000 < 50, "series a model"
    assert len(text) < 6 * 2**20


def test_labels_cannot_be_broken_out_of():
    row = board.Standing(('a"}\n\\', "", "", "", ""), (), ())
    found = board.Board()
    found._models[KEY] = row
    text = "".join(found.pages())
    (sample,) = [s for f in text_string_to_metric_families(text) for s in f.samples]
    assert sample.labels["phase"] == 'a"}\n\\'


def test_an_empty_status_has_an_info_alone():
    told = OperatorTelemetry()
    told.stands(KEY, QuantizedModelStatus())
    mine = [name for name, labels in page(told) if ("name", "tiny") in labels]
    assert mine == ["quantroll_info"]


def fetch(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        return answer.headers["Content-Type"], answer.read().decode()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def test_the_page_is_served_beside_a_loop_that_goes_on():
    told, port = OperatorTelemetry(), free_port()
    status = steady().status
    for number in range(300):
        told.stands(("team", f"model-{number}"), status)

    async def live():
        async with MetricsPage(told, port, lambda: told.now_is(7, {"Job": 1000.0, "Pod": 1060.5})):
            asking = asyncio.create_task(asyncio.to_thread(fetch, port))
            turns = 0
            while not asking.done():
                await asyncio.sleep(0)
                turns += 1
            return await asking, turns

    (kind, text), turns = asyncio.run(live())
    assert kind.startswith("text/plain; version=0.0.4")
    names = {family.name for family in text_string_to_metric_families(text)}
    assert {"quantroll_info", "workqueue_depth", "process_resident_memory_bytes"} <= names
    assert 'workqueue_depth{name="quantizedmodels"} 7.0' in text
    assert 'quantroll_watch_last_event_timestamp_seconds{kind="Pod"} 1060.5' in text
    assert turns > 20, "the loop was held up"


def test_a_kind_that_is_no_longer_watched_has_no_series():
    told = OperatorTelemetry()
    told.now_is(0, {"Job": 1000.0, "HTTPRoute": 1000.0})
    told.now_is(0, {"Job": 1060.0})
    text = b"".join(told.page()).decode()
    assert 'quantroll_watch_last_event_timestamp_seconds{kind="Job"} 1060.0' in text
    assert 'kind="HTTPRoute"' not in text


def test_a_port_that_is_taken_ends_the_start_with_its_name():
    told, port = OperatorTelemetry(), free_port()

    async def live():
        async with MetricsPage(told, port, lambda: None):
            with pytest.raises(ConfigurationError, match=rf"metrics\.port: cannot listen on {port}"):
                await MetricsPage(told, port, lambda: None).__aenter__()

    asyncio.run(live())


def test_whoever_hangs_up_or_does_not_read_leaves_nothing_in_the_log(monkeypatch, caplog):
    monkeypatch.setattr(metrics_page, "_PATIENCE", 0.3)
    told, port = OperatorTelemetry(), free_port()
    status = steady().status
    for number in range(1000):
        told.stands(("team", f"model-{number}"), status)

    async def live():
        async with MetricsPage(told, port, lambda: None):
            for read in (0, 1):
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1)
                writer.write(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
                await reader.read(read)
                if read:
                    await asyncio.sleep(0.5)  # longer than it is waited for
                writer.close()
            monkeypatch.setattr(metrics_page, "_PATIENCE", 30)
            return await asyncio.to_thread(fetch, port)

    assert "quantroll_info" in asyncio.run(live())[1]
    assert caplog.text == ""


def test_the_page_is_made_in_another_thread(monkeypatch):
    told, port, threads = OperatorTelemetry(), free_port(), set()
    pages = told.page

    def noted():
        for piece in pages():
            threads.add(threading.get_ident())
            yield piece

    monkeypatch.setattr(told, "page", noted)

    async def live():
        async with MetricsPage(told, port, lambda: None):
            await asyncio.to_thread(fetch, port)

    asyncio.run(live())
    assert threads
    assert threading.get_ident() not in threads


def test_it_is_told_how_questions_to_prometheus_fared():
    told = OperatorTelemetry()
    with serving() as server:

        async def ask():
            metrics = PrometheusMetrics(Prometheus(server.url, timeout=0.5), 0.5, telemetry=told)
            await metrics.requests("team", "tiny", "r1", 60)
            metrics.close()

        for answer in ((200, JSON, json.dumps(document([]))), (200, "text/html", "<html>"), hangs):
            server.says(answer)
            asyncio.run(ask())
        for value in ("1", "NaN", "-1", "+Inf"):
            server.vector(({"part": "now", "revision": "r1"}, value))
            asyncio.run(ask())
    asked = series(told, "quantroll_metric_query_total")
    assert asked == {("ok",): 1, ("empty",): 1, ("nan",): 3, ("timeout",): 1, ("error",): 1}
    assert series(told, "quantroll_metric_query_duration_seconds_count")[()] == 7
