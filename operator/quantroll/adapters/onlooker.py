"""The cluster with the rights of a person's kubeconfig: what the command line reads, and the one Job that it runs."""

import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config, watch
from urllib3.exceptions import HTTPError

from quantroll.builders import names
from quantroll.builders.meta import Manifest
from quantroll.constants import GROUP, KIND, LABEL_COMPONENT, LABEL_OWNER, LABEL_REVISION, PLURAL, VERSION, Component
from quantroll.errors import ConfigurationError, NotFound, QuantrollError, Refused, Unreachable

_TIMEOUT = (10, 30)  # seconds to connect, and to wait for the answer
_SOON = (2, 3)  # the same for somebody who has pressed the tab key
_MANAGER = "kubectl-quantroll"  # as whom changes are noted in the object's managedFields
_PAUSE = 1  # seconds before a watch that ended too early is begun again
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


class Onlooker:
    """The access that kubectl would have: kubeconfig and its current context, or a pod's own account.

    Raises ConfigurationError where there is no usable kubeconfig; every method raises NotFound, Refused (no access) or
    Unreachable.
    """

    def __init__(
        self, *, namespace: str | None = None, kubeconfig: Path | None = None, context: str | None = None
    ) -> None:
        """Read the kubeconfig; nothing is asked yet."""
        configuration, default = _access(kubeconfig, context)
        configuration.retries = False  # a person sees the error sooner than a third attempt
        self.namespace = namespace or default
        self._host = configuration.host
        self._api = client.ApiClient(configuration)

    def model(self, name: str) -> Manifest:
        """A QuantizedModel."""
        with self._answering(f"{KIND} {name}"):
            found: Manifest = client.CustomObjectsApi(self._api).get_namespaced_custom_object(
                GROUP, VERSION, self.namespace, PLURAL, name, _request_timeout=_TIMEOUT
            )
        return found

    def models(self) -> list[str]:
        """Names of the QuantizedModels of the namespace, as the API server remembers them; a short wait for them."""
        with self._answering(f"{KIND}s"):
            found = client.CustomObjectsApi(self._api).list_namespaced_custom_object(
                GROUP, VERSION, self.namespace, PLURAL, resource_version="0", _request_timeout=_SOON
            )
        return sorted(item["metadata"]["name"] for item in found["items"])

    def change(self, name: str, patch: Manifest) -> Manifest:
        """A QuantizedModel after a merge patch."""
        with self._answering(f"{KIND} {name}"):
            found: Manifest = client.CustomObjectsApi(self._api).patch_namespaced_custom_object(
                GROUP, VERSION, self.namespace, PLURAL, name, patch,
                field_manager=_MANAGER, _content_type="application/merge-patch+json", _request_timeout=_TIMEOUT,
            )  # fmt: skip
        return found

    def servers(self, name: str) -> dict[str, tuple[int, int]]:
        """Pods of each revision that this QuantizedModel serves: ready ones, and those that are wanted."""
        selector = f"{LABEL_OWNER}={name},{LABEL_COMPONENT}={Component.SERVE.value}"
        with self._answering(f"Deployments of {name}"):
            found = client.AppsV1Api(self._api).list_namespaced_deployment(
                self.namespace, label_selector=selector, _request_timeout=_TIMEOUT
            )
        return {
            one.metadata.labels.get(LABEL_REVISION, ""): (one.status.ready_replicas or 0, one.spec.replicas or 0)
            for one in found.items
        }

    def client_image(self, name: str) -> str:
        """The image that the prober of this QuantizedModel runs: that of all small Jobs."""
        deployment = names.prober(name)
        with self._answering(f"Deployment {deployment}"):
            found = client.AppsV1Api(self._api).read_namespaced_deployment(
                deployment, self.namespace, _request_timeout=_TIMEOUT
            )
        return str(found.spec.template.spec.containers[0].image)

    def run(self, job: Manifest, container: str, *, limit: int) -> tuple[bool, str]:
        """Create a Job, wait for its end, and delete it: whether it ended well, and what its one pod said.

        Raises Unreachable with what its pod waits for when it has not ended after `limit` seconds.
        """
        batch = client.BatchV1Api(self._api)
        with self._answering(f"Job {job['metadata']['generateName']}"):
            name = batch.create_namespaced_job(self.namespace, job, _request_timeout=_TIMEOUT).metadata.name
            try:
                ended = self._end_of(batch, name, limit)
                pod = self._pod(name)
                if ended is None or pod is None:
                    raise Unreachable(f"Job {name} has not ended after {limit} s: {_waits_for(pod)}")
                said = client.CoreV1Api(self._api).read_namespaced_pod_log(
                    pod.metadata.name, self.namespace, container=container, _preload_content=False,
                    _request_timeout=_TIMEOUT,
                )  # fmt: skip
                return ended, said.data.decode(errors="replace")
            finally:
                batch.delete_namespaced_job(
                    name, self.namespace, propagation_policy="Background", _request_timeout=_TIMEOUT
                )

    def _end_of(self, batch: Any, name: str, limit: int) -> bool | None:
        """Whether the Job succeeded; None when it has not ended in time."""
        end = time.monotonic() + limit
        while (left := math.ceil(end - time.monotonic())) > 0:
            events = watch.Watch().stream(
                batch.list_namespaced_job, self.namespace, field_selector=f"metadata.name={name}", timeout_seconds=left,
                _request_timeout=(_TIMEOUT[0], left + _TIMEOUT[1]),
            )  # fmt: skip
            for event in events:
                for condition in event["object"].status.conditions or []:
                    if condition.type in ("Complete", "Failed") and condition.status == "True":
                        return bool(condition.type == "Complete")
            time.sleep(_PAUSE)
        return None

    def _pod(self, job: str) -> Any:
        selector = f"batch.kubernetes.io/job-name={job}"
        found = client.CoreV1Api(self._api).list_namespaced_pod(
            self.namespace, label_selector=selector, _request_timeout=_TIMEOUT
        )
        return found.items[0] if found.items else None

    @contextmanager
    def _answering(self, what: str) -> Iterator[None]:
        """Errors of the client as ours."""
        try:
            yield
        except client.ApiException as error:
            raise _refusal(error, what, self.namespace) from error
        except (HTTPError, OSError) as error:
            raise Unreachable(f"{self._host} does not answer: {error}") from error


