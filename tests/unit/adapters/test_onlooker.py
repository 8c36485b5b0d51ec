"""The cluster by kubeconfig: what is asked for, what each answer of an API server becomes, and the one Job."""

import http.server
import json
import threading
from types import SimpleNamespace
from urllib.parse import unquote

import pytest
import yaml

from quantroll.adapters import onlooker
from quantroll.adapters.onlooker import Onlooker
from quantroll.errors import ConfigurationError, NotFound, Refused, Unreachable

MODEL = {"kind": "QuantizedModel", "metadata": {"name": "tiny"}}


JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"generateName": "tiny-items-"}, "spec": {"template": {}}}
JOBS = "/apis/batch/v1/namespaces/default/jobs"


class Api:
    """Notes requests; gives the answer of the first word that stands in the address, else always the same."""

    def __init__(self):
        self.requests, self.bodies, self.special = [], [], {}
        self.status, self.answer = 200, json.dumps(MODEL)

    def answer_to(self, request):
        return next((answer for word, answer in self.special.items() if word in request), (self.status, self.answer))

    def refuse(self, status, reason, message):
        self.status = status
        self.answer = json.dumps({"kind": "Status", "reason": reason, "message": message, "code": status})


@pytest.fixture
def api():
    noted = Api()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_any(self):
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.command == "PATCH":
                noted.bodies.append((self.headers.get("Content-Type"), body))
            noted.requests.append((self.command, self.path, self.headers.get("Authorization")))
            status, answer = noted.answer_to(f"{self.command} {self.path}")
            self.send_response(status)
            self.send_header("Content-Type", "text/plain" if "/log" in self.path else "application/json")
            self.end_headers()
            self.wfile.write((answer if isinstance(answer, str) else json.dumps(answer)).encode())

        def log_message(self, *_):
            pass

    for method in ("GET", "POST", "PATCH", "DELETE"):
        setattr(Handler, f"do_{method}", Handler.do_any)
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
    assert Onlooker().model("tiny") == MODEL
    assert Onlooker(context="prod").model("tiny") == MODEL
    assert Onlooker(context="prod", namespace="other").model("tiny") == MODEL
    assert [path for _, path, _ in api.requests] == [asked("default"), asked("support"), asked("other")]
    assert {token for *_, token in api.requests} == {"Bearer secret"}


def test_names_for_the_tab_key_come_from_the_servers_memory(api, kubeconfig):
    api.answer = json.dumps({"items": [{"metadata": {"name": name}} for name in ("tiny", "chat")]})
    assert Onlooker(kubeconfig=kubeconfig, context="prod").models() == ["chat", "tiny"]
    assert api.requests[0][1].endswith("/namespaces/support/quantizedmodels?resourceVersion=0")


def test_a_change_is_a_merge_patch_under_a_name_of_its_own(api, kubeconfig):
    assert Onlooker(kubeconfig=kubeconfig).change("tiny", {"spec": {"suspend": True}}) == MODEL
    method, path, _ = api.requests[0]
    assert (method, path) == ("PATCH", asked("default") + "?fieldManager=kubectl-quantroll")
    [(kind, body)] = api.bodies
    assert (kind, json.loads(body)) == ("application/merge-patch+json", {"spec": {"suspend": True}})


def test_pods_by_revision(api, kubeconfig):
    def deployment(revision, replicas, **status):
        labels = {"quantroll.io/revision": revision}
        wanted = {"replicas": replicas, "selector": {}, "template": {}}
        return {"metadata": {"labels": labels}, "spec": wanted, "status": status}

    api.answer = json.dumps({"items": [deployment("a", 2, readyReplicas=1), deployment("b", 0)]})
    assert Onlooker(kubeconfig=kubeconfig).servers("tiny") == {"a": (1, 2), "b": (0, 0)}
    assert "quantroll.io/name=tiny,quantroll.io/component=serve" in unquote(api.requests[0][1])


