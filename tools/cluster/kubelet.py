"""The configuration of the kubelet, kube-proxy and the pod network."""

import json
from pathlib import Path
from typing import Any

from .binaries import Binaries
from .controlplane import CLUSTER_CIDR, NODE_IP, ControlPlane

NAME, POD_CIDR, DNS_IP = "node-1", "10.244.0.0/24", "10.96.0.10"


def configure(work: Path, cp: ControlPlane, binaries: Binaries) -> dict[str, list[str]]:
    """Write all of it below the node's folder; the two commands, by name."""
    own_oom = int(Path("/proc/self/oom_score_adj").read_text())  # without CAP_SYS_RESOURCE no lower one is allowed
    identity = cp.kubeconfig("kubelet", f"system:node:{NAME}", "system:nodes")
    proxy = cp.kubeconfig("kube-proxy", "system:kube-proxy")
    (work / "cni").mkdir()
    (work / "resolv.conf").write_text("")
    for name, document in {
        "cni/10-ptp.conflist": _network(),
        "kubelet.json": _kubelet(work, cp, own_oom),
        "kube-proxy.json": _proxy(proxy, own_oom),
    }.items():
        (work / name).write_text(json.dumps(document))
    return {
        "kubelet": [
            str(binaries("kubelet")),
            f"--config={work}/kubelet.json",
            f"--kubeconfig={identity}",
            f"--hostname-override={NAME}",
            f"--node-ip={NODE_IP}",
            "--v=2",
        ],
        "kube-proxy": [str(binaries("kube-proxy")), f"--config={work}/kube-proxy.json", "--v=1"],
    }


def _network() -> dict[str, Any]:
    return {
        "cniVersion": "1.0.0",
        "name": "quantroll",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": False,
                "mtu": 1500,  # needs no bridge module, and does hairpin
                "ipam": {
                    "type": "host-local",
                    "dataDir": "/run/cni",
                    "ranges": [[{"subnet": POD_CIDR}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        ],
    }


def _kubelet(work: Path, cp: ControlPlane, own_oom: int) -> dict[str, Any]:
    crt, key = cp.pki.leaf("kubelet-serving", NAME, dns=[NAME], ips=[NODE_IP])
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": NODE_IP,
        "healthzBindAddress": "127.0.0.1",
        "authentication": {
            "x509": {"clientCAFile": str(cp.pki.ca_crt)},
            "webhook": {"enabled": True},
            "anonymous": {"enabled": False},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(crt),
        "tlsPrivateKeyFile": str(key),
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS_IP],
        "resolvConf": str(work / "resolv.conf"),
        "containerRuntimeEndpoint": "unix:///run/containerd/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{cp.state.data['id']}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "0%",
            "imagefs.available": "0%",
            "nodefs.inodesFree": "0%",
            "imagefs.inodesFree": "0%",
        },
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,  # the disk is the machine's, not ours
        "volumePluginDir": "/var/lib/kubelet/volume-plugins",
        "oomScoreAdj": own_oom,
        "makeIPTablesUtilChains": False,
        "nodeStatusUpdateFrequency": "2s",
        "syncFrequency": "10s",
        "logging": {"format": "text"},
    }


def _proxy(kubeconfig: Path, own_oom: int) -> dict[str, Any]:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": CLUSTER_CIDR,
        "hostnameOverride": NAME,
        "bindAddress": NODE_IP,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
        "nodePortAddresses": [f"{NODE_IP}/32"],
        "oomScoreAdj": own_oom,
        # 0: it leaves the machine's conntrack settings alone
        "conntrack": {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
    }
