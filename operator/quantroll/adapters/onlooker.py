"""A QuantizedModel as the user of a kubeconfig may see it: one read, for the command line."""

import json
import os
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config
from urllib3.exceptions import HTTPError

from quantroll.constants import GROUP, KIND, PLURAL, VERSION
from quantroll.errors import ConfigurationError, NotFound, QuantrollError, Refused, Unreachable

_TIMEOUT = (10, 30)  # seconds to connect, and to wait for the answer
_OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def read(
    name: str, *, namespace: str | None = None, kubeconfig: Path | None = None, context: str | None = None
) -> dict[str, Any]:
    """The object, with the access that kubectl would have: kubeconfig and its current context, or a pod's own account.

    Raises ConfigurationError (no usable kubeconfig), NotFound (no such object, or no such kind), Refused (no access)
    and Unreachable.
    """
    configuration, default = _access(kubeconfig, context)
    configuration.retries = False  # a person sees the error sooner than a third attempt
    place = namespace or default
    try:
        with client.ApiClient(configuration) as api:
            found: dict[str, Any] = client.CustomObjectsApi(api).get_namespaced_custom_object(
                GROUP, VERSION, place, PLURAL, name, _request_timeout=_TIMEOUT
            )
    except client.ApiException as error:
        raise _refusal(error, name, place) from error
    except (HTTPError, OSError) as error:
        raise Unreachable(f"{configuration.host} does not answer: {error}") from error
    return found


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


def _refusal(error: client.ApiException, name: str, namespace: str) -> QuantrollError:
    """What the API server said, in words that say what to do."""
    try:
        said = json.loads(error.body or "")
        message = said.get("message", "")
    except (ValueError, AttributeError):
        said, message = None, str(error.body or "")
    if error.status == 404 and said is None:
        return NotFound(f"the cluster does not know {GROUP}/{VERSION} {KIND}: quantroll's CRD is not installed there")
    if error.status == 404:
        return NotFound(f"no {KIND} {name} in namespace {namespace}")
    if error.status in (401, 403):
        return Refused(f"no access to {KIND} {name} in namespace {namespace}: {message or error.reason}")
    return Unreachable(f"the API server answered {error.status}: {message or error.reason}")
