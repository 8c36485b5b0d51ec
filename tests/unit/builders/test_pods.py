"""What has to hold for every pod, and for the engine wherever it runs."""

import http.server
import json
import subprocess
import sys
import threading
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantroll.api.jobs import INPUT_VARIABLE, JOB_INPUT, PROBE_VARIABLE, DataFile, ProbeInput
from quantroll.api.spec import TokenSecretRef
from quantroll.builders import deployment as builder
from quantroll.builders import pods
from unit.builders.samples import (
    CONFIRM,
    CPU,
    EVALUATE,
    EVALUATE_TASKS,
    FETCH,
    GPU,
    OWNER,
    POD_MANIFESTS,
    PREPARE,
    PREPARE_TASKS,
    PROBE,
    QUANTIZE,
    STABLE,
    STORE,
    all_manifests,
    evaluation,
    pod_template,
    preparation,
    server,
)


@pytest.fixture(scope="module")
def manifests():
    return all_manifests()


def containers(pod):
    return [*pod.get("initContainers", []), *pod["containers"]]


@pytest.mark.parametrize("name", POD_MANIFESTS)
def test_pod_security_restricted(manifests, name):
    pod = pod_template(manifests[name])
    context = pod["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] > 0
    assert context["fsGroup"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert {kind for volume in pod["volumes"] for kind in volume} == {"name", "persistentVolumeClaim", "emptyDir"}
    for container in containers(pod):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["runAsNonRoot"] is True
        assert security.get("runAsUser", 1) > 0
        assert "privileged" not in security


@pytest.mark.parametrize("name", POD_MANIFESTS)
def test_pod_has_no_token_and_no_injected_variables(manifests, name):
    pod = pod_template(manifests[name])
    assert pod["automountServiceAccountToken"] is False
    assert pod["enableServiceLinks"] is False
    assert "serviceAccountName" not in pod


@pytest.mark.parametrize("name", POD_MANIFESTS)
def test_root_is_read_only_but_where_a_gpu_is(manifests, name):
    for container in containers(pod_template(manifests[name])):
        has_gpu = "nvidia.com/gpu" in container.get("resources", {}).get("limits", {})
        assert container["securityContext"]["readOnlyRootFilesystem"] is not has_gpu


@pytest.mark.parametrize("name", POD_MANIFESTS)
def test_mounts_and_volumes_match(manifests, name):
    pod = pod_template(manifests[name])
    volumes = [volume["name"] for volume in pod["volumes"]]
    claims = [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if "persistentVolumeClaim" in v]
    mounted = {mount["name"] for container in containers(pod) for mount in container["volumeMounts"]}
    assert len(set(volumes)) == len(volumes)
    assert len(set(claims)) == len(claims)
    assert mounted == set(volumes)


@pytest.mark.parametrize("name", POD_MANIFESTS)
def test_only_jobs_write_and_only_to_the_store(manifests, name):
    pod = pod_template(manifests[name])
    for container in containers(pod):
        written = {m["mountPath"] for m in container["volumeMounts"] if not m.get("readOnly")}
        own = {"job": {"/artifacts"}, "load": {"/benchmark"}}.get(container["name"], set())
        allowed = {"/tmp", "/dev/shm"} | own
        assert written <= allowed
        assert "/tmp" in written


@pytest.mark.parametrize("name", POD_MANIFESTS)
def test_environment_names_are_unique(manifests, name):
    for container in containers(pod_template(manifests[name])):
        names = [variable["name"] for variable in container["env"]]
        assert len(set(names)) == len(names)


@pytest.mark.parametrize("served", [CPU, GPU], ids=["cpu", "gpu"])
def test_what_is_evaluated_is_what_serves(served):
    sidecar = pod_template(evaluation(served, "v", STABLE))["initContainers"][0]
    serving = pod_template(server(served, "v", STABLE))["containers"][0]
    only_serving = {"startupProbe", "readinessProbe", "livenessProbe", "lifecycle"}
    assert sidecar == {k: v for k, v in serving.items() if k not in only_serving} | {"restartPolicy": "Always"}
    assert only_serving <= serving.keys()


@pytest.mark.parametrize("served", [CPU, GPU], ids=["cpu", "gpu"])
def test_evaluation_runs_where_the_revision_serves(served):
    job, server_pod = pod_template(evaluation(served, "v", STABLE)), pod_template(server(served, "v", STABLE))
    for field in ("nodeSelector", "tolerations"):
        assert job.get(field) == server_pod.get(field)


def test_profile_has_the_last_word():
    engine = pod_template(server(CPU, "v", STABLE))["containers"][0]
    assert engine["args"][-1] == "--enforce-eager"
    assert {"name": "HOME", "value": "/tmp/home"} in engine["env"]


def test_engine_stops_before_the_kubelet_kills_it():
    for served in (CPU, GPU):
        pod, profile = pod_template(server(served, "v", STABLE)), served.profile
        assert pod["terminationGracePeriodSeconds"] > profile.pre_stop_seconds + profile.shutdown_timeout_seconds
        assert f"--shutdown-timeout={profile.shutdown_timeout_seconds}" in pod["containers"][0]["args"]


def test_no_pause_before_sigterm_when_none_is_wanted():
    profile = CPU.profile.model_copy(update={"pre_stop_seconds": 0})
    engine = pod_template(server(CPU.model_copy(update={"profile": profile}), "v", STABLE))["containers"][0]
    assert "lifecycle" not in engine


def test_deadline_and_replicas_do_not_touch_pods():
    def render(replicas, minutes):
        return builder.deployment(
            OWNER,
            CPU,
            variant="v",
            revision=STABLE,
            replicas=replicas,
            store=STORE,
            model_load=timedelta(minutes=minutes),
        )

    one, other = render(1, 30), render(3, 90)
    assert one["spec"]["template"] == other["spec"]["template"]
    assert other["spec"]["progressDeadlineSeconds"] == 5400
    assert other["spec"]["replicas"] == 3


def test_selector_selects_its_own_pods_only():
    one, other = server(CPU, "a", "aaaaaaaaaa"), server(CPU, "b", "bbbbbbbbbb")
    selector = one["spec"]["selector"]["matchLabels"].items()
    assert selector <= one["spec"]["template"]["metadata"]["labels"].items()
    assert not selector <= other["spec"]["template"]["metadata"]["labels"].items()
    assert not selector <= evaluation(CPU, "a", "aaaaaaaaaa")["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize(
    ("name", "job_input"),
    [
        ("prepare-job", PREPARE),
        ("quantize-job-cpu", QUANTIZE),
        ("evaluate-job-cpu", EVALUATE),
        ("confirm-job", CONFIRM),
    ],
)
def test_job_reads_the_input_that_was_given(manifests, name, job_input):
    client = pod_template(manifests[name])["containers"][0]
    value = next(variable["value"] for variable in client["env"] if variable["name"] == INPUT_VARIABLE)
    assert JOB_INPUT.validate_json(expand(value)) == job_input


def test_prober_reads_the_input_that_was_given(manifests):
    (container,) = pod_template(manifests["prober"])["containers"]
    value = next(variable["value"] for variable in container["env"] if variable["name"] == PROBE_VARIABLE)
    assert ProbeInput.model_validate_json(expand(value)) == PROBE


def test_prober_is_found_by_prometheus_where_it_listens(manifests):
    template = manifests["prober"]["spec"]["template"]
    (container,) = template["spec"]["containers"]
    (port,) = container["ports"]
    notes = template["metadata"]["annotations"]
    assert notes["prometheus.io/scrape"] == "true"
    assert (notes["prometheus.io/port"], notes["prometheus.io/path"]) == (str(port["containerPort"]), "/metrics")
    assert container["livenessProbe"]["httpGet"]["port"] == port["name"]
    assert "memory" in container["resources"]["limits"]


def test_prober_is_one_and_no_server_of_users(manifests):
    spec = manifests["prober"]["spec"]
    labels = spec["template"]["metadata"]["labels"].items()
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert spec["selector"]["matchLabels"].items() <= labels
    for name in ("service-stable", "service-revision"):
        assert not manifests[name]["spec"]["selector"].items() <= labels
    for name in (name for name in POD_MANIFESTS if name != "prober"):
        others = manifests[name]["spec"]["template"]["metadata"]["labels"].items()
        assert not spec["selector"]["matchLabels"].items() <= others


@pytest.mark.parametrize("name", [name for name in POD_MANIFESTS if "job" in name])
def test_disruption_is_judged_before_exit_codes(manifests, name):
    spec = manifests[name]["spec"]
    first, second = spec["podFailurePolicy"]["rules"]
    assert (first["action"], second["action"]) == ("Ignore", "FailJob")
    assert second["onExitCodes"] == {"containerName": "job", "operator": "In", "values": [65, 137]}
    assert spec["template"]["spec"]["restartPolicy"] == "Never"  # podFailurePolicy demands it


def expand(text):
    """Kubernetes' expansion of `$(NAME)` with `$$` as the escape, in an environment where every name is set."""
    out, i = "", 0
    while i < len(text):
        pair = text[i : i + 2]
        if pair == "$$":
            out, i = out + "$", i + 2
        elif pair == "$(" and ")" in text[i:]:
            out, i = out + "EXPANDED", text.index(")", i) + 1
        else:
            out, i = out + text[i], i + 1
    return out


@given(st.text(alphabet="$()ab{}"))
def test_literal_text_survives_expansion(text):
    assert expand(pods.literal(text)) == text


class Engine(http.server.BaseHTTPRequestHandler):
    """Answers completions with the server's status, and keeps what it was asked."""

    def do_POST(self):
        self.server.asked.append((self.path, json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        self.send_response(self.server.status)
        self.end_headers()
        self.wfile.write(b'{"choices": []}')

    def log_message(self, *args):
        pass


@pytest.fixture
def engine_server():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Engine) as served:
        served.asked = []
        served.status = 200
        thread = threading.Thread(target=served.serve_forever)
        thread.start()
        yield served
        served.shutdown()
        thread.join()


def startup_probe(port):
    _, flag, script = pod_template(server(CPU, "v", STABLE))["containers"][0]["startupProbe"]["exec"]["command"]
    assert "8000" in script
    command = [sys.executable, flag, script.replace("8000", str(port))]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_startup_probe_asks_for_a_completion(engine_server):
    assert startup_probe(engine_server.server_port).returncode == 0
    assert engine_server.asked == [("/v1/completions", {"model": OWNER.name, "prompt": "1", "max_tokens": 1})]


def test_startup_probe_fails_when_the_engine_answers_with_an_error(engine_server):
    engine_server.status = 500
    result = startup_probe(engine_server.server_port)
    assert result.returncode != 0
    assert result.stderr.startswith("HTTP 500")


def test_startup_probe_fails_while_nothing_listens(engine_server):
    engine_server.shutdown()
    engine_server.server_close()
    result = startup_probe(engine_server.server_port)
    assert result.returncode != 0
    assert result.stderr.startswith("no answer yet")
    assert "Traceback" not in result.stderr


HUB_VARIABLES = {"HF_TOKEN", "HF_ENDPOINT", "HF_HUB_DISABLE_XET"}


@pytest.mark.parametrize("name", POD_MANIFESTS)
def test_only_the_job_that_fetches_may_talk_to_a_hub(manifests, name):
    for container in containers(pod_template(manifests[name])):
        given = {variable["name"] for variable in container["env"]}
        if name.startswith("prepare-job-"):
            assert not given & set(pods.OFFLINE)
        else:
            assert given >= set(pods.OFFLINE)
            assert not given & HUB_VARIABLES


def test_the_token_comes_from_the_users_secret_and_is_in_no_manifest():
    job = preparation(FETCH, token=TokenSecretRef(name="hub", key="read"))
    (container,) = pod_template(job)["containers"]
    (token,) = [variable for variable in container["env"] if variable["name"] == "HF_TOKEN"]
    assert token == {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "read"}}}
    given = JOB_INPUT.validate_json(next(v["value"] for v in container["env"] if v["name"] == INPUT_VARIABLE))
    assert given == FETCH


def test_a_job_that_fetches_nothing_gets_no_token():
    job = preparation(PREPARE, endpoint="https://hub.example.com", token=TokenSecretRef(name="hub"))
    assert job == preparation(PREPARE)


def test_lm_eval_has_its_own_image_and_finds_its_data_where_prepare_left_them():
    for job in (preparation(PREPARE_TASKS), evaluation(CPU, "baseline", STABLE, EVALUATE_TASKS)):
        (container,) = pod_template(job)["containers"]
        assert container["image"] == "registry.example.com/client-lm-eval:1"
        assert {"name": "HF_HOME", "value": "/artifacts/huggingface"} in container["env"]
        assert "/claims/data" in [mount["mountPath"] for mount in container["volumeMounts"]]
    (container,) = pod_template(evaluation(CPU, "baseline", STABLE, EVALUATE_TASKS))["containers"]
    assert "/claims/models" in [mount["mountPath"] for mount in container["volumeMounts"]], "the tokenizer"


def test_tasks_of_lm_evals_own_mount_no_folder():
    given = PREPARE_TASKS.model_copy(update={"eval_set": DataFile(path=""), "calibration": None})
    (container,) = pod_template(preparation(given))["containers"]
    assert "/claims/data" not in [mount["mountPath"] for mount in container["volumeMounts"]]


def test_a_mirrors_address_is_not_expanded():
    (container,) = pod_template(preparation(FETCH, endpoint="https://hub.example.com/$(HOME)"))["containers"]
    assert {"name": "HF_ENDPOINT", "value": "https://hub.example.com/$$(HOME)"} in container["env"]
