"""The control plane alone: real controllers, any number at once, and nothing left behind."""

import os
from pathlib import Path

import pytest

from cluster.procs import wait_for
from cluster.testcontrol import ControlPlaneOnly

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

JOB = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "work", "namespace": "default"},
    "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "a", "image": "none"}]}}},
}


def commands_with(text):
    found = []
    for cmdline in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text in cmdline.read_text() and cmdline.parent.name != str(os.getpid()):
                found.append(cmdline.read_text())
        except OSError:
            continue
    return found


def test_two_at_once_work_with_access_rules_on_and_leave_nothing(tmp_path):
    with ControlPlaneOnly(tmp_path / "one") as one, ControlPlaneOnly(tmp_path / "two") as two:
        assert one.client.server != two.client.server
        one.client.apply(JOB)
        pods = "/api/v1/namespaces/default/pods"
        wait_for("the Job's pod", lambda: one.client.read(pods)["items"], 20)
        assert one.client.read(pods)["items"][0]["status"]["phase"] == "Pending"
        assert two.client.read(pods)["items"] == []
        alice = one.user("alice", "team")
        with pytest.raises(RuntimeError, match='User "alice" cannot list resource "pods"'):
            one.client.kubectl("--kubeconfig", alice, "get", "pods")
        assert commands_with(str(tmp_path))
    assert commands_with(str(tmp_path)) == []
    assert list(tmp_path.iterdir()) == []


def test_a_failed_start_stops_what_ran_and_keeps_the_logs(tmp_path, monkeypatch):
    def broken(self, **_):
        raise RuntimeError("broken")

    monkeypatch.setattr("cluster.controlplane.ControlPlane.start_controllers", broken)
    with pytest.raises(RuntimeError, match="broken"), ControlPlaneOnly(tmp_path / "control"):
        pass
    assert commands_with(str(tmp_path)) == []
    assert (tmp_path / "control" / "log" / "kube-apiserver.log").exists()
