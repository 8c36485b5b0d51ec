"""Numbers as people read them."""

import math


def significant(value: float, digits: int = 3) -> str:
    """So many significant digits, or all those before the point, thousands grouped: 0.000394, 12.3, 2,841."""
    if value == 0:
        return "0"
    places = digits - 1 - math.floor(math.log10(abs(value)))
    return f"{value:,.{max(places, 0)}f}"


def money(value: float) -> str:
    """An amount: whole from 1,000, cents below, and three digits of what is less than one."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if abs(value) >= 1 or value == 0 else significant(value)


def percent(value: float) -> str:
    """A share as whole per cent; one decimal where that would say 0 or 100 and is not."""
    whole = f"{100 * value:.0f}"
    return f"{whole if whole not in ('0', '100', '-0') or value in (0, 1) else f'{100 * value:.1f}'} %"


def grouped(value: int) -> str:
    """A count, thousands grouped."""
    return f"{value:,}"
