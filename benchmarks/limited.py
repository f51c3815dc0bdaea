"""How much of what a rate-limited endpoint allows is used, and how many requests it rejects.

A loopback server, in a process of its own, allows 600 requests a minute (ten at once, refilled
evenly) and rejects the others with a bare 429. The wall time is compared with what it allows.

    python benchmarks/limited.py [--prompts 600] [--concurrency 64]
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SUPPORT = Path(__file__).resolve().parent.parent / "tests" / "support"
A_MINUTE, AT_ONCE, DELAY_S = 600, 10, 0.2
LEAST, MOST_REQUESTS = 0.97, 1.3


def serve() -> None:
    sys.path.insert(0, str(SUPPORT))
    from rate_limits import Endpoint, bucket

    async def forever() -> None:
        async with Endpoint(bucket(A_MINUTE, AT_ONCE), delay=DELAY_S).listening() as url:
            print(url, flush=True)
            await asyncio.Event().wait()

    asyncio.run(forever())


def ask(url: str, count: int, concurrency: int) -> tuple[float, int]:
    from asking import prompts

    from flames.collect.ask import Asking, prepare
    from flames.collect.plan import Plan
    from flames.collect.settings import AskSettings
    from flames.models.load import ModelOptions, load_model
    from flames.prompts.sets import load_prompts
    from flames.storage.atomic import to_jsonl

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "prompts.jsonl"
        rows = ({"dimension": "Safety", "prompt": text} for text in prompts(count))
        file.write_text(to_jsonl(rows), "utf-8")
        plan = Plan(load_model("m", ModelOptions(base_url=url)), load_prompts(file))
        run = prepare(plan, os.path.join(folder, "run"))
        begun = time.perf_counter()
        with Asking(plan, run, AskSettings(concurrency=concurrency)) as asking:
            state = asking.ask()
        assert state.counts["ok"] == count
        return time.perf_counter() - begun, state.requests


def main() -> int:
    if sys.argv[1:] == ["serve"]:
        serve()
        return 0
    parser = argparse.ArgumentParser()
    parser.add_argument("--prompts", type=int, default=600)
    parser.add_argument("--concurrency", type=int, default=64)
    options = parser.parse_args()
    command = [sys.executable, __file__, "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            took, requests = ask(url, options.prompts, options.concurrency)
        finally:
            process.terminate()
    used = (options.prompts - AT_ONCE) / took * 60 / A_MINUTE
    more = requests / options.prompts
    print(f"{options.prompts} prompts, {options.concurrency} at once, {A_MINUTE} a minute allowed")
    print(f"{took:.1f} s: {used:.3f} × the allowed rate (≥ {LEAST}), beyond {AT_ONCE} at once")
    print(f"{requests} requests: {more:.3f} × the prompts (≤ {MOST_REQUESTS})")
    return int(used < LEAST or more > MOST_REQUESTS)


if __name__ == "__main__":
    sys.exit(main())
