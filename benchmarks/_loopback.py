"""What the loopback benchmarks share: two sides, each measured in fresh processes, in turns."""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

DELAY_S = 0.2
Side = Callable[[str, int, int], None]


class measured:  # noqa: N801
    """Prints the wall and CPU seconds of its block as JSON."""

    def __enter__(self) -> None:
        import openai  # noqa: F401  (importing is not what is measured)

        self.wall, self.cpu = time.perf_counter(), cpu_s()

    def __exit__(self, *_: object) -> None:
        wall, cpu = time.perf_counter() - self.wall, cpu_s() - self.cpu
        print(json.dumps({"wall": wall, "cpu": cpu}))


def cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def compete(
    file: str, server: Path, sides: dict[str, Side], what: str, count: int, limits: dict[str, float]
) -> int:
    """Runs a benchmark as a script: its exit code, 1 where `flames` needs more than the limits.

    Args:
        file: The script.
        server: The loopback server's script; it prints its port on the first line.
        sides: `bare` and `flames`, each called with URL, count and concurrency.
        what: What is counted, in plural.
        count: How many, unless the command line says otherwise.
        limits: The most that `flames` may need of `wall` and `cpu`, as a multiple of `bare`.
    """
    if sys.argv[1:2] in (["bare"], ["flames"]):
        sides[sys.argv[1]](sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
        return 0
    parser = argparse.ArgumentParser()
    parser.add_argument(f"--{what}", dest="count", type=int, default=count)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--turns", type=int, default=3)
    options = parser.parse_args()
    command = [sys.executable, str(server), str(DELAY_S)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
            turns: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
            for _ in range(options.turns):
                for name in sides:
                    turns[name].append(_turn(file, name, url, options.count, options.concurrency))
        finally:
            process.terminate()
    ideal = math.ceil(options.count / options.concurrency) * DELAY_S
    best = {n: {k: min(t[k] for t in all_) for k in ("wall", "cpu")} for n, all_ in turns.items()}
    print(f"{options.count} {what}, {options.concurrency} at once, answers after {DELAY_S} s")
    print(f"ideal   {ideal:6.2f} s wall")
    for name, took in best.items():
        wall, cpu = took["wall"], took["cpu"]
        print(f"{name:<7} {wall:6.2f} s wall  {cpu:6.2f} s CPU  {wall / ideal:.3f} × the ideal")
    ratios = {kind: best["flames"][kind] / best["bare"][kind] for kind in limits}
    told = (f"{ratio:.3f} × {kind} (≤ {limits[kind]})" for kind, ratio in ratios.items())
    print("flames / bare: " + ", ".join(told))
    return int(any(ratio > limits[kind] for kind, ratio in ratios.items()))


def _turn(file: str, side: str, *arguments: object) -> dict[str, float]:
    command = [sys.executable, file, side, *map(str, arguments)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    took: dict[str, float] = json.loads(done.stdout)
    return took
