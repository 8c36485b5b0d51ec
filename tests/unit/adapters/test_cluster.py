"""Requests to the API server and its answers, against a small HTTP server; the real one is met in tests/integration."""

import asyncio
import http.server
import json
import threading
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from quantroll.adapters import cluster as module
from quantroll.adapters.cluster import KubernetesCluster
from quantroll.domain.events import Event
from quantroll.errors import Conflict, NotFound, Refused, Unreachable
from quantroll.ports import ObjectRef, Telemetry

MODEL = ObjectRef("quantroll.io/v1alpha1", "QuantizedModel", "team", "tiny", "u-1")
JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "j", "namespace": "team"}}


class Api:
    """Notes requests, and answers from a list; then with 200 and an empty object."""

    def __init__(self):
        self.requests, self.answers = [], []


@pytest.fixture
def api(tmp_path, monkeypatch):
    noted = Api()

    class Handler(http.server.BaseHTTPRequestHandler):
        def handle_any(self):
            length = int(self.headers.get("Content-Length", 0))
            body = json.loads(self.rfile.read(length)) if length else None
            noted.requests.append((self.command, self.path, self.headers.get("Content-Type"), body))
            code, answer = noted.answers.pop(0) if noted.answers else (200, {})
            self.send_response(code)
            self.end_headers()
            self.wfile.write((answer if isinstance(answer, str) else json.dumps(answer)).encode())

        def log_message(self, *_):
            pass

    for method in ("GET", "PUT", "PATCH", "POST", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.handle_any)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        "users": [{"name": "x", "user": {"token": "secret"}}],
    }  # fmt: skip
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    monkeypatch.setattr(module.config.kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(path))
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield noted
    server.shutdown()
    thread.join()
    server.server_close()


class Told(Telemetry):
    def __init__(self):
        self.heard = []

    def requested(self, method, code, took):
        assert 0 <= took < 60
        self.heard.append((method, code))


def do(*calls, telemetry=None):
    """Run calls, one after the other, with one cluster; the last answer."""

    async def main():
        async with KubernetesCluster(telemetry) as cluster:
            answer = None
            for call in calls:
                answer = await call(cluster)
            return answer

    return asyncio.run(main())


def test_a_status_is_replaced_at_the_version_that_was_seen(api):
    do(lambda c: c.write_status(MODEL, "42", {"phase": "Steady"}))
    method, path, _, body = api.requests[0]
    assert method == "PUT"
    assert urlsplit(path).path == "/apis/quantroll.io/v1alpha1/namespaces/team/quantizedmodels/tiny/status"
    assert parse_qs(urlsplit(path).query) == {"fieldManager": ["quantroll"]}
    assert body["metadata"] == {"name": "tiny", "namespace": "team", "uid": "u-1", "resourceVersion": "42"}
    assert body["status"] == {"phase": "Steady"}
    assert set(body) == {"apiVersion", "kind", "metadata", "status"}


@pytest.mark.parametrize("force", [True, False])
def test_server_side_apply(api, force):
    do(lambda c: c.apply(JOB, force=force))
    method, path, kind, body = api.requests[0]
    assert (method, kind) == ("PATCH", "application/apply-patch+yaml")
    assert urlsplit(path).path == "/apis/batch/v1/namespaces/team/jobs/j"
    assert parse_qs(urlsplit(path).query) == {"fieldManager": ["quantroll"], "force": [str(force).lower()]}
    assert body == JOB


def test_deletion_is_of_exactly_the_object_that_was_seen(api):
    do(lambda c: c.delete(ObjectRef("apps/v1", "Deployment", "team", "d", "u-9")))
    method, path, _, body = api.requests[0]
    assert (method, path) == ("DELETE", "/apis/apps/v1/namespaces/team/deployments/d")
    assert body["preconditions"] == {"uid": "u-9"}
    assert body["propagationPolicy"] == "Background"


@pytest.mark.parametrize("code", [404, 409])
def test_what_is_gone_need_not_be_deleted(api, code):
    api.answers = [(code, {"message": "no"})]
    do(lambda c: c.delete(ObjectRef("v1", "Service", "team", "s", "u-9")))
    assert len(api.requests) == 1


def test_an_event(api):
    do(lambda c: c.emit(MODEL, Event("Warning", "EvalSetMissing", "x" * 5000)))
    method, path, _, body = api.requests[0]
    assert (method, path) == ("POST", "/api/v1/namespaces/team/events")
    assert (body["type"], body["reason"], len(body["message"])) == ("Warning", "EvalSetMissing", 1024)
    assert body["involvedObject"]["uid"] == "u-1"
    assert body["metadata"] == {"generateName": "tiny-", "namespace": "team"}
    assert body["firstTimestamp"].endswith("Z")


