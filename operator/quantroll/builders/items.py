"""The small Job by which a person reads the per-item results on the artifact volume; the command line makes it."""

from quantroll.builders import pods, sources
from quantroll.builders.meta import Manifest
from quantroll.constants import ARTIFACTS_MOUNT, LABEL_APP, LABEL_INSTANCE, LABEL_MANAGED_BY, PLURAL

CONTAINER = "items"
PERSON = "kubectl-quantroll"
"""Who manages it: not the operator, which therefore does not see it."""

_LIMIT = 600  # seconds of the whole Job
_KEPT = 60  # seconds after which it goes by itself, should the command line be killed before it deletes it
_RESOURCES = {"requests": {"cpu": "50m", "memory": "128Mi"}, "limits": {"memory": "2Gi"}}


def items_job(name: str, namespace: str, *, store: str, image: str, key: str, baseline_key: str) -> Manifest:
    """Job that prints the items on which the evaluations of these keys differ. `store` is the artifact claim.

    The volume is mounted read-only. The keys are hexadecimal: nothing in them that Kubernetes would expand.
    """
    folders = [f"{ARTIFACTS_MOUNT}/evaluations/{one}" for one in (key, baseline_key)]
    marks = {LABEL_APP: PLURAL, LABEL_INSTANCE: name, LABEL_MANAGED_BY: PERSON}
    container = {
        "name": CONTAINER,
        "image": image,
        "command": ["python", "-m", "quantroll_jobs.items", *folders],
        "env": pods.environment(pods.ENVIRONMENT),
        "resources": _RESOURCES,
        "securityContext": pods.container_security(read_only_root=True),
        "volumeMounts": [*sources.read_mounts(folders, store), pods.TMP_MOUNT],
    }
    pod = {
        **pods.pod_defaults(pods.JOB_USER),
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [*sources.volumes(folders, store, with_store=False), pods.TMP_VOLUME],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": f"{name}-items-", "namespace": namespace, "labels": marks},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": _LIMIT,
            "ttlSecondsAfterFinished": _KEPT,
            "template": {"metadata": {"labels": marks}, "spec": pod},
        },
    }
