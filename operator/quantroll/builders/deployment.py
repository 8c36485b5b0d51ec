"""The Deployment of one revision."""

import json
from datetime import timedelta

from quantroll.api.status import RevisionSpec
from quantroll.builders import completion, engine, names, pods, sources
from quantroll.builders.meta import Manifest, Owner, labels, object_meta, revision_selector, scraped
from quantroll.constants import ANNOTATION_REVISION_SPEC, ENGINE_PORT, Component
from quantroll.domain import locate

_STARTUP_PERIOD = 5
_GRACE_MARGIN = 15  # seconds after the engine's own limit until it is killed


def deployment(
    owner: Owner,
    served: RevisionSpec,
    *,
    variant: str,
    revision: str,
    replicas: int,
    store: str,
    model_load: timedelta,
) -> Manifest:
    """Pods that serve a revision. `store` is the artifact claim; `model_load` moves no field of the pods."""
    marks = labels(owner, Component.SERVE, variant=variant, revision=revision)
    notes = {ANNOTATION_REVISION_SPEC: json.dumps(served.to_wire(), sort_keys=True, separators=(",", ":"))}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": object_meta(owner, names.revision(owner.name, revision), marks, annotations=notes),
        "spec": {
            "replicas": replicas,
            "progressDeadlineSeconds": max(1, int(model_load.total_seconds())),
            "selector": {"matchLabels": revision_selector(owner, revision)},
            # A revision's pods never change; should they all the same, what serves stays until its successor is ready,
            # also where that one finds no free GPU.
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": marks, "annotations": scraped(ENGINE_PORT)},
                "spec": _pod(owner, served, revision, store),
            },
        },
    }


def _pod(owner: Owner, served: RevisionSpec, revision: str, store: str) -> Manifest:
    profile = served.profile
    model = locate.model_path(served.model)
    return {
        **pods.pod_defaults(profile.run_as_user),
        **pods.placement(served.serving),
        "terminationGracePeriodSeconds": profile.pre_stop_seconds + profile.shutdown_timeout_seconds + _GRACE_MARGIN,
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": revision_selector(owner, revision)},
            }
        ],
        "containers": [engine.container(owner.name, served, store) | _probes(owner.name) | _lifecycle(served)],
        "volumes": [
            *sources.volumes([model], store, with_store=False),
            pods.TMP_VOLUME,
            engine.shared_memory_volume(served),
        ],
    }


def _probes(served_name: str) -> Manifest:
    health = {"path": "/health", "port": engine.PORT_NAME}
    return {
        # A first completion proves that the weights work, and warms the engine up before it gets traffic.
        "startupProbe": {
            "exec": {"command": completion.command(served_name, ENGINE_PORT)},
            "periodSeconds": _STARTUP_PERIOD,
            "timeoutSeconds": completion.TIMEOUT + 5,
            "failureThreshold": engine.LOAD_LIMIT_SECONDS // _STARTUP_PERIOD,
        },
        "readinessProbe": {"httpGet": health, "periodSeconds": 5, "timeoutSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {"httpGet": health, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 6},
    }


def _lifecycle(served: RevisionSpec) -> Manifest:
    """A pause before SIGTERM: endpoints and gateways forget the pod first, and a draining vLLM aborts what arrives."""
    seconds = served.profile.pre_stop_seconds
    return {"lifecycle": {"preStop": {"sleep": {"seconds": seconds}}}} if seconds else {}