def _waits_for(pod: Any) -> str:
    """Why a pod does not end, as far as its status says."""
    if pod is None:
        return "it has no pod yet"
    waiting = [one.state.waiting for one in pod.status.container_statuses or [] if one.state and one.state.waiting]
    told = [f"{one.reason}: {one.message}" if one.message else str(one.reason) for one in waiting]
    told += [str(one.message) for one in pod.status.conditions or [] if one.status == "False" and one.message]
    return "; ".join(told) or f"its pod is {pod.status.phase}"


def _access(kubeconfig: Path | None, context: str | None) -> tuple[client.Configuration, str]:
    """How to reach the API server, and the namespace where none is named."""
    configuration = client.Configuration()
    file = str(kubeconfig) if kubeconfig else os.environ.get("KUBECONFIG") or None
    try:
        contexts, active = config.list_kube_config_contexts(file)
        if context:
            active = next((known for known in contexts if known["name"] == context), None)
            if active is None:
                raise ConfigurationError(f"the kubeconfig has no context {context}")
        config.load_kube_config(file, context, client_configuration=configuration)
    except (config.ConfigException, yaml.YAMLError, OSError) as error:
        if kubeconfig or context or "KUBERNETES_SERVICE_HOST" not in os.environ:
            raise ConfigurationError(f"no usable kubeconfig: {error}") from error
        return _own_access(configuration)
    return configuration, (active.get("context") or {}).get("namespace") or "default"


def _own_access(configuration: client.Configuration) -> tuple[client.Configuration, str]:
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException as error:
        raise ConfigurationError(f"neither a kubeconfig nor a pod's own account: {error}") from error
    return configuration, _OWN_NAMESPACE.read_text().strip() if _OWN_NAMESPACE.exists() else "default"


def _refusal(error: client.ApiException, what: str, namespace: str) -> QuantrollError:
    """What the API server said, in words that say what to do."""
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else error.body or ""
    try:
        message = json.loads(body).get("message", "")
    except (ValueError, AttributeError):
        if error.status == 404:
            return NotFound(f"the cluster does not know {GROUP}/{VERSION} {KIND}: quantroll's CRD is not installed")
        message = body
    if error.status == 404:
        return NotFound(f"no {what} in namespace {namespace}")
    if error.status in (401, 403):
        return Refused(f"no access to {what} in namespace {namespace}: {message or error.reason}")
    if error.status in (400, 409, 422):
        return Refused(f"{what} in namespace {namespace} is refused: {message or error.reason}")
    return Unreachable(f"the API server answered {error.status}: {message or error.reason}")
