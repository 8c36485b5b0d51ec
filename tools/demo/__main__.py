"""`python -m demo up | down`."""

import argparse
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import httpx

from bootstrap import cache
from cluster.procs import wait_for
from demo import page
from demo.stage import EXAMPLE, HOST, NAMESPACE, Stage
from demo.traffic import Traffic, ask

FOLDER = cache.CHECKOUT / ".run" / "demo"
REPORT = FOLDER / "report.html"
MODEL = "tiny-llama"
SETTLED = ("Steady", "Rejected", "RolledBack")
LIMIT = 40 * 60  # seconds from apply until something must serve
CHECK = 6 * 60  # seconds within which a drift check has to say something
WAITS = 10  # seconds that the step which asks for approval is left waiting


def up(stage: Stage) -> int:
    """The whole demo; 0 when everything came about that it shows, and no request failed."""
    began = time.monotonic()
    stage.up()
    _say(began, f"kubectl apply -f {EXAMPLE.relative_to(cache.CHECKOUT)}")
    stage.kubectl("apply", "-f", str(EXAMPLE))
    watching = _watch(stage, began)
    try:
        _wait_for_gateway(stage)
        _say(began, "the baseline answers through the gateway: two clients send requests from here on")
        with Traffic(stage.gateway, HOST, MODEL) as traffic:
            approved = _approval(stage, began)
            promoted = _until(stage, "something settled", lambda status: status.get("phase") in SETTLED, LIMIT)
            print(f"\n{page.report(stage.model(MODEL), REPORT)}", flush=True)
            _say(began, f"so far {traffic.summary}")
            drift = promoted["phase"] == "Steady" and _drift(stage, began)
            time.sleep(5)
    finally:
        watching.terminate()
        watching.wait()
    return _last_page(stage, promoted, traffic, time.monotonic() - began, well=approved and drift)


def _approval(stage: Stage, began: float) -> bool:
    """The step that a person has to approve: whether it waits until then, judged by the answers, and goes on after."""

    def asks(status: page.Object) -> bool:
        return status.get("phase") in ("AwaitingApproval", *SETTLED)

    asked = _until(stage, "the step that waits for approval", asks, LIMIT)
    if asked["phase"] != "AwaitingApproval":
        return False
    _say(began, asked["message"])
    for metric in asked["rollout"]["analysis"]["metrics"]:
        _say(began, f"{metric['verdict']}: {metric['message']}")
    print(f"\n{stage.quantroll('status', MODEL)}", flush=True)
    time.sleep(WAITS)
    still = stage.status(MODEL)
    waited = (still["phase"], still["rollout"]["weight"]) == ("AwaitingApproval", asked["rollout"]["weight"])
    _say(began, f"{WAITS} s later it waits still; kubectl quantroll approve {MODEL}")
    _say(began, stage.quantroll("approve", MODEL).strip())
    return waited


def _drift(stage: Stage, began: float) -> bool:
    """What happens after the promotion; whether it all came about."""

    def checked(*verdicts: str) -> Callable[[page.Object], bool]:
        return lambda status: status.get("drift", {}).get("verdict") in verdicts

    def told(status: page.Object) -> None:
        drift = status["drift"]
        _say(began, f"drift check: {drift['verdict']}: {drift.get('message', '')}")

    _say(began, "the prober asks labelled production items all the time; a drift check runs every minute")
    healthy = _until(stage, "a healthy drift check", checked("Healthy"), CHECK)
    told(healthy)
    serving = healthy["stable"]["revision"]

    _say(began, "Prometheus is stopped across a check")
    stage.stop_prometheus()
    told(_until(stage, "a check without data", checked("Unknown"), CHECK))
    unknown = stage.kubectl("get", "events", "--field-selector", "reason=QualityUnknown")
    print(unknown, flush=True)
    kept = "QualityUnknown" in unknown and stage.status(MODEL)["stable"]["revision"] == serving
    stage.start_prometheus()

    _say(began, "production turns to arithmetic: the file behind probe.source is replaced")
    stage.production_turns_to("arithmetic")
    told(_until(stage, "a suspicion", checked("Suspect", "Breached"), 2 * CHECK))
    told(_until(stage, "the decision", checked("Breached", "PopulationShift"), LIMIT))
    after = _until(stage, "the rollback", lambda status: status["phase"] == "RolledBack", LIMIT)
    _say(began, after["message"])
    rejected = [(entry["variant"], entry["reason"]) for entry in after["rejected"]]
    print(f"\n{page.drift(after)}\n", flush=True)
    return kept and after["stable"]["variant"] == "baseline" and rejected == [("gptq4", "FloorBreached")]