def test_a_name_stays_a_name(api, kubeconfig):
    Onlooker(kubeconfig=kubeconfig).model("../../x")
    assert api.requests[0][1] == asked("default", "..%2F..%2Fx")


@pytest.mark.parametrize(
    ("status", "reason", "error", "said"),
    [
        (404, "NotFound", NotFound, "no QuantizedModel tiny in namespace default"),
        (403, "Forbidden", Refused, "no access to QuantizedModel tiny in namespace default: because"),
        (401, "Unauthorized", Refused, "no access"),
        (422, "Invalid", Refused, "is refused: because"),
        (500, "InternalError", Unreachable, "answered 500: because"),
    ],
)
def test_refusals(api, kubeconfig, status, reason, error, said):
    api.refuse(status, reason, "because")
    with pytest.raises(error, match=said):
        Onlooker(kubeconfig=kubeconfig).model("tiny")


def test_a_cluster_without_the_crd_says_so(api, kubeconfig):
    api.status, api.answer = 404, "404 page not found\n"
    with pytest.raises(NotFound, match="CRD is not installed"):
        Onlooker(kubeconfig=kubeconfig).model("tiny")


def test_a_cluster_that_does_not_answer(kubeconfig):
    config = yaml.safe_load(kubeconfig.read_text())
    config["clusters"][0]["cluster"]["server"] = "http://127.0.0.1:1"
    kubeconfig.write_text(yaml.safe_dump(config))
    with pytest.raises(Unreachable, match=r"http://127\.0\.0\.1:1 does not answer"):
        Onlooker(kubeconfig=kubeconfig).model("tiny")


def test_a_context_or_a_file_that_is_not_there(kubeconfig, tmp_path):
    with pytest.raises(ConfigurationError, match="no context nowhere"):
        Onlooker(kubeconfig=kubeconfig, context="nowhere")
    with pytest.raises(ConfigurationError, match="no usable kubeconfig"):
        Onlooker(kubeconfig=tmp_path / "none")
    kubeconfig.write_text("a: [")
    with pytest.raises(ConfigurationError, match="no usable kubeconfig"):
        Onlooker(kubeconfig=kubeconfig)


def test_inside_a_pod_its_own_account_is_used_where_no_kubeconfig_is(api, tmp_path, monkeypatch):
    host, _, port = api.url.removeprefix("http://").partition(":")
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", host)
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", port)
    with pytest.raises(ConfigurationError, match="neither a kubeconfig nor a pod's own account"):
        Onlooker()

    def own(client_configuration):
        client_configuration.host = api.url

    namespace = tmp_path / "namespace"
    namespace.write_text("team\n")
    monkeypatch.setattr(onlooker.config, "load_incluster_config", own)
    monkeypatch.setattr(onlooker, "_OWN_NAMESPACE", namespace)
    assert Onlooker().model("tiny") == MODEL
    assert api.requests[0][1] == asked("team")


def pod(**status):
    return {"metadata": {"name": "tiny-items-x-abc"}, "spec": {"containers": []}, "status": status}


def job(condition=None):
    conditions = [{"type": condition, "status": "True"}] if condition else []
    meta = {"name": "tiny-items-x", "resourceVersion": "7"}
    return {"metadata": meta, "spec": {"template": {}}, "status": {"conditions": conditions}}


def event(kind, found):
    return json.dumps({"type": kind, "object": {"apiVersion": "batch/v1", "kind": "Job", **found}}) + "\n"


@pytest.fixture
def jobs(api):
    """Answers for a Job that is made, starts, and ends well."""
    api.special = {
        "POST ": (201, job()),
        "DELETE ": (200, {"kind": "Status", "status": "Success"}),
        "watch=true": (200, event("ADDED", job()) + event("MODIFIED", job("Complete"))),
        "/log?": (200, "one\ntwo ✓\n"),
        "/pods?": (200, {"items": [pod(phase="Succeeded")]}),
    }
    return api


