"""The prober: one small pod that asks the revisions that serve, for as long as the QuantizedModel is there."""

from quantroll.api.jobs import PROBE_VARIABLE, ProbeInput
from quantroll.builders import names, pods, sources
from quantroll.builders.meta import Manifest, Owner, labels, object_meta
from quantroll.constants import LABEL_COMPONENT, LABEL_OWNER, PROBE_PORT, Component
from quantroll.settings import Images

CONTAINER = "prober"

_COMMAND = ["python", "-m", "quantroll_jobs.probe"]
_PORT_NAME = "metrics"
_NO_STORE = ""  # questions are on the users' claims, never on the artifact volume
_GRACE_SECONDS = 5  # it ends at once, and has nothing to tidy up
_START_SECONDS = 600  # it asks for little of a processor, and on a busy node gets no more: killed, it would never start
# It keeps its questions in memory: at most 64 Mi characters, twice while a file is read again.
_RESOURCES = {"requests": {"cpu": "20m", "memory": "128Mi"}, "limits": {"memory": "1Gi"}}
_HEALTH = {"httpGet": {"path": "/healthz", "port": _PORT_NAME}, "timeoutSeconds": 5}
_SCRAPE = {
    "prometheus.io/scrape": "true",
    "prometheus.io/port": str(PROBE_PORT),
    "prometheus.io/path": "/metrics",
}


def prober(owner: Owner, probe_input: ProbeInput, *, images: Images) -> Manifest:
    """Deployment of the prober, which reads its questions from a user's claim; while that is missing, its pod waits."""
    marks = labels(owner, Component.PROBE)
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": object_meta(owner, names.prober(owner.name), marks),
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": {LABEL_OWNER: owner.name, LABEL_COMPONENT: Component.PROBE.value}},
            "strategy": {"type": "Recreate"},  # two would ask twice
            "template": {
                "metadata": {"labels": marks, "annotations": _SCRAPE},
                "spec": _pod(probe_input, images),
            },
        },
    }


def _pod(probe_input: ProbeInput, images: Images) -> Manifest:
    paths = [probe_input.source.path]
    return {
        **pods.pod_defaults(pods.JOB_USER),
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "containers": [_container(probe_input, images, paths)],
        "volumes": [*sources.volumes(paths, _NO_STORE, with_store=False), pods.TMP_VOLUME],
    }


def _container(probe_input: ProbeInput, images: Images, paths: list[str]) -> Manifest:
    document = probe_input.model_dump_json(by_alias=True, exclude_none=True)
    return {
        "name": CONTAINER,
        "image": images.client,
        "imagePullPolicy": images.pull_policy,
        "command": _COMMAND,
        "env": pods.environment(pods.ENVIRONMENT | {PROBE_VARIABLE: pods.literal(document)}),
        "ports": [{"name": _PORT_NAME, "containerPort": PROBE_PORT, "protocol": "TCP"}],
        "startupProbe": {**_HEALTH, "periodSeconds": 5, "failureThreshold": _START_SECONDS // 5},
        "livenessProbe": {**_HEALTH, "periodSeconds": 20, "failureThreshold": 3},
        "resources": _RESOURCES,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": pods.container_security(read_only_root=True),
        "volumeMounts": [*sources.read_mounts(paths, _NO_STORE), pods.TMP_MOUNT],
    }
