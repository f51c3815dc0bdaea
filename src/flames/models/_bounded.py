"""An end to answers that have none, before they fill the memory.

`httpx2` is what the `openai` client speaks through.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx2

MOST_BYTES = 64 * 2**20


async def bound(response: httpx2.Response) -> None:
    """Makes reading a response fail where it is longer than any answer; a hook of the client."""
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream)


class _Bounded(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_BYTES
        async for part in self._stream:
            left -= len(part)
            if left < 0:
                raise ValueError(f"the answer has more than {MOST_BYTES / 2**20:g} MB")
            yield part

    async def aclose(self) -> None:
        await self._stream.aclose()
