"""Prometheus of the throw-away cluster: what it scrapes, with which labels; and it can be away for a while."""

import http.server
import json
import socket
import threading
from contextlib import contextmanager
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

import pytest

from cluster import images, prometheus
from cluster.binaries import Binaries
from cluster.cluster import Cluster
from cluster.procs import State, wait_for
from cluster.testcontrol import ControlPlaneOnly

OURS = {"quantroll.io/name": "chat", "quantroll.io/revision": "aaaaaaaaaa"}
PAGE = '# TYPE questions_total counter\nquestions_total{kind="easy"} 7\n'
OPENER = build_opener(ProxyHandler({}))


def notes(port, path="/page"):
    return {f"prometheus.io/{what}": value for what, value in (("scrape", "true"), ("port", str(port)), ("path", path))}


def pod(name, labels, annotations, **spec):
    container = {"name": "a", "image": "none", "ports": [{"containerPort": 1}, {"containerPort": 2}]}
    meta = {"name": name, "namespace": "default", "labels": labels, "annotations": annotations}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {"containers": [container], **spec}}


def series(port, query):
    """Labels and values of an instant query to a Prometheus on loopback."""
    try:
        with OPENER.open(f"http://127.0.0.1:{port}/api/v1/query?query={quote(query)}", timeout=5) as answer:
            found = json.load(answer)["data"]["result"]
    except HTTPError as error:
        error.close()  # not ready yet; else its socket lives on until it is collected
        raise
    return [(one["metric"], one["value"][1]) for one in found]


@contextmanager
def page():
    """A metrics page; its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200 if self.path == "/page" else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.end_headers()
            self.wfile.write(PAGE.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.integration
@pytest.mark.timeout(120)
def test_pods_are_found_by_annotation_and_their_series_say_whose_they_are(tmp_path):
    with page() as port, ControlPlaneOnly(tmp_path / "control") as control, socket.socket() as free:
        control.client.apply(
            *prometheus.objects(),
            pod("engine", OURS, notes(port)),
            pod("prober", {"quantroll.io/name": "chat"}, notes(port)),
            pod("over", OURS, notes(port)),
            pod("shy", OURS, {"prometheus.io/port": str(port)}),
        )
        for name, phase in (("engine", "Running"), ("prober", "Running"), ("over", "Succeeded"), ("shy", "Running")):
            status = {"status": {"phase": phase, "podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}}
            control.client.kubectl("patch", "pod", name, "--subresource=status", "-p", json.dumps(status))
        free.bind(("127.0.0.1", 0))
        ours = free.getsockname()[1]
        free.close()
        state = State(tmp_path / "prometheus")
        state.dir.mkdir()
        config = state.dir / "prometheus.yml"
        config.write_text(json.dumps(prometheus.config(control.user("prometheus"))))
        try:
            state.spawn(
                "prometheus",
                Binaries.for_tests()("prometheus"),
                f"--config.file={config}",
                f"--storage.tsdb.path={tmp_path}/data",
                f"--web.listen-address=127.0.0.1:{ours}",
                inside=False,
                mortal=True,
            )
            # the two are one address: without a pod's name in its labels they would be one series
            found = wait_for("series", lambda: len(got := series(ours, "questions_total")) == 2 and got, 30)
            everything = series(ours, "up")
        finally:
            state.stop()
    common = {
        "__name__": "questions_total",
        "job": "pods",
        "instance": f"127.0.0.1:{port}",
        "kind": "easy",
        "namespace": "default",
        "name": "chat",
    }
    assert sorted(found, key=lambda one: one[0]["pod"]) == [
        ({**common, "pod": "engine", "revision": "aaaaaaaaaa"}, "7"),
        ({**common, "pod": "prober"}, "7"),
    ]
    assert len(everything) == 2, "several ports of a pod are one target, and only running pods that ask are scraped"


SERVER = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.end_headers()
        self.wfile.write(b"questions_total 7\\n")
http.server.ThreadingHTTPServer(("", 9400), Handler).serve_forever()
"""
ASK = "import urllib.request as r; print(r.urlopen('http://prometheus.monitoring.svc:9090/-/ready', timeout=5).status)"


@pytest.mark.node
@pytest.mark.timeout(600)
def test_it_scrapes_pods_is_reached_by_them_and_comes_back_with_what_it_had(tmp_path):
    server = pod("server", OURS, notes(9400, "/metrics"), terminationGracePeriodSeconds=0)
    image = images.build(["client"])["client"]
    server["spec"]["containers"][0].update(image=image, command=["python", "-c", SERVER])
    with Cluster(tmp_path / "cluster") as c:
        c.up(images=[image], with_prometheus=True)
        c.client.apply(server)
        port = c.ports["prometheus"]
        wanted = 'questions_total{namespace="default",pod="server",name="chat",revision="aaaaaaaaaa"}'
        wait_for("the pod's series", lambda: series(port, wanted), 60)
        asked = c.client.kubectl("exec", "server", "--", "python", "-c", ASK)
        assert asked.strip() == "200"
        scraped = int(series(port, f"count_over_time({wanted}[1h])")[0][1])

        prometheus.stop(c.state)
        with pytest.raises(OSError):
            series(port, "up")
        c.client.kubectl("delete", "pod", "server", "--wait")
        prometheus.start(c.state, c.bin)
        assert int(series(port, f"count_over_time({wanted}[1h])")[0][1]) >= scraped, "what it had stored is still there"
    assert not (tmp_path / "cluster").exists()
