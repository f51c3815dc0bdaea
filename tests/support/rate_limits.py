"""Endpoints that allow so many requests, in this process and on loopback."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

Allows = Callable[[float], bool]
"""Whether a request at that time is answered."""


def sliding(quota: int, period: float = 60.0) -> Allows:
    """At most `quota` requests within any `period`."""
    taken: list[float] = []

    def allows(now: float) -> bool:
        taken[:] = [at for at in taken if at > now - period]
        fine = len(taken) < quota
        if fine:
            taken.append(now)
        return fine

    return allows


def fixed(quota: int, period: float = 60.0, phase: float = 0.0) -> Allows:
    """At most `quota` requests between two strokes of a clock."""
    taken: dict[int, int] = {}

    def allows(now: float) -> bool:
        window = math.floor((now + phase) / period)
        fine = taken.get(window, 0) < quota
        taken[window] = taken.get(window, 0) + fine
        return fine

    return allows


def bucket(a_minute: float, size: int) -> Allows:
    """A bucket of tokens that is full at first."""
    state = [float(size), 0.0]

    def allows(now: float) -> bool:
        state[0] = min(float(size), state[0] + (now - state[1]) * a_minute / 60)
        state[1] = now
        fine = state[0] >= 1
        state[0] -= fine
        return fine

    return allows


Refusal = Callable[[float], tuple[int, dict[str, str], object]]
"""Status, headers and body of a refusal at that time."""


def silent(_: float) -> tuple[int, dict[str, str], object]:
    """Says nothing about how long to wait."""
    return 429, {}, {"error": {"message": "Too Many Requests"}}


class Endpoint:
    """A chat endpoint on loopback, in the loop that asks it.

    `rejects` tells how often it rejects a prompt, whatever it allows.
    """

    def __init__(
        self,
        allows: Allows,
        refusal: Refusal = silent,
        delay: float = 0.0,
        rejects: dict[str, int] | None = None,
    ) -> None:
        self.allows, self.refusal, self.delay = allows, refusal, delay
        self.rejects = dict(rejects or {})
        self.asked = self.refused = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
                length = int(head.partition("content-length:")[2].split("\r\n")[0])
                body = json.loads(await reader.readexactly(length))
                writer.write(await self.answer(body["messages"][-1]["content"]))
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def answer(self, prompt: str) -> bytes:
        self.asked += 1
        now = asyncio.get_running_loop().time() - self.begun
        if self.rejects.get(prompt, 0):
            self.rejects[prompt] -= 1
        elif self.allows(now):
            if self.delay:
                await asyncio.sleep(self.delay)
            choice = {"message": {"content": "好"}, "finish_reason": "stop"}
            return response(200, {}, {"choices": [choice]})
        self.refused += 1
        return response(*self.refusal(now))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self.serve, "127.0.0.1", 0)
        self.begun = asyncio.get_running_loop().time()
        try:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        finally:
            server.close()


def response(status: int, headers: dict[str, str], body: object) -> bytes:
    """An HTTP response with a JSON body."""
    data = json.dumps(body, ensure_ascii=False).encode()
    fields = {"content-type": "application/json", "content-length": str(len(data)), **headers}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} Status\r\n{head}\r\n".encode("latin-1") + data
