"""What serving costs the user, and what a saving has to be."""

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from quantroll.api.base import ApiModel, rules


class Economics(ApiModel):
    """What serving costs, how much is asked for, and from when on a saving is worth it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            ("has(self.cpuHourlyCost) || !has(self.memoryHourlyCost)", "memoryHourlyCost needs cpuHourlyCost"),
        ),
    )

    gpu_hourly_cost: Annotated[dict[str, Annotated[float, Field(gt=0, le=10_000)]], Field(max_length=32)] = {}
    """Price of one GPU for an hour, by the value of the node label nvidia.com/gpu.product. It goes before the admin's
    price table, which is in USD."""
    cpu_hourly_cost: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Price of one CPU for an hour. Pods that ask for no GPU are priced by it, for the CPUs that they request; those
    with GPUs by their GPUs alone."""
    memory_hourly_cost: Annotated[float, Field(gt=0, le=10_000)] | None = None
    """Price of one GiB of memory for an hour, for the memory that such pods request; needs cpuHourlyCost. Default:
    memory is in the price of the CPUs."""
    currency: Annotated[str, StringConstraints(pattern=r"^[A-Z]{3}$")] = "USD"
    """Currency of these prices and of all amounts."""
    requests_per_month: Annotated[int, Field(ge=1, le=10**12)] | None = None
    """Requests of a month, which decide how many replicas each form of the model needs; needs spec.benchmark. Default:
    serving.replicas of each."""
    utilization: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of its time for which a replica is busy: what is left is room for peaks."""
    min_monthly_saving: Annotated[float, Field(ge=0, le=1_000_000_000)] = 100
    """Saving of a month below which compressing is not worthwhile."""
