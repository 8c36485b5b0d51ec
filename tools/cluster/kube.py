"""A thin client: kubectl for writing, plain HTTPS for the few reads that are polled."""

import base64
import json
import os
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .binaries import Binaries
from .pki import PKI, write_private

Object = dict[str, Any]


def write_kubeconfig(path: Path, pki: PKI, server: str, cn: str, orgs: Iterable[str] = ()) -> Path:
    """A kubeconfig with a client certificate of its own: user `cn`, groups `orgs`. (JSON is YAML.)"""
    crt, key = pki.leaf(f"client-{path.stem}", cn, orgs)

    def b64(file: Path) -> str:
        return base64.b64encode(file.read_bytes()).decode()

    doc = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "quantroll",
        "clusters": [
            {"name": "quantroll", "cluster": {"server": server, "certificate-authority-data": b64(pki.ca_crt)}}
        ],
        "users": [{"name": cn, "user": {"client-certificate-data": b64(crt), "client-key-data": b64(key)}}],
        "contexts": [{"name": "quantroll", "context": {"cluster": "quantroll", "user": cn}}],
    }
    return write_private(path, json.dumps(doc, indent=1).encode())


def cluster_role(name: str, rules: list[Object], user: str | None = None) -> list[Object]:
    """A ClusterRole and its binding to one user."""
    group = "rbac.authorization.k8s.io"
    return [
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules},
        role_binding(name, user or name),
    ]


def role_binding(role: str, user: str) -> Object:
    """Bind an existing ClusterRole to one user."""
    group = "rbac.authorization.k8s.io"
    return {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": f"quantroll-{user}"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": user}],
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": role},
    }


class Client:
    """kubectl and GET with one kubeconfig."""

    def __init__(self, binaries: Binaries, kubeconfig: Path) -> None:
        self.bin, self.kubeconfig = binaries, kubeconfig
        doc = json.loads(kubeconfig.read_text())
        cluster, user = doc["clusters"][0]["cluster"], doc["users"][0]["user"]
        self.server = cluster["server"]
        self.ssl = ssl.create_default_context(cadata=base64.b64decode(cluster["certificate-authority-data"]).decode())
        pair = write_private(
            kubeconfig.parent / f".client-{os.getpid()}.pem",  # several processes may use one kubeconfig
            b"".join(base64.b64decode(user[f"client-{part}-data"]) for part in ("certificate", "key")),
        )
        self.ssl.load_cert_chain(pair)
        pair.unlink()

    def env(self) -> dict[str, str]:
        """Our environment, for a command that is to use this cluster."""
        return {
            **os.environ,
            "KUBECONFIG": str(self.kubeconfig),
            "PATH": f"{self.bin.path}:{os.environ['PATH']}",
            "KUBECACHEDIR": str(self.kubeconfig.parent / "kubecache"),
        }  # else kubectl writes to ~/.kube

    def kubectl(self, *args: object, stdin: str | None = None) -> str:
        """Run kubectl; its standard output. Raises with its standard error."""
        p = subprocess.run(
            [self.bin("kubectl"), *map(str, args)],
            input=stdin,
            text=True,
            capture_output=True,
            check=False,
            env=self.env(),
        )
        if p.returncode:
            raise RuntimeError(f"kubectl {' '.join(map(str, args))}: {p.stderr.strip()}")
        return p.stdout

    def apply(self, *objects: Object) -> str:
        """Server-side apply of some objects in one call."""
        doc = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        return self.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(doc))

    def get(self, path: str, timeout: float = 5) -> bytes:
        """GET one path of the API; `timeout` in seconds."""
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=self.ssl)
        )
        try:
            with opener.open(self.server + path, timeout=timeout) as r:
                data: bytes = r.read()
        except urllib.error.HTTPError as error:
            error.close()  # else its socket lives on until it is collected
            raise
        return data

    def read(self, path: str, timeout: float = 5) -> Any:
        return json.loads(self.get(path, timeout))
