"""The alerts, by promtool: each fires for what it is about, says so, and is silent about anything else."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from cluster.binaries import Binaries

FILE = Path(__file__).resolve().parents[2] / "charts" / "quantroll" / "files" / "rules.yaml"
RULES = {rule["alert"]: rule for group in yaml.safe_load(FILE.read_text())["groups"] for rule in group["rules"]}
MODEL = {"namespace": "team", "name": "tiny"}
DAY = 86400
QUEUE = {"name": "quantizedmodels", "namespace": "quantroll-system", "pod": "q-1"}
ALWAYS = "1x400"


def series(metric, values=ALWAYS, **labels):
    """promtool's notation: 1x400 is a 1 each minute for hours."""
    first, _, rest = values.partition("x")
    steps = f"{first}+0x{rest}" if rest and "+" not in first else values
    pairs = ",".join(f'{name}="{value}"' for name, value in labels.items())
    return {"series": f"{metric}{{{pairs}}}", "values": steps}


def condition(kind, status, reason, values=ALWAYS):
    return series("quantroll_condition", values, **MODEL, type=kind, status=status, reason=reason)


def stalled(reason, values=ALWAYS):
    return condition("Stalled", "True", reason, values)


def info(phase):
    return series("quantroll_info", **MODEL, phase=phase, stable="int8")


# alert: what there is, since when it fires, the labels beside severity, and its summary
CASES = {
    "QuantrollNotAvailable": (
        [condition("Available", "False", "OutOfMemory"), info("Steady")],
        "5m", MODEL, "team/tiny serves nobody",
    ),
    "QuantrollRolledBack": ([stalled("RolledBack")], "1m", MODEL, "team/tiny was taken back"),
    "QuantrollRejected": ([stalled("Rejected")], "5m", MODEL, "No variant of team/tiny is proven good enough"),
    "QuantrollDriftBreached": (
        [condition("QualityFloorMet", "False", "FloorBreached")],
        "1m", MODEL, "What serves for team/tiny is below the floor",
    ),
    "QuantrollPopulationShift": (
        [condition("QualityFloorMet", "False", "PopulationShift")],
        "1m", MODEL, "The questions to team/tiny have changed",
    ),
    "QuantrollQualityUnknown": (
        [condition("QualityFloorMet", "Unknown", "QualityUnknown")],
        "1h", MODEL, "The quality of team/tiny is not known",
    ),
    "QuantrollQualityUnverified": (
        [series("quantroll_drift_last_success_timestamp_seconds", f"{-15 * DAY}x400", **MODEL), info("Steady")],
        "16m", MODEL, "The quality of team/tiny has not been verified for too long",
    ),
    "QuantrollDriftCheckMissed": (
        [series("quantroll_drift_next_timestamp_seconds", "-3600x400", **MODEL)],
        "16m", MODEL, "The drift check of team/tiny is overdue",
    ),
    "QuantrollCapacityBlocked": (
        [stalled("Unschedulable"), condition("CapacityBlocked", "True", "CapacityBlocked")],
        "5m", MODEL, "There is no room for pods of team/tiny",
    ),
    "QuantrollMetricsUnavailable": (
        [stalled("MetricsUnavailable")], "10m", MODEL, "The rollout of team/tiny is held for want of metrics",
    ),
    "QuantrollRouteNotAccepted": (
        [stalled("RouteNotAccepted")],
        "5m", {**MODEL, "reason": "RouteNotAccepted"}, "The gateway does not carry team/tiny: RouteNotAccepted",
    ),
    "QuantrollStalled": (
        [stalled("EvalSetMissing")],
        "15m", {**MODEL, "reason": "EvalSetMissing"}, "team/tiny does not get on: EvalSetMissing",
    ),
    "QuantrollAwaitingApproval": (
        [condition("AwaitingApproval", "True", "Waiting")], "4h", MODEL, "team/tiny waits for approval",
    ),
    "QuantrollOperatorDown": ([], "5m", {}, "The quantroll operator does not run, or is not scraped"),
    "QuantrollQueueStuck": (
        [series("workqueue_longest_running_processor_seconds", "301x400", **QUEUE)],
        "5m", QUEUE, "The operator's queue is stuck",
    ),
    "QuantrollWatchStale": (
        [series("quantroll_watch_last_event_timestamp_seconds", "0x400", namespace="q", pod="q-1", kind="Job")],
        "11m", {"namespace": "q", "pod": "q-1", "kind": "Job"},
        "The operator does not see what becomes of its Job objects",
    ),
    "QuantrollReconcileErrors": (
        [series("controller_runtime_reconcile_total", "0+1x400", controller="quantizedmodels", result="error")],
        "21m", {"controller": "quantizedmodels", "result": "error"}, "Passes of the operator fail again and again",
    ),
    "QuantrollPrometheusFailing": (
        [
            series("quantroll_metric_query_total", "0+1x400", namespace="q", pod="q-1", result="ok"),
            series("quantroll_metric_query_total", "0+2x400", namespace="q", pod="q-1", result="timeout"),
        ],
        "16m", {"namespace": "q", "pod": "q-1"}, "Prometheus does not answer the operator",
    ),
}  # fmt: skip
UP = [series("quantroll_build_info", version="1")]
HEALTHY = [
    *UP,
    info("Steady"),
    *(condition(kind, "True", "Settled") for kind in ("Ready", "Available", "Promoted", "QualityFloorMet")),
    condition("Stalled", "False", "Settled"),
    condition("AwaitingApproval", "False", "Progressing"),
    series("quantroll_drift_verdict", **MODEL, verdict="Healthy"),
    series("quantroll_watch_last_event_timestamp_seconds", "0+60x400", namespace="q", pod="q-1", kind="Job"),
    series("quantroll_drift_last_success_timestamp_seconds", "0+60x400", **MODEL),
    series("quantroll_drift_next_timestamp_seconds", "600+60x400", **MODEL),
    series("workqueue_longest_running_processor_seconds", "0x400", **QUEUE),
    series("workqueue_depth", "3x400", **QUEUE),
    series("workqueue_work_duration_seconds_count", "0+9x400", **QUEUE),
    series("controller_runtime_reconcile_total", "0+9x400", controller="quantizedmodels", result="success"),
    series("controller_runtime_reconcile_total", "3x400", controller="quantizedmodels", result="error"),
    series("quantroll_metric_query_total", "0+9x400", namespace="q", pod="q-1", result="ok"),
    series("quantroll_metric_query_total", "0+1x400", namespace="q", pod="q-1", result="error"),
]


