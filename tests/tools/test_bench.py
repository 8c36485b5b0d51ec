"""The benchmark's own arithmetic, and the whole of it with a few resources."""

import asyncio
import json
import os
import re
import subprocess
import sys

import pytest

from bench import audit, models, stages
from bench.__main__ import arguments
from bench.api import path_of
from bench.measure import Bench
from bench.report import PEERS, Figure, document, percentile, table
from bootstrap import cache
from quantroll.api.jobs import Report
from quantroll.api.spec import QuantizedModelSpec


def line(number, verb="get", stage="ResponseComplete", **about):
    return json.dumps(
        {
            "auditID": f"id-{number}",
            "stage": stage,
            "verb": verb,
            "requestURI": "/apis",
            "requestReceivedTimestamp": "2026-01-01T00:00:01.500000Z",
            "stageTimestamp": "2026-01-01T00:00:01.750000Z",
            "responseStatus": {"code": 200},
            **({"objectRef": about} if about else {}),
        }
    )


def test_requests_of_an_audit_log():
    lines = [
        line(1),
        line(2, "watch", "ResponseStarted", resource="pods"),
        line(2, "watch", resource="pods"),
        line(3, "update", resource="quantizedmodels", subresource="status", namespace="a", name="b"),
        line(4, "create", resource="events", namespace="a"),
    ]
    found = list(audit.parse(lines))
    assert [(r.verb, r.resource, r.is_write, r.is_event) for r in found] == [
        ("get", "/apis", False, False),
        ("watch", "pods", False, False),
        ("update", "quantizedmodels/status", True, False),
        ("create", "events", True, True),
    ]
    assert (found[2].namespace, found[2].name, found[2].code, found[2].at % 60) == ("a", "b", 200, 1.5)
    assert {r.took for r in found} == {0.25}


def test_the_first_write_of_a_kind_after_an_edit():
    def write(at, verb="patch", resource="deployments", name="one-0123456789"):
        return audit.Request(at=at, verb=verb, namespace="a", resource=resource, name=name, code=200)

    writes = [write(1), write(5, "get"), write(6, resource="services"), write(7, name="two-0"), write(8), write(9)]
    assert audit.first(writes, "patch", "deployments", "one", 2) == writes[4]
    assert audit.first(writes, "patch", "deployments", "one", 8) == writes[4]
    assert audit.first(writes, "patch", "deployments", "one", 9.5) is None


def test_a_log_is_read_from_the_mark_and_only_in_whole_lines(tmp_path):
    path = tmp_path / "audit.log"
    path.write_text(line(1) + "\n")
    log = audit.Log(path)
    assert len(log.requests()) == 1
    log.mark()
    assert log.requests() == []
    with path.open("a") as file:
        file.write(line(2) + "\n" + line(3)[:30])
    assert len(log.requests()) == 1


def test_a_rollout_begins_with_the_status_that_decides_the_last_deployment():
    def write(verb, resource, code=200):
        return audit.Request(at=0, verb=verb, namespace="a", resource=resource, name="x", code=code)

    status, event = write("update", "quantizedmodels/status"), write("create", "events", 201)
    made, again = write("patch", "deployments", 201), write("patch", "deployments")
    before = [status, made, event, write("get", "services", 404), status, event]
    rollout = [status, write("get", "deployments", 404), made, event, status, again, event]
    writes, events = audit.rollout_writes([*before, *rollout])
    assert writes == [status, made, status, again]
    assert events == [event] * 2


@pytest.mark.parametrize(("share", "expected"), [(0.5, 2), (0.99, 4), (0.75, 3), (0, 1)])
def test_percentiles(share, expected):
    assert percentile([4, 1, 3, 2], share) == expected


def test_no_values_have_no_percentile():
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_the_table_says_what_is_met_and_what_is_missed():
    lines = table([Figure("a", 99.96, "MiB", 100), Figure("b", 1, "", 0), Figure("c", 1234, "s")]).splitlines()
    assert re.split(r"  +", lines[1]) == ["a", "100 MiB", "100 MiB", "met"]
    assert re.split(r"  +", lines[2]) == ["b", "1", "0", "MISSED"]
    assert re.split(r"  +", lines[3]) == ["c", "1,234 s"]
    assert lines[-1] == PEERS


