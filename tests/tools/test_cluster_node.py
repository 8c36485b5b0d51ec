"""A cluster with a node: it comes up, runs pods, and whatever happens leaves nothing behind."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from cluster import cgroups, images
from cluster.cluster import Cluster
from cluster.procs import wait_for

pytestmark = [pytest.mark.node, pytest.mark.timeout(600)]

RESTRICTED = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}


def traces(folder):
    """All that a cluster in this folder could leave: processes, mounts, cgroups."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(folder) in entry.read_text() and entry.parent.name != str(os.getpid()):
                found.append(entry.read_text())
        except OSError:
            continue
    found += [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(folder) in line]
    return found


def kubelets(folder):
    """Pids of the kubelets of a cluster."""
    mark, found = f"--config={folder}/node/kubelet.json".encode(), set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may have ended
            if mark in (entry / "cmdline").read_bytes():
                found.add(int(entry.name))
    return found


def identity(folder):
    """Name of the cluster in this folder, which its cgroups have; empty before its first process has started."""
    record = folder / "state.json"
    return json.loads(record.read_text())["id"] if record.exists() else ""


def cgroups_of(name):
    return {d for h in cgroups.hierarchies() for d in h.glob("quantroll-*") if d.name == name}


def web(image, text):
    """A namespace with a small web server that answers from a volume, behind a route for its host name."""
    labels = {"app": "web"}
    where = {"name": "web", "namespace": "apps"}
    container = {
        "name": "web",
        "image": image,
        "command": ["python", "-m", "http.server", "8000", "--directory", "/data"],
        "securityContext": RESTRICTED,
        "volumeMounts": [{"name": "data", "mountPath": "/data"}],
        "readinessProbe": {"httpGet": {"path": f"/{text}", "port": 8000}, "periodSeconds": 1},
    }
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": where,
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "containers": [container],
                        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": "files"}}],
                    },
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": where,
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8000}]},
        },
        {
            "apiVersion": "gateway.networking.k8s.io/v1",
            "kind": "HTTPRoute",
            "metadata": where,
            "spec": {
                "hostnames": ["web.test"],
                "parentRefs": [{"name": "gateway", "namespace": "gateway"}],
                "rules": [{"backendRefs": [{"name": "web", "port": 80}]}],
            },
        },
    ]


def asking_lm_eval(image):
    """A pod of the image for scorer LMEval, which nothing else starts: whether what asks and judges is in it."""
    command = ["python", "-c", "import lm_eval.models.openai_completions, quantroll_jobs.harness.ask"]
    container = {"name": "client", "image": image, "command": command, "securityContext": RESTRICTED}
    container["volumeMounts"] = [{"name": "tmp", "mountPath": "/tmp"}]
    spec = {"restartPolicy": "Never", "containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "lm-eval", "namespace": "apps"}, "spec": spec}


def test_a_pod_of_our_image_serves_a_users_file_through_the_gateway(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    (folder / "hello").write_text("from the volume")
    with Cluster(tmp_path / "cluster") as c:
        c.up(images=images.build(["client", "client-lm-eval"]).values(), with_gateway=True)
        name = identity(tmp_path / "cluster")
        assert cgroups_of(name)
        c.client.apply(
            {
                "apiVersion": "v1",
                "kind": "Namespace",
                "metadata": {"name": "apps", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
            }
        )
        c.add_volume("files", "apps", folder)
        c.client.apply(*web(images.references()["client"], "hello"))
        c.client.kubectl("-n", "apps", "rollout", "status", "deploy/web", "--timeout=60s")
        request = Request(f"http://127.0.0.1:{c.ports['gateway']}/hello", headers={"Host": "web.test"})
        answer = wait_for("an answer", lambda: urlopen(request, timeout=5).read(), 30)
        assert answer == b"from the volume"
        c.client.apply(asking_lm_eval(images.references()["client-lm-eval"]))
        ended = "--for=jsonpath={.status.phase}=Succeeded"
        c.client.kubectl("-n", "apps", "wait", "pod/lm-eval", ended, "--timeout=60s")
        (kubelet,) = wait_for("the kubelet", lambda: kubelets(tmp_path / "cluster"), 10)
        os.kill(kubelet, signal.SIGKILL)
        wait_for("another kubelet", lambda: kubelets(tmp_path / "cluster") - {kubelet}, 10)
        assert urlopen(request, timeout=5).read() == answer
        assert c.run(["kubectl", "get", "nodes"], capture_output=True, text=True).stdout.split()[5:7] == [
            "node-1",
            "Ready",
        ]
    assert traces(tmp_path / "cluster") == []
    assert not (tmp_path / "cluster").exists()
    assert cgroups_of(name) == set()
    assert (folder / "hello").exists(), "a user's files outlive the cluster"


@pytest.mark.parametrize("seconds", [0.5, 3, 6, 9])
def test_ctrl_c_during_the_start_leaves_only_logs(tmp_path, seconds):
    folder = tmp_path / "cluster"
    up = subprocess.Popen(
        [sys.executable, "-m", "cluster", "up", "--dir", folder, "--gateway"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )
    time.sleep(seconds)
    name = identity(folder)
    up.send_signal(signal.SIGINT)
    code = up.wait(60)
    if code == 0:  # it was faster than that
        Cluster(folder).down()
    assert traces(folder) == []
    assert cgroups_of(name) == set()
    assert not folder.exists() or {x.name for x in folder.iterdir()} <= {"log"}


def test_what_a_killed_start_left_is_taken_down(tmp_path):
    folder = tmp_path / "cluster"
    up = subprocess.Popen(
        [sys.executable, "-m", "cluster", "up", "--dir", folder],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": ":".join(sys.path)},
    )
    wait_for("the node", (folder / "node" / "init.pid").exists, 60)
    name = identity(folder)
    assert cgroups_of(name)
    up.kill()
    up.wait()
    assert traces(folder)
    Cluster(folder).down()
    assert traces(folder) == []
    assert cgroups_of(name) == set()
    assert not folder.exists()


def test_two_clusters_do_not_meet(tmp_path):
    with Cluster(tmp_path / "one") as one, Cluster(tmp_path / "two") as two:
        one.up()
        two.up()
        one.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "only-here"}})
        assert "only-here" in one.client.kubectl("get", "namespaces")
        assert "only-here" not in two.client.kubectl("get", "namespaces")
        one.down()
        assert "node-1" in two.client.kubectl("get", "nodes")
    assert traces(tmp_path) == []
