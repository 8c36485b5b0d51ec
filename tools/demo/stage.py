"""A throw-away cluster with quantroll installed by Helm and the tiny model on a volume: for the demo and its tests."""

import json
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import yaml

from bootstrap import cache, gotools
from cluster import images, prometheus
from cluster.cluster import Cluster
from demo import data
from quantroll.constants import API_VERSION, PLURAL

NAMESPACE, SYSTEM = "demo", "quantroll-system"
PATIENCE = 60  # seconds for an answer, on a machine that does all else as well
CHART = cache.CHECKOUT / "charts" / "quantroll"
EXAMPLE = cache.CHECKOUT / "examples" / "tiny-llama.yaml"
HOST = "tiny.example.com"
PROMETHEUS = f"http://{prometheus.NAME}.{prometheus.NAMESPACE}.svc:{prometheus.PORT}"

Object = dict[str, Any]


def values(references: Mapping[str, str]) -> Object:
    """The chart's values for images of the local registry and for vLLM on CPUs."""

    def image(target: str) -> Object:
        repository, digest = references[target].split("@")
        return {"repository": repository, "digest": digest}

    return {
        "images": {target: image(target) for target in ("operator", "client", "quantize")},
        "prometheus": {"url": PROMETHEUS, "timeoutSeconds": 5},
        "engines": {
            "vllm-cpu": {
                "image": references["vllm-cpu"],
                "device": "cpu",
                # No compiler in the image; the model needs little of the cache. The worker in the engine's own process
                # saves a third of a start, which is mostly imports; on CPUs vLLM wants multiprocessing off for that.
                # The engine's process is forked, for the same reason (tools/images/plugins).
                "args": ["--enforce-eager", "--kv-cache-memory-bytes=64M", "--distributed-executor-backend=uni"],
                "env": {
                    "OMP_NUM_THREADS": "1",
                    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
                    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
                },
                "runAsUser": 65532,
                "readOnlyRoot": True,
                "sharedMemory": "512Mi",
                "shutdownTimeoutSeconds": 20,
                "preStopSeconds": 5,
            },
        },
    }


class Stage:
    """Everything around one QuantizedModel; `down` removes all that was made."""

    def __init__(self, folder: Path, engines: Mapping[str, Object] | None = None) -> None:
        """`engines` are profiles beside vllm-cpu; an `image` that is the name of a built target stands for it."""
        self.dir = folder.resolve()
        self.cluster = Cluster(self.dir / "cluster")
        self.engines = dict(engines or {})

    def up(self) -> None:
        """Cluster, gateway, images, chart, namespace and data."""
        tiny = self.dir / "tiny"
        gotools.build(("registry",))  # for it images are pushed
        with ThreadPoolExecutor(2) as beside:  # where all is there but one of the three, the others take no time
            copied, built = beside.submit(data.copy_to, tiny), beside.submit(images.build)
            gotools.build()
            references = built.result()
            self.cluster.up(images=references.values(), with_gateway=True, with_prometheus=True, with_volumes=16)
            copied.result()
        with cache.step("helm install quantroll"):
            self.helm("install", references)
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
        self.cluster.add_volume("tiny", NAMESPACE, tiny)

    def helm(self, verb: str, references: Mapping[str, str] | None = None, *more: str) -> None:
        """`helm install` or `helm upgrade` of the chart, until the operator is ready."""
        file, known = self.dir / "values.yaml", references or images.references()
        given = values(known)
        given["engines"] |= {name: {**engine, "image": known[engine["image"]]} for name, engine in self.engines.items()}
        file.write_text(yaml.safe_dump(given))
        command = ["helm", verb, "quantroll", str(CHART), "--namespace", SYSTEM, "--create-namespace", "--wait"]
        self.command(*command, "--timeout=120s", "--values", str(file), *more)

    def stop_prometheus(self) -> None:
        """An outage of Prometheus; what it has stored stays."""
        prometheus.stop(self.cluster.state)

    def start_prometheus(self) -> None:
        """The end of the outage."""
        prometheus.start(self.cluster.state, self.cluster.bin)

    def production_turns_to(self, kind: str) -> None:
        """Replace the labelled production items on the volume: `usual` or `arithmetic`."""
        data.production(kind, self.dir / "tiny" / "production.jsonl")

    def down(self) -> None:
        """Stop the cluster and remove its folder."""
        self.cluster.down()
        subprocess.run(["rm", "-rf", "--one-file-system", str(self.dir)], check=True)

    def command(self, *argv: str) -> str:
        """Run a command against the cluster; its output. Raises RuntimeError with what it said.

        kubectl finds its plugin, `kubectl quantroll`, beside the Python that runs this.
        """
        env = self.cluster.client.env()
        env["PATH"] = f"{env['PATH']}:{Path(sys.executable).parent}"
        done = subprocess.run(argv, env=env, text=True, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(argv)}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout

    def kubectl(self, *argv: str) -> str:
        """kubectl in the demo's namespace."""
        return self.command("kubectl", "--namespace", NAMESPACE, *argv)

    def quantroll(self, *argv: str) -> str:
        """`kubectl quantroll …` about a model of the demo's namespace."""
        return self.command("kubectl", "quantroll", *argv, "--namespace", NAMESPACE)

    def apply(self, *objects: Object) -> None:
        """kubectl apply of some objects in the demo's namespace."""
        file = self.dir / "apply.json"
        file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)}))
        self.kubectl("apply", "-f", str(file))

    def model(self, name: str = "tiny-llama") -> Object:
        """The QuantizedModel as it stands."""
        return self.read(f"/apis/{API_VERSION}/namespaces/{NAMESPACE}/{PLURAL}/{name}")

    def read(self, path: str) -> Object:
        """What the API server says of a path; for who asks often, since every start of kubectl takes a while."""
        found: Object = self.cluster.client.read(path, PATIENCE)
        return found

    def status(self, name: str = "tiny-llama") -> Object:
        """Its status."""
        return dict(self.model(name).get("status", {}))

    @property
    def gateway(self) -> str:
        """The gateway's address on this machine; requests need the Host header `HOST`."""
        return f"http://127.0.0.1:{self.cluster.ports['gateway']}"

    def evidence(self) -> str:
        """What one needs to find out why something did not work: objects, events and logs."""
        parts = [
            ("kubectl", "get", "qm,pods,jobs,deployments,services,httproutes,pvc", "-A", "-o", "wide"),
            ("kubectl", "-n", NAMESPACE, "get", "qm", "-o", "yaml"),
            ("kubectl", "-n", NAMESPACE, "get", "events", "--sort-by=.lastTimestamp"),
            ("kubectl", "-n", SYSTEM, "logs", "deployment/quantroll", "--tail=80"),
            ("kubectl", "-n", NAMESPACE, "logs", "-l", "app.kubernetes.io/managed-by=quantroll", "--all-containers",
             "--tail=25", "--prefix"),
        ]  # fmt: skip
        found = []
        for argv in parts:
            try:
                found.append(f"$ {' '.join(argv)}\n{self.command(*argv)}")
            except RuntimeError as error:
                found.append(f"$ {' '.join(argv)}\n{error}")
        return "\n".join(found)