def test_the_document_tells_where_it_was_measured():
    found = json.loads(json.dumps(document(7, [Figure("a", 2, "s", 1)])))
    assert found["resources"] == 7
    assert found["figures"] == [{"name": "a", "value": 2, "unit": "s", "goal": 1, "met": False}]
    assert found["machine"]["cores"] >= 1
    assert found["versions"]["kopf"]


def test_what_the_jobs_report_is_what_the_operator_reads():
    kinds = {name: Report.model_validate_json(text).kind for name, text in stages.reports().items()}
    assert kinds == {"prepare": "prepare", "quantize": "quantize", "baseline": "evaluate", "variant": "evaluate"}
    template = stages.stages()[0]["spec"]["next"]["statusTemplate"]
    assert all(text in template for text in stages.reports().values())
    assert not {"CONTAINER", "VARIABLE", "%("} & set(re.findall(r"CONTAINER|VARIABLE|%\(", template))


def test_models_are_as_many_as_asked_for_and_valid():
    found = models.many(250)
    assert len({(m["metadata"]["namespace"], m["metadata"]["name"]) for m in found}) == 250
    assert {m["metadata"]["namespace"] for m in found} == {"bench-0", "bench-1", "bench-2"}
    for model in (found[0], models.alone()):
        QuantizedModelSpec.model_validate(model["spec"])


def test_every_claim_finds_its_volume():
    refs = [v["spec"]["claimRef"] for v in models.volumes([*models.many(101), models.alone()])]
    claims = {(ref["namespace"], ref["name"]) for ref in refs}
    assert len(refs) == len(claims) == 101 + 1 + 3
    assert {("bench-1", "model-00100-artifacts"), ("bench-alone", "data")} <= claims


def test_paths_of_what_is_created():
    assert path_of(models.data_claim("a")) == "/api/v1/namespaces/a/persistentvolumeclaims"
    assert path_of(models.alone()) == "/apis/quantroll.io/v1alpha1/namespaces/bench-alone/quantizedmodels"
    assert path_of({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "a"}}) == "/api/v1/namespaces"


class Nowhere:
    """Nothing that is created there becomes anything."""

    async def create(self, objects):
        pass


def test_more_resources_are_given_more_time():
    assert [arguments(argv).patience for argv in (["--n=20"], ["--n=1000"], ["--patience=7"])] == [300, 3000, 7]


def test_what_does_not_become_steady_is_told():
    phases = {("bench", str(number)): phase for number, phase in enumerate(["Steady", "Shifting", "", "Shifting"])}
    bench = Bench(Nowhere(), None, None, 1, phases=phases)
    with pytest.raises(TimeoutError, match=r"Steady: not .*; there are 2 Shifting, 1 Steady, 1 nothing yet"):
        asyncio.run(bench.steady([], 0.01))


def test_nothing_cannot_be_measured(capsys):
    with pytest.raises(SystemExit):
        arguments(["--n", "0"])
    assert "--n must be 1 or more" in capsys.readouterr().err


@pytest.mark.long
@pytest.mark.integration
@pytest.mark.timeout(300)
def test_the_whole_benchmark_with_a_few_resources(tmp_path):
    folder = tmp_path / "bench"
    command = [sys.executable, "-m", "bench", "--n", "5", "--idle", "3", "--edits", "5", "--folder", str(folder)]
    roots = ":".join(str(cache.CHECKOUT / root) for root in ("operator", "jobs", "tools"))
    env = {**os.environ, "PYTHONPATH": roots}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    print(done.stdout, done.stderr[-3000:])
    assert done.returncode == 0
    figures = {figure["name"]: figure for figure in json.loads((folder / "bench.json").read_text())["figures"]}
    assert figures["writes in 3 s"]["met"]
    assert figures["writes in that"]["met"], "a restart writes nothing"
    assert all(
        figures[f"  {what}"]["value"] > 0
        for what in ("processor time of the operator in that", "and of the API server and its store")
    )
    parts = [name for name in figures if name.startswith("  ") and name.endswith(", p50")]
    whole = figures["edit to changed child, p50"]["value"]
    assert len(parts) == 3
    assert all(0 < figures[name]["value"] < whole for name in parts)
    assert figures["memory (RSS), idle"]["value"] > 20
