"""What the chart renders: rights, configuration, the operator's pod, the CRD."""

import re
from itertools import product
from pathlib import Path

import pytest
import yaml

from quantroll import settings
from quantroll.api.spec import Backend
from quantroll.constants import LABEL_COMPONENT, LABEL_OWNER, LABEL_REVISION
from unit.builders.samples import all_manifests

CRD = Path(__file__).resolve().parents[2] / "crds" / "quantroll.io_quantizedmodels.yaml"
CPU_ENGINE = {
    "image": "registry.example.com/vllm-cpu@sha256:" + "c" * 64,
    "device": "cpu",
    "args": ["--enforce-eager"],
    "env": {"VLLM_CPU_KVCACHE_SPACE": "1"},
    "runAsUser": 1000700000,
    "readOnlyRoot": True,
}

# What the operator may do, object by object; nothing else. Every line is a call that it makes or a watch that it keeps.
READ = {"get", "list", "watch"}
CHILD = READ | {"create", "patch", "delete"}
RIGHTS = {
    ("quantroll.io", "quantizedmodels"): READ,
    ("quantroll.io", "quantizedmodels/status"): {"update"},
    ("batch", "jobs"): CHILD,
    ("apps", "deployments"): CHILD,
    ("", "services"): CHILD,
    ("", "persistentvolumeclaims"): CHILD - {"delete"},
    ("gateway.networking.k8s.io", "httproutes"): CHILD - {"delete"},
    ("", "pods"): READ,
    ("", "events"): {"create", "patch"},
}
CLUSTER_RIGHTS = {("apiextensions.k8s.io", "customresourcedefinitions"): {"list", "watch"}}


def rights(role):
    return {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group, resource in product(rule["apiGroups"], rule["resources"])
    }


def roles(manifests):
    return [manifest for (kind, _), manifest in manifests.items() if kind in ("Role", "ClusterRole")]


def configuration(manifests, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(manifests["ConfigMap", "quantroll"]["data"]["config.yaml"])
    return settings.load(file)


def pod(manifests):
    return manifests["Deployment", "quantroll"]["spec"]["template"]["spec"]


def test_cluster_wide_rights_are_exactly_these(render):
    manifests = render()
    role = manifests["ClusterRole", "quantroll-system-quantroll"]
    binding = manifests["ClusterRoleBinding", "quantroll-system-quantroll"]
    assert rights(role) == RIGHTS | CLUSTER_RIGHTS
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "quantroll", "namespace": "quantroll-system"},
    ]
    assert ("ServiceAccount", "quantroll") in manifests


def test_rights_in_chosen_namespaces_need_no_cluster_role(helm, render):
    manifests = render(namespaces=["team-a"], rbac={"aggregate": False})
    role, binding = manifests["Role", "quantroll"], manifests["RoleBinding", "quantroll"]
    assert rights(role) == RIGHTS
    assert role["metadata"]["namespace"] == binding["metadata"]["namespace"] == "team-a"
    assert binding["subjects"][0]["namespace"] == "quantroll-system"
    assert not {kind for kind, _ in manifests if kind.startswith("ClusterRole")}


@pytest.mark.parametrize("values", [{}, {"namespaces": ["team-a"]}], ids=["cluster", "namespaced"])
def test_no_role_reads_secrets_or_uses_wildcards(render, values):
    found = roles(render(**values))
    assert found
    for role in found:
        for (group, resource), verbs in rights(role).items():
            assert "*" not in {group, resource} | verbs
            assert resource.split("/")[0] not in {"secrets", "roles", "clusterroles", "rolebindings"}
            assert not verbs & {"escalate", "bind", "impersonate"}
            assert resource not in {"pods/exec", "pods/attach", "pods/portforward"}