def minutes(text):
    return int(text[:-1]) * {"m": 1, "h": 60}[text[-1]]


def told(alert, labels, summary):
    rule = RULES[alert]
    notes = {**rule["annotations"], "summary": summary}
    values = {"{{ $value | humanize }}": "15", "{{ $value | humanizeDuration }}": "11m 0s"}
    for template, value in values.items():
        notes["description"] = notes["description"].replace(template, value)
    return {"exp_labels": {**labels, **rule["labels"]}, "exp_annotations": notes}


def test_every_alert_has_a_case():
    assert set(CASES) == set(RULES)


@pytest.fixture
def promtool(tmp_path):
    program = Binaries.for_tests()("promtool")

    def run(*tests):
        file = tmp_path / "alerts.test.yaml"
        rules = tmp_path / "rules.yaml"
        rules.write_text(FILE.read_text())
        file.write_text(json.dumps({"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": list(tests)}))
        result = subprocess.run(
            [program, "test", "rules", file], capture_output=True, text=True, timeout=50, check=False
        )
        assert result.returncode == 0, result.stdout + result.stderr

    return run


def test_the_file_is_checked():
    command = [Binaries.for_tests()("promtool"), "check", "rules", "--lint=all", "--lint-fatal", FILE]
    result = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_each_alert_fires_for_its_case_and_not_before_and_no_other_does(promtool):
    tests = []
    for alert, (given, after, labels, summary) in CASES.items():
        at = minutes(after)
        running = [] if alert == "QuantrollOperatorDown" else UP
        early = max(0, at - 2) if "for" in RULES[alert] else None
        expected = [{"eval_time": f"{at}m", "alertname": alert, "exp_alerts": [told(alert, labels, summary)]}]
        if early is not None:
            expected.append({"eval_time": f"{early}m", "alertname": alert, "exp_alerts": []})
        expected += [{"eval_time": f"{at}m", "alertname": name, "exp_alerts": []} for name in RULES if name != alert]
        tests.append({"name": alert, "interval": "1m", "input_series": [*given, *running], "alert_rule_test": expected})
    promtool(*tests)


def test_a_healthy_model_and_operator_are_silent(promtool):
    silent = [{"eval_time": "6h", "alertname": name, "exp_alerts": []} for name in RULES]
    promtool({"interval": "1m", "input_series": HEALTHY, "alert_rule_test": silent})


def test_a_model_that_loads_for_the_first_time_is_not_unavailable(promtool):
    given = [*UP, condition("Available", "False", "NotServing"), info("Baselining")]
    silent = [{"eval_time": "1h", "alertname": "QuantrollNotAvailable", "exp_alerts": []}]
    promtool({"interval": "1m", "input_series": given, "alert_rule_test": silent})


def test_a_queue_in_which_nothing_is_worked_on(promtool):
    given = [
        *UP,
        series("workqueue_depth", "3x100", **QUEUE),
        series("workqueue_work_duration_seconds_count", "7x100", **QUEUE),
    ]
    fires = [told("QuantrollQueueStuck", QUEUE, "The operator's queue is stuck")]
    expected = [{"eval_time": "20m", "alertname": "QuantrollQueueStuck", "exp_alerts": fires}]
    promtool({"interval": "1m", "input_series": given, "alert_rule_test": expected})


def test_a_quality_that_the_operator_says_is_unverified(promtool):
    given = [*UP, condition("QualityFloorMet", "Unknown", "QualityUnverified")]
    summary = CASES["QuantrollQualityUnverified"][3]
    fires = [told("QuantrollQualityUnverified", MODEL, summary)]
    expected = [{"eval_time": "15m", "alertname": "QuantrollQualityUnverified", "exp_alerts": fires}]
    promtool({"interval": "1m", "input_series": given, "alert_rule_test": expected})


@pytest.mark.parametrize(
    ("alert", "given"),
    [
        ("QuantrollQualityUnverified", [series("quantroll_info", **MODEL, phase="RolledBack", stable="baseline")]),
        ("QuantrollDriftCheckMissed", [series("quantroll_rollout_started_timestamp_seconds", **MODEL)]),
        ("QuantrollDriftCheckMissed", [condition("Suspended", "True", "Suspended")]),
    ],
)
def test_drift_checks_that_nobody_expects_are_not_missed(promtool, alert, given):
    late = [
        series(f"quantroll_drift_{which}_timestamp_seconds", f"{-99 * DAY}x400", **MODEL)
        for which in ("next", "last_success")
    ]
    silent = [{"eval_time": "1h", "alertname": alert, "exp_alerts": []}]
    promtool({"interval": "1m", "input_series": [*UP, *given, *late], "alert_rule_test": silent})
