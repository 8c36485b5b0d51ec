"""An engine profile: what serves a model. Owned by the admin, pinned in status when a generation is adopted."""

from typing import Annotated, Literal

from pydantic import Field

from quantroll.api.base import ApiModel


class EngineProfile(ApiModel):
    """How an engine is run. The image must understand `vllm serve PATH --flags` and the OpenAI API."""

    image: Annotated[str, Field(min_length=1, max_length=512, description="Image, by digest in production.")]
    device: Annotated[Literal["gpu", "cpu"], Field(description="What the image computes on.")] = "gpu"
    args: Annotated[
        list[Annotated[str, Field(max_length=256)]],
        Field(max_length=32, description="Flags after ours; the engine takes the last."),
    ] = []
    env: Annotated[
        dict[str, Annotated[str, Field(max_length=1024)]],
        Field(max_length=64, description="Environment of the engine."),
    ] = {}
    run_as_user: Annotated[int, Field(ge=1, description="User id that the image can run as.")] = 2000
    read_only_root: Annotated[
        bool, Field(description="Whether the root file system is read-only; NVIDIA's CDI hook writes to it.")
    ] = False
    shared_memory: Annotated[str, Field(max_length=32, description="Size limit of /dev/shm.")] = "2Gi"
    shutdown_timeout_seconds: Annotated[
        int, Field(ge=0, le=3600, description="How long the engine finishes requests after SIGTERM.")
    ] = 60
    pre_stop_seconds: Annotated[
        int, Field(ge=0, le=600, description="How long endpoints and gateways get to forget a pod before SIGTERM.")
    ] = 15
