"""The admin's price table: what GPUs cost and how much memory they have. None is built in: prices go stale."""

from datetime import date
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from quantroll.api.base import ApiModel


def _as_text(value: Any) -> Any:
    """YAML reads a date that is not in quotes as one."""
    return value.isoformat() if isinstance(value, date) else value


class GpuPrice(ApiModel):
    """One kind of GPU."""

    usd_per_hour: Annotated[float, Field(gt=0, le=10_000)]
    """Price of one GPU for an hour, in USD."""
    memory_gib: Annotated[float, Field(gt=0, le=100_000, alias="memoryGiB")]
    """Memory of one GPU in GiB, as nvidia-smi tells it."""


class PriceTable(ApiModel):
    """Prices by the value of the node label nvidia.com/gpu.product."""

    as_of: Annotated[str, BeforeValidator(_as_text), Field(pattern=r"^([0-9]{4}-[0-9]{2}-[0-9]{2})?$")] = ""
    """The day that the prices were looked up."""
    source: Annotated[str, Field(max_length=128)] = ""
    """Where they come from."""
    gpus: dict[Annotated[str, Field(min_length=1, max_length=63)], GpuPrice] = {}
    """The GPUs that the cluster has, or could have."""

    @model_validator(mode="after")
    def _is_dated(self) -> Self:
        if self.gpus and not (self.as_of and self.source):
            raise ValueError("a price table needs asOf and source: prices without a date cannot be judged")
        return self
