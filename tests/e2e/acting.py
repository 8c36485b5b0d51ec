"""What the tests of the node do to a cluster, and look at: operators killed, engines told, requests counted."""

import json
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import httpx
import yaml

from cluster.procs import wait_for
from demo.stage import EXAMPLE, NAMESPACE, PATIENCE, SYSTEM, Stage
from demo.traffic import Traffic, ask

Object = dict[str, Any]
FOREVER = "1h"  # of a step that a test leaves by what it does
OFTEN = {"schedule": "* * * * *", "window": "45s", "minSamples": 30}
QUESTION = "Q:rev abcd\nA:"


def phase(*names: str) -> Callable[[Object], bool]:
    """Whether a status is in one of these phases."""
    return lambda status: status.get("phase") in names


def held_at(weight: int) -> Callable[[Object], bool]:
    """Whether the candidate has this weight, and the step's clock runs."""
    return lambda s: s.get("rollout", {}).get("weight") == weight and s["phase"] == "Analyzing"


def condition(status: Object, kind: str) -> Object:
    """One condition; that of a status without any is Unknown."""
    return next((c for c in status.get("conditions", []) if c["type"] == kind), {"status": "Unknown", "reason": ""})


def kill_operator(stage: Stage) -> None:
    """End the operator's process without a word, as a lost node would, and wait for the next one."""
    pods = stage.command("kubectl", "-n", SYSTEM, "get", "pods", "-o", "name").split()
    stage.command("kubectl", "-n", SYSTEM, "delete", *pods, "--grace-period=0", "--force")
    stage.command("kubectl", "-n", SYSTEM, "rollout", "status", "deployment/quantroll", "--timeout=120s")


def pods(stage: Stage, *labels: str) -> list[Object]:
    """Pods that serve, by labels of quantroll's."""
    wanted = ",".join(["quantroll.io/component=serve", *(f"quantroll.io/{label}" for label in labels)])
    return listed(stage, "/api/v1", "pods", labelSelector=wanted)


def listed(stage: Stage, api: str, plural: str, **query: str) -> list[Object]:
    """Objects of one kind in the models' namespace."""
    path = f"{api}/namespaces/{NAMESPACE}/{plural}?{urlencode(query)}"
    found: list[Object] = stage.read(path)["items"]
    return found


def served(stage: Stage, name: str) -> Counter[str]:
    """Finished requests by variant, as the engines count them."""
    found: Counter[str] = Counter()
    for pod in pods(stage, f"name={name}"):
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}:8000/proxy/metrics"
        page = stage.cluster.client.get(path, PATIENCE).decode()
        counts = [float(x.split()[-1]) for x in page.splitlines() if x.startswith("vllm:request_success_total")]
        found[pod["metadata"]["labels"]["quantroll.io/variant"]] += int(sum(counts))
    return found


def jobs(stage: Stage, name: str) -> set[str]:
    """Uids of a model's Jobs: names are the same whenever a Job is made anew."""
    return {job["uid"] for job in jobs_by_name(stage, name).values()}


def jobs_by_name(stage: Stage, name: str) -> dict[str, Object]:
    """Metadata of a model's Jobs by their names."""
    found = listed(stage, "/apis/batch/v1", "jobs", labelSelector=f"quantroll.io/name={name}")
    return {job["metadata"]["name"]: job["metadata"] for job in found}


def events(stage: Stage, name: str) -> set[str]:
    """Reasons of the events about a model."""
    about = f"involvedObject.name={name},involvedObject.kind=QuantizedModel"
    return {event["reason"] for event in listed(stage, "/api/v1", "events", fieldSelector=about)}