def test_users_with_edit_write_models_but_not_their_status(render):
    manifests = render()
    edit = manifests["ClusterRole", "quantroll-system-quantroll-edit"]
    view = manifests["ClusterRole", "quantroll-system-quantroll-view"]
    assert set(rights(edit)) == set(rights(view)) == {("quantroll.io", "quantizedmodels")}
    assert edit["metadata"]["labels"]["rbac.authorization.k8s.io/aggregate-to-edit"] == "true"
    assert rights(view) == {("quantroll.io", "quantizedmodels"): READ}


def test_default_configuration_is_understood(render, tmp_path):
    manifests = render()
    config = configuration(manifests, tmp_path)
    assert config.images.client == "quantroll/client:0.1.0"
    assert list(config.engines) == ["vllm"]
    assert config.engines["vllm"].device == "gpu"
    assert config.namespaces == []
    assert config.images.backends == {Backend.LLM_COMPRESSOR}
    assert config.images.lm_eval == ""
    assert config.hugging_face.endpoint == ""
    assert "--all-namespaces" in pod(manifests)["containers"][0]["args"]


def test_values_reach_the_configuration(render, tmp_path):
    digest = "sha256:" + "a" * 64
    manifests = render(
        namespaces=["team-a", "team-b"],
        engines={"vllm": None, "vllm-cpu": CPU_ENGINE},
        images={
            "client": {"repository": "registry.example.com/client", "digest": digest, "tag": "ignored"},
            "quantize": {"repository": "registry.example.com/quantize", "tag": "7"},
            "quantizeAutoAWQ": {"repository": "registry.example.com/quantize-autoawq"},
            "lmEval": {"repository": "registry.example.com/client-lm-eval", "tag": "3"},
            "pullPolicy": "Never",
        },
        huggingFace={"endpoint": "https://hub.example.com"},
        prices={
            "asOf": "2026-05-31",
            "source": "list",
            "gpus": {"NVIDIA-L4": {"usdPerHour": 0.805, "memoryGiB": 22.5}},
        },
        workers=2,
        resyncSeconds=60,
    )
    config = configuration(manifests, tmp_path)
    assert config.engines["vllm-cpu"].to_wire().items() >= CPU_ENGINE.items()
    assert list(config.engines) == ["vllm-cpu"]
    assert config.images.client == f"registry.example.com/client@{digest}"
    assert config.images.quantize == "registry.example.com/quantize:7"
    assert config.images.of(Backend.AUTO_AWQ) == "registry.example.com/quantize-autoawq:0.1.0"
    assert config.images.lm_eval == "registry.example.com/client-lm-eval:3"
    assert config.hugging_face.endpoint == "https://hub.example.com"
    assert (config.prices.as_of, config.prices.gpus["NVIDIA-L4"].usd_per_hour) == ("2026-05-31", 0.805)
    assert (config.workers, config.resync_seconds, config.images.pull_policy) == (2, 60, "Never")
    assert config.namespaces == ["team-a", "team-b"]
    args = pod(manifests)["containers"][0]["args"]
    assert args[-2:] == ["--namespace=team-a", "--namespace=team-b"]
    assert "--all-namespaces" not in args


def test_operator_pod_is_restricted(render):
    spec = pod(render())
    (container,) = spec["containers"]
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert container["resources"]["limits"]["memory"]


def test_operator_is_alone_and_finds_its_configuration(render):
    manifests = render()
    deployment = manifests["Deployment", "quantroll"]["spec"]
    container = pod(manifests)["containers"][0]
    assert (deployment["replicas"], deployment["strategy"]["type"]) == (1, "Recreate")
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    env = {variable["name"]: variable["value"] for variable in container["env"]}
    assert env["QUANTROLL_CONFIG"] == f"{mounts['config']}/config.yaml"
    assert [*container["command"], *container["args"]][:3] == ["kopf", "run", "--module=quantroll.app"]
    port = container["ports"][0]["containerPort"]
    assert f"--liveness=http://0.0.0.0:{port}/healthz" in container["args"]


def test_changed_configuration_restarts_the_operator(render):
    def annotations(**values):
        return render(**values)["Deployment", "quantroll"]["spec"]["template"]["metadata"]["annotations"]

    assert annotations(workers=3) != annotations()
    assert annotations(podAnnotations={"a": "b"})["a"] == "b"


