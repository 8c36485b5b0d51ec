"""What serving costs, and whether compressing a model is worth it. All amounts are in one currency.

Prices are of GPUs, or of CPUs and memory where a pod has none: storage, traffic and people are not in them.
"""

import math

HOURS = 730.0
"""Hours of a month."""
DAYS = 30.4
"""Days of a month."""
LONGEST_PAYBACK = 90.0
"""Days after which a saving that has not paid for its Jobs is not worth it."""


def per_million(hourly: float, per_second: float, utilization: float) -> float:
    """Price of a million of something, of which a replica at `hourly` makes so many a second when it is busy.

    It is busy for the share `utilization` of its time, in (0, 1].
    """
    return hourly * 1e6 / (3600 * per_second * utilization)


def replicas(requests_per_month: int, requests_per_second: float, utilization: float) -> int:
    """Replicas that so many requests need when each is busy for `utilization` of its time; at least one."""
    mean = requests_per_month / (HOURS * 3600)
    return max(1, math.ceil(mean / (requests_per_second * utilization)))


def monthly(hourly: float, count: int) -> float:
    """Price of so many replicas that run all the time, for a month."""
    return hourly * count * HOURS


def saving(baseline: float, variant: float) -> float:
    """What the variant costs less, as a share of the baseline's cost; negative where it costs more."""
    return (baseline - variant) / baseline


def payback_days(spent: float, monthly_saving: float) -> float | None:
    """Days until the saving has paid what was spent once; None where nothing is saved."""
    return spent / (monthly_saving / DAYS) if monthly_saving > 0 else None


def not_worthwhile(
    *, monthly_saving: float, minimum: float, payback: float | None, same_hardware: bool, currency: str
) -> str | None:
    """Why compressing is not worth it, in words; None where it is.

    `same_hardware`: it needs as many replicas with the same hardware as the baseline. `payback`, in days, is None where
    unknown.
    """
    if same_hardware:
        return "it needs as many replicas with the same hardware as the baseline: nothing is saved at this demand"
    if monthly_saving == 0:
        return "it costs as much as the baseline"
    if monthly_saving < 0:
        return f"it costs {-monthly_saving:,.0f} {currency} a month more than the baseline"
    if monthly_saving < minimum:
        return f"it saves {monthly_saving:,.0f} {currency} a month, and economics.minMonthlySaving is {minimum:,.0f}"
    if payback is not None and payback > LONGEST_PAYBACK:
        return f"its Jobs are paid for after {payback:,.0f} days, more than {LONGEST_PAYBACK:.0f}"
    return None
