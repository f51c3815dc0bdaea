"""How much asking costs: `flames` against a bare loop over the `openai` client.

A loopback server, in a process of its own, answers after 200 ms. Both sides ask it the same
prompts at the same concurrency, in turns, each in a fresh process; the best of the turns counts.

    python benchmarks/asking.py [--prompts 2000] [--concurrency 64] [--turns 3]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SERVER = Path(__file__).resolve().parent.parent / "tests" / "support" / "chat_server.py"
DELAY_S = 0.2
MOST_WALL, MOST_CPU = 1.10, 1.5


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
    from flames.collect.ask import Asking, Plan, prepare
    from flames.collect.engine import AskSettings
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


class measured:  # noqa: N801
    def __enter__(self) -> None:
        import openai  # noqa: F401  (importing is not what is measured)

        self.wall, self.cpu = time.perf_counter(), cpu_s()

    def __exit__(self, *_: object) -> None:
        wall, cpu = time.perf_counter() - self.wall, cpu_s() - self.cpu
        print(json.dumps({"wall": wall, "cpu": cpu}))


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def turn(side: str, *arguments: object) -> tuple[float, float]:
    command = [sys.executable, __file__, side, *map(str, arguments)]
    done = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return done["wall"], done["cpu"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompts", type=int, default=2000)
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
                turns.append(turn(side, url, options.prompts, options.concurrency))
    finally:
        server.terminate()
        server.wait()
    ideal = math.ceil(options.prompts / options.concurrency) * DELAY_S
    best = {side: (min(w for w, _ in t), min(c for _, c in t)) for side, t in sides.items()}
    print(f"{options.prompts} prompts, {options.concurrency} at once, answers after {DELAY_S} s")
    print(f"ideal   {ideal:6.2f} s wall")
    for side, (wall, cpu) in best.items():
        print(f"{side:<7} {wall:6.2f} s wall  {cpu:6.2f} s CPU  {wall / ideal:.3f} × the ideal")
    wall, cpu = (best["flames"][i] / best["bare"][i] for i in (0, 1))
    print(f"flames / bare: {wall:.3f} × wall (≤ {MOST_WALL}), {cpu:.3f} × CPU (≤ {MOST_CPU})")
    return 0 if wall <= MOST_WALL and cpu <= MOST_CPU else 1


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] in ("bare", "flames"):
        {"bare": bare, "flames": flames}[sys.argv[1]](
            sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
        )
    else:
        sys.exit(main())
