"""One throw-away cluster with quantroll installed, for all tests of the node; and what one needs when a test fails."""

import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bootstrap import cache
from cluster import images
from cluster.procs import wait_for
from demo.stage import Stage
from e2e.acting import Model, scripted

ENGINE = "scripted-engine"
SCRIPTS = {  # what the engines of a profile do, by what they serve
    "scripted": {},
    "scripted-worse": {"8": {"wrong": {"rev": 0.3}}},
    "scripted-worse-at-sums": {"8": {"wrong": {"add": 0.4}}},
}


def engines() -> dict[str, dict[str, object]]:
    """Profiles of the engine that plays."""
    common = {
        "image": ENGINE,
        "device": "cpu",
        "runAsUser": 65532,
        "readOnlyRoot": True,
        "sharedMemory": "16Mi",
        "shutdownTimeoutSeconds": 10,
        "preStopSeconds": 3,
    }
    return {name: {**common, "env": {"ENGINE_SCRIPT": json.dumps(script)}} for name, script in SCRIPTS.items()}


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Cluster, gateway, chart, namespace and the tiny model's volume."""
    # pytest dies of SIGTERM at once, and the cluster would outlive it
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=128 + signal.SIGTERM))
    images.build([ENGINE], context=cache.CHECKOUT / "tests" / "e2e" / "engine")
    made = Stage(tmp_path_factory.mktemp("e2e") / "stage", engines())
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.fixture(scope="session")
def playing(stage: Stage) -> Stage:
    """The stage, with questions that the engine which plays can answer, and a claim that its models share."""
    _reversals(stage.dir / "tiny" / "production.jsonl", stage.dir / "tiny" / "reversals.jsonl")
    claim = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "10Gi"}}}
    stage.apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "artifacts"}, "spec": claim})
    return stage


def _reversals(production: Path, file: Path) -> None:
    """An eval set without sums, of which production has some; not more of it than the gate needs."""
    lines = production.read_text().splitlines(keepends=True)
    file.write_text("".join([line for line in lines if json.loads(line)["slice"] == "rev"][:600]))
    file.chmod(0o644)


@pytest.fixture
def play(playing: Stage) -> Iterator[Callable[..., Model]]:
    """Apply a model with an engine that plays; it goes with the test."""
    made: list[Model] = []

    def apply(name: str, **more: object) -> Model:
        made.append(Model(playing, scripted(name, **more)))
        return made[-1]

    yield apply
    for model in made:
        model.delete()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show objects, events and logs of a failed test."""
    report = yield
    stages = {id(found): found for found in item.funcargs.values() if isinstance(found, Stage)}
    if report.when != "teardown" and report.failed:
        report.sections += [("cluster", found.evidence()) for found in stages.values()]
    return report


@pytest.fixture(scope="session")
def recorded() -> dict[str, dict[str, Any]]:
    """Every QuantizedModel that `until` has seen, by its resource version."""
    return {}


@pytest.fixture
def until(stage: Stage, recorded: dict[str, dict[str, Any]]) -> Callable[..., dict[str, object]]:
    """Wait until a model's status fulfils a condition; returns it."""

    def wait(condition: Callable[[dict[str, object]], object], *, name: str = "tiny-llama", timeout: float = 300):
        seen: dict[str, object] = {}

        def look() -> bool:
            model = stage.model(name)
            recorded[model["metadata"]["resourceVersion"]] = model
            seen.clear()
            seen.update(model.get("status", {}))
            return bool(condition(seen))

        wait_for("status", look, timeout, every=0.5)
        return seen

    return wait
