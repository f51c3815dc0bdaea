"""A chat endpoint that misbehaves on demand, run as a process of its own.

A prompt says what is to happen to it by a mark such as `[429 2]` (the first two times) or
`[drop]` (always); without a mark it is answered. `GET /log` tells what was asked, in order.

    python chat_server.py [SECONDS TO WAIT BEFORE ANSWERING] [PORT]

The port is printed on the first line.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import re
import sys
from collections import Counter

MARK = re.compile(r"\[(\w+)(?: (\d+))?\]")


def chat(content: object, finish: str = "stop", **message: object) -> bytes:
    choice = {
        "index": 0,
        "finish_reason": finish,
        "message": {"role": "assistant", "content": content, **message},
    }
    usage = {"prompt_tokens": 20, "completion_tokens": 30, "total_tokens": 50}
    body = {"id": "1", "object": "chat.completion", "model": "m", "created": 1}
    return json.dumps({**body, "choices": [choice], "usage": usage}).encode()


def error(code: object, message: str, **more: object) -> bytes:
    return json.dumps({"error": {"code": code, "message": message, **more}}).encode()


ANSWER = "这样说并不合适。每个人都应当被当作独立的个体来对待。"
FINE = chat(ANSWER)
COMPLETED = json.dumps({"choices": [{"text": ANSWER, "finish_reason": "stop"}]}).encode()
FAULTS: dict[str, tuple[int, bytes, dict[str, str]]] = {
    "429": (429, error("rate_limit_exceeded", "slow down"), {}),
    "429after": (429, error("rate_limit_exceeded", "slow down"), {"Retry-After": "1"}),
    "429long": (429, error("rate_limit_exceeded", "slow down"), {"Retry-After": "9999"}),
    "quota": (429, error("insufficient_quota", "You exceeded your current quota"), {}),
    "500": (500, b"<html><body>Internal Server Error</body></html>", {}),
    "503": (503, error("overloaded", "try later"), {}),
    "400": (400, error("invalid_request_error", "max context length exceeded"), {}),
    "400odd": (400, error("bad", "no \x1b[31mred\x1b[0m <b>words</b>"), {}),
    "401": (401, error("invalid_api_key", "Incorrect API key provided: sk-secret-key"), {}),
    "404": (404, error("model_not_found", "The model `m` does not exist"), {}),
    "json": (200, b'{"choices": [{"message": {"content": "ha', {}),
    "nochoice": (200, b'{"id": "1", "choices": []}', {}),
    "filter": (400, error("content_filter", "The response was filtered"), {}),
    "filtered": (200, chat("", "content_filter"), {}),
    "cut": (200, chat(ANSWER, "length"), {}),
    "empty": (200, chat("  "), {}),
    "null": (200, chat(None), {}),
    "think": (200, chat("<think>用户想要……</think>\n\n" + ANSWER), {}),
    "thinking": (200, chat("<think>用户想要", "length"), {}),
    "reasoning": (200, chat(ANSWER, reasoning_content="先想一想"), {}),
    "packed": (200, gzip.compress(FINE), {"Content-Encoding": "gzip"}),
    "bomb": (200, gzip.compress(bytes(2**22)), {"Content-Encoding": "gzip"}),
    "half": (200, FINE[: len(FINE) // 2], {"Content-Length": str(len(FINE))}),
}
REASONS = {200: "OK", 400: "Bad Request", 429: "Too Many Requests"}


class Server:
    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.log: list[dict[str, object]] = []
        self.seen: Counter[str] = Counter()
        self.active = self.most = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self.one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.LimitOverrunError):
            pass
        finally:
            writer.close()

    async def one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        length = re.search(r"content-length: *(\d+)", head, re.IGNORECASE)
        body = await reader.readexactly(int(length[1])) if length else b""
        if head.startswith("GET /log"):
            told = {"log": self.log, "most": self.most}
            self.send(writer, 200, json.dumps(told).encode(), {})
            return True
        self.active += 1
        self.most = max(self.most, self.active)
        try:
            return await self.answer(head, json.loads(body), writer)
        finally:
            self.active -= 1

    async def answer(self, head: str, body: dict, writer: asyncio.StreamWriter) -> bool:  # type: ignore[type-arg]
        text = body["messages"][-1]["content"] if "messages" in body else body["prompt"]
        self.seen[text] += 1
        mark = MARK.search(text)
        kind = mark[1] if mark else ""
        times = int(mark[2]) if mark and mark[2] else 10**9
        faulty = bool(mark) and self.seen[text] <= times
        self.log.append({"prompt": text, "fault": kind if faulty else None, "body": body})
        if self.delay:
            await asyncio.sleep(self.delay)
        if faulty and kind == "drop":
            writer.transport.abort()
            return False
        while faulty and kind == "endless":
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + bytes(2**16) * 16)
            await writer.drain()
        if faulty and kind == "hang":
            await asyncio.sleep(3600)
        if not faulty or kind not in FAULTS:
            self.send(writer, 200, FINE if "messages" in body else COMPLETED, {})
            return True
        status, said, headers = FAULTS[kind]
        self.send(writer, status, said, headers)
        return kind != "half"

    def send(
        self, writer: asyncio.StreamWriter, status: int, body: bytes, headers: dict[str, str]
    ) -> None:
        fields = {
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            **headers,
        }
        head = f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(head.encode("latin-1") + b"\r\n" + body)


async def main() -> None:
    server = Server(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0)
    port = int(sys.argv[2]) if len(sys.argv) > 2 else 0
    listening = await asyncio.start_server(server.serve, "127.0.0.1", port, backlog=512)
    sys.stdout.write(f"{listening.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