@pytest.mark.parametrize(("condition", "well"), [("Complete", True), ("Failed", False)])
def test_a_job_is_made_waited_for_read_and_deleted(jobs, kubeconfig, condition, well):
    jobs.special["watch=true"] = (200, event("ADDED", job()) + event("MODIFIED", job(condition)))
    assert Onlooker(kubeconfig=kubeconfig).run(JOB, "items", limit=5) == (well, "one\ntwo ✓\n")
    made, *_, deleted = jobs.requests
    assert made[:2] == ("POST", JOBS)
    assert deleted[:2] == ("DELETE", f"{JOBS}/tiny-items-x?propagationPolicy=Background")
    assert any(
        "labelSelector=batch.kubernetes.io/job-name=tiny-items-x" in unquote(path) for _, path, _ in jobs.requests
    )
    assert any("/pods/tiny-items-x-abc/log?container=items" in path for _, path, _ in jobs.requests)


@pytest.mark.parametrize(
    ("pods", "said"),
    [
        ([], "it has no pod yet"),
        ([pod(phase="Pending")], "its pod is Pending"),
        (
            [pod(phase="Pending", conditions=[{"type": "PodScheduled", "status": "False", "message": "no node"}])],
            "no node",
        ),
        (
            [
                pod(
                    phase="Pending",
                    containerStatuses=[
                        {
                            "name": "items", "image": "x", "imageID": "", "ready": False, "restartCount": 0,
                            "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}},
                        }
                    ],
                )
            ],
            "ErrImagePull: not found",
        ),
    ],
)  # fmt: skip
def test_a_job_that_does_not_end_says_what_it_waits_for_and_is_deleted(jobs, kubeconfig, monkeypatch, pods, said):
    jobs.special["watch=true"] = (200, event("ADDED", job()))
    jobs.special["/pods?"] = (200, {"items": pods})
    clock, paused = iter(range(0, 1000, 2)), []
    monkeypatch.setattr(onlooker, "time", SimpleNamespace(monotonic=lambda: next(clock), sleep=paused.append))
    with pytest.raises(Unreachable, match=f"Job tiny-items-x has not ended after 5 s: {said}"):
        Onlooker(kubeconfig=kubeconfig).run(JOB, "items", limit=5)
    assert jobs.requests[-1][0] == "DELETE"
    assert paused, "a server that ends every watch at once is not asked again at once"


def test_a_job_is_deleted_when_its_log_is_refused_or_the_person_gives_up(jobs, kubeconfig, monkeypatch):
    jobs.special["/log?"] = (403, {"message": "pods/log is forbidden"})
    with pytest.raises(Refused, match="no access to Job tiny-items- in namespace default: pods/log is forbidden"):
        Onlooker(kubeconfig=kubeconfig).run(JOB, "items", limit=5)
    assert jobs.requests[-1][0] == "DELETE"

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Onlooker, "_end_of", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Onlooker(kubeconfig=kubeconfig).run(JOB, "items", limit=5)
    assert [method for method, *_ in jobs.requests].count("DELETE") == 2


def test_a_job_that_may_not_be_made_is_not_deleted(jobs, kubeconfig):
    jobs.special["POST "] = (403, {"message": "jobs is forbidden"})
    with pytest.raises(Refused, match="jobs is forbidden"):
        Onlooker(kubeconfig=kubeconfig).run(JOB, "items", limit=5)
    assert [method for method, *_ in jobs.requests] == ["POST"]


def test_the_image_of_small_jobs_is_the_probers(api, kubeconfig):
    template = {"spec": {"containers": [{"name": "prober", "image": "client:1"}]}}
    spec = {"selector": {}, "template": template}
    api.special = {"deployments/tiny-prober": (200, {"metadata": {"name": "tiny-prober"}, "spec": spec})}
    assert Onlooker(kubeconfig=kubeconfig).client_image("tiny") == "client:1"
    api.special = {}
    api.refuse(404, "NotFound", "not found")
    with pytest.raises(NotFound, match="no Deployment tiny-prober in namespace default"):
        Onlooker(kubeconfig=kubeconfig).client_image("tiny")
