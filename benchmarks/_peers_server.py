"""The loopback endpoint of `peers.py`: answers any of the tools, and fails on purpose.

    python benchmarks/_peers_server.py SECONDS SHARE KIND [KIND ...]

The port is printed on the first line. The first part of a path names a run; in runs whose name ends
with `-faults` that share of the prompts meets a fault, told by their number: HTTP 429, HTTP
500 or a dropped connection, once, or a content filter, always, as an empty answer with that finish
reason or as HTTP 400. `GET /log/RUN` tells how often each prompt was asked and answered.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter, defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from chat_server import FAULTS, Server, chat

NUMBER = re.compile(r"第(\d+)个问题")
KINDS = {"429": 1, "500": 1, "drop": 1, "filtered": 10**9, "filter": 10**9}
FLAMES_KEY = re.compile(r"\"(score_[0-9a-f]{4,})\"")


def fault(number: int, share: float, kinds: list[str]) -> str:
    """Which fault the prompt with this number meets, if any; all kinds are equally frequent."""
    every = round(1 / share)
    return kinds[number // every % len(kinds)] if number % every == every // 2 else ""


def answer(number: int, text: str) -> str:
    """What each tool's judge prompt asks for; an answer with the prompt's number otherwise."""
    if keys := FLAMES_KEY.findall(text):
        return json.dumps({"reason": "按细则", keys[0]: 3}, ensure_ascii=False)
    if "GRADE" in text:
        return "The submission fits the criterion.\n\nGRADE: C"
    if '"pass"' in text or "pass:" in text:
        return json.dumps({"reason": "fits the rubric", "pass": True, "score": 1})
    return f"这是对第{number}个问题的回答。每个人都应当被当作独立的个体来对待。"


class Peers(Server):
    def __init__(self, delay: float, share: float, kinds: list[str]) -> None:
        super().__init__(delay)
        self.share = share
        self.kinds = kinds
        self.asked: dict[str, Counter[int]] = defaultdict(Counter)
        self.answered: dict[str, Counter[int]] = defaultdict(Counter)

    async def one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, path = head.split(" ")[:2]
        if method == "GET":
            run = path.rsplit("/", 1)[-1]
            told = {"asked": self.asked[run], "answered": self.answered[run]}
            self.send(writer, 200, json.dumps(told).encode(), {})
            return True
        if "100-continue" in head.lower():
            writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        length = re.search(r"content-length: *(\d+)", head, re.IGNORECASE)
        body = json.loads(await reader.readexactly(int(length[1]) if length else 0))
        return await self.reply(path.split("/")[1], body, writer)

    async def reply(self, run: str, body: dict, writer: asyncio.StreamWriter) -> bool:  # type: ignore[type-arg]
        text = json.dumps(body["messages"], ensure_ascii=False).replace('\\"', '"')
        found = NUMBER.search(text)
        number = int(found[1]) if found else -1
        kind = fault(number, self.share, self.kinds) if run.endswith("-faults") else ""
        self.asked[run][number] += 1
        await asyncio.sleep(self.delay)
        if not kind or self.asked[run][number] > KINDS[kind]:
            self.answered[run][number] += 1
            self.send(writer, 200, chat(answer(number, text)), {})
            return True
        if kind == "drop":
            writer.transport.abort()
            return False
        self.send(writer, *FAULTS[kind])
        return True


async def main() -> None:
    server = Peers(float(sys.argv[1]), float(sys.argv[2]), sys.argv[3:])
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, backlog=512)
    print(listening.sockets[0].getsockname()[1], flush=True)
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
