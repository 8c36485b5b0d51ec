"""A real control plane without a node, once for the whole run, and a namespace for every test.

Schemas, CEL rules, server-side apply, watches, the controllers of Jobs, Deployments and namespaces, and garbage
collection are real. Pods stay Pending: a test marks them running or finished through their status.
"""

import json
import secrets
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from bench import audit
from cluster.procs import wait_for
from cluster.testcontrol import ControlPlaneOnly
from integration.rest import Rest
from quantroll.constants import API_VERSION, PLURAL

AUDITED = "audited-operator"  # requests of this user are in the API server's audit log
AUDIT_LOG = "audit.log"
CHECKOUT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("long") is None)


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlaneOnly]:
    """The control plane with quantroll's CRD; `.client` is kubectl, `.kubeconfig` an administrator's file."""
    folder = tmp_path_factory.mktemp("integration")
    policy = folder / "audit-policy.yaml"
    policy.write_text(json.dumps(audit.policy(AUDITED)))
    flags = {"kube-apiserver": [f"--audit-policy-file={policy}", f"--audit-log-path={folder / AUDIT_LOG}"]}
    with ControlPlaneOnly(folder / "control", flags=flags) as control:
        control.client.kubectl("apply", "--server-side", "-f", CHECKOUT / "crds")
        with closing(Rest(control.client)) as probe:
            wait_for("CRD", lambda: probe.request("GET", f"/apis/{API_VERSION}/{PLURAL}")[0] == 200, 30)
        yield control


@pytest.fixture(scope="session")
def rest(cluster: ControlPlaneOnly) -> Iterator[Rest]:
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
