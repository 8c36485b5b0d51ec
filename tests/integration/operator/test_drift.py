"""Drift checks against a real API server, with a scripted Prometheus and confirmations; dates are seconds apart."""

import copy
import time

import pytest

from cluster.procs import wait_for
from integration.operator.conftest import SETTINGS, Operator, running
from integration.operator.player import report_for
from integration.operator.test_spine import condition, phase
from integration.operator.test_steering import Prometheus, analyzed, send
from quantroll.api.jobs import ConfirmInput, ConfirmResult, Report
from unit.adapters.prometheus_server import serving

pytestmark = [pytest.mark.integration, pytest.mark.timeout(200)]

OFTEN = [f"{seconds}s" for seconds in (3, 15, 27, 39, 51, 66, 81, 96)]
CHECK = {"schedule": "* * * * *", "afterPromotion": OFTEN, "window": "1h", "minSamples": 100, "confirm": {"items": 400}}
COUNT = "sum(increase(thumbs_total{ns=$namespace, model=$name, revision=$revision, kind=~%s}[$window]))"
QUERIES = {"thumbs": {"passed": COUNT % '"up"', "total": COUNT % '"up|down"'}}

# both, serving only, target only, neither; the floor is .9353
NEAR = (366, 4, 10, 20)  # .925 and .940: not proven
SHIFT = (320, 4, 4, 72)  # .81 and .81
WELL = (388, 2, 2, 8)  # .975 and .975
FEW = (55, 0, 5, 0)  # .917 of 60: the bound is above the floor, and McNemar's p is .031


class Answering(Prometheus):
    """Knows the admin's query as well."""

    def _answer(self, request, script):
        query = script.asked[-1]["query"]
        if "thumbs_total" not in query or not self.up:
            super()._answer(request, script)
            return
        right, wrong = self.answers
        series = [({"part": "passed"}, f"{right}.4"), ({"part": "total"}, f"{right + wrong}.4")]
        send(request, series, time.time())


@pytest.fixture
def prometheus():
    with serving() as script:
        yield Answering(script)


@pytest.fixture
def operator(cluster, namespace, tmp_path, prometheus):
    where = {"url": prometheus.script.url, "timeoutSeconds": 2, "queries": QUERIES}
    with running(Operator(cluster.client, tmp_path, namespace, {**copy.deepcopy(SETTINGS), "prometheus": where})) as it:
        yield it


@pytest.fixture
def confirmed(player):
    """Sets what confirmations find."""

    def set_cells(both, serving_only, target_only, neither):
        def script(job, variant):
            if not isinstance(job, ConfirmInput):
                return report_for(job, variant)
            found = ConfirmResult(
                items=both + serving_only + target_only + neither, errors=0, both=both, serving_only=serving_only,
                target_only=target_only, neither=neither, source_sha256="e" * 64,
            )  # fmt: skip
            return Report(kind="confirm", key=job.key, confirm=found)

        player.script = script

    return set_cells


@pytest.fixture
def told(rest, namespace):
    """Waits for an event of a reason: events follow the status."""

    def told(reason):
        def look():
            events = rest.request("GET", f"/api/v1/namespaces/{namespace}/events")[1]["items"]
            return reason in {event["reason"] for event in events}

        wait_for(f"event {reason}", look, 10)

    return told


def checked(**changes):
    return analyzed("gptq4") | {"driftCheck": CHECK | changes}


def verdict(*wanted):
    return lambda status: status["drift"]["verdict"] in wanted


@pytest.mark.long
def test_the_third_confirmation_in_a_row_goes_back_whatever_happens_to_the_operator(
    operator, player, prometheus, confirmed, apply, status, told
):
    confirmed(*NEAR)
    prometheus.answers = (370, 30)
    apply(checked())
    bad = status(phase("Steady"), timeout=80)["stable"]["revision"]
    first = status(lambda s: s["drift"].get("consecutive") == 1, timeout=70)
    assert condition(first, "QualityFloorMet")["reason"] == "FloorSuspect"
    assert first["stable"]["revision"] == bad
    operator.kill()
    operator.start()
    second = status(lambda s: s["drift"].get("consecutive") == 2, timeout=70)
    assert second["stable"]["revision"] == bad
    assert second["drift"]["lowerBound"] < second["drift"]["value"] == 0.925 < second["drift"]["upperBound"]
    assert (second["drift"]["targetValue"], second["drift"]["samples"]) == (0.94, 400)
    assert second["drift"]["next"]
    done = status(phase("RolledBack"), timeout=90)
    assert done["stable"]["variant"] == "baseline"
    assert "3 times in a row" in done["rejected"][0]["message"]
    assert [kind for kind, _ in player.finished].count("confirm") == 3
    told("FloorBreached")


def test_a_shift_of_the_questions_is_told_and_a_catastrophe_goes_back_at_once(
    operator, player, prometheus, confirmed, apply, status, told
):
    confirmed(*SHIFT)
    prometheus.answers = (325, 75)
    apply(checked())
    bad = status(phase("Steady"), timeout=80)["stable"]["revision"]
    shifted = status(verdict("PopulationShift"), timeout=70)
    assert condition(shifted, "QualityFloorMet")["status"] == "False"
    assert (shifted["stable"]["revision"], shifted.get("rollout")) == (bad, None)
    told("PopulationShift")
    confirmed(*FEW)
    done = status(phase("RolledBack"), timeout=90)
    assert "catastrophic" in done["rejected"][0]["message"]
    assert done["stable"]["variant"] == "baseline"


@pytest.mark.long
def test_counts_of_the_admins_and_quality_that_is_unverified(
    operator, player, prometheus, confirmed, apply, status, told
):
    """A query that is not there, then one that is; then nobody knows, for longer than is allowed."""
    confirmed(*WELL)  # the first check after a promotion asks both revisions, unless the query is there by then
    apply(checked(metric="hearts", missingData={"maxStaleness": "20s"}))
    missing = status(lambda s: s.get("conditions") and condition(s, "Stalled")["reason"] == "QueryUnknown", timeout=80)
    assert "there are thumbs, and Probe" in condition(missing, "Stalled")["message"]
    status(phase("Steady"), timeout=80)
    apply(checked(metric="thumbs", missingData={"maxStaleness": "20s"}))
    counted = "390 of 400 answers that query thumbs counts are right"
    healthy = status(lambda s: counted in s["drift"].get("message", ""), timeout=80)
    assert healthy["drift"]["verdict"] == "Healthy"
    assert any('revision="' in asked["query"] for asked in prometheus.script.asked if "thumbs_total" in asked["query"])
    prometheus.up = False
    unverified = status(lambda s: condition(s, "QualityFloorMet")["reason"] == "QualityUnverified", timeout=100)
    assert unverified["stable"] == healthy["stable"]
    assert unverified["phase"] == "Steady"
    told("QualityUnverified")
    waiting = checked(metric="thumbs", missingData={"maxStaleness": "20s"})
    waiting["serving"] = {**waiting["serving"], "maxNumSeqs": 17}  # other revisions of everything
    apply(waiting)
    held = status(lambda s: condition(s, "Stalled")["reason"] == "QualityUnverified", timeout=60)
    assert held["phase"] == "Selecting"
    assert held["stable"]["revision"] == healthy["stable"]["revision"]
    prometheus.up = True
    prometheus.candidate = None
    other = status(lambda s: s["stable"]["revision"] != healthy["stable"]["revision"], timeout=110)
    assert other["stable"]["variant"] == "gptq4"
