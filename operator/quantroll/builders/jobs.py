"""The Jobs: prepare, quantize, evaluate and benchmark with the engine as a native sidecar, and confirm."""

from quantroll.api.jobs import (
    EXIT_BAD_INPUT,
    INPUT_VARIABLE,
    AnyJobInput,
    BenchmarkInput,
    ConfirmInput,
    EvaluateInput,
    PrepareInput,
    QuantizeInput,
)
from quantroll.api.spec import Placement, ScorerName, TokenSecretRef
from quantroll.api.status import RevisionSpec
from quantroll.builders import benchmark, engine, names, pods, sources
from quantroll.builders.meta import Manifest, Owner, labels, object_meta
from quantroll.constants import ANNOTATION_KEY, ARTIFACTS_MOUNT, Component
from quantroll.domain import locate
from quantroll.settings import HuggingFace, Images

CONTAINER = "job"  # the container whose termination message is the report

_EXIT_KILLED = 137  # 128 + SIGKILL: out of memory
_BACKOFF_LIMIT = 2
_GRACE_SECONDS = 30
# Seconds of a whole Job. They only end what hangs: they run while a pod waits for a node, too, and a large model takes
# hours to quantize.
_PREPARE_LIMIT = 24 * 3600
_QUANTIZE_LIMIT = 7 * 24 * 3600
_EVALUATE_LIMIT = 3 * 24 * 3600
_BENCHMARK_LIMIT = 24 * 3600  # nothing waits for it longer
_CONFIRM_LIMIT = 3 * 24 * 3600  # the drift check's own deadline comes first

_COMMAND = ["python", "-m", "quantroll_jobs"]
# What prepare fetched for lm-eval's tasks, evaluate Jobs find again without the network.
_DATA_OF_TASKS = pods.environment({"HF_HOME": f"{ARTIFACTS_MOUNT}/huggingface"})
_CLIENT_RESOURCES = {"requests": {"cpu": "100m", "memory": "256Mi"}, "limits": {"memory": "4Gi"}}


def prepare_job(
    owner: Owner,
    job_input: PrepareInput,
    *,
    store: str,
    images: Images,
    hugging_face: HuggingFace,
    token: TokenSecretRef | None,
) -> Manifest:
    """Job that checks and digests the model and the data, and fetches first what is at a hub: model, lm-eval's data.

    `store` is the artifact claim. Only this Job gets the token, and only to fetch with it.
    """
    data = [file.path for file in (job_input.eval_set, job_input.calibration) if file is not None and file.path]
    paths = [job_input.model_path, *data]
    container = _container(job_input, images.judging(job_input.scorer), images, paths, store)
    if job_input.hub or job_input.scorer is ScorerName.LM_EVAL:
        container["env"] = _hub_environment(container["env"], hugging_face, token)
    if job_input.scorer is ScorerName.LM_EVAL:
        container["env"] += _DATA_OF_TASKS
    return _job(
        owner,
        names.prepare_job(owner.name, job_input.key),
        job_input.key,
        labels(owner, Component.PREPARE),
        _PREPARE_LIMIT,
        _pod(paths, store) | {"containers": [container | {"resources": _CLIENT_RESOURCES}]},
    )


def quantize_job(
    owner: Owner, job_input: QuantizeInput, *, variant: str, store: str, images: Images, placement: Placement
) -> Manifest:
    """Job that makes one artifact and inspects it, with the resources and on the nodes that the user chose."""
    paths = [job_input.model_path] + ([job_input.calibration.path] if job_input.calibration else [])
    container = _container(job_input, images.of(job_input.recipe.backend), images, paths, store)
    # torch counts the node's cores; several threads on fewer cores than that are many times slower than one
    limit = {"resourceFieldRef": {"containerName": CONTAINER, "resource": "limits.cpu", "divisor": "1"}}
    container["env"] = [*container["env"], {"name": "OMP_NUM_THREADS", "valueFrom": limit}]
    resources = pods.resources(placement.resources)
    # NVIDIA's CDI hook writes to the root file system of a container that gets a GPU.
    container["securityContext"] = pods.container_security(read_only_root=not pods.uses_device(placement.resources))
    return _job(
        owner,
        names.quantize_job(owner.name, job_input.key),
        job_input.key,
        labels(owner, Component.QUANTIZE, variant=variant),
        _QUANTIZE_LIMIT,
        _pod(paths, store)
        | pods.placement(placement)
        | {"containers": [container | ({"resources": resources} if resources else {})]},
    )


def evaluate_job(
    owner: Owner,
    job_input: EvaluateInput,
    served: RevisionSpec,
    *,
    variant: str,
    revision: str,
    store: str,
    images: Images,
) -> Manifest:
    """Job that asks the engine every item of the eval set, on the nodes where the revision would serve.

    The engine is an init container that keeps running, so that the Job ends with the client. It has no startup probe:
    the kubelet would hold the client back until it succeeds, for ever when the engine cannot load the artifact. The
    client waits for the engine itself, and says so when it gives up.
    """
    model = locate.model_path(served.model)
    paths = [path for path in (job_input.eval_set.path, job_input.tokenizer) if path]
    client = _container(job_input, images.judging(job_input.scorer), images, paths, store)
    if job_input.scorer is ScorerName.LM_EVAL:
        client["env"] = [*client["env"], *_DATA_OF_TASKS]
    sidecar = engine.container(owner.name, served, store) | {"restartPolicy": "Always"}
    pod = _pod([model, *paths], store) | pods.placement(served.serving)
    pod["volumes"] = [*pod["volumes"], engine.shared_memory_volume(served)]
    return _job(
        owner,
        names.evaluate_job(owner.name, job_input.key),
        job_input.key,
        labels(owner, Component.EVALUATE, variant=variant, revision=revision),
        _EVALUATE_LIMIT,
        pod | {"initContainers": [sidecar], "containers": [client | {"resources": _CLIENT_RESOURCES}]},
    )


