"""A real control plane without a node, once for the whole run and all its workers, and a namespace for every test.

Schemas, CEL rules, server-side apply, watches, the controllers of Jobs, Deployments and namespaces, and garbage
collection are real. Pods stay Pending: a test marks them running or finished through their status. Left out is what
could only say again and again that there is no node, in thousands of writes: the scheduler, the binder of volumes,
and the controller of Endpoints, which nothing here reads. A test that needs one of them, or changes what all
namespaces share (a CRD, say), brings a control plane of its own.
"""

import json
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench import audit
from bootstrap import gotools
from cluster.binaries import Binaries
from cluster.kube import Client
from cluster.procs import wait_for
from cluster.testcontrol import ControlPlaneOnly
from integration.rest import Rest
from quantroll.constants import API_VERSION, PLURAL

AUDITED = "audited-operator"  # requests of this user are in the API server's audit log
CHECKOUT = Path(__file__).resolve().parents[2]


class Cluster:
    """The control plane with quantroll's CRD and those of the Gateway API, as whoever knows its folder finds it.

    `client` is kubectl as the administrator, `audited` the kubeconfig of the user whose requests are in `audit_log`.
    """

    def __init__(self, folder: Path) -> None:
        self.kubeconfig, self.audit_log = folder / "control" / "kubeconfig", folder / "audit.log"
        self.audited = folder / "control" / "kubeconfigs" / f"{AUDITED}.kubeconfig"
        self.client = Client(Binaries.for_tests(), self.kubeconfig)


@contextmanager
def started(folder: Path) -> Iterator[None]:
    """Have it in a folder, which is its to fill."""
    policy = folder / "audit-policy.yaml"
    policy.write_text(json.dumps(audit.policy(AUDITED)))
    flags = {
        "kube-apiserver": [f"--audit-policy-file={policy}", f"--audit-log-path={folder / 'audit.log'}"],
        "kube-controller-manager": ["--controllers=*,-persistentvolume-binder-controller,-endpoints-controller"],
    }
    with ControlPlaneOnly(folder / "control", flags=flags, env={"GOGC": "400"}, scheduler=False) as control:
        control.user(AUDITED, "system:masters")
        with_gateway_api(control)
        with_crd(control)
        yield


def with_gateway_api(control: ControlPlaneOnly) -> None:
    """Install the Gateway API's own CRDs."""
    control.client.kubectl("apply", "--server-side", "-f", gotools.folder() / "manifests" / "gateway-api")
    control.client.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")


def with_crd(control: ControlPlaneOnly) -> None:
    """Install quantroll's CRD, and wait until it is served."""
    control.client.kubectl("apply", "--server-side", "-f", CHECKOUT / "crds")
    with closing(Rest(control.client)) as probe:
        wait_for("CRD", lambda: probe.request("GET", f"/apis/{API_VERSION}/{PLURAL}")[0] == 200, 30)


class Shared:
    """That of a run with workers: the process that starts them has it until the last of them is gone."""

    KEY = pytest.StashKey["Shared"]()

    def __init__(self) -> None:
        self.folder, self.failed = Path(tempfile.mkdtemp(prefix="integration-")), True
        self._control = started(self.folder)
        self._control.__enter__()

    def end(self) -> None:
        """Stop it; after a failure its logs are worth more than a tidy folder."""
        failure = RuntimeError("a test failed") if self.failed else None
        self._control.__exit__(type(failure) if failure else None, failure, None)
        if failure:
            print(f"\nlogs of the control plane: {self.folder}")
        else:
            shutil.rmtree(self.folder)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    shared = node.config.stash.get(Shared.KEY, None) or Shared()
    node.config.stash[Shared.KEY] = shared
    node.workerinput["cluster"] = str(shared.folder)


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    if shared := session.config.stash.get(Shared.KEY, None):
        shared.failed = bool(exitstatus)


def pytest_unconfigure(config: pytest.Config) -> None:
    if shared := config.stash.get(Shared.KEY, None):
        shared.end()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if shared := getattr(request.config, "workerinput", {}).get("cluster"):
        yield Cluster(Path(shared))
        return
    folder = tmp_path_factory.mktemp("integration")
    with started(folder):
        yield Cluster(folder)


@pytest.fixture(scope="session")
def rest(cluster: Cluster) -> Iterator[Rest]:
    """Status codes and causes of plain requests to it."""
    with closing(Rest(cluster.client)) as connection:
        yield connection


@pytest.fixture
def namespace(rest: Rest) -> Iterator[str]:
    """The name of an empty namespace; what a test leaves in it goes with it, in the background."""
    name = f"test-{secrets.token_hex(4)}"
    code, answer = rest.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    assert code == 201, answer
    yield name
    rest.request("DELETE", f"/api/v1/namespaces/{name}")
