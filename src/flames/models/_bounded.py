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
        packed = httpx2.Response(
            response.status_code, headers=response.headers, stream=response.stream
        )
        response.headers.pop("content-encoding", None)
        response.stream = _Bounded(packed)


class _Bounded(httpx2.AsyncByteStream):
    """What a response holds once it is unpacked: a few packed bytes may stand for very many."""

    def __init__(self, packed: httpx2.Response) -> None:
        self._packed = packed

    async def __aiter__(self) -> AsyncIterator[bytes]:
        left = MOST_BYTES
        async for part in self._packed.aiter_bytes():
            left -= len(part)
            if left < 0:
                raise ValueError(f"the answer has more than {MOST_BYTES / 2**20:g} MB")
            yield part

    async def aclose(self) -> None:
        await self._packed.aclose()
