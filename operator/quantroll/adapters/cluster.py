"""The Kubernetes API through the official client, with dicts: typed models refuse what a newer server adds."""

import json
import logging
import time
from datetime import UTC, datetime
from typing import Any, Self

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, ApiException, Configuration

from quantroll.adapters.told import Posted, Told
from quantroll.constants import GROUP, KIND, MANAGER, PLURAL, VERSION
from quantroll.domain.events import Event
from quantroll.errors import Conflict, NotFound, QuantrollError, Refused, Unreachable
from quantroll.ports import Manifest, ObjectRef, Telemetry

log = logging.getLogger(__name__)

_PATHS = {
    KIND: f"/apis/{GROUP}/{VERSION}/namespaces/{{}}/{PLURAL}",
    "PersistentVolumeClaim": "/api/v1/namespaces/{}/persistentvolumeclaims",
    "Service": "/api/v1/namespaces/{}/services",
    "Event": "/api/v1/namespaces/{}/events",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "HTTPRoute": "/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes",
}
_TIMEOUT = 30
_GATEWAY_API_AGE = {False: 15, True: 600}  # seconds for which the answer of discovery holds: it comes, and rarely goes
_MESSAGE_LIMIT = 1024  # of an event, as the API server checks it


class KubernetesCluster:
    """Implements `ports.Cluster`. Use as an async context manager."""

    def __init__(self, telemetry: Telemetry | None = None) -> None:
        self._api: ApiClient | None = None
        self._telemetry = telemetry or Telemetry()
        self._gateway_api: tuple[float, bool] = (0, False)
        self._told = Told(time.monotonic)

    async def __aenter__(self) -> Self:
        self._api = ApiClient(configuration=await access())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._api:
            await self._api.close()

    async def write_status(self, ref: ObjectRef, resource_version: str, status: Manifest) -> None:
        """Replace the status if the object is still at this version; Conflict otherwise."""
        meta = {"name": ref.name, "namespace": ref.namespace, "uid": ref.uid, "resourceVersion": resource_version}
        body = {"apiVersion": ref.api_version, "kind": ref.kind, "metadata": meta, "status": status}
        await self._call("PUT", f"{_path(ref)}/status", body=body, query={"fieldManager": MANAGER})

    async def apply(self, manifest: Manifest, *, force: bool) -> None:
        """Server-side apply: own exactly the fields given. Without `force`, Conflict where somebody else owns one."""
        await self._call(
            "PATCH",
            _path(ObjectRef.of(manifest)),
            body=manifest,
            query={"fieldManager": MANAGER, "force": str(force).lower()},
            content_type="application/apply-patch+yaml",
        )

    async def put_back(self, manifest: Manifest, resource_version: str) -> None:
        """Replace the spec if the object is still at this version, whoever owns what is in it; Conflict otherwise."""
        await self._call(
            "PATCH",
            _path(ObjectRef.of(manifest)),
            body=[
                {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
                {"op": "replace", "path": "/spec", "value": manifest["spec"]},
            ],
            query={"fieldManager": MANAGER},
            content_type="application/json-patch+json",
        )

    async def read(self, ref: ObjectRef) -> Manifest | None:
        """The object as it is; None if there is none of that name."""
        try:
            found: Manifest = await self._call("GET", _path(ref))
        except NotFound:
            return None
        return found

    async def delete(self, ref: ObjectRef) -> None:
        """Delete with what it owns, in the background; gone already is fine."""
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        if ref.uid:
            options["preconditions"] = {"uid": ref.uid}
        try:
            await self._call("DELETE", _path(ref), body=options)
        except (NotFound, Conflict):
            return  # a Conflict says that the name belongs to another object by now

    async def emit(self, about: ObjectRef, event: Event) -> None:
        """Post an event about an object, or count one up that says the same; a reason that flaps is held back."""
        if not self._told.may(about.uid, event):
            log.warning("%s/%s: too many events %s: one is held back", about.namespace, about.name, event.reason)
            return
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        if (posted := self._told.posted(about.uid, event)) and await self._again(about.namespace, posted, now):
            self._told.note(about.uid, event, Posted(posted.name, posted.count + 1))
            return
        body = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{about.name}-", "namespace": about.namespace},
            "involvedObject": {
                "apiVersion": about.api_version,
                "kind": about.kind,
                "namespace": about.namespace,
                "name": about.name,
                "uid": about.uid,
            },
            "type": event.type,
            "reason": event.reason,
            "message": event.message[:_MESSAGE_LIMIT],
            "source": {"component": MANAGER},
            "reportingComponent": MANAGER,
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        made = await self._call("POST", _PATHS["Event"].format(about.namespace), body=body)
        if name := made.get("metadata", {}).get("name"):
            self._told.note(about.uid, event, Posted(name, 1))

    async def _again(self, namespace: str, posted: Posted, now: str) -> bool:
        """Count an event up; False where it has expired meanwhile."""
        try:
            await self._call(
                "PATCH",
                f"{_PATHS['Event'].format(namespace)}/{posted.name}",
                body={"count": posted.count + 1, "lastTimestamp": now},
                content_type="application/merge-patch+json",
            )
        except NotFound:
            return False
        return True

    async def has_gateway_api(self) -> bool:
        """Whether HTTPRoutes can be made here."""
        asked_at, answer = self._gateway_api
        if asked_at and time.monotonic() - asked_at < _GATEWAY_API_AGE[answer]:
            return answer
        try:
            found = await self._call("GET", "/apis/gateway.networking.k8s.io/v1")
            answer = any(resource["name"] == "httproutes" for resource in found["resources"])
        except NotFound:
            answer = False
        self._gateway_api = (time.monotonic(), answer)
        return answer

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Manifest | list[Manifest] | None = None,
        query: dict[str, str] | None = None,
        content_type: str = "application/json",
    ) -> Any:
        if self._api is None:
            raise AssertionError("used outside of its context")
        began, code = time.monotonic(), "<error>"
        try:
            request = await self._api.param_serialize(
                method,
                path,
                query_params=list((query or {}).items()),
                header_params={"Accept": "application/json", "Content-Type": content_type},
                auth_settings=["BearerToken"],
            )
            method, url, headers, *_ = request
            # the body past `param_serialize`, which copies it in search of typed models
            response = await self._api.call_api(method, url, headers, body, _request_timeout=_TIMEOUT)
            data = await response.read()
            code = str(response.status)
        except (ApiException, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unreachable(f"{method} {path}: {error or type(error).__name__}") from error
        finally:
            self._telemetry.requested(method, code, time.monotonic() - began)
        if not 200 <= response.status < 300:
            raise refusal(response.status, f"{method} {path}", data)
        return json.loads(data)


async def access() -> Configuration:
    """How to reach the API server: a pod's own account, or a kubeconfig outside of a cluster."""
    configuration = Configuration()
    try:
        config.load_incluster_config(client_configuration=configuration)
    except config.ConfigException:
        await config.load_kube_config(client_configuration=configuration)
    return configuration


def _path(ref: ObjectRef) -> str:
    return f"{_PATHS[ref.kind].format(ref.namespace)}/{ref.name}"


def refusal(status: int, request: str, data: bytes) -> QuantrollError:
    """The API server's answer as one of our errors."""
    kinds = {404: NotFound, 409: Conflict, 400: Refused, 403: Refused, 405: Refused, 415: Refused, 422: Refused}
    try:
        said = json.loads(data).get("message", "")
    except (ValueError, AttributeError):
        said = data[:600].decode(errors="replace")
    return kinds.get(status, Unreachable)(f"{request}: {status}: {said[:1000]}")
