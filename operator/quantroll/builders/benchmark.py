"""The load generator of the benchmark Job: `vllm bench serve` of the engine's own image, level by level."""

import shlex
from urllib.parse import urlsplit

from quantroll.api.jobs import BenchmarkInput
from quantroll.api.status import RevisionSpec
from quantroll.builders import completion, engine, pods, sources
from quantroll.builders.meta import Manifest
from quantroll.constants import ENGINE_PORT

CONTAINER = "load"
VOLUME = {"name": "benchmark", "emptyDir": {}}
MANIFEST = "manifest.json"
_ROUNDS = 4  # requests of each place in a level, where that is more than the least
_MARGIN = 5  # seconds after which a request that heeds no time limit is ended: one whose answer drips in
_RESOURCES = {"requests": {"cpu": "1", "memory": "1Gi"}, "limits": {"memory": "8Gi"}}
# It talks to the engine alone and needs no GPU: images made for CUDA ask for all of them.
_ENVIRONMENT = {"NVIDIA_VISIBLE_DEVICES": "void"}


def load_container(job_input: BenchmarkInput, served: RevisionSpec, store: str) -> Manifest:
    """Init container that loads the engine beside it, and ends well whatever happens: the client tells about it."""
    profile = served.profile
    environment = engine.environment(profile) | _ENVIRONMENT
    return {
        "name": CONTAINER,
        "image": profile.image,
        "command": ["sh", "-c", pods.literal(script(job_input))],
        "env": pods.environment(environment),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": pods.container_security(read_only_root=True)
        | {"runAsUser": profile.run_as_user, "runAsGroup": profile.run_as_user},
        "resources": _RESOURCES,
        "volumeMounts": [
            *sources.read_mounts([job_input.model_path, f"{job_input.store}/benchmarks"], store),
            mount(job_input, read_only=False),
            pods.TMP_MOUNT,
        ],
    }


def mount(job_input: BenchmarkInput, *, read_only: bool) -> Manifest:
    """Where the results stand in a container."""
    place = {"name": VOLUME["name"], "mountPath": job_input.results}
    return place | ({"readOnly": True} if read_only else {})


def script(job_input: BenchmarkInput) -> str:
    """Shell that warms the engine up, loads it level by level, and leaves CONCURRENCY.json or CONCURRENCY.failed.

    It waits for a completion of the engine; when none comes in time, why is left as engine.failed, and nothing is
    measured. Prompts of different seeds share no prefix: none is answered from a cache.
    """
    done = f"{job_input.store}/benchmarks/{job_input.key}/{MANIFEST}"
    ready = round(job_input.ready_timeout_seconds)
    port = urlsplit(job_input.endpoint).port or ENGINE_PORT
    patience = min(completion.TIMEOUT, ready)
    asks = shlex.join(completion.command(job_input.served_model, port, patience))
    lines = [
        f"[ -f {shlex.quote(done)} ] && exit 0",
        f"cd {shlex.quote(job_input.results)} || exit 0",
        "date +%s > started",
        'bench() { limit=$1; shift; timeout -k 10 "$limit" ' + shlex.join(_command(job_input)) + ' "$@"; }',
        "fail() { tail -n 20 $1.log | tail -c 2000 > $1.failed; }",
        f"deadline=$(($(date +%s) + {ready}))",
        f"while ! timeout -k 10 {patience + _MARGIN} {asks} > engine.log 2>&1; do",
        'if [ "$(date +%s)" -ge "$deadline" ]; then fail engine; exit 0; fi',
        "sleep 1",
        "done",
    ]
    for seed, level in enumerate(job_input.concurrency, 1):
        prompts = max(job_input.requests, _ROUNDS * level)
        options = (
            f"--ready-check-timeout-sec=0 --num-prompts={prompts} --num-warmups={level}"
            f" --max-concurrency={level} --seed={seed} --save-result --result-dir=. --result-filename={level}.part"
        )
        lines.append(
            f"if bench {round(job_input.level_timeout_seconds)} {options} > {level}.log 2>&1 && [ -f {level}.part ];"
            f" then mv {level}.part {level}.json; else fail {level}; fi; tail -n 30 {level}.log"
        )
    return "\n".join([*lines, "date +%s > ended", "exit 0"])


def _command(job_input: BenchmarkInput) -> list[str]:
    flags = {
        "--backend": "openai",
        "--base-url": job_input.endpoint,
        "--endpoint": "/v1/completions",
        "--model": job_input.model_path,
        "--served-model-name": job_input.served_model,
        "--dataset-name": "random",
        "--random-input-len": job_input.prompt_tokens,
        "--random-output-len": job_input.output_tokens,
        "--temperature": 0,
        "--percentile-metrics": "ttft,itl",
        "--metric-percentiles": "50,99",
    }
    options = [f"{flag}={value}" for flag, value in flags.items()]
    return ["vllm", "bench", "serve", *options, "--ignore-eos", "--disable-tqdm"]
