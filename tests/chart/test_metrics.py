"""The operator's metrics page in the chart, and what is built on it: nothing of the Prometheus operator by default."""

import json
from pathlib import Path

import pytest
import yaml

from quantroll import settings

CHART = Path(__file__).resolve().parents[2] / "charts" / "quantroll"
DASHBOARD = CHART / "dashboards" / "quantroll.json"
RULES = CHART / "files" / "rules.yaml"


def operator(manifests):
    return manifests["Deployment", "quantroll"]["spec"]["template"]


def config(manifests, tmp_path):
    file = tmp_path / "config.yaml"
    file.write_text(manifests["ConfigMap", "quantroll"]["data"]["config.yaml"])
    return settings.load(file)


def test_by_default_a_page_and_a_service_that_leads_to_it_and_no_more(render, tmp_path):
    manifests = render()
    kinds = {kind for kind, _ in manifests}
    assert not kinds & {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
    assert ("ConfigMap", "quantroll-dashboard") not in manifests
    service = manifests["Service", "quantroll-metrics"]
    pod = operator(manifests)
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    (port,) = service["spec"]["ports"]
    ports = {p["name"]: p["containerPort"] for p in pod["spec"]["containers"][0]["ports"]}
    assert ports[port["targetPort"]] == port["port"] == config(manifests, tmp_path).metrics.port == 8081


def test_without_a_port_there_is_neither_page_nor_service(helm, render, tmp_path):
    manifests = render(metrics={"port": 0})
    assert ("Service", "quantroll-metrics") not in manifests
    assert [p["name"] for p in operator(manifests)["spec"]["containers"][0]["ports"]] == ["healthz"]
    assert config(manifests, tmp_path).metrics.port == 0
    refused = helm("template", "q", CHART, "--set", "metrics.port=0,metrics.serviceMonitor.enabled=true")
    assert refused.returncode != 0
    assert "set metrics.port" in refused.stderr


def test_the_service_monitor_finds_the_service_and_keeps_the_models_namespace(render):
    asked = {"serviceMonitor": {"enabled": True, "labels": {"release": "kube-prometheus"}, "interval": "15s"}}
    manifests = render(metrics=asked)
    monitor, service = manifests["ServiceMonitor", "quantroll"], manifests["Service", "quantroll-metrics"]
    assert monitor["metadata"]["labels"]["release"] == "kube-prometheus"
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": [service["metadata"]["namespace"]]}
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["port"] == service["spec"]["ports"][0]["name"]
    assert endpoint["honorLabels"] is True
    assert endpoint["interval"] == "15s"


def test_the_rules_are_the_files_with_runbooks_and_labels_filled_in(render):
    asked = {"enabled": True, "labels": {"role": "alerts"}, "alertLabels": {"team": "ml", "severity": "x"},
             "runbooks": "https://wiki.test/quantroll"}  # fmt: skip
    rule = render(metrics={"rules": asked})["PrometheusRule", "quantroll"]
    assert rule["metadata"]["labels"]["role"] == "alerts"
    expected = yaml.safe_load(RULES.read_text().replace("RUNBOOKS", "https://wiki.test/quantroll"))
    for group in expected["groups"]:
        for alert in group["rules"]:
            alert["labels"] = {"team": "ml", **alert["labels"]}
    assert rule["spec"] == expected


def test_the_dashboard_is_the_file_for_grafanas_sidecar(render):
    asked = {"enabled": True, "namespace": "grafana", "annotations": {"grafana_folder": "ML"}}
    found = render(metrics={"dashboard": asked})["ConfigMap", "quantroll-dashboard"]
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert (found["metadata"]["namespace"], found["metadata"]["annotations"]) == ("grafana", {"grafana_folder": "ML"})
    assert json.loads(found["data"]["quantroll.json"]) == json.loads(DASHBOARD.read_text())


def test_the_dashboard_can_be_used_with_any_data_source():
    document = json.loads(DASHBOARD.read_text())
    ids = [panel["id"] for panel in document["panels"]]
    assert len(ids) == len(set(ids))
    assert {v["name"] for v in document["templating"]["list"]} == {"datasource", "namespace", "name"}
    for panel in document["panels"]:
        for target in panel.get("targets", []):
            assert target["datasource"] == panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
            grid = panel["gridPos"]
            assert grid["x"] + grid["w"] <= 24


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("metrics.port=8080", "/metrics/port"),
        ("metrics.port=70000", "/metrics/port"),
        ("metrics.ports=1", "ports"),
        ("metrics.serviceMonitor.interval=often", "/metrics/serviceMonitor/interval"),
        ("metrics.rules.runbooks=", "/metrics/rules/runbooks"),
        ("metrics.dashboard.namespace=Bad_Name", "/metrics/dashboard/namespace"),
    ],
)
def test_wrong_values_are_refused_by_name(helm, setting, message):
    result = helm("template", "quantroll", CHART, "--set", setting)
    assert result.returncode != 0
    assert message in result.stderr
