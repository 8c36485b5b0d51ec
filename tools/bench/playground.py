"""A control plane, KWOK beside it, and what models need: nodes, namespaces, claims. No root."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from bench import audit
from bench.api import Api
from bench.models import STORAGE_CLASS, Object, data_claim, volumes
from bench.process import processor_time
from bench.stages import stages
from bootstrap import cache, gotools
from cluster.binaries import Binaries
from cluster.procs import wait_for
from cluster.testcontrol import ControlPlaneOnly
from quantroll.constants import API_VERSION, PLURAL

USER = "quantroll-operator"
NODES = 4
# the defaults hold back what is not measured here: 50 pods a second are bound, five Jobs synced at a time
_FAST = ("--kube-api-qps=1000", "--kube-api-burst=2000")
_SYNCS = ("--concurrent-job-syncs=20", "--concurrent-deployment-syncs=20", "--concurrent-replicaset-syncs=20")
# What is measured shares its cores with all of these, and there is memory enough.
_SELDOM_COLLECTED = {"GOGC": "400"}
_OPTIONS: Object = {
    "apiVersion": "config.kwok.x-k8s.io/v1alpha1",
    "kind": "KwokConfiguration",
    "options": {  # where there are any, there are no defaults
        "podPlayStageParallelism": 16,
        "nodePlayStageParallelism": 4,
        "nodeLeaseDurationSeconds": 40,
        "nodeLeaseParallelism": 4,
        "podsOnNodeSyncParallelism": 4,
    },
}


class Playground:
    """What `playground` yields while it stands."""

    def __init__(self, control: ControlPlaneOnly, audited: audit.Log) -> None:
        self.control, self.audit = control, audited
        self.kubeconfig = control.user(USER, "system:masters")

    @property
    def cpu(self) -> float:
        """Seconds of processor time that the API server and its store have used."""
        return sum(processor_time(self.control.pid(name)) for name in ("kube-apiserver", "etcd"))

    async def furnish(self, api: Api, models: list[Object]) -> None:
        """Nodes, volumes, and namespaces with the user's claim in each."""
        found = {model["metadata"]["namespace"] for model in models}
        await api.create([_node(f"node-{n}") for n in range(NODES)] + volumes(models))
        await api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in found)
        await api.create(data_claim(name) for name in found)


@contextmanager
def playground(folder: Path) -> Iterator[Playground]:
    """Start it in FOLDER, which must be empty; the end stops all that was started."""
    folder.mkdir(parents=True, exist_ok=True)
    policy, log = folder / "audit-policy.yaml", folder / "audit.log"
    policy.write_text(yaml.safe_dump(audit.policy(USER)))
    log.touch()
    flags = {
        "kube-apiserver": (f"--audit-policy-file={policy}", f"--audit-log-path={log}"),
        "kube-controller-manager": (*_FAST, *_SYNCS),
        "kube-scheduler": _FAST,
    }
    binaries = Binaries([*Binaries.for_tests().folders, gotools.folder(gotools.BENCH)])
    with ControlPlaneOnly(folder / "control", binaries, flags, _SELDOM_COLLECTED) as control:
        _definitions(control)
        with _kwok(folder, binaries, control):
            yield Playground(control, audit.Log(log))


def _definitions(control: ControlPlaneOnly) -> None:
    manifests = gotools.folder() / "manifests" / "gateway-api"
    control.client.kubectl("apply", "--server-side", "-f", cache.CHECKOUT / "crds", "-f", manifests)
    control.client.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    for path in (f"/apis/{API_VERSION}/{PLURAL}", "/apis/gateway.networking.k8s.io/v1/httproutes"):
        wait_for(path, lambda path=path: control.client.get(path), 30)  # type: ignore[misc] # 429 until it can be stored
    control.client.apply(STORAGE_CLASS)


@contextmanager
def _kwok(folder: Path, binaries: Binaries, control: ControlPlaneOnly) -> Iterator[None]:
    config, log = folder / "kwok.yaml", folder / "kwok.log"
    texts = [file.read_text() for file in sorted((gotools.folder(gotools.BENCH) / "stages").glob("node-*.yaml"))]
    config.write_text("\n---\n".join([*texts, *(json.dumps(document) for document in (_OPTIONS, *stages()))]))
    command = [
        binaries("kwok"),
        f"--kubeconfig={control.kubeconfig}",
        f"--config={config}",
        "--manage-all-nodes=true",
    ]
    with log.open("ab") as out:
        process = subprocess.Popen(
            [*map(str, command)], stdout=out, stderr=out, env={**os.environ, **_SELDOM_COLLECTED}
        )
    try:
        wait_for("KWOK", lambda: process.poll() is not None or b"Watch all nodes" in log.read_bytes(), 30)
        yield
        if process.poll() is not None:
            raise RuntimeError(f"KWOK ended:\n{log.read_text(errors='replace')[-2000:]}")
    finally:
        process.terminate()
        process.wait(timeout=20)


def _node(name: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, "type": "kwok"}},
    }