def _watch(stage: Stage, began: float) -> subprocess.Popen[str]:
    """`kubectl get qm -w`, each line as it comes."""
    command = ["kubectl", "--namespace", NAMESPACE, "get", "qm", "--watch"]
    process = subprocess.Popen(command, env=stage.cluster.client.env(), stdout=subprocess.PIPE, text=True)

    def pump() -> None:
        last = ""
        for line in process.stdout or ():
            if line != last:
                _say(began, line.rstrip())
            last = line

    threading.Thread(target=pump, daemon=True).start()
    return process


def _wait_for_gateway(stage: Stage) -> None:
    with httpx.Client(base_url=stage.gateway, headers={"Host": HOST}, timeout=30, trust_env=False) as client:
        wait_for("the baseline behind the gateway", lambda: ask(client, MODEL, "Q:rev abcd\nA:") is None, 900, every=1)


def _until(stage: Stage, what: str, condition: Callable[[page.Object], bool], limit: float) -> page.Object:
    end = time.monotonic() + limit
    while time.monotonic() < end:
        status = stage.status(MODEL)
        if condition(status):
            return status
        time.sleep(1)
    raise TimeoutError(f"{what}: not within {limit} s\n{stage.evidence()}")


def _last_page(stage: Stage, status: page.Object, traffic: Traffic, seconds: float, *, well: bool) -> int:
    print(f"{traffic.summary}\n")
    print("\n".join(traffic.failures[:20]))
    print(stage.kubectl("get", "qm,deployments,httproutes"))
    print(f"The demo took {seconds / 60:.1f} minutes. Look around:\n")
    tools = stage.cluster.client.env()["PATH"].split(":")[0]
    print(f"  export KUBECONFIG={stage.cluster.kubeconfig} PATH={tools}:$PATH")
    print(f"  kubectl -n {NAMESPACE} describe qm {MODEL}")
    print(f"  curl -H 'Host: {HOST}' {stage.gateway}/v1/completions -H 'Content-Type: application/json' \\")
    print(f'    -d \'{{"model": "{MODEL}", "prompt": "Q:rev abcd\\nA:", "max_tokens": 8}}\'')
    print(f"  quantroll report {MODEL} -n {NAMESPACE}  # {cache.CHECKOUT / '.venv' / 'bin'}")
    print("  make demo-down\n")
    print(page.report(stage.model(MODEL), REPORT))
    print(f"The same as a page, with charts: {REPORT}\n")
    print(stage.quantroll("status", MODEL))
    verdicts = {row["name"]: row.get("verdict") for row in status["variants"]}
    as_meant = {"int8": "PASS", "gptq4": "PASS", "rtn4": "FAIL"}
    went_well = well and verdicts == as_meant and not traffic.failures
    return 0 if went_well and min(traffic.sent["whole"], traffic.sent["streamed"]) > 0 else 1


def _say(began: float, text: str) -> None:
    minutes, seconds = divmod(int(time.monotonic() - began), 60)
    print(f"[{minutes:3d}:{seconds:02d}] {text}", flush=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["up", "down"])
    verb = parser.parse_args().verb
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))  # as Ctrl-C does: through `finally`
    stage = Stage(FOLDER)
    if verb == "down":
        stage.down()
        return 0
    if stage.cluster.running:
        raise SystemExit(f"a demo runs already in {FOLDER}: `make demo-down` first")
    return up(stage)


if __name__ == "__main__":
    sys.exit(main())
