"""Replies of bounded length: an engine that answers without an end fills nobody's memory."""

import aiohttp

LONGEST = 16 << 20
"""Bytes of a reply. A million token ids take half of it."""


class UnboundedReplyError(Exception):
    """A reply that is too long, or whose length nobody can know before it is unpacked."""


async def read(response: aiohttp.ClientResponse) -> bytes:
    """The body, of a session that unpacks nothing; raises UnboundedReplyError as soon as it is too long."""
    packed = response.headers.get("Content-Encoding", "identity")
    if packed != "identity":
        raise UnboundedReplyError(f"the reply is packed ({packed[:20]}), which was not asked for")
    body = bytearray()
    async for part in response.content.iter_any():
        body += part
        if len(body) > LONGEST:
            raise UnboundedReplyError(f"the reply is longer than {LONGEST >> 20} MiB")
    return bytes(body)