def scripted(name: str, *, engine: str = "scripted", **rollout: object) -> Object:
    """The example's manifest with a variant that is made in seconds, served by the engine that plays.

    Results are kept on one claim for all: what one model's Jobs have made is reported again to the next.
    """
    manifest: Object = yaml.safe_load(EXAMPLE.read_text())
    manifest["metadata"]["name"] = name
    spec = manifest["spec"]
    del spec["benchmark"], spec["calibration"], spec["model"]["serving"]
    spec["variants"] = [{"name": "w8", "scheme": "W8A16", "algorithm": "RTN"}]
    spec["qualityGate"]["evalSet"]["source"] = "pvc://tiny/reversals.jsonl"
    small = {"requests": {"cpu": "20m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}}
    spec["serving"] |= {"engine": engine, "resources": small}
    spec["rollout"]["steps"] = [{"weight": 10, "duration": "5s"}, {"weight": 50, "duration": "5s"}]
    ratio = next(m for m in spec["rollout"]["analysis"]["metrics"] if m["name"] == "error-ratio")
    spec["rollout"]["analysis"] = {"interval": "2s", "metrics": [ratio]}
    spec["rollout"]["routing"]["hostnames"] = [f"{name}.example.com"]
    spec["rollout"] |= rollout
    spec["driftCheck"]["schedule"] = "@weekly"
    spec["storage"] = {"claimName": "artifacts"}
    return manifest


class Model:
    """One QuantizedModel on the stage, its clients and its engines."""

    def __init__(self, stage: Stage, manifest: Object) -> None:
        """Apply it."""
        self.stage, self.name = stage, manifest["metadata"]["name"]
        self.host = f"{self.name}.example.com"
        stage.apply(manifest)

    def status(self) -> Object:
        """As it stands."""
        return self.stage.status(self.name)

    def until(self, condition: Callable[[Object], object], timeout: float = 180) -> Object:
        """Wait until the status fulfils a condition; returns it."""
        seen: Object = {}

        def look() -> bool:
            seen.clear()
            seen.update(self.status())
            return bool(condition(seen))

        wait_for(f"status of {self.name}", look, timeout, every=0.5)
        return seen

    def traffic(self) -> Traffic:
        """The constant load; it begins once the gateway leads to an engine."""
        with httpx.Client(base_url=self.stage.gateway, headers={"Host": self.host}, timeout=30, trust_env=False) as one:
            wait_for("gateway", lambda: ask(one, self.name, QUESTION) is None, 120, every=0.5)
        return Traffic(self.stage.gateway, self.host, self.name)

    def patch(self, spec: Object) -> None:
        """Change the spec."""
        self.stage.kubectl("patch", "qm", self.name, "--type=merge", "-p", json.dumps({"spec": spec}))

    def command(self, verb: str, value: str) -> None:
        """Annotate it with a command."""
        self.stage.kubectl("annotate", "qm", self.name, "--overwrite", f"quantroll.io/{verb}={value}")

    def tell(self, variant: str, **script: object) -> None:
        """Settings for the engine in all pods of a variant that are there now."""
        file = self.stage.dir / "script.json"
        file.write_text(json.dumps(script))
        for pod in pods(self.stage, f"name={self.name}", f"variant={variant}"):
            path = f"/api/v1/namespaces/{NAMESPACE}/pods/{pod['metadata']['name']}:8000/proxy/script"
            self.stage.kubectl("create", "--raw", path, "-f", str(file))

    def lose(self, variant: str) -> None:
        """Its pods go at once, without a word to anybody, as those of a lost node; a ReplicaSet makes new ones."""
        names = [
            f"pod/{pod['metadata']['name']}" for pod in pods(self.stage, f"name={self.name}", f"variant={variant}")
        ]
        self.stage.kubectl("delete", *names, "--grace-period=0", "--force")

    def events(self) -> set[str]:
        """Reasons of the events about it."""
        return events(self.stage, self.name)

    def delete(self) -> None:
        """Delete it, without waiting for its pods to go."""
        self.stage.kubectl("delete", "qm", self.name, "--wait=false")


def more_requests(traffic: Traffic, count: int = 30, timeout: float = 60) -> list[str]:
    """Wait until so many more were sent; what failed of them."""
    failed, sent = len(traffic.failures), traffic.sent.total()
    wait_for("requests", lambda: traffic.sent.total() >= sent + count, timeout)
    return traffic.failures[failed:]


def stays(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether a condition holds for so long."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not condition():
            return False
        time.sleep(0.5)
    return True
