"""What the demo shows at its end."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cluster.procs import wait_for
from demo import page
from demo.traffic import Traffic
from unit.report import documents


def test_the_report_is_told_and_written_as_a_page(tmp_path):
    file = tmp_path / "report.html"
    told = page.report(documents.proven(), file)
    assert "gptq4 serves: the smallest of the proven" in told
    assert "0.9680 [0.9608, 0.9739]" in told
    assert file.read_text().startswith("<!doctype html>")


def test_what_the_drift_check_found():
    entry = {"variant": "gptq4", "revision": "r1", "reason": "FloorBreached"}
    drift = {"verdict": "Breached", "value": 0.863, "samples": 400, "floor": 0.94}
    told = page.drift({"drift": drift, "stable": {"variant": "baseline", "revision": "r0"}, "rejected": [entry]})
    assert "Breached, 0.863 of 400 items right, floor 0.94" in told
    assert "serves: baseline (revision r0)" in told
    assert "gptq4 (revision r1): FloorBreached" in told


@pytest.fixture
def answering():
    """An address where every request gets the same answer."""
    servers = []

    def start(text):
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text.encode())

            def log_message(self, *_):
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("text", ["null", "[]", '{"choices": null}', "no JSON", "[" * 100_000])
def test_an_answer_that_is_none_is_a_failure_and_the_client_goes_on(answering, text):
    with Traffic(answering(text), "tiny.example.com", "tiny") as traffic:
        wait_for("more requests", lambda: traffic.sent["whole"] > 2, 20)
    assert len([told for told in traffic.failures if " whole: " in told]) == traffic.sent["whole"]


def test_a_client_that_had_to_end_before_it_was_told_to_is_a_failure(answering):
    good = '{"choices": [{"text": "x"}]} data: [DONE]'
    with Traffic(answering(good), "tiny.example.com", "tiny", limit=0.3) as traffic:
        wait_for("its end", lambda: any("ended after 0.3 s" in told for told in traffic.failures), 20)
