"""`python -m demo up | down`."""

import argparse
import signal
import subprocess
import sys
import threading
import time

import httpx

from bootstrap import cache
from cluster.procs import wait_for
from demo import page
from demo.stage import EXAMPLE, HOST, NAMESPACE, Stage
from demo.traffic import Traffic, ask

FOLDER = cache.CHECKOUT / ".run" / "demo"
MODEL = "tiny-llama"
SETTLED = ("Steady", "Rejected", "RolledBack")
LIMIT = 40 * 60  # seconds from apply until something must serve


def up(stage: Stage) -> int:
    """The whole demo; 0 when a proven variant serves and no request failed."""
    began = time.monotonic()
    stage.up()
    _say(began, f"kubectl apply -f {EXAMPLE.relative_to(cache.CHECKOUT)}")
    stage.kubectl("apply", "-f", str(EXAMPLE))
    watching = _watch(stage, began)
    try:
        _wait_for_gateway(stage)
        _say(began, "the baseline answers through the gateway: two clients send requests from here on")
        with Traffic(stage.gateway, HOST, MODEL) as traffic:
            status = _until_settled(stage)
            time.sleep(5)
    finally:
        watching.terminate()
        watching.wait()
    return _last_page(stage, status, traffic, time.monotonic() - began)


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


def _until_settled(stage: Stage) -> page.Object:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end:
        status = stage.status(MODEL)
        if status.get("phase") in SETTLED:
            return status
        time.sleep(2)
    raise TimeoutError(f"not settled within {LIMIT} s\n{stage.evidence()}")


def _last_page(stage: Stage, status: page.Object, traffic: Traffic, seconds: float) -> int:
    print(f"\n{page.variants(status)}\n\n{page.reasons(status)}\n\n{page.choice(status)}")
    print(f"{traffic.summary}\n")
    print("\n".join(traffic.failures[:20]))
    print(stage.kubectl("get", "qm,deployments,httproutes"))
    print(f"The demo took {seconds / 60:.1f} minutes. Look around:\n")
    tools = stage.cluster.client.env()["PATH"].split(":")[0]
    print(f"  export KUBECONFIG={stage.cluster.kubeconfig} PATH={tools}:$PATH")
    print(f"  kubectl -n {NAMESPACE} describe qm {MODEL}")
    print(f"  curl -H 'Host: {HOST}' {stage.gateway}/v1/completions -H 'Content-Type: application/json' \\")
    print(f'    -d \'{{"model": "{MODEL}", "prompt": "Q:rev abcd\\nA:", "max_tokens": 8}}\'')
    print("  make demo-down")
    verdicts = {row["name"]: row.get("verdict") for row in status["variants"]}
    went_well = status["phase"] == "Steady" and verdicts.get("rtn4") == "FAIL" and not traffic.failures
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
