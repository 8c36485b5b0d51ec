"""Which hardware a pod has, and what it costs: from the user's prices, or the admin's dated table, or unknown."""

from dataclasses import dataclass

from quantroll.api.base import parse_quantity
from quantroll.api.prices import PriceTable
from quantroll.api.spec import Economics, Placement

GPU_RESOURCE = "nvidia.com/gpu"
GPU_PRODUCT = "nvidia.com/gpu.product"
TABLE_CURRENCY = "USD"


class UnknownPriceError(ValueError):
    """There is no price; the text says why, and where to put one."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """What one pod asks for."""

    product: str
    """Value of the node label nvidia.com/gpu.product; empty where the pod does not choose."""
    count: int
    """GPUs."""
    cpus: float = 0
    """CPUs that it requests."""
    memory_gib: float = 0
    """Memory that it requests, in GiB."""
    others: tuple[str, ...] = ()
    """Other devices that it asks for, such as amd.com/gpu."""


def hardware_of(placement: Placement) -> Hardware:
    """What a pod asks for; a limit without a request is one, as in Kubernetes."""
    limits = placement.resources.limits if placement.resources else {}
    asked = limits | placement.resources.requests if placement.resources else {}
    text = str(limits.get(GPU_RESOURCE, 0))
    return Hardware(
        product=(placement.node_selector or {}).get(GPU_PRODUCT, ""),
        count=int(text) if text.isdecimal() else 0,
        cpus=float(parse_quantity(asked.get("cpu", 0)) or 0),
        memory_gib=float(parse_quantity(asked.get("memory", 0)) or 0) / 2**30,
        others=tuple(sorted(name for name in limits if "/" in name and name != GPU_RESOURCE)),
    )


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


def hourly(pod: Hardware, economics: Economics, table: PriceTable) -> float:
    """Price of a pod for an hour, by its GPUs, or without any by its CPUs and memory; raises UnknownPriceError."""
    if not pod.count:
        return _without_gpu(pod, economics)
    if not pod.product:
        raise UnknownPriceError(f"which GPU it gets is open: set serving.nodeSelector {GPU_PRODUCT}")
    return pod.count * gpu_price(pod.product, economics, table)


def _without_gpu(pod: Hardware, economics: Economics) -> float:
    if pod.others:
        other = ", ".join(pod.others)
        raise UnknownPriceError(f"what {other} costs is not known: prices are of {GPU_RESOURCE}, or of CPUs")
    if economics.cpu_hourly_cost is None:
        raise UnknownPriceError(
            f"it asks for no GPU: set serving.resources.limits {GPU_RESOURCE}, or economics.cpuHourlyCost where it is"
            " to run without"
        )
    if not pod.cpus:
        raise UnknownPriceError("it asks for neither GPU nor CPU: set serving.resources.requests cpu")
    return pod.cpus * economics.cpu_hourly_cost + pod.memory_gib * (economics.memory_hourly_cost or 0)