def test_the_same_event_again_counts_up_and_one_that_expired_is_posted_anew(api):
    told, made = Event("Warning", "OutOfMemory", "killed"), {"metadata": {"name": "tiny-x7"}}
    api.answers = [(201, made), (200, {}), (200, {}), (404, {}), (201, {"metadata": {"name": "tiny-y8"}})]
    do(*[lambda c: c.emit(MODEL, told)] * 4)
    methods = [(method, path.rpartition("/")[2]) for method, path, _, _ in api.requests]
    assert methods == [
        ("POST", "events"), ("PATCH", "tiny-x7"), ("PATCH", "tiny-x7"), ("PATCH", "tiny-x7"), ("POST", "events"),
    ]  # fmt: skip
    assert [body["count"] for _, _, _, body in api.requests] == [1, 2, 3, 4, 1]
    assert api.requests[1][2] == "application/merge-patch+json"


def test_a_reason_that_flaps_falls_silent(api, caplog):
    do(*[lambda c, n=n: c.emit(MODEL, Event("Warning", "OutOfMemory", f"{n} killed")) for n in range(30)])
    assert len(api.requests) == 25
    assert "too many events OutOfMemory" in caplog.text


@pytest.mark.parametrize(
    ("code", "error"),
    [(400, Refused), (403, Refused), (404, NotFound), (405, Refused), (409, Conflict), (415, Refused), (422, Refused),
     (429, Unreachable), (500, Unreachable), (503, Unreachable)],
)  # fmt: skip
def test_answers_are_our_errors_with_the_servers_words(api, code, error):
    api.answers = [(code, {"kind": "Status", "message": 'jobs "j" is forbidden: exceeded quota'})]
    with pytest.raises(error, match="exceeded quota") as caught:
        do(lambda c: c.apply(JOB, force=True))
    assert str(code) in str(caught.value)
    assert "secret" not in str(caught.value)


def test_an_answer_that_is_no_status(api):
    api.answers = [(502, "<html>bad gateway</html>")]
    with pytest.raises(Unreachable, match="bad gateway"):
        do(lambda c: c.apply(JOB, force=True))


def test_nobody_there(api, tmp_path, monkeypatch):
    text = (tmp_path / "kubeconfig").read_text()
    port = text.split("127.0.0.1:")[1].split()[0]
    (tmp_path / "kubeconfig").write_text(text.replace(port, "9"))
    with pytest.raises(Unreachable, match="PATCH /apis/batch"):
        do(lambda c: c.apply(JOB, force=True))


GROUP = {"resources": [{"name": "gateways"}, {"name": "httproutes"}]}


@pytest.mark.parametrize(
    ("answer", "there"),
    [((200, GROUP), True), ((200, {"resources": [{"name": "gateways"}]}), False), ((404, {"message": "no"}), False)],
)
def test_whether_the_gateway_api_is_there(api, answer, there):
    api.answers = [answer]
    assert do(lambda c: c.has_gateway_api()) is there


def test_discovery_is_asked_rarely_and_its_answer_grows_old(api, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    api.answers = [(404, {"message": "no"}), (200, GROUP)]

    async def later(cluster):
        now[0] += 16
        return await cluster.has_gateway_api()

    async def now_too(cluster):
        return await cluster.has_gateway_api()

    assert do(now_too, now_too, now_too) is False
    assert len(api.requests) == 1
    api.answers = [(404, {"message": "no"}), (200, GROUP)]
    assert do(now_too, later) is True


def test_an_api_that_is_there_is_not_asked_for_again_for_ten_minutes(api, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(module.time, "monotonic", lambda: now[0])
    api.answers = [(200, GROUP), (404, {"message": "no"})]

    def after(seconds):
        async def ask(cluster):
            now[0] += seconds
            return await cluster.has_gateway_api()

        return ask

    assert do(after(0), after(599)) is True
    assert len(api.requests) == 1
    api.answers = [(200, GROUP), (404, {"message": "no"})]
    assert do(after(0), after(601)) is False


def test_a_server_that_is_down_is_no_missing_api(api):
    api.answers = [(503, {"message": "down"})]
    with pytest.raises(Unreachable):
        do(lambda c: c.has_gateway_api())


def test_a_read(api):
    ref = ObjectRef("v1", "Service", "team", "s")
    api.answers = [(200, {"metadata": {"name": "s"}}), (404, {"message": "not found"})]
    assert do(lambda c: c.read(ref)) == {"metadata": {"name": "s"}}
    assert do(lambda c: c.read(ref)) is None


def test_used_outside_of_its_context():
    with pytest.raises(AssertionError, match="context"):
        asyncio.run(KubernetesCluster().apply(JOB, force=True))


def test_the_telemetry_is_told_of_every_request_and_of_those_without_an_answer(api, monkeypatch):
    told = Told()
    api.answers = [(404, {}), (409, {})]
    do(lambda c: c.read(MODEL), lambda c: c.delete(MODEL), telemetry=told)
    assert told.heard == [("GET", "404"), ("DELETE", "409")]
    monkeypatch.setattr(module, "_TIMEOUT", 1e-6)
    with pytest.raises(Unreachable):
        do(lambda c: c.read(MODEL), telemetry=told)
    assert told.heard[-1] == ("GET", "<error>")
