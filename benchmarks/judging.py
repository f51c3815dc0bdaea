"""How much judging costs: `judge:MODEL` against a bare loop over the `openai` client.

A loopback judge, in a process of its own, answers after 200 ms. Both sides send it the same
messages with the same schema at the same concurrency, in turns, each in a fresh process; the best
of the turns counts. The bare side parses nothing and keeps nothing.

    python benchmarks/judging.py [--responses 1000] [--concurrency 64] [--turns 3]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import subprocess
import sys
import tempfile
from pathlib import Path

from asking import DELAY_S, measured

from flames.records import Response

SERVER = Path(__file__).resolve().parent.parent / "tests" / "scorers" / "judge_server.py"
MOST_WALL = 1.10


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


def turn(side: str, *arguments: object) -> tuple[float, float]:
    command = [sys.executable, __file__, side, *map(str, arguments)]
    done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return done["wall"], done["cpu"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--responses", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    server = subprocess.Popen(
        [sys.executable, SERVER, str(DELAY_S)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{int(server.stdout.readline())}/v1"
        sides: dict[str, list[tuple[float, float]]] = {"bare": [], "flames": []}
        for _ in range(options.turns):
            for side, turns in sides.items():
                turns.append(turn(side, url, options.responses, options.concurrency))
    finally:
        server.terminate()
        server.wait()
    ideal = math.ceil(options.responses / options.concurrency) * DELAY_S
    best = {side: (min(w for w, _ in t), min(c for _, c in t)) for side, t in sides.items()}
    print(
        f"{options.responses} responses, {options.concurrency} at once, answers after {DELAY_S} s"
    )
    print(f"ideal   {ideal:6.2f} s wall")
    for side, (wall, cpu) in best.items():
        print(f"{side:<7} {wall:6.2f} s wall  {cpu:6.2f} s CPU  {wall / ideal:.3f} × the ideal")
    ratio = best["flames"][0] / best["bare"][0]
    print(f"flames / bare: {ratio:.3f} × wall (≤ {MOST_WALL})")
    return 0 if ratio <= MOST_WALL else 1


if __name__ == "__main__":
    if sys.argv[1:2] in (["bare"], ["flames"]):
        side = bare if sys.argv[1] == "bare" else flames
        side(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
    else:
        sys.exit(main())
