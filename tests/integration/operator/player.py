"""Plays what a node and a gateway would do: runs Jobs to a scripted report, makes servers ready, accepts routes."""

import json
import threading
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Self

from cluster.kube import Client
from integration.rest import Rest
from integration.watched import Watched
from quantroll.api.jobs import (
    EXIT_BAD_INPUT,
    INPUT_VARIABLE,
    JOB_INPUT,
    AnyJobInput,
    BenchmarkInput,
    BenchmarkResult,
    ConfirmInput,
    ConfirmResult,
    DataFacts,
    EvaluateResult,
    ModelFacts,
    PrepareInput,
    PrepareResult,
    QuantizeInput,
    QuantizeResult,
    Report,
)
from quantroll.builders import jobs as job_builders
from quantroll.constants import ENGINE_CONTAINER, LABEL_COMPONENT, LABEL_VARIANT, Component

Object = dict[str, Any]
ITEMS = 2000
CELLS = {"int8": (1985, 5, 2, 8), "gptq4": (1900, 90, 2, 8), "rtn4": (300, 1690, 2, 8)}  # both, harm, gain, neither
WEIGHTS = {"W8A8": 600_000, "W4A16": 400_000}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def report_for(job: AnyJobInput, variant: str) -> Report:
    """What the Job would say, were its work done on a model whose variants behave as `CELLS` has it."""
    if isinstance(job, PrepareInput):
        facts = PrepareResult(
            model=ModelFacts(digest="a" * 64, weight_bytes=1_000_000, architecture="LlamaForCausalLM", dtype=job.dtype),
            eval_set=DataFacts(sha256="b" * 64, items=ITEMS),
            calibration=DataFacts(sha256="c" * 64, items=256) if job.calibration else None,
        )
        return Report(kind="prepare", key=job.key, prepare=facts)
    if isinstance(job, QuantizeInput):
        weight = WEIGHTS[job.recipe.scheme]
        made = QuantizeResult(
            path=f"models/{job.key}",
            digest=job.key[::-1],
            weight_bytes=weight,
            size_ratio=weight / 1_000_000,
            quantized_layers=21,
            skipped_layers=1,
            seconds=1,
        )
        return Report(kind="quantize", key=job.key, quantize=made)
    if isinstance(job, BenchmarkInput):
        levels = [[float(c), 10, 20, 5, 9, 100 * c, c, 0, 100] for c in job.concurrency]
        return Report(kind="benchmark", key=job.key, benchmark=BenchmarkResult(levels=levels, seconds=60))
    if isinstance(job, ConfirmInput):
        found = ConfirmResult(
            items=400, errors=0, both=320, serving_only=4, target_only=72, neither=4, source_sha256="e" * 64
        )
        return Report(kind="confirm", key=job.key, confirm=found)
    result = EvaluateResult(items=ITEMS, correct=1990, errors=0, truncated=0, prompts_digest="d" * 64)
    if job.baseline_key:
        both, harm, gain, neither = CELLS[variant]
        cells = {"both": both, "harm": harm, "gain": gain, "neither": neither}
        joined = {**cells, "correct": both + gain, "baseline_errors": 0, "prompts_match": True}
        result = result.model_copy(update=joined)
    return Report(kind="evaluate", key=job.key, evaluate=result)


