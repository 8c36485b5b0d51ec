"""Install, upgrade, uninstall against a real API server; and whether the operator may make all its children."""

import json
import shutil
import subprocess
import time
from pathlib import Path

import pytest

from cluster.testcontrol import ControlPlaneOnly
from quantroll.constants import LABEL_MANAGED_BY, MANAGER
from quantroll.controller.difference import differs, stamped
from unit.builders.samples import OWNER, all_manifests

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

CHART = Path(__file__).resolve().parents[2] / "charts" / "quantroll"
SYSTEM = "quantroll-system"
OPERATOR = f"system:serviceaccount:{SYSTEM}:quantroll"
RESTRICTED = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
MANAGED = f"{LABEL_MANAGED_BY}={MANAGER}"
CRD = "customresourcedefinition/quantizedmodels.quantroll.io"
MODEL = {
    "apiVersion": "quantroll.io/v1alpha1",
    "kind": "QuantizedModel",
    "metadata": {"name": OWNER.name, "namespace": OWNER.namespace},
    "spec": {
        "model": {"source": "pvc://models/llama"},
        "variants": [{"name": "fp8", "scheme": "FP8_DYNAMIC"}],
        "qualityGate": {"verifiedAgainst": "bfloat16", "evalSet": {"source": "pvc://data/holdout.jsonl"}},
        "rollout": {"routing": {"parentRefs": [{"name": "public"}]}},
        "driftCheck": {"schedule": "@weekly"},
    },
}


@pytest.fixture(scope="module")
def control(tmp_path_factory):
    with ControlPlaneOnly(tmp_path_factory.mktemp("chart") / "control") as running:
        gateway_api = running.bin("kubectl").parent / "manifests" / "gateway-api"
        running.client.kubectl("apply", "--server-side", "-f", gateway_api)
        for name in (SYSTEM, OWNER.namespace):
            metadata = {"name": name, "labels": RESTRICTED}
            running.client.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        yield running


@pytest.fixture
def release(helm, control):
    """Run Helm in the operator's namespace; afterwards nothing of the release is left."""

    def run(*args):
        result = helm(*args, "--namespace", SYSTEM, env=control.client.env())
        assert result.returncode == 0, result.stderr
        return result.stdout + result.stderr

    yield run
    helm("uninstall", "quantroll", "--ignore-not-found", "--namespace", SYSTEM, env=control.client.env())
    control.client.kubectl("delete", CRD, "--ignore-not-found")


def listed(control, *what):
    return control.client.kubectl("get", *what, "--output=name").split()


def wait_until(found, seconds=30):
    deadline = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_install_upgrade_uninstall(control, release, tmp_path):
    shown = release("install", "quantroll", CHART)
    assert "not pinned by digest" not in shown  # the default engine's image
    assert "Warning" not in shown
    control.client.kubectl("wait", "--for=condition=Established", "--timeout=30s", CRD)
    wait_until(lambda: listed(control, "pods", "--namespace", SYSTEM))
    control.client.apply(MODEL)

    newer = tmp_path / "quantroll"
    shutil.copytree(CHART, newer)
    crd = newer / "files" / "quantroll.io_quantizedmodels.yaml"
    crd.write_text(crd.read_text().replace("    - qm\n", "    - qm\n    - qmodel\n"))
    release("upgrade", "quantroll", newer)
    wait_until(lambda: listed(control, "qmodel", "--namespace", OWNER.namespace))

    release("uninstall", "quantroll")
    assert listed(control, "qm", "--namespace", OWNER.namespace) == [f"quantizedmodel.quantroll.io/{OWNER.name}"]

    release("install", "quantroll", CHART)
    assert listed(control, "qm", "--namespace", OWNER.namespace)


def test_uninstall_without_keeping_leaves_nothing(control, release):
    kinds = "crd,clusterrole,clusterrolebinding,serviceaccount,configmap,deployment,role,rolebinding"

    def ours():
        return listed(control, kinds, "--all-namespaces", "--selector=app.kubernetes.io/name=quantroll")

    release("install", "quantroll", CHART, "--set=crds.keep=false", f"--set=namespaces={{{OWNER.namespace}}}")
    assert len(ours()) == 8  # CRD, account, configuration, Deployment, Role and binding, and two that are aggregated
    release("uninstall", "quantroll", "--wait")
    wait_until(lambda: not ours())


def as_operator(control, *args, stdin=None):
    """Run kubectl with the operator's rights in the users' namespace; returns the finished process."""
    return subprocess.run(
        ["kubectl", "--as", OPERATOR, "--namespace", OWNER.namespace, *args],
        input=stdin,
        env=control.client.env(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def may(control, verb, resource):
    kind, _, sub = resource.partition("/")
    return as_operator(control, "auth", "can-i", verb, kind, f"--subresource={sub}").stdout.strip()


def test_rights_of_the_operator(control, release):
    release("install", "quantroll", CHART)
    for call in [("list", "quantizedmodels"), ("update", "quantizedmodels/status"), ("create", "events")]:
        wait_until(lambda call=call: may(control, *call) == "yes")  # the API server takes a moment to see the role
    denied = [
        ("get", "secrets"),
        ("list", "secrets"),
        ("update", "quantizedmodels"),
        ("delete", "persistentvolumeclaims"),
        ("create", "pods"),
        ("create", "pods/exec"),
        ("create", "rolebindings"),
        ("update", "deployments"),
    ]
    assert {(call, may(control, *call)) for call in denied} == {(call, "no") for call in denied}


def test_operator_may_make_all_its_children_and_finds_them_as_written(control, release):
    """In a namespace with restricted pods. A child that seems to differ would be written over and over."""
    release("install", "quantroll", CHART)
    wait_until(lambda: may(control, "create", "httproutes.gateway.networking.k8s.io") == "yes")
    wanted = {}
    for name, manifest in all_manifests().items():
        # Samples share names; and without their owner, garbage collection would take them.
        metadata = {key: value for key, value in manifest["metadata"].items() if key != "ownerReferences"}
        wanted[manifest["kind"], name] = stamped(manifest | {"metadata": metadata | {"name": name}})

    applied = as_operator(
        control,
        *("apply", "--server-side", "--validate=strict", "--field-manager=quantroll", "--filename=-"),
        stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": list(wanted.values())}),
    )
    assert (applied.returncode, applied.stderr) == (0, "")

    kinds = ",".join({kind for kind, _ in wanted})
    listing = as_operator(control, "get", kinds, "--selector", MANAGED, "--output=json")
    found = {(item["kind"], item["metadata"]["name"]): item for item in json.loads(listing.stdout)["items"]}
    assert found.keys() == wanted.keys()
    assert [key for key in wanted if differs(wanted[key], found[key])] == []
