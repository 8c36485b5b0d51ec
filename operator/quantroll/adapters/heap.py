"""Memory that is free inside the process, and given back to the system."""

import asyncio
import ctypes
import gc
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

LOOK = 15.0  # seconds between looks
STATM = Path("/proc/self/statm")
SPARE = 8 << 20  # bytes that may be taken anew before anything is given back: it takes as long as some passes
SELDOM = 20  # looks after which it is given back all the same: what has gone leaves no trace in what is taken


def settle() -> None:
    """What is there now stays, and what it took to get there is given back."""
    gc.collect()
    gc.freeze()  # modules and classes: no collection looks at them again
    give_back()


def give_back() -> None:
    """Return what the C library keeps for later."""
    with suppress(AttributeError, OSError):  # glibc's own
        ctypes.CDLL(None).malloc_trim(0)


def resident() -> int:
    """Bytes of memory that the process has; 0 where the system does not tell."""
    with suppress(OSError):
        return int(STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


async def tidy(is_busy: Callable[[], bool]) -> None:
    """Until cancelled: give back what a burst has taken, once it is over; and now and then what has become free."""
    level, looks = resident(), 0
    while True:
        await asyncio.sleep(LOOK)
        looks += 1
        if not is_busy() and (resident() > level + SPARE or looks >= SELDOM):
            gc.collect()
            give_back()
            level, looks = resident(), 0
