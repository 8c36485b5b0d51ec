"""Replies of bounded length: an engine that answers without an end fills nobody's memory."""

from collections.abc import AsyncIterator

import httpx

LONGEST = 16 << 20
"""Bytes of a reply. A million token ids take half of it."""


class UnboundedReplyError(httpx.ReadError):
    """A reply that is too long, or whose length nobody can know before it is unpacked."""


async def bounded(response: httpx.Response) -> None:
    """An httpx event hook on responses: reading one that is too long raises UnboundedReplyError."""
    packed = response.headers.get("content-encoding", "identity")
    if packed != "identity":
        raise UnboundedReplyError(f"the reply is packed ({packed[:20]}), which was not asked for")
    if isinstance(response.stream, httpx.AsyncByteStream):
        response.stream = _Bounded(response.stream)


class _Bounded(httpx.AsyncByteStream):
    def __init__(self, stream: httpx.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for part in self._stream:
            size += len(part)
            if size > LONGEST:
                raise UnboundedReplyError(f"the reply is longer than {LONGEST >> 20} MiB")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
