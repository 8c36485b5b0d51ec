"""Prometheus as a plain process in the cluster's network namespace, scraping pods by their annotations.

Pods reach it as http://prometheus.monitoring.svc:9090, the machine by the relay. It can be stopped and started while
the cluster runs; what it has stored stays.
"""

import json
import urllib.error
import urllib.request
from pathlib import Path

from .binaries import Binaries
from .controlplane import NODE_IP, ControlPlane
from .dns import endpoints
from .kube import Client, Object, cluster_role
from .procs import State, wait_for

NAME, NAMESPACE, PORT = "prometheus", "monitoring", 9090
INTERVAL = "2s"
COPIED = {  # what discovery knows of a pod -> the label that each of its series gets
    "namespace": "namespace",
    "pod_name": "pod",
    "pod_label_quantroll_io_name": "name",
    "pod_label_quantroll_io_revision": "revision",
}


def objects() -> list[Object]:
    """A user that may look at pods, and a Service so that pods can call it by name."""
    ports = [{"name": "http", "protocol": "TCP", "port": PORT}]
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}},
        *cluster_role(NAME, [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}]),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"ports": [{"name": "http", "port": PORT}]},
        },
        endpoints(NAME, NAMESPACE, ports),
    ]


def config(kubeconfig: Path) -> Object:
    """The usual annotations prometheus.io/scrape, port and path; some facts of a pod become labels of its series.

    The operator's own page is a job of its own, as docs/metrics.md has it. Several ports of a pod make several targets
    of one address, of which Prometheus keeps one.
    """
    meta = "__meta_kubernetes"
    note = f"{meta}_pod_annotation_prometheus_io"
    relabel = [
        {"source_labels": [f"{note}_scrape"], "action": "keep", "regex": "true"},
        {"source_labels": [f"{meta}_pod_phase"], "action": "drop", "regex": "Pending|Succeeded|Failed"},
        {"source_labels": [f"{note}_path"], "regex": "(.+)", "target_label": "__metrics_path__"},
        {
            "source_labels": [f"{meta}_pod_ip", f"{note}_port"],
            "regex": r"([^;]+);(\d+)",
            "replacement": "$1:$2",
            "target_label": "__address__",
        },
        *({"source_labels": [f"{meta}_{fact}"], "target_label": label} for fact, label in COPIED.items()),
    ]
    pods = {"role": "pod", "kubeconfig_file": str(kubeconfig)}
    operator = [
        {"source_labels": [f"{meta}_pod_label_app_kubernetes_io_name"], "action": "keep", "regex": "quantroll"},
        {"source_labels": [f"{meta}_pod_label_app_kubernetes_io_component"], "action": "keep", "regex": "operator"},
        {"source_labels": [f"{meta}_pod_container_port_name"], "action": "keep", "regex": "metrics"},
        {"source_labels": [f"{meta}_namespace"], "target_label": "namespace"},
        {"source_labels": [f"{meta}_pod_name"], "target_label": "pod"},
    ]
    job = {"kubernetes_sd_configs": [pods]}
    return {
        "global": {"scrape_interval": INTERVAL, "scrape_timeout": INTERVAL},
        "scrape_configs": [
            {"job_name": "pods", **job, "relabel_configs": relabel},
            # the label namespace is that of the model it tells of, not of its own pod
            {"job_name": "quantroll-operator", **job, "honor_labels": True, "relabel_configs": operator},
        ],
    }


def install(state: State, binaries: Binaries, cp: ControlPlane, client: Client) -> None:
    """Make what it needs in the cluster and in the cluster's folder, and start it."""
    client.apply(*objects())
    folder = state.dir / NAME
    folder.mkdir()
    (folder / "prometheus.yml").write_text(json.dumps(config(cp.kubeconfig(NAME, NAME)), indent=1))  # JSON is YAML
    start(state, binaries)


def start(state: State, binaries: Binaries) -> None:
    """Start it, for the first time or again; returns when it answers."""
    folder = state.dir / NAME
    state.spawn(
        NAME,
        binaries(NAME),
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/data",
        "--storage.tsdb.no-lockfile",  # one that was killed would leave its own behind
        "--storage.tsdb.retention.time=1d",
        f"--web.listen-address={NODE_IP}:{PORT}",
        "--log.level=warn",
    )
    wait_for("Prometheus", lambda: _ready(state), 60)


def stop(state: State) -> None:
    """Stop it while the cluster runs on; not running is fine."""
    state.end(NAME)


def _ready(state: State) -> bool:
    state.check(NAME)
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{state.data['ports'][NAME]}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        error.close()  # else its socket lives on until it is collected
        return False
