"""Which GPUs a pod has, and what they cost: from the user's prices, or the admin's dated table, or unknown."""

from dataclasses import dataclass

from quantroll.api.prices import PriceTable
from quantroll.api.spec import Economics, Placement

GPU_RESOURCE = "nvidia.com/gpu"
GPU_PRODUCT = "nvidia.com/gpu.product"
TABLE_CURRENCY = "USD"


class UnknownPriceError(ValueError):
    """There is no price; the text says why, and where to put one."""


@dataclass(frozen=True, slots=True)
class Gpus:
    """GPUs of one pod."""

    product: str
    """Value of the node label nvidia.com/gpu.product; empty where the pod does not choose."""
    count: int


def gpus_of(placement: Placement) -> Gpus:
    """The GPUs that a pod asks for."""
    limit = placement.resources.limits.get(GPU_RESOURCE, 0) if placement.resources else 0
    text = str(limit)
    return Gpus((placement.node_selector or {}).get(GPU_PRODUCT, ""), int(text) if text.isdecimal() else 0)


def gpu_price(product: str, economics: Economics, table: PriceTable) -> float:
    """Price of one GPU for an hour, in the currency of `economics`; raises UnknownPriceError."""
    if product in economics.gpu_hourly_cost:
        return economics.gpu_hourly_cost[product]
    listed = table.gpus.get(product)
    if listed is None:
        raise UnknownPriceError(
            f"no price of {product}: name it in economics.gpuHourlyCost, or have the admin add it to the price table"
        )
    if economics.currency != TABLE_CURRENCY:
        raise UnknownPriceError(
            f"the price of {product} is in {TABLE_CURRENCY} and economics.currency is {economics.currency}:"
            " name it in economics.gpuHourlyCost"
        )
    return listed.usd_per_hour


def hourly(gpus: Gpus, economics: Economics, table: PriceTable) -> float:
    """Price of a pod's GPUs for an hour; raises UnknownPriceError."""
    if not gpus.count:
        raise UnknownPriceError(f"it asks for no GPU: set serving.resources.limits {GPU_RESOURCE}")
    if not gpus.product:
        raise UnknownPriceError(f"which GPU it gets is open: set serving.nodeSelector {GPU_PRODUCT}")
    return gpus.count * gpu_price(gpus.product, economics, table)
