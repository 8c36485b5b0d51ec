"""The engine: one container, the same in a revision's Deployment and in the evaluate Job that measured the revision.

What was proven must be what serves, so image, flags, environment, resources and mounts come from here for both.
"""

from quantroll.api.engine import EngineProfile
from quantroll.api.status import RevisionSpec
from quantroll.builders import pods, sources
from quantroll.builders.meta import Manifest
from quantroll.constants import ENGINE_CONTAINER, ENGINE_PORT
from quantroll.domain import locate

PORT_NAME = "http"

# For how long an engine may load before it is restarted. The deadline that counts is the rollout's modelLoad, which the
# operator watches: if the pods knew it, changing it would restart pods that serve.
LOAD_LIMIT_SECONDS = 24 * 3600

_SHM_MOUNT = {"name": "shm", "mountPath": "/dev/shm"}  # noqa: S108 - a volume of the pod's own
_ENVIRONMENT = pods.ENVIRONMENT | {
    "DO_NOT_TRACK": "1",
    "VLLM_NO_USAGE_STATS": "1",
    # vLLM's own limit is 10 minutes: too short for large models
    "VLLM_ENGINE_READY_TIMEOUT_S": str(LOAD_LIMIT_SECONDS),
}
# Images made for CUDA ask for all devices; a container that requested none would get them where that is the default.
_CPU_ENVIRONMENT = {"NVIDIA_VISIBLE_DEVICES": "void"}


def container(served_name: str, served: RevisionSpec, store: str) -> Manifest:
    """The engine's container, without probes: those depend on the pod around it. `store` is the artifact claim."""
    profile = served.profile
    model = locate.model_path(served.model)
    engine: Manifest = {
        "name": ENGINE_CONTAINER,
        "image": profile.image,
        "command": ["vllm", "serve"],
        "args": [pods.literal(model), *_flags(served_name, served), *profile.args],
        "env": pods.environment(environment(profile)),
        "ports": [{"name": PORT_NAME, "containerPort": ENGINE_PORT, "protocol": "TCP"}],
        "terminationMessagePolicy": "FallbackToLogsOnError",  # why it could not load stands in its last lines
        "securityContext": pods.container_security(read_only_root=profile.read_only_root)
        | {"runAsUser": profile.run_as_user, "runAsGroup": profile.run_as_user},
        "volumeMounts": [*sources.read_mounts([model], store), pods.TMP_MOUNT, _SHM_MOUNT],
    }
    resources = pods.resources(served.serving.resources)
    return engine | ({"resources": resources} if resources else {})


def environment(profile: EngineProfile) -> dict[str, str]:
    """Environment of a process of the engine's image."""
    return _ENVIRONMENT | (_CPU_ENVIRONMENT if profile.device == "cpu" else {}) | profile.env


def shared_memory_volume(served: RevisionSpec) -> Manifest:
    """Shared memory: the runtime's 64 MiB are too small for workers that exchange tensors."""
    return {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": served.profile.shared_memory}}


def _flags(served_name: str, served: RevisionSpec) -> list[str]:
    """Flags of vLLM. Its own defaults differ from GPU to GPU and release to release, so that nothing is left to them.

    No --quantization: vLLM reads the method from the checkpoint and refuses another. On a CPU,
    --gpu-memory-utilization is the share of the node's memory.
    """
    serving = served.serving
    flags: dict[str, object] = {
        "--served-model-name": served_name,
        "--host": "0.0.0.0",  # noqa: S104 - a pod is reached from outside
        "--port": ENGINE_PORT,
        "--dtype": served.dtype.value,
        "--tensor-parallel-size": serving.tensor_parallel_size,
        "--max-num-seqs": serving.max_num_seqs,
        "--gpu-memory-utilization": f"{serving.gpu_memory_utilization:g}",
        "--shutdown-timeout": served.profile.shutdown_timeout_seconds,
    }
    if serving.max_model_len is not None:
        flags["--max-model-len"] = serving.max_model_len
    return [f"{flag}={value}" for flag, value in flags.items()]
