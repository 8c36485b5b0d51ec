"""A Gateway API implementation in front of the node's pods: Contour, and Envoy as a plain process.

Envoy runs in the cluster's network namespace and reaches pod addresses directly. Weights of an HTTPRoute, and pods
that come and go, reach it within a second.
"""

import json
import subprocess
from pathlib import Path

from .binaries import Binaries
from .controlplane import NODE_IP, ControlPlane
from .dns import endpoints
from .kube import Client, Object, role_binding
from .procs import State

NAMESPACE, NAME, CLASS = "gateway", "gateway", "contour"
PORT, ENVOY_PORT = 80, 8080  # Contour has Envoy listen 8000 above a privileged port
XDS_PORT, CONTOUR_PORT = 8001, 8000


def objects() -> list[Object]:
    """The Gateway, open to routes of all namespaces, and a Service `gateway` so that pods can call it by name."""
    group = "gateway.networking.k8s.io"
    ports = [{"name": "http", "protocol": "TCP", "port": ENVOY_PORT}]
    return [
        {
            "apiVersion": f"{group}/v1",
            "kind": "GatewayClass",
            "metadata": {"name": CLASS},
            "spec": {"controllerName": "projectcontour.io/gateway-controller"},
        },
        {
            "apiVersion": f"{group}/v1",
            "kind": "Gateway",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {
                "gatewayClassName": CLASS,
                "listeners": [
                    {"name": "http", "protocol": "HTTP", "port": PORT, "allowedRoutes": {"namespaces": {"from": "All"}}}
                ],
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {
                "type": "LoadBalancer",
                "allocateLoadBalancerNodePorts": False,
                "ports": [{"name": "http", "port": PORT, "targetPort": ENVOY_PORT}],
            },
        },
        endpoints(NAME, NAMESPACE, ports),
    ]


def start(state: State, binaries: Binaries, cp: ControlPlane, client: Client) -> None:
    """Install the CRDs, start Contour and Envoy; returns when the Gateway is Programmed."""
    _install(client, binaries("contour").parent / "manifests")
    _processes(state, binaries, cp)
    client.kubectl("wait", "-n", NAMESPACE, f"gateway/{NAME}", "--for=condition=Programmed", "--timeout=60s")
    state.check("envoy")


def _install(client: Client, manifests: Path) -> None:
    client.kubectl("apply", "--server-side", "-f", manifests / "gateway-api", "-f", manifests / "contour/01-crds.yaml")
    client.apply(
        *({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": n}} for n in ("projectcontour", NAMESPACE))
    )
    client.kubectl("apply", "--server-side", "-f", manifests / "contour/02-role-contour.yaml")
    client.apply(role_binding("contour", "contour"))
    client.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    client.apply(*objects())
    # what a cloud's load balancer would report: the Gateway's address, which kube-proxy then serves on PORT
    status = {"status": {"loadBalancer": {"ingress": [{"ip": NODE_IP}]}}}
    client.kubectl("patch", "-n", NAMESPACE, f"service/{NAME}", "--subresource=status", "-p", json.dumps(status))


def _processes(state: State, binaries: Binaries, cp: ControlPlane) -> None:
    folder = state.dir / "gateway"
    folder.mkdir()
    config = folder / "contour.json"
    config.write_text(json.dumps({"gateway": {"gatewayRef": {"namespace": NAMESPACE, "name": NAME}}}))
    xds = ["--xds-address=127.0.0.1", f"--xds-port={XDS_PORT}"]
    state.spawn(
        "contour",
        binaries("contour"),
        "serve",
        f"--kubeconfig={cp.kubeconfig('contour', 'contour')}",
        f"--config-path={config}",
        "--insecure",
        *xds,
        "--http-address=127.0.0.1",
        f"--http-port={CONTOUR_PORT}",
        "--health-address=127.0.0.1",
        f"--health-port={CONTOUR_PORT}",
        "--stats-address=127.0.0.1",
        f"--envoy-service-http-address={NODE_IP}",
        f"--envoy-service-https-address={NODE_IP}",
        f"--envoy-service-namespace={NAMESPACE}",
        f"--envoy-service-name={NAME}",
        "--disable-leader-election",
        # kinds that are not in the standard channel, or in another version there than Contour was built for
        "--disable-feature=tlsroutes",
        "--disable-feature=tcproutes",
        "--disable-feature=backendtlspolicies",
    )
    # Contour wants a unix socket for the admin page; relative to Envoy's working folder it is never too long
    subprocess.run(
        [binaries("contour"), "bootstrap", folder / "envoy.json", *xds, "--admin-address=gateway/envoy-admin.sock"],
        check=True,
        capture_output=True,
    )
    state.spawn(
        "envoy",
        binaries("envoy"),
        "-c",
        folder / "envoy.json",
        "--service-cluster",
        "quantroll",
        "--service-node",
        "envoy-0",
        "--concurrency",
        "1",
        "--log-level",
        "warning",
        "--disable-hot-restart",
    )
