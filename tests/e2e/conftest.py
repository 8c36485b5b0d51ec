"""One throw-away cluster with quantroll installed, for all tests of the node; and what one needs when a test fails."""

import signal
from collections.abc import Callable, Iterator

import pytest

from cluster.procs import wait_for
from demo.stage import Stage


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Cluster, gateway, chart, namespace and the tiny model's volume."""
    # pytest dies of SIGTERM at once, and the cluster would outlive it
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("terminated", returncode=128 + signal.SIGTERM))
    made = Stage(tmp_path_factory.mktemp("e2e") / "stage")
    try:
        made.up()
        yield made
    finally:
        made.down()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """Show objects, events and logs of a failed test."""
    report = yield
    if report.when == "call" and report.failed and isinstance(made := item.funcargs.get("stage"), Stage):
        report.sections.append(("cluster", made.evidence()))
    return report


@pytest.fixture
def until(stage: Stage) -> Callable[..., dict[str, object]]:
    """Wait until a model's status fulfils a condition; returns it."""

    def wait(condition: Callable[[dict[str, object]], object], *, name: str = "tiny-llama", timeout: float = 300):
        seen: dict[str, object] = {}

        def look() -> bool:
            seen.clear()
            seen.update(stage.status(name))
            return bool(condition(seen))

        wait_for("status", look, timeout, every=0.5)
        return seen

    return wait
