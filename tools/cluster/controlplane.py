"""etcd, kube-apiserver, kube-controller-manager and kube-scheduler, with RBAC and the Node authorizer on."""

import ipaddress
from collections.abc import Mapping, Sequence
from pathlib import Path

from .binaries import Binaries
from .kube import write_kubeconfig
from .pki import PKI
from .procs import State

NODE_IP = "10.250.0.1"  # one address on the namespace's `lo` for all: API, node, DNS, gateway
API_PORT = 6443
SELDOM_COLLECTED = {"GOGC": "200"}  # here is more memory than processor; the default is 100
SERVICE_CIDR, CLUSTER_CIDR = "10.96.0.0/16", "10.244.0.0/16"


class ControlPlane:
    """The four processes, in the cluster's own network namespace or, without one, on the machine's loopback."""

    def __init__(
        self,
        state: State,
        binaries: Binaries,
        *,
        host: str = NODE_IP,
        port: int = API_PORT,
        inside: bool = True,
        flags: Mapping[str, Sequence[str]] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.state, self.bin, self.host, self.port, self.inside = state, binaries, host, port, inside
        self._flags, self._env = flags or {}, env or {}
        self.url = f"https://{host}:{port}"
        self.pki = PKI(state.dir / "pki")

    def kubeconfig(self, name: str, cn: str, *orgs: str) -> Path:
        """A kubeconfig for a component beside the API server."""
        folder = self.state.dir / "kubeconfigs"
        folder.mkdir(exist_ok=True, mode=0o700)
        return write_kubeconfig(folder / f"{name}.kubeconfig", self.pki, self.url, cn, orgs)

    def start_api(self) -> None:
        self._etcd()
        self._apiserver()

    def start_controllers(self, *, scheduler: bool = True) -> None:
        self._controller_manager()
        if scheduler:
            self._scheduler()

    def _spawn(self, name: str, *flags: str) -> None:
        own, env = self._flags.get(name, ()), {**SELDOM_COLLECTED, **self._env}
        mortal = not self.inside
        self.state.spawn(name, self.bin(name), *flags, *own, inside=self.inside, mortal=mortal, env=env)

    def _etcd(self) -> None:
        # Unix sockets in the private folder: nobody else reaches the store. etcd wants host:port there, and makes a
        # socket of that name in its working directory.
        client, peer = "unix://127.0.0.1:2379", "unix://127.0.0.1:2380"
        self._spawn(
            "etcd",
            "--name=quantroll",
            f"--data-dir={self.state.dir}/etcd",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=quantroll={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
        )

    def _apiserver(self) -> None:
        pki = self.pki
        first = str(ipaddress.ip_network(SERVICE_CIDR)[1])
        dns = [
            "localhost",
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
        ]
        crt, key = pki.leaf("apiserver", "kube-apiserver", dns=dns, ips=["127.0.0.1", NODE_IP, first])
        sa_key, sa_pub = pki.key_pair("sa")
        front = PKI(pki.dir / "front-proxy", "local-front-proxy-ca")  # without it APIServices log errors
        front_crt, front_key = front.leaf("client", "front-proxy-client")
        kubelet_crt, kubelet_key = pki.leaf("apiserver-kubelet-client", "kube-apiserver", ["system:masters"])
        # a loopback address cannot be an endpoint; shared, the port can be held for the server until it listens
        place = (
            ["--endpoint-reconciler-type=lease"]
            if self.inside
            else ["--endpoint-reconciler-type=none", "--permit-port-sharing"]
        )
        self._spawn(
            "kube-apiserver",
            "--v=1",
            *place,
            "--etcd-servers=unix://127.0.0.1:2379",
            f"--bind-address={self.host}",
            f"--secure-port={self.port}",
            f"--advertise-address={self.host}",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            f"--client-ca-file={pki.ca_crt}",
            f"--tls-cert-file={crt}",
            f"--tls-private-key-file={key}",
            f"--kubelet-certificate-authority={pki.ca_crt}",
            "--kubelet-preferred-address-types=InternalIP",
            f"--kubelet-client-certificate={kubelet_crt}",
            f"--kubelet-client-key={kubelet_key}",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={sa_pub}",
            f"--service-account-signing-key-file={sa_key}",
            f"--requestheader-client-ca-file={front.ca_crt}",
            "--requestheader-allowed-names=front-proxy-client",
            "--requestheader-username-headers=X-Remote-User",
            "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-",
            f"--proxy-client-cert-file={front_crt}",
            f"--proxy-client-key-file={front_key}",
            "--profiling=false",
            "--allow-privileged=true",
        )

    def _controller_manager(self) -> None:
        kc, pki = self.kubeconfig("controller-manager", "system:kube-controller-manager"), self.pki
        self._spawn(
            "kube-controller-manager",
            "--v=1",
            f"--kubeconfig={kc}",
            f"--authentication-kubeconfig={kc}",
            f"--authorization-kubeconfig={kc}",
            "--authentication-tolerate-lookup-failure=true",
            *self._own_port(),
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={pki.dir}/sa.key",
            f"--root-ca-file={pki.ca_crt}",
            f"--cluster-signing-cert-file={pki.ca_crt}",
            f"--cluster-signing-key-file={pki.ca_key}",
            f"--cluster-cidr={CLUSTER_CIDR}",
            f"--service-cluster-ip-range={SERVICE_CIDR}",
            "--allocate-node-cidrs=true",
            "--profiling=false",
            f"--flex-volume-plugin-dir={self.state.dir}/flex",  # else it makes a folder under /usr/libexec
            "--kube-api-qps=200",
            "--kube-api-burst=400",  # start is client-throttled: 5 s with the defaults
            # a claim that came before its volume: 15 s by default; without a node none comes, and each look is an event
            *(["--pvclaimbinder-sync-period=2s"] if self.inside else []),
        )

    def _scheduler(self) -> None:
        kc = self.kubeconfig("scheduler", "system:kube-scheduler")
        self._spawn(
            "kube-scheduler",
            "--v=1",
            f"--kubeconfig={kc}",
            f"--authentication-kubeconfig={kc}",
            f"--authorization-kubeconfig={kc}",
            "--authentication-tolerate-lookup-failure=true",
            *self._own_port(),
            "--leader-elect=false",
            "--profiling=false",
        )

    def _own_port(self) -> list[str]:
        """On the machine's loopback two control planes would meet at the default health port: do without it there."""
        return ["--bind-address=127.0.0.1"] if self.inside else ["--secure-port=0"]
