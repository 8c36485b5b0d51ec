"""Memory is given back once a burst is over, and only where there is some."""

import asyncio
import subprocess
import sys

import pytest

from quantroll.adapters import heap
from quantroll.adapters.heap import SELDOM, SPARE

START = 100 << 20


@pytest.mark.parametrize(
    ("looks", "given_back"),
    [
        ([(START, False)] * 3, 0),
        ([(START + SPARE, False)] * 3, 0),
        ([(START + SPARE + 1, False)], 1),
        ([(START + SPARE + 1, True)] * 3, 0),
        ([(START + 5 * SPARE, True), (START + 5 * SPARE, False)], 1),
        ([(START + 5 * SPARE, False)] * 3, 1),  # what is in use now is in use: it is not tried again and again
        ([(START + 5 * SPARE, False), (START + 7 * SPARE, False)], 2),
        ([(START, False)] * SELDOM, 1),
        ([(START, True)] * SELDOM + [(START, False)] * 2, 1),
    ],
)
def test_it_is_given_back_after_a_burst(monkeypatch, looks, given_back):
    had, told = START, []
    left = iter(looks)

    async def look(_):
        nonlocal had
        had, busy[0] = next(left)

    busy = [False]
    monkeypatch.setattr(heap, "resident", lambda: had)
    monkeypatch.setattr(heap, "give_back", lambda: told.append(had))
    monkeypatch.setattr(heap.asyncio, "sleep", look)
    with pytest.raises(RuntimeError):  # what StopIteration becomes in a coroutine
        asyncio.run(heap.tidy(lambda: busy[0]))
    assert len(told) == given_back


SCRIPT = """
import ctypes
from quantroll.adapters import heap

libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p
libc.free.argtypes = [ctypes.c_void_p]
heap.give_back()
before = heap.resident()
parts = [libc.malloc(4096) for _ in range(8192)]
for part in parts:
    ctypes.memset(part, 1, 4096)
last = libc.malloc(4096)  # keeps the heap's end where it is
for part in parts:
    libc.free(part)
held = heap.resident()
assert held > before + (24 << 20), (before, held)
heap.give_back()
assert heap.resident() < held - (24 << 20), (held, heap.resident())
"""


def test_what_glibc_has_free_goes_back_to_the_system():
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=60)
