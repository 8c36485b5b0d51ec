"""The operator as a process of its own beside a real API server."""

import itertools
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.kube import Client
from cluster.procs import wait_for
from integration.conftest import Cluster
from integration.operator.forked import kopf_run
from integration.operator.player import Player
from integration.rest import Rest, models
from integration.watched import Watched

CHECKOUT = Path(__file__).resolve().parents[3]
SETTINGS = {
    "images": {"client": "example.com/client:1", "quantize": "example.com/quantize:1"},
    "engines": {
        "vllm-cpu": {
            "image": "example.com/vllm-cpu:1",
            "device": "cpu",
            "args": ["--enforce-eager"],
            "shutdownTimeoutSeconds": 5,
            "preStopSeconds": 1,
        },
    },
    "workers": 4,
}


class Operator:
    """`kopf run` of the checkout's operator; start, kill, start again."""

    def __init__(
        self, client: Client, folder: Path, namespace: str, settings: dict[str, Any], kubeconfig: Path | None = None
    ) -> None:
        """With an administrator's rights, or those of a kubeconfig."""
        self.config, self.log_path = folder / "config.yaml", folder / "operator.log"
        self._settings = {**settings, "namespaces": [namespace]}
        self.configure(lambda _: None)
        self._env = {
            **client.env(),
            "PYTHONPATH": str(CHECKOUT / "operator"),
            "QUANTROLL_CONFIG": str(self.config),
            **({"KUBECONFIG": str(kubeconfig)} if kubeconfig else {}),
        }
        self._namespace = namespace
        self._process: ForkServerProcess | None = None

    def configure(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Edit the admin's file; it is read at the next start."""
        change(self._settings)
        self.config.write_text(yaml.safe_dump(self._settings))

    def start(self) -> None:
        arguments = ["-m", "quantroll.app", "--standalone", "-n", self._namespace]
        self._process = kopf_run(arguments, self._env, self.log_path)

    def stop(self, number: int = signal.SIGTERM) -> None:
        if self._process:
            os.kill(self._process.pid, number)
            self._process.join(timeout=20)
            assert not self._process.is_alive(), f"not ended by {signal.Signals(number).name}"
            self._process = None

    def kill(self) -> None:
        """End it as a lost node would: without a word."""
        self.stop(signal.SIGKILL)

    @property
    def runs(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.is_alive()

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace")


@contextmanager
def running(process: Operator) -> Iterator[Operator]:
    """Started and stopped; its log is shown when the test fails, and has no traceback."""
    process.start()
    yield process
    process.stop()
    print(process.log[-6000:])
    assert "Traceback" not in process.log


@pytest.fixture
def player(cluster: Cluster, namespace: str) -> Iterator[Player]:
    with Player(cluster.client, namespace) as playing:
        yield playing


@pytest.fixture
def operator(cluster: Cluster, namespace: str, tmp_path: Path) -> Iterator[Operator]:
    """A running operator for the test's namespace."""
    with running(Operator(cluster.client, tmp_path, namespace, SETTINGS)) as process:
        yield process


@pytest.fixture
def apply(rest: Rest, namespace: str) -> Callable[[dict[str, object], str], None]:
    """Create a QuantizedModel of a spec, or replace its spec."""

    def create(spec: dict[str, object], name: str = "tiny") -> None:
        manifest = {"apiVersion": "quantroll.io/v1alpha1", "kind": "QuantizedModel", "metadata": {"name": name}}
        code, answer = rest.request("POST", models(namespace), {**manifest, "spec": spec})
        if code == 409:
            code, answer = rest.request("PATCH", models(namespace, name), {"spec": spec})
        assert code in (200, 201), answer

    return create


@pytest.fixture
def status(cluster: Cluster, rest: Rest, namespace: str) -> Iterator[Callable[..., dict[str, object]]]:
    """The status now, or as soon as it fulfils a condition."""
    watched = Watched(cluster.client, models(namespace))
    watched.start()

    def get(until: Callable[[dict[str, object]], object] | None = None, name: str = "tiny", timeout: float = 40):
        def look() -> dict[str, object]:
            return rest.request("GET", models(namespace, name))[1]

        def fulfils() -> list[dict[str, object]]:
            named = (model for model in watched.items() if model["metadata"]["name"] == name)
            told = [m.get("status") or {} for m in named if int(m["metadata"]["resourceVersion"]) >= first]
            return [status for status in told if until is not None and until(status)]

        begun = look()
        if until is None:
            return begun.get("status") or {}
        first = int(begun.get("metadata", {}).get("resourceVersion", 0))  # the watch may be a moment behind
        try:
            (seen,) = wait_for("status", fulfils, timeout)
        except TimeoutError:
            found = look().get("status") or {}
            raise AssertionError(f"never seen; phase {found.get('phase')}: {found.get('message')}\n{found}") from None
        return seen

    yield get
    watched.close()


@pytest.fixture
def command(rest: Rest, namespace: str, status: Callable[..., dict[str, object]]) -> Callable[..., dict[str, object]]:
    """Annotate the model, and what came of it."""
    tokens = itertools.count()

    def give(verb: str, subject: str, **more: object) -> dict[str, object]:
        value = f"{subject}/{next(tokens)}"
        notes = {f"quantroll.io/{verb}": value}
        assert rest.request("PATCH", models(namespace, "tiny"), {"metadata": {"annotations": notes}})[0] == 200
        seen = status(lambda s: any(c["value"] == value for c in s.get("commands", [])), **more)
        return next(c for c in seen["commands"] if c["value"] == value)

    return give
