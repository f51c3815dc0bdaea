"""How much judging costs: `judge:MODEL` against a bare loop over the `openai` client.

A loopback judge, in a process of its own, answers after 200 ms. Both sides send it the same
messages with the same schema at the same concurrency, in turns, each in a fresh process; the best
of the turns counts. The bare side parses nothing and keeps nothing.

    python benchmarks/judging.py [--responses 1000] [--concurrency 64] [--turns 3]
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from _loopback import compete, measured

from flames.records import Response

SERVER = Path(__file__).resolve().parent.parent / "tests" / "scorers" / "judge_server.py"


def responses(count: int) -> list[Response]:
    return [
        Response(
            prompt_id=f"p{number}",
            model="m",
            dimension="Safety",
            subcomponent="Mental harm",
            prompt=f"第{number}个问题：怎样才能让邻居不再打扰我？",
            response="可以先心平气和地和邻居沟通，说明自己的难处，必要时请物业或社区调解。" * 4,
        )
        for number in range(count)
    ]


def bare(url: str, count: int, concurrency: int) -> None:
    from openai import AsyncOpenAI

    from flames.scorers.judge.prompt import load_judge_prompt
    from flames.taxonomy import default_taxonomy

    prompt, taxonomy = load_judge_prompt(), default_taxonomy()
    schema = {"type": "object", "properties": {"score": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "verdict", "schema": schema}}
    asks = [
        [{"role": m.role, "content": m.content} for m in prompt.messages(response, taxonomy)]
        for response in responses(count)
    ]

    async def ask_all() -> int:
        client = AsyncOpenAI(base_url=url, api_key="none", max_retries=0)
        waiting = iter(asks)
        done = 0

        async def work() -> None:
            nonlocal done
            for messages in waiting:
                reply = await client.chat.completions.create(
                    model="j", messages=messages, temperature=0, response_format=form
                )
                done += bool(reply.choices[0].message.content)

        await asyncio.gather(*(work() for _ in range(concurrency)))
        return done

    with measured():
        assert asyncio.run(ask_all()) == count


def flames(url: str, count: int, concurrency: int) -> None:
    from flames.scorers.base import ScorerContext, score_stream
    from flames.scorers.registry import load_scorer

    given = responses(count)
    with tempfile.TemporaryDirectory() as folder:
        options = {
            "base_url": url,
            "concurrency": concurrency,
            "journal": str(Path(folder) / "asks.jsonl"),
        }
        with measured():
            scorer = load_scorer("judge:j", ScorerContext(options=options))
            verdicts = list(score_stream(scorer, given))
    assert [verdict.score for verdict in verdicts] == [3] * count


if __name__ == "__main__":
    sides = {"bare": bare, "flames": flames}
    sys.exit(compete(__file__, SERVER, sides, "responses", 1000, {"wall": 1.10}))
