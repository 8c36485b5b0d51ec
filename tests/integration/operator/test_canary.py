"""A candidate judged by quality, latency and share, against a real API server and a scripted Prometheus."""

import copy
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from cluster.procs import wait_for
from integration.operator.conftest import SETTINGS, Operator, running
from integration.operator.test_spine import condition, phase, spec_with
from integration.operator.test_steering import COMPLETIONS, send
from unit.adapters.prometheus_server import serving

pytestmark = [pytest.mark.integration, pytest.mark.timeout(150)]

STEPS = [{"weight": 10, "duration": "3s"}, {"weight": 50, "duration": "3s"}]
GOOD, WORSE = (960, 10, 10, 20), (700, 250, 10, 40)  # both, harm, gain, neither
FAST, SLOW = (1000, 1000, 1000), (400, 1000, 1000)  # within 0.1 s, within 0.5 s, all
TTFT = {"name": "ttft-p99", "maxRegression": 0.2, "minSamples": 50}


class Prometheus:
    """Answers with what a test sets; None: an outage. Roles are told apart by the questions, which name both."""

    def __init__(self, script):
        self.up, self.pairs, self.latencies = True, GOOD, (FAST, FAST)
        self.requests, self.stable_requests = None, None  # None: none
        self.candidate = None
        script.says(self._answer)

    def _answer(self, request, _):
        query = parse_qs(urlsplit(request.path).query)["query"][0]
        now, revision = time.time(), query.split('revision="', 1)[1].split('"', 1)[0]
        if not self.up:
            request.send_error(503)
            return
        if "quantroll_probe_pairs_total" in query:
            send(request, self._pairs(revision, now), now)
            return
        self.candidate = self.candidate or revision  # whose requests are asked for first
        mine = revision == self.candidate
        if "_bucket" in query:
            counts = self.latencies[0 if mine else 1]
            buckets = zip(("0.1", "0.5", "+Inf"), counts, strict=True)
            series = [({"part": "counted", "revision": revision, "le": le}, str(count)) for le, count in buckets]
        else:
            total = (self.requests if mine else self.stable_requests) or 0
            series = [({"part": "counted", "revision": revision, **COMPLETIONS, "status": "2xx"}, str(total))]
        send(request, [({"part": "now", "revision": revision}, "1"), *series], now)

    def _pairs(self, revision, now):
        cells = zip(("both", "harm", "gain", "neither"), self.pairs, strict=True)
        return [
            *(({"part": "counted", "revision": revision, "cell": cell}, str(count)) for cell, count in cells),
            ({"part": "distinct"}, "1000"),
            ({"part": "interval"}, "1"),
            ({"part": "last", "revision": revision}, str(now)),
            ({"part": "other"}, str(now)),
        ]


@pytest.fixture
def prometheus():
    with serving() as script:
        found = Prometheus(script)
        found.url = script.url
        yield found


@pytest.fixture
def operator(cluster, namespace, tmp_path, prometheus):
    """An operator that knows the scripted Prometheus."""
    settings = {**copy.deepcopy(SETTINGS), "prometheus": {"url": prometheus.url, "timeoutSeconds": 2}}
    with running(Operator(cluster.client, tmp_path, namespace, settings)) as process:
        yield process


def judged(*metrics, **more):
    spec = spec_with("gptq4", steps=STEPS)
    spec["probe"] = {"rolloutItemsPerHour": 600}  # fewer than 10 requests are none
    found = {"interval": "1s", "failureLimit": 1, **more}
    spec["rollout"]["analysis"] = {**found, "metrics": list(metrics)} if metrics else found
    return spec


def test_a_candidate_that_is_worse_only_online_is_taken_back_by_the_probe(
    operator, player, prometheus, apply, status, rest, namespace
):
    """By the default metrics: its users see no error, and there are none."""
    prometheus.pairs = WORSE
    apply(judged())
    done = status(phase("RolledBack"), timeout=80)
    entry = done["rejected"][0]
    assert (entry["variant"], entry["reason"]) == ("gptq4", "AnalysisFailed")
    assert "quality: proven to be below the floor" in entry["message"]
    assert done["stable"]["variant"] == "baseline"
    assert [e["phase"] for e in done["history"]].count("Shifting") == 1, "it was given one weight only"


def test_a_candidate_that_is_slower_than_stable_is_taken_back(operator, player, prometheus, apply, status):
    prometheus.requests, prometheus.stable_requests = 100, 900
    prometheus.latencies = (SLOW, FAST)
    apply(judged(TTFT))
    done = status(phase("RolledBack"), timeout=80)
    assert "ttft-p99: " in done["rejected"][0]["message"]
    assert "took longer" in done["rejected"][0]["message"]


