"""CoreDNS as a plain process on the node's address, behind a Service without a selector: no image needed."""

import socket
import subprocess
import sys

from .binaries import Binaries
from .controlplane import NODE_IP, ControlPlane
from .kube import Client, Object, cluster_role
from .kubelet import DNS_IP
from .procs import PACKAGE_PARENT, State, wait_for

# Two server blocks: within one, `template` comes before `kubernetes` in whatever order they are written.
COREFILE = """
cluster.local in-addr.arpa {{
    bind {ip}
    errors
    kubernetes {{
        kubeconfig {kubeconfig} quantroll
    }}
}}
. {{
    bind {ip}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def answers(server: str, name: str) -> bool:
    """Whether a DNS server has an A record of that name."""
    query = b"\x12\x34\x01\x00\x00\x01" + bytes(6)
    query += b"".join(bytes([len(x)]) + x.encode() for x in name.split(".")) + b"\x00\x00\x01\x00\x01"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        s.settimeout(1)
        s.sendto(query, (server, 53))
        return s.recv(512)[7] > 0  # the answer count


def start(state: State, binaries: Binaries, cp: ControlPlane, client: Client) -> None:
    """Start CoreDNS; returns when the cluster address of `kubernetes` resolves through its Service."""
    config = state.dir / "Corefile"
    config.write_text(COREFILE.format(ip=NODE_IP, kubeconfig=cp.kubeconfig("coredns", "coredns")))
    ports = [{"name": "dns", "protocol": "UDP", "port": 53}, {"name": "dns-tcp", "protocol": "TCP", "port": 53}]
    client.apply(
        *cluster_role(
            "coredns",
            [
                {"apiGroups": [""], "resources": ["services", "pods", "namespaces"], "verbs": ["list", "watch"]},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
            ],
        ),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": "kube-dns", "namespace": "kube-system"},
            "spec": {"clusterIP": DNS_IP, "ports": ports},
        },
        endpoints("kube-dns", "kube-system", ports),
    )
    state.spawn("coredns", binaries("coredns"), "-conf", config)
    ask = [*state.netns(), sys.executable, "-m", f"{__package__}.dns", DNS_IP, "kubernetes.default.svc.cluster.local"]

    def resolves() -> object:
        state.check("node")
        return subprocess.run(ask, cwd=PACKAGE_PARENT, capture_output=True, check=True)

    wait_for("DNS", resolves, 60)


def endpoints(service: str, namespace: str, ports: list[Object]) -> Object:
    """An EndpointSlice that points a Service without selector at the node's address."""
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "addressType": "IPv4",
        "metadata": {
            "name": f"{service}-1",
            "namespace": namespace,
            "labels": {"kubernetes.io/service-name": service, "endpointslice.kubernetes.io/managed-by": "quantroll"},
        },
        "endpoints": [{"addresses": [NODE_IP], "conditions": {"ready": True}}],
        "ports": ports,
    }


if __name__ == "__main__":
    sys.exit(not answers(sys.argv[1], sys.argv[2]))
