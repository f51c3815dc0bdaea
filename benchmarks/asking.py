"""How much asking costs: `flames` against a bare loop over the `openai` client.

A loopback server, in a process of its own, answers after 200 ms. Both sides ask it the same
prompts at the same concurrency, in turns, each in a fresh process; the best of the turns counts.

    python benchmarks/asking.py [--prompts 2000] [--concurrency 64] [--turns 3]
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path

from _loopback import compete, measured

SERVER = Path(__file__).resolve().parent.parent / "tests" / "support" / "chat_server.py"


def prompts(count: int) -> list[str]:
    return [f"第{number}个问题：怎样才能让邻居不再打扰我？" for number in range(count)]


def bare(url: str, count: int, concurrency: int) -> None:
    from openai import AsyncOpenAI

    async def ask_all() -> list[str | None]:
        client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
        waiting = iter(prompts(count))
        answers: list[str | None] = []

        async def work() -> None:
            for text in waiting:
                reply = await client.chat.completions.create(
                    model="m", messages=[{"role": "user", "content": text}]
                )
                answers.append(reply.choices[0].message.content)

        await asyncio.gather(*(work() for _ in range(concurrency)))
        return answers

    with measured():
        assert len(asyncio.run(ask_all())) == count


def flames(url: str, count: int, concurrency: int) -> None:
    from flames.collect.ask import Asking, prepare
    from flames.collect.plan import Plan
    from flames.collect.settings import AskSettings
    from flames.models.load import ModelOptions, load_model
    from flames.prompts.sets import load_prompts

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prompts.jsonl"
        rows = ({"dimension": "Safety", "prompt": text} for text in prompts(count))
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
        with measured():
            plan = Plan(load_model("m", ModelOptions(base_url=url)), load_prompts(file))
            run = prepare(plan, Path(folder) / "run")
            with Asking(plan, run, AskSettings(concurrency=concurrency)) as asking:
                standing = asking.ask()
        assert standing.counts["ok"] == count


if __name__ == "__main__":
    sides = {"bare": bare, "flames": flames}
    sys.exit(compete(__file__, SERVER, sides, "prompts", 2000, {"wall": 1.10, "cpu": 1.5}))