def benchmark_job(
    owner: Owner,
    job_input: BenchmarkInput,
    served: RevisionSpec,
    *,
    variant: str,
    revision: str,
    store: str,
    images: Images,
) -> Manifest:
    """Job that measures the engine's speed where the revision would serve.

    Beside the engine, the load generator of its own image runs first, and then the client, which reads what that left.
    """
    model = locate.model_path(served.model)
    client = _container(job_input, images.client, images, [], store)
    client["volumeMounts"] = [*client["volumeMounts"], benchmark.mount(job_input, read_only=True)]
    sidecar = engine.container(owner.name, served, store) | {"restartPolicy": "Always"}
    load = benchmark.load_container(job_input, served, store)
    pod = _pod([model], store) | pods.placement(served.serving)
    pod["volumes"] = [*pod["volumes"], engine.shared_memory_volume(served), benchmark.VOLUME]
    return _job(
        owner,
        names.benchmark_job(owner.name, job_input.key),
        job_input.key,
        labels(owner, Component.BENCHMARK, variant=variant, revision=revision),
        _BENCHMARK_LIMIT,
        pod | {"initContainers": [sidecar, load], "containers": [client | {"resources": _CLIENT_RESOURCES}]},
    )


def confirm_job(owner: Owner, job_input: ConfirmInput, *, store: str, images: Images) -> Manifest:
    """Job that asks two revisions that serve the same items. `store` is the artifact claim."""
    paths = [job_input.eval_set.path]
    container = _container(job_input, images.client, images, paths, store)
    return _job(
        owner,
        names.confirm_job(owner.name, job_input.key),
        job_input.key,
        labels(owner, Component.CONFIRM, revision=job_input.serving.revision),
        _CONFIRM_LIMIT,
        _pod(paths, store) | {"containers": [container | {"resources": _CLIENT_RESOURCES}]},
    )


def _hub_environment(
    environment: list[Manifest], hugging_face: HuggingFace, token: TokenSecretRef | None
) -> list[Manifest]:
    """The environment of the one Job that talks to the hub."""
    variables = [variable for variable in environment if variable["name"] not in pods.OFFLINE]
    if hugging_face.endpoint:
        # a mirror speaks the hub's own protocol; that of its newer storage leads to other hosts
        mirror = {"HF_ENDPOINT": pods.literal(hugging_face.endpoint), "HF_HUB_DISABLE_XET": "1"}
        variables += pods.environment(mirror)
    if token:
        reference = {"name": token.name, "key": token.key}
        variables.append({"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": reference}})
    return variables


def _container(job_input: AnyJobInput, image: str, images: Images, paths: list[str], store: str) -> Manifest:
    document = job_input.model_dump_json(by_alias=True, exclude_none=True)
    elsewhere = [path for path in paths if not path.startswith(f"{ARTIFACTS_MOUNT}/")]  # that is mounted to write
    return {
        "name": CONTAINER,
        "image": image,
        "imagePullPolicy": images.pull_policy,
        "command": _COMMAND,
        "env": pods.environment(pods.ENVIRONMENT | {INPUT_VARIABLE: pods.literal(document)}),
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": pods.container_security(read_only_root=True),
        "volumeMounts": [*sources.read_mounts(elsewhere, store), sources.store_mount(store), pods.TMP_MOUNT],
    }


def _pod(paths: list[str], store: str) -> Manifest:
    return {
        **pods.pod_defaults(pods.JOB_USER),
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": _GRACE_SECONDS,
        "volumes": [*sources.volumes(paths, store, with_store=True), pods.TMP_VOLUME],
    }


def _job(owner: Owner, name: str, key: str, marks: dict[str, str], limit: int, pod: Manifest) -> Manifest:
    notes = {ANNOTATION_KEY: key}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": object_meta(owner, name, marks, annotations=notes),
        "spec": {
            "parallelism": 1,  # said, so that another number is noticed: a Job of none waits for ever
            "backoffLimit": _BACKOFF_LIMIT,
            "activeDeadlineSeconds": limit,
            "podReplacementPolicy": "Failed",  # never two writers of one artifact
            "podFailurePolicy": {"rules": _FAILURE_RULES},
            "template": {"metadata": {"labels": marks, "annotations": notes}, "spec": pod},
        },
    }


# The first rule that matches counts. A disrupted pod may have been killed with 137, too: disruption comes first. The
# exit codes are the Job's own container's: a sidecar killed at the end of its grace period says 137 and means nothing.
_FAILURE_RULES = [
    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    {
        "action": "FailJob",
        "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [EXIT_BAD_INPUT, _EXIT_KILLED]},
    },
]
