"""Reading with a kubeconfig: what is asked for, and what each answer of an API server becomes."""

import http.server
import json
import threading

import pytest
import yaml

from quantroll.adapters import onlooker
from quantroll.errors import ConfigurationError, NotFound, Refused, Unreachable

MODEL = {"kind": "QuantizedModel", "metadata": {"name": "tiny"}}


class Api:
    """Notes requests, and gives the same answer to each."""

    def __init__(self):
        self.requests = []
        self.status, self.answer = 200, json.dumps(MODEL)

    def refuse(self, status, reason, message):
        self.status = status
        self.answer = json.dumps({"kind": "Status", "reason": reason, "message": message, "code": status})


@pytest.fixture
def api():
    noted = Api()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            noted.requests.append((self.path, self.headers.get("Authorization")))
            self.send_response(noted.status)
            self.end_headers()
            self.wfile.write(noted.answer.encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    noted.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield noted
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def kubeconfig(api, tmp_path, monkeypatch):
    config = {
        "apiVersion": "v1", "kind": "Config", "current-context": "dev",
        "clusters": [{"name": "x", "cluster": {"server": api.url}}],
        "contexts": [
            {"name": "dev", "context": {"cluster": "x", "user": "x"}},
            {"name": "prod", "context": {"cluster": "x", "user": "x", "namespace": "support"}},
        ],
        "users": [{"name": "x", "user": {"token": "secret"}}],
    }  # fmt: skip
    path = tmp_path / "kubeconfig"
    path.write_text(yaml.safe_dump(config))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return path


def asked(namespace, name="tiny"):
    return f"/apis/quantroll.io/v1alpha1/namespaces/{namespace}/quantizedmodels/{name}"


def test_the_current_context_and_its_namespace(api, kubeconfig, monkeypatch):
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig))
    assert onlooker.read("tiny") == MODEL
    assert onlooker.read("tiny", context="prod") == MODEL
    assert onlooker.read("tiny", context="prod", namespace="other") == MODEL
    assert [path for path, _ in api.requests] == [asked("default"), asked("support"), asked("other")]
    assert {token for _, token in api.requests} == {"Bearer secret"}


def test_a_name_stays_a_name(api, kubeconfig):
    onlooker.read("../../x", kubeconfig=kubeconfig)
    assert api.requests[0][0] == asked("default", "..%2F..%2Fx")


@pytest.mark.parametrize(
    ("status", "reason", "error", "said"),
    [
        (404, "NotFound", NotFound, "no QuantizedModel tiny in namespace default"),
        (403, "Forbidden", Refused, "no access to QuantizedModel tiny in namespace default: because"),
        (401, "Unauthorized", Refused, "no access"),
        (500, "InternalError", Unreachable, "answered 500: because"),
    ],
)
def test_refusals(api, kubeconfig, status, reason, error, said):
    api.refuse(status, reason, "because")
    with pytest.raises(error, match=said):
        onlooker.read("tiny", kubeconfig=kubeconfig)


def test_a_cluster_without_the_crd_says_so(api, kubeconfig):
    api.status, api.answer = 404, "404 page not found\n"
    with pytest.raises(NotFound, match="CRD is not installed"):
        onlooker.read("tiny", kubeconfig=kubeconfig)


def test_a_cluster_that_does_not_answer(kubeconfig):
    config = yaml.safe_load(kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:1"
    kubeconfig.write_text(yaml.safe_dump(config))
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1 does not answer"):
        onlooker.read("tiny", kubeconfig=kubeconfig)


def test_a_context_or_a_file_that_is_not_there(kubeconfig, tmp_path):
    with pytest.raises(ConfigurationError, match="no context nowhere"):
        onlooker.read("tiny", kubeconfig=kubeconfig, context="nowhere")
    with pytest.raises(ConfigurationError, match="no usable kubeconfig"):
        onlooker.read("tiny", kubeconfig=tmp_path / "none")
    kubeconfig.write_text("a: [")
    with pytest.raises(ConfigurationError, match="no usable kubeconfig"):
        onlooker.read("tiny", kubeconfig=kubeconfig)


def test_inside_a_pod_its_own_account_is_used_where_no_kubeconfig_is(api, tmp_path, monkeypatch):
    host, _, port = api.url.removeprefix("http://").partition(":")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    with pytest.raises(ConfigurationError, match="neither a kubeconfig nor a pod's own account"):
        onlooker.read("tiny")

    def own(client_configuration):
        client_configuration.host = api.url

    namespace = tmp_path / "namespace"
    namespace.write_text("team\n")
    monkeypatch.setattr(onlooker.config, "load_incluster_config", own)
    monkeypatch.setattr(onlooker, "_OWN_NAMESPACE", namespace)
    assert onlooker.read("tiny") == MODEL
    assert api.requests[0][0] == asked("team")