def test_without_a_prometheus_nothing_is_mounted_for_it(render, tmp_path):
    manifests = render()
    assert configuration(manifests, tmp_path).prometheus.url == ""
    assert [volume["name"] for volume in pod(manifests)["volumes"]] == ["config", "tmp"]
    assert not [kind for kind, _ in manifests if kind == "PodMonitor"]


def test_a_prometheus_with_its_authority_and_token(render, tmp_path):
    manifests = render(
        prometheus={
            "url": "https://thanos.test/prefix",
            "caSecret": {"name": "authority", "key": "root.pem"},
            "bearerTokenSecret": {"name": "reader"},
            "timeoutSeconds": 20,
        }
    )
    ours = configuration(manifests, tmp_path).prometheus
    assert (ours.url, ours.timeout_seconds) == ("https://thanos.test/prefix", 20)
    (container,) = pod(manifests)["containers"]
    mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
    secrets = {volume["name"]: volume["secret"] for volume in pod(manifests)["volumes"] if "secret" in volume}
    for file, volume, secret, key in (
        (ours.ca_file, "prometheus-ca", "authority", "root.pem"),
        (ours.bearer_token_file, "prometheus-token", "reader", "token"),
    ):
        assert file == f"{mounts[volume]['mountPath']}/{key}"
        assert "subPath" not in mounts[volume], "a file mounted so would never change"
        assert mounts[volume]["readOnly"] is True
        assert secrets[volume] == {"secretName": secret, "items": [{"key": key, "path": key}]}


@pytest.mark.parametrize(
    ("namespaces", "selected"), [([], {"any": True}), (["team-a"], {"matchNames": ["team-a"]})], ids=["all", "some"]
)
def test_pod_monitor_gives_every_series_name_and_revision(render, namespaces, selected):
    asked = {"podMonitor": {"enabled": True, "labels": {"release": "kube-prometheus"}, "interval": "15s"}}
    monitor = render(namespaces=namespaces, prometheus=asked)["PodMonitor", "quantroll"]
    assert monitor["metadata"]["labels"]["release"] == "kube-prometheus"
    assert monitor["spec"]["namespaceSelector"] == selected
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["interval"] == "15s"
    copied = {rule["targetLabel"]: rule["sourceLabels"] for rule in endpoint["relabelings"] if "targetLabel" in rule}
    served = all_manifests()["deployment-cpu"]["spec"]["template"]["metadata"]
    for label, name in (("name", LABEL_OWNER), ("revision", LABEL_REVISION)):
        assert copied[label] == ["__meta_kubernetes_pod_label_" + re.sub(r"\W", "_", name)]
        assert name in served["labels"]
    selector = monitor["spec"]["selector"]
    assert selector["matchLabels"].items() <= served["labels"].items()
    assert served["labels"][LABEL_COMPONENT] in selector["matchExpressions"][0]["values"]
    assert "prometheus.io/port" in served["annotations"]


def test_crd_is_the_generated_one_and_stays_after_uninstallation(render):
    name = ("CustomResourceDefinition", "quantizedmodels.quantroll.io")
    crd = render()[name]
    assert crd["spec"] == yaml.safe_load(CRD.read_text())["spec"]
    assert crd["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"


def test_crd_can_be_left_out_or_go_with_the_release(render):
    name = ("CustomResourceDefinition", "quantizedmodels.quantroll.io")
    assert name not in render(crds={"install": False})
    crd = render(crds={"keep": False})[name]
    assert "helm.sh/resource-policy" not in crd["metadata"].get("annotations", {})
    assert render(crds={"annotations": {"a": "b"}})[name]["metadata"]["annotations"]["a"] == "b"


def test_operator_does_not_select_pods_that_serve(render):
    selector = render()["Deployment", "quantroll"]["spec"]["selector"]["matchLabels"]
    assert selector["app.kubernetes.io/component"] == "operator"
