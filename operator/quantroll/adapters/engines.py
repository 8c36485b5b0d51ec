"""Questions to vLLM pods, asked directly: past Services and gateways."""

import asyncio
import re

import aiohttp

from quantroll.constants import ENGINE_PORT

_IN_FLIGHT = re.compile(r"^vllm:num_requests_(?:running|waiting)(?:\{[^}]*\})? (\S+)$", re.MULTILINE)
_TIMEOUT = aiohttp.ClientTimeout(total=3)
_LIMIT = 4 * 2**20  # bytes of a metrics page


class VllmEngines:
    """Implements `ports.Engines` with vLLM's own metrics page."""

    async def in_flight(self, pod_ips: list[str]) -> int | None:
        """Requests running and waiting on these pods; None when any of them does not tell."""
        async with aiohttp.ClientSession(timeout=_TIMEOUT) as session:
            answers = await asyncio.gather(*(self._ask(session, ip) for ip in pod_ips))
        known = [answer for answer in answers if answer is not None]
        return sum(known) if len(known) == len(answers) else None

    @staticmethod
    async def _ask(session: aiohttp.ClientSession, pod_ip: str) -> int | None:
        host = f"[{pod_ip}]" if ":" in pod_ip else pod_ip
        try:
            async with session.get(f"http://{host}:{ENGINE_PORT}/metrics") as answer:
                if answer.status != 200:
                    return None
                page = (await answer.content.read(_LIMIT)).decode(errors="replace")
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
        return parse_in_flight(page)


def parse_in_flight(page: str) -> int | None:
    """Running and waiting requests on a metrics page, all engines of the pod summed; None if they are not there."""
    values = _IN_FLIGHT.findall(page)
    try:
        return int(sum(float(value) for value in values)) if values else None
    except (ValueError, OverflowError):  # NaN or +Inf: not a count
        return None
