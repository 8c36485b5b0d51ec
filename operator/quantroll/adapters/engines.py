"""Questions to pods, asked directly, past Services and gateways: vLLM's load, and how far an evaluation is."""

import asyncio
import re

import aiohttp

from quantroll.constants import ENGINE_PORT, PROGRESS_PORT

_IN_FLIGHT = re.compile(r"^vllm:num_requests_(running|waiting)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_TIMEOUT = aiohttp.ClientTimeout(total=3)
_QUESTIONS = re.compile(r"^quantroll_evaluation_(questions|answered) ([0-9.e+]+)$", re.MULTILINE)
_SHORT_TIMEOUT = aiohttp.ClientTimeout(total=1)  # a pass waits for it
_LIMIT = 4 * 2**20  # bytes of a metrics page


class VllmEngines:
    """Implements `ports.Engines` with vLLM's own metrics page."""

    async def in_flight(self, pod_ips: list[str]) -> int | None:
        """Requests running and waiting on these pods; None when any of them does not tell."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            answers = await asyncio.gather(*(self._ask(session, ip) for ip in pod_ips))
        known = [answer for answer in answers if answer is not None]
        return sum(known) if len(known) == len(answers) else None

    async def progress(self, pod_ip: str) -> float | None:
        """What the evaluation's own metrics page says."""
        async with aiohttp.ClientSession(timeout=_SHORT_TIMEOUT) as session:
            page = await _page(session, pod_ip, PROGRESS_PORT)
        return None if page is None else parse_progress(page)

    @staticmethod
    async def _ask(session: aiohttp.ClientSession, pod_ip: str) -> int | None:
        page = await _page(session, pod_ip, ENGINE_PORT)
        return None if page is None else parse_in_flight(page)


async def _page(session: aiohttp.ClientSession, pod_ip: str, port: int) -> str | None:
    """A pod's metrics page; None when it has none to give."""
    host = f"[{pod_ip}]" if ":" in pod_ip else pod_ip
    try:
        async with session.get(f"http://{host}:{port}/metrics") as answer:
            return await _whole(answer) if answer.status == 200 else None
    except (aiohttp.ClientError, TimeoutError, OSError):
        return None


async def _whole(answer: aiohttp.ClientResponse) -> str | None:
    """All of a page; None where it is too long: what is missing may be what was asked for."""
    page = bytearray()
    async for chunk in answer.content.iter_any():
        page += chunk
        if len(page) > _LIMIT:
            return None
    return page.decode(errors="replace")


def parse_progress(page: str) -> float | None:
    """Answered of all questions, from 0 to 1; None if the page does not tell."""
    try:
        found = {name: float(value) for name, value in _QUESTIONS.findall(page)}
    except ValueError:
        return None
    if not found.get("questions") or "answered" not in found:
        return None
    return min(found["answered"] / found["questions"], 1.0)


def parse_in_flight(page: str) -> int | None:
    """Running and waiting requests on a metrics page, all engines of the pod summed; None unless both are there."""
    found = _IN_FLIGHT.findall(page)
    if {name for name, _ in found} != {"running", "waiting"}:
        return None
    try:
        return int(sum(float(value) for _, value in found))
    except (ValueError, OverflowError):  # NaN or +Inf: not a count
        return None