def test_without_users_the_probe_decides_and_the_verdicts_are_in_the_status(
    operator, player, prometheus, apply, status
):
    apply(judged())
    seen = status(lambda s: s.get("rollout", {}).get("passed"), timeout=80)["rollout"]["passed"]
    assert (seen["step"], seen["verdict"]) == (0, "Pass")
    assert seen["message"].startswith("quality: ")
    assert "error-ratio" not in seen["message"], "nothing else can be judged"
    done = status(phase("Steady"), timeout=60)
    assert done["stable"]["variant"] == "gptq4"


def test_hold_waits_for_users(operator, player, prometheus, apply, status):
    apply(judged({"name": "quality"}, {"name": "error-ratio", "minSamples": 20}, onNoTraffic="Hold"))
    held = status(lambda s: "users send no requests" in s.get("message", ""), timeout=80)
    assert held["rollout"]["analysis"]["verdict"] == "Inconclusive"
    assert condition(held, "Stalled")["status"] == "False"
    time.sleep(3)
    assert status()["rollout"]["step"] == 0
    prometheus.requests, prometheus.stable_requests = 20, 20  # too few to tell a share
    assert status(phase("Steady"), timeout=60)["stable"]["variant"] == "gptq4"


def test_prometheus_away_holds_and_a_limit_ends_it(operator, player, prometheus, apply, status):
    prometheus.up = False
    apply(judged())
    held = status(
        lambda s: s.get("conditions") and condition(s, "Stalled")["reason"] == "MetricsUnavailable", timeout=80
    )
    assert "503" in condition(held, "Stalled")["message"]
    assert {m["verdict"] for m in held["rollout"]["analysis"]["metrics"]} == {"Error"}
    spec = judged()
    spec["rollout"]["analysis"]["errorLimit"] = 2
    apply(spec)
    done = status(phase("RolledBack"), timeout=60)
    assert done["rejected"][0]["reason"] == "AnalysisInconclusive"
    assert "(analysis.errorLimit 2)" in done["rejected"][0]["message"]


def test_requests_that_do_not_go_where_the_weights_say_hold_the_step(
    operator, player, prometheus, apply, status, rest, namespace
):
    prometheus.requests = prometheus.stable_requests = 300
    apply(judged())
    reason = "ShareContradictsWeight"
    held = status(lambda s: s.get("conditions") and condition(s, "Stalled")["reason"] == reason, timeout=80)
    assert [share["weight"] for share in held["traffic"]["observed"]] == [50, 50]
    assert held["traffic"]["consistent"] is False
    assert "given 10 % of the traffic, and 50 % of users' requests reached it" in condition(held, "Stalled")["message"]

    def told():
        events = rest.request("GET", f"/api/v1/namespaces/{namespace}/events")[1]["items"]
        return reason in {e["reason"] for e in events}

    wait_for("an event", told, 10)
    time.sleep(3)
    assert status()["rollout"]["step"] == 0
    prometheus.stable_requests = 2700
    following = status(lambda s: s.get("rollout", {}).get("step") == 1, timeout=30)
    assert following["traffic"].get("consistent") is not False


def test_somebody_who_edits_the_route_starts_the_steps_clock_again(
    operator, player, prometheus, apply, status, rest, namespace
):
    spec = judged()
    spec["rollout"]["steps"] = [{"weight": 10, "duration": "1h"}]
    apply(spec)
    before = status(lambda s: s.get("rollout", {}).get("since"), timeout=80)["rollout"]["since"]
    routes = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes"
    route = rest.request("GET", routes)[1]["items"][0]
    time.sleep(1.1)  # timestamps have whole seconds
    for number, backend in enumerate(route["spec"]["rules"][0]["backendRefs"]):
        backend["weight"] = 1 + number
    assert rest.request("PUT", f"{routes}/{route['metadata']['name']}", route)[0] == 200
    again = status(
        lambda s: s["rollout"].get("driftedAt") and s["rollout"].get("since") not in (None, before), timeout=30
    )
    assert again["rollout"]["step"] == 0
    time.sleep(1.1)
    route = rest.request("GET", f"{routes}/{route['metadata']['name']}")[1]
    route["spec"]["rules"][0]["matches"] = [{"path": {"type": "PathPrefix", "value": "/v2"}}]
    assert rest.request("PUT", f"{routes}/{route['metadata']['name']}", route)[0] == 200
    once_more = status(
        lambda s: s["rollout"]["driftedAt"] != again["rollout"]["driftedAt"] and s["rollout"].get("since"), timeout=30
    )
    assert once_more["rollout"]["since"] != again["rollout"]["since"]
    assert once_more["rollout"]["step"] == 0

    def told():
        events = rest.request("GET", f"/api/v1/namespaces/{namespace}/events")[1]["items"]
        return "RouteDrifted" in {e["reason"] for e in events}

    wait_for("an event", told, 10)
