"""How cost grows with the number of rows: the clock, processor time and peak memory of commands.

    python benchmarks/growth.py                          # 1,000, 10,000 and 100,000 rows
    python benchmarks/growth.py --largest 1000000        # a million, too
    python benchmarks/growth.py --only report --only compare

Each command runs in a process of its own, as a user would run it, start-up included. `ask` asks a
loopback endpoint that answers at once, 64 requests at a time, and stops at 10,000 prompts unless
`--largest-ask` says otherwise; `score` scores with `lexical`; `annotate` is `init` and `status`.
Behind each figure stands its exponent since the size above: 1.00 means that ten times the rows cost
ten times as much, 0 that they cost the same.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reporting import run, write

SERVER = Path(__file__).resolve().parent.parent / "tests" / "support" / "chat_server.py"
FLAMES = [sys.executable, "-m", "flames"]
CONCURRENCY = 64
Used = tuple[float, float, float]  # MB at most, seconds on the clock, seconds of processor time


def ask(folder: Path, rows: int) -> Used:
    prompts = folder / "prompts.jsonl"
    with prompts.open("w", encoding="utf-8") as file:
        for number in range(rows):
            row = {"dimension": "Safety", "prompt": f"第{number}个问题：怎样与邻居相处？"}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    with endpoint() as url:
        words = ["ask", "m", "--base-url", url, "--prompts", str(prompts)]
        more = ["--out", str(folder / "run"), "--concurrency", str(CONCURRENCY)]
        return run([*FLAMES, *words, *more])


def score(folder: Path, rows: int) -> Used:
    source, out = verdicts(folder, rows), folder / "scored.jsonl"
    return run([*FLAMES, "score", str(source), "--scorer", "lexical", "--out", str(out)])


def report(folder: Path, rows: int) -> Used:
    out = folder / "report.json"
    return run([*FLAMES, "report", str(verdicts(folder, rows)), "--json", "--out", str(out)])


def compare(folder: Path, rows: int) -> Used:
    both = [str(verdicts(folder, rows)), str(verdicts(folder, rows, "other", 1))]
    return run([*FLAMES, "compare", *both, "--json", "--out", str(folder / "compared.json")])


def annotate(folder: Path, rows: int) -> Used:
    project = str(folder / "project")
    words = ["annotate", "init", project, "--from", str(verdicts(folder, rows))]
    init = run([*FLAMES, *words])
    status = run([*FLAMES, "annotate", "status", project])
    return max(init[0], status[0]), init[1] + status[1], init[2] + status[2]


def verdicts(folder: Path, rows: int, model: str = "model", seed: int = 0) -> Path:
    """Verdicts with their texts, about 900 bytes each; not counted in."""
    path = folder / f"{model}.jsonl"
    if not path.exists():
        write(path, rows, model, seed)
    return path


@contextmanager
def endpoint() -> Iterator[str]:
    command = [sys.executable, str(SERVER), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
        finally:
            process.terminate()


COMMANDS: dict[str, Callable[[Path, int], Used]] = {
    "ask": ask,
    "score": score,
    "report": report,
    "compare": compare,
    "annotate": annotate,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--largest", type=int, default=100_000)
    parser.add_argument("--largest-ask", type=int, default=10_000)
    parser.add_argument("--only", action="append", choices=COMMANDS)
    given = parser.parse_args()
    print(f"{'':<9} {'rows':>9} {'clock':>16} {'processor':>16} {'memory':>17}")
    for name, command in COMMANDS.items():
        if given.only and name not in given.only:
            continue
        before: tuple[int, Used] | None = None
        for rows in sizes(min(given.largest, given.largest_ask if name == "ask" else 10**12)):
            with tempfile.TemporaryDirectory() as folder:
                used = command(Path(folder), rows)
            megabytes, wall, cpu = (
                (value, exponent(place, rows, value, before)) for place, value in enumerate(used)
            )
            print(
                f"{name:<9} {rows:>9,} {wall[0]:>8.2f} s {wall[1]:>5} "
                f"{cpu[0]:>8.2f} s {cpu[1]:>5} {megabytes[0]:>8,.0f} MB {megabytes[1]:>5}",
                flush=True,
            )
            before = rows, used


def sizes(largest: int) -> list[int]:
    """A thousand, ten thousand and so on; the largest last."""
    steps = [10**power for power in range(3, 10) if 10**power < largest]
    return [*steps, largest]


def exponent(place: int, rows: int, value: float, before: tuple[int, Used] | None) -> str:
    if before is None:
        return ""
    return f"{math.log(value / before[1][place]) / math.log(rows / before[0]):.2f}"


if __name__ == "__main__":
    main()
