"""In-flight requests as vLLM's metrics page has them."""

import asyncio
import http.server
import threading

import pytest

from quantroll.adapters import engines
from quantroll.adapters.engines import VllmEngines, parse_in_flight, parse_progress

PAGE = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="tiny"} 2.0
vllm:num_requests_running{engine="1",model_name="tiny"} 1.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="tiny"} 4.0
vllm:num_requests_waiting_by_reason{engine="0",model_name="tiny"} 9.0
vllm:kv_cache_usage_perc{engine="0",model_name="tiny"} 0.5
"""


@pytest.mark.parametrize(
    ("page", "count"),
    [
        (PAGE, 7),
        ("vllm:num_requests_running 0\nvllm:num_requests_waiting 0\n", 0),
        ("vllm:num_requests_running 1e+01\nvllm:num_requests_waiting 0\n", 10),
        ("vllm:num_requests_running 0\n", None),
        ("vllm:num_requests_waiting 0\n", None),
        ("", None),
        ("<html>not found</html>", None),
        ("vllm:num_requests_running NaN\nvllm:num_requests_waiting 0\n", None),
        ("vllm:num_requests_running +Inf\nvllm:num_requests_waiting 0\n", None),
        ("vllm:num_requests_running nonsense\nvllm:num_requests_waiting 0\n", None),
        ("my_vllm:num_requests_running 3\n", None),
    ],
)
def test_a_metrics_page(page, count):
    assert parse_in_flight(page) == count


PROGRESS = """\
# TYPE quantroll_evaluation_questions gauge
quantroll_evaluation_questions 2000.0
# TYPE quantroll_evaluation_answered gauge
quantroll_evaluation_answered 1.5e+03
"""


@pytest.mark.parametrize(
    ("page", "share"),
    [
        (PROGRESS, 0.75),
        (PROGRESS.replace("1.5e+03", "0.0"), 0),
        (PROGRESS.replace("1.5e+03", "2001.0"), 1),
        (PROGRESS.replace("2000.0", "0.0"), None),
        (PROGRESS.replace("1.5e+03", "..e"), None),
        (PROGRESS.replace("answered", "asked"), None),
        (PAGE, None),
    ],
)
def test_a_page_of_progress(page, share):
    assert parse_progress(page) == share


def test_progress_is_asked_of_the_pod(engine, monkeypatch):
    monkeypatch.setattr(engines, "PROGRESS_PORT", engines.ENGINE_PORT)
    engine.answer = (200, PROGRESS)
    assert asyncio.run(VllmEngines().progress("127.0.0.1")) == 0.75
    engine.answer = (404, PROGRESS)
    assert asyncio.run(VllmEngines().progress("127.0.0.1")) is None


@pytest.fixture
def engine(monkeypatch):
    """A server that answers as told; its port becomes the engines'."""

    class Handler(http.server.BaseHTTPRequestHandler):
        answer = (200, PAGE)

        def do_GET(self):
            code, body = self.answer
            self.send_response(code)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    monkeypatch.setattr(engines, "ENGINE_PORT", server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield Handler
    server.shutdown()
    thread.join()
    server.server_close()


def ask(*addresses):
    return asyncio.run(VllmEngines().in_flight(list(addresses)))


def test_pods_are_summed(engine):
    assert ask("127.0.0.1", "127.0.0.1") == 14


def test_one_that_does_not_tell_makes_the_sum_unknown(engine):
    assert ask("127.0.0.1", "127.0.0.2") is None, "unknown is not zero"


@pytest.mark.parametrize("answer", [(503, PAGE), (200, "")])
def test_one_that_answers_something_else_does_not_tell(engine, answer):
    engine.answer = answer
    assert ask("127.0.0.1") is None


@pytest.mark.parametrize(("length", "count"), [(300_000, 7), (5_000_000, None)])
def test_a_long_page_is_read_whole_or_not_at_all(engine, length, count):
    running, waiting = PAGE.split("# TYPE vllm:num_requests_waiting")
    engine.answer = (200, f"{running}{'# x' * (length // 3)}\n# TYPE vllm:num_requests_waiting{waiting}")
    assert ask("127.0.0.1") == count, "what has not been read may be what waits"


def test_no_pods_have_no_requests():
    assert ask() == 0


def test_addresses_of_the_other_family(monkeypatch):
    monkeypatch.setattr(engines, "ENGINE_PORT", 9)
    assert ask("::1") is None  # brackets, and nobody there
