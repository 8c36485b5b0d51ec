"""docs/metrics.md lists every metric as the code has it, and alerts and dashboard use no other."""

import re
from pathlib import Path

import yaml

from cluster import dashboard, prometheus
from quantroll.adapters.board import FAMILIES, MODEL
from quantroll.adapters.telemetry import OperatorTelemetry
from quantroll.api import metrics
from quantroll.constants import Condition, Reason
from quantroll.domain.conditions import SETTLED

CHECKOUT = Path(__file__).resolve().parents[2]
PAGE = (CHECKOUT / "docs" / "metrics.md").read_text()
RULES = yaml.safe_load((CHECKOUT / "charts" / "quantroll" / "files" / "rules.yaml").read_text())
ROW = re.compile(r"^\| `(\w+)` \| (counter|gauge|histogram) \| (.*) \| (.+) \|$", re.MULTILINE)


def documented():
    return {name: (kind, tuple(re.findall(r"`(\w+)`", labels)), text) for name, kind, labels, text in ROW.findall(PAGE)}


def made():
    """Every metric of the operator: name to type, labels and help."""
    found = {family.name: ("gauge", (*MODEL, *family.labels), family.help) for family in FAMILIES}
    for metric in OperatorTelemetry().registry._collector_to_names:
        if hasattr(metric, "_labelnames"):
            name = metric._name + ("_total" if metric._type == "counter" else "")
            found[name] = (metric._type, tuple(metric._labelnames), metric._documentation)
    return found


def prober():
    return {v for k, v in vars(metrics).items() if k.isupper() and str(v).startswith("quantroll_")}


def used():
    """Names of metrics in alerts and dashboard."""
    texts = [rule["expr"] for group in RULES["groups"] for rule in group["rules"]]
    texts += [query for _, query in dashboard.queries()]
    text = re.sub(r'"[^"]*"', "", "\n".join(texts))
    names = re.findall(r"\b((?:quantroll|workqueue|controller_runtime|rest_client|process|vllm:?|http)_?\w+)", text)
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in names}


def test_the_page_lists_every_metric_with_type_labels_and_meaning():
    found = documented()
    assert {name: row for name, row in found.items() if name not in prober()} == made()


def test_the_page_lists_the_probers():
    assert prober() <= set(documented())


def test_alerts_and_dashboard_use_metrics_that_there_are():
    ours = {name for name in used() if not name.startswith(("vllm:", "http_", "process_"))}
    assert ours
    assert ours <= set(made()) | prober()


def test_alerts_name_conditions_and_reasons_that_there_are():
    known = {*Condition, *Reason, *SETTLED}
    exprs = "\n".join(rule["expr"] for group in RULES["groups"] for rule in group["rules"])
    for kind in ("type", "reason"):
        for value in re.findall(rf'\b{kind}[!=]~?"([^"]+)"', exprs):
            assert set(value.split("|")) <= known, value


def test_every_alert_has_severity_words_and_a_runbook():
    for group in RULES["groups"]:
        for rule in group["rules"]:
            assert rule["labels"]["severity"] in {"critical", "warning", "info"}
            notes = rule["annotations"]
            assert notes["summary"]
            assert notes["description"]
            assert notes["runbook_url"] == f"RUNBOOKS#{rule['alert'].lower()}"


def test_the_page_shows_how_the_operator_is_scraped_as_the_throw_away_cluster_does_it():
    shown = re.findall(r"^```yaml\n(scrape_configs:.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    jobs = {job["job_name"]: job for text in shown for job in yaml.safe_load(text)["scrape_configs"]}
    mine = next(j for j in prometheus.config(Path("k"))["scrape_configs"] if j["job_name"] == "quantroll-operator")
    told = jobs["quantroll-operator"]
    assert (told["honor_labels"], told["relabel_configs"]) == (mine["honor_labels"], mine["relabel_configs"])