class Player:
    """A thread that plays node and gateway in one namespace; use as a context manager.

    `script` may be changed while it plays: it gets a Job's input and variant, and returns its report, or None to leave
    the pod as it is. Variants in `never_ready` load for ever.
    """

    def __init__(self, client: Client, namespace: str) -> None:
        self.namespace, self.script = namespace, report_for
        self.never_ready: set[str] = set()
        self.accept_routes = True
        self.finished: list[tuple[str, str]] = []  # (kind, key) of every Job's pod that was run
        self._client, self._end = client, threading.Event()
        self._pods_path = f"/api/v1/namespaces/{namespace}/pods"
        self._routes_path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes"
        self._pods, self._routes = Watched(client, self._pods_path), Watched(client, self._routes_path)
        self._answered: set[tuple[str, str]] = set()  # uids and versions
        self._begun: set[str] = set()  # uids of pods
        self._thread = threading.Thread(target=self._play, daemon=True)
        self.error: BaseException | None = None

    def __enter__(self) -> Self:
        self._pods.start()
        self._routes.start()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(timeout=10)
        self._pods.close()
        self._routes.close()
        if self.error:
            raise self.error

    def _play(self) -> None:
        try:
            with closing(Rest(self._client)) as rest:
                while not self._end.wait(0.05):
                    for pod in self._pods.items():
                        if self._is_news(pod) and (status := self._lives(pod)):
                            self._write(rest, self._pods_path, pod, status)
                    for route in self._routes.items():
                        if self._is_news(route) and (status := self.answer(route)):
                            self._write(rest, self._routes_path, route, status)
        except BaseException as error:
            self.error = error
            raise

    def _is_news(self, body: Object) -> bool:
        """Whether it has not been answered: a pod that has begun or ended once, all else at every version."""
        meta = body["metadata"]
        return meta["uid"] not in self._begun and (meta["uid"], meta["resourceVersion"]) not in self._answered

    def _write(self, rest: Rest, path: str, of: Object, status: Object) -> None:
        """Patch a status; the watch tells of it a moment later."""
        meta = of["metadata"]
        code, _ = rest.request("PATCH", f"{path}/{meta['name']}/status", {"status": status})
        if code == 200:
            self._answered.add((meta["uid"], meta["resourceVersion"]))
            if status.get("phase", "Pending") != "Pending":
                self._begun.add(meta["uid"])

    def _lives(self, pod: Object) -> Object | None:
        """The status of a pod that has begun, or has ended at once; None for what is to stay as it is."""
        component = pod["metadata"].get("labels", {}).get(LABEL_COMPONENT)
        if pod["metadata"].get("deletionTimestamp") or pod["status"].get("phase") not in (None, "Pending"):
            return None
        return self._served(pod) if component in (Component.SERVE, Component.PROBE) else self._ran(pod)

    def _served(self, pod: Object) -> Object | None:
        if pod["metadata"]["labels"].get(LABEL_VARIANT) in self.never_ready:
            return None
        ready = [
            {"type": kind, "status": "True", "lastTransitionTime": _now()} for kind in ("Ready", "ContainersReady")
        ]
        running = {
            "name": ENGINE_CONTAINER,
            "image": "x",
            "imageID": "x",
            "ready": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": _now()}},
        }
        return {"phase": "Running", "conditions": ready, "containerStatuses": [running]}

    def _ran(self, pod: Object) -> Object | None:
        container = next((c for c in pod["spec"]["containers"] if c["name"] == job_builders.CONTAINER), None)
        if container is None:
            return None
        text = next(e["value"] for e in container["env"] if e["name"] == INPUT_VARIABLE)
        job = JOB_INPUT.validate_json(text.replace("$$", "$"))
        report = self.script(job, pod["metadata"]["labels"].get(LABEL_VARIANT, ""))
        if report is None:
            return None
        self.finished.append((job.kind, job.key))
        ended = {
            "exitCode": 0 if report.ok else EXIT_BAD_INPUT,
            "message": json.dumps(report.to_wire()),
            "startedAt": _now(),
            "finishedAt": _now(),
            "reason": "Completed" if report.ok else "Error",
        }
        status = {
            "name": job_builders.CONTAINER,
            "image": "x",
            "imageID": "x",
            "ready": False,
            "restartCount": 0,
            "state": {"terminated": ended},
        }
        return {"phase": "Succeeded" if report.ok else "Failed", "containerStatuses": [status]}

    def answer(self, route: Object) -> Object | None:
        """The status by which a gateway accepts the latest weights; None when it has, or does not answer."""
        generation, parents = route["metadata"]["generation"], route.get("status", {}).get("parents", [])
        seen = all(c["observedGeneration"] == generation for p in parents for c in p["conditions"])
        if not self.accept_routes or (parents and seen):
            return None
        conditions = [
            {
                "type": kind,
                "status": "True",
                "reason": kind,
                "message": "",
                "observedGeneration": generation,
                "lastTransitionTime": _now(),
            }
            for kind in ("Accepted", "ResolvedRefs")
        ]
        return {
            "parents": [
                {"parentRef": ref, "controllerName": "example.com/gateway", "conditions": conditions}
                for ref in route["spec"]["parentRefs"]
            ]
        }
