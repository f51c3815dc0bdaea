"""A judge's endpoint as a process of its own: it answers, rambles, refuses, on demand.

What a response holds says what the judge does with it:

    ⟦answer NAME⟧       the recorded shape of that name (judge_answers.jsonl)
    ⟦then NAME⟧         the shape of that name once it was reminded
    ⟦say TEXT⟧          that very text
    ⟦status 500 2⟧      that HTTP status, the first two times

Anything else is judged as JSON: 1 if 有害 stands in it, 2 if 回避 does, 3 otherwise. The model's
name changes who judges: `no-schema` and `no-structure` reject forms of structured output, with
`broken-` before them by HTTP 500; `tools` answers by a tool call, `objects` with an object in it;
`fixed` refuses a temperature;
`always-N` always says N. `GET /log` tells what was asked, `GET /count` how much.

    python judge_server.py [SECONDS TO WAIT BEFORE ANSWERING]

The port is printed on the first line.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))

from judge_shapes import SHAPES, keyed

SHAPE = {shape["name"]: shape for shape in SHAPES}
KEY = re.compile(r"\"(score_[0-9a-f]{4,})\"")
MARK = re.compile(r"⟦(\w+) ([^⟧]*)⟧")
REMINDED = ("注意：上一次", "Note: the last output")


class Judge:
    def __init__(self, delay: float) -> None:
        self.delay = delay
        self.log: list[dict[str, Any]] = []
        self.seen: Counter[str] = Counter()

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        self.log.append({"path": path, "body": body})
        if path.endswith("/moderations"):
            return 200, moderation(body["input"])
        text = "\n".join(message["content"] for message in body["messages"])
        model = body["model"]
        [key] = set(KEY.findall(text)) or {"score"}
        for form, rejecting in (
            ("response_format", ("no-schema", "no-structure")),
            ("tools", ("no-structure",)),
        ):
            if form in body and model.removeprefix("broken-") in rejecting:
                status = 500 if model.startswith("broken-") else 400
                return status, {"error": {"code": "bad", "message": f"{form} is not supported"}}
        if model == "fixed" and "temperature" in body:
            said = "Unsupported value: 'temperature' does not support 0 with this model."
            return 400, {"error": {"code": "unsupported_value", "message": said}}
        marks = dict(MARK.findall(text))
        if "status" in marks:
            status, times = [*marks["status"].split(), "999999"][:2]
            self.seen[text] += 1
            if self.seen[text] <= int(times):
                return int(status), {"error": {"code": "x", "message": "as was asked for"}}
        if "then" in marks and any(words in text for words in REMINDED):
            return 200, shaped(marks["then"], key)
        if "answer" in marks:
            return 200, shaped(marks["answer"], key)
        if "say" in marks:
            return 200, chat(marks["say"].replace("\\n", "\n"))
        score = 1 if "有害" in body["messages"][-1]["content"] else 3
        score = 2 if "回避" in body["messages"][-1]["content"] else score
        if model.startswith("always-"):
            score = int(model[-1])
        said = json.dumps({"reason": "按细则", key: score}, ensure_ascii=False)
        if model in ("tools", "objects") or "tools" in body:
            call = {
                "id": "1",
                "type": "function",
                "function": {
                    "name": "verdict",
                    "arguments": json.loads(said) if model == "objects" else said,
                },
            }
            return 200, chat(None, "tool_calls", tool_calls=[call])
        return 200, chat(said)


def shaped(name: str, key: str) -> dict[str, Any]:
    if name == "blocked":
        return chat("", "content_filter")
    shape = SHAPE[name]
    return chat(keyed(shape, key), "length" if shape.get("truncated") else "stop")


def chat(content: str | None, finish: str = "stop", **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "finish_reason": finish, "message": said}
    usage = {"prompt_tokens": 200, "completion_tokens": 40, "total_tokens": 240}
    return {"id": "1", "object": "chat.completion", "choices": [choice], "usage": usage}


def moderation(text: str) -> dict[str, Any]:
    hits = ["harassment"] if "有害" in text else []
    names = "harassment hate illicit self-harm sexual violence".split()
    result = {
        "flagged": bool(hits),
        "categories": {name: name in hits for name in names},
        "category_scores": {name: 0.9 if name in hits else 0.01 for name in names},
    }
    return {"id": "modr-1", "model": "omni-moderation-latest", "results": [result]}


async def serve(judge: Judge, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"content-length: *(\d+)", head, re.IGNORECASE)
            raw = await reader.readexactly(int(length[1])) if length else b""
            if head.startswith("GET /count"):
                status, said = 200, {"count": len(judge.log)}
            elif head.startswith("GET /log"):
                status, said = 200, {"log": judge.log}
            else:
                if judge.delay:
                    await asyncio.sleep(judge.delay)
                status, said = judge.answer(head.split(" ", 2)[1], json.loads(raw))
            body = json.dumps(said).encode()
            writer.write(
                f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
                f"Content-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def main() -> None:
    judge = Judge(float(sys.argv[1]) if len(sys.argv) > 1 else 0.0)
    listening = await asyncio.start_server(
        lambda r, w: serve(judge, r, w), "127.0.0.1", 0, backlog=512
    )
    print(listening.sockets[0].getsockname()[1], flush=True)  # noqa: T201
    await listening.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
