"""The same work through Flames and other tools, against one loopback endpoint, in one run.

    python benchmarks/peers.py --tools DIR --install    # installs the tools into DIR, then measures
    python benchmarks/peers.py --tools DIR [--count 1000] [--concurrency 64] [--only inspect-ai]

Asks prompts and judges responses, once without faults and once with 5 % of them: HTTP 429, HTTP 500
and a dropped connection, each once for its prompt, and a content filter, always, as an empty answer
(`filtered`) and as HTTP 400 (`filter`); all equally often, or only those that --fault names. Every
tool is its own command in a process of its own, start-up included, with the concurrency given and
its own retries. A tool that is not in DIR is skipped with a line.

What each got wrong is read from its results and the endpoint's log: `lost` (a prompt that could be
answered has no answer of its own), `doubled` (two results, or asked again after an answer), `filter
as answer` (a filtered prompt stands there like an answered one and nothing tells it, or it counts
as a score) and `gave up` (ended with an error, or was stopped after --limit seconds).
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from _peers_server import KINDS, fault
from _peers_tools import TOOLS, Tool, Work

SERVER = Path(__file__).resolve().parent / "_peers_server.py"
DELAY_S = 0.2
SHARE = 0.05
FILTERS = ("filtered", "filter")
TASKS = {"ask": "prompts asked", "judge": "responses judged"}

Log = dict[str, Counter[int]]  # how often each prompt was `asked` and `answered`


@dataclass
class Used:
    wall: float
    cpu: float
    megabytes: float
    code: int


@dataclass
class Wrong:
    lost: int
    doubled: int
    filter_as_answer: int
    gave_up: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tools", type=Path, required=True, help="where the tools are installed")
    parser.add_argument("--install", action="store_true", help="install those that are missing")
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--limit", type=float, default=300, help="seconds for one run of one tool")
    parser.add_argument("--only", action="append", choices=[tool.name for tool in TOOLS])
    parser.add_argument("--task", action="append", choices=TASKS)
    parser.add_argument("--fault", action="append", choices=KINDS)
    parser.add_argument("--keep", type=Path, help="a new folder in which every tool's files stay")
    given = parser.parse_args()
    chosen = [tool for tool in TOOLS if not given.only or tool.name in given.only]
    tools = list(present(chosen, given.tools.resolve(), given.install))
    kinds = given.fault or [*KINDS]
    with endpoint(kinds) as port, tempfile.TemporaryDirectory() as temporary:
        for task in given.task or TASKS:
            print(f"\n{given.count} {TASKS[task]}, {given.concurrency} at once, {DELAY_S} s each")
            print(
                f"{'':<11}{'clock':>9}{'CPU/request':>13}{'memory':>10}   with {SHARE:.0%} faults"
            )
            for tool in tools:
                used = []
                for faults in ([], kinds):
                    run = f"{tool.name}-{task}-{'faults' if faults else 'clean'}"
                    folder = (given.keep or Path(temporary)).resolve() / run
                    folder.mkdir(parents=True)
                    url = f"http://127.0.0.1:{port}/{run}/v1"
                    work = Work(task, given.count, url, given.concurrency, folder)
                    took = measure(tool, work, given.limit)
                    used.append((took, judge(tool, work, took, log(port, run), faults)))
                print(line(tool.name, given.count, used), flush=True)


def present(tools: list[type[Tool]], folder: Path, install: bool) -> Iterator[Tool]:
    for kind in tools:
        tool = kind(folder)
        if install and tool.version() is None:
            try:
                tool.install()
            except (OSError, subprocess.CalledProcessError) as error:
                print(f"{tool.name}: could not be installed: {error}")
        version = tool.version()
        if version is None:
            print(f"{tool.name}: not in {folder}, skipped (--install installs it)")
            continue
        print(f"{tool.name} {version}")
        yield tool


def measure(tool: Tool, work: Work, limit: float) -> Used:
    command, environment = tool.prepare(work)
    with (work.folder / "said.txt").open("w", encoding="utf-8") as said:
        start = time.perf_counter()
        process = subprocess.Popen(
            command,
            cwd=work.folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            start_new_session=True,
        )
        timer = threading.Timer(limit, os.killpg, (process.pid, signal.SIGKILL))
        timer.start()
        _, status, used = os.wait4(process.pid, 0)
        timer.cancel()
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    cpu = used.ru_utime + used.ru_stime
    return Used(wall, cpu, used.ru_maxrss / 1024, process.returncode)


def judge(tool: Tool, work: Work, used: Used, told: Log, faults: list[str]) -> Wrong:
    """What a run got wrong; a result counts for the prompt whose number it carries."""
    try:
        rows = list(tool.results(work))
    except (OSError, ValueError, LookupError, TypeError, subprocess.SubprocessError) as error:
        with (work.folder / "said.txt").open("a", encoding="utf-8") as said:
            said.write(f"\nresults cannot be read: {error!r}\n")
        rows = []
    filtered = {n for n in range(work.count) if faults and fault(n, SHARE, faults) in FILTERS}
    answered = {row.number for row in rows if fits(row.answer, row.number, work.task)}
    results = Counter(row.number for row in rows)
    doubled = {n for n, times in results.items() if times > 1}
    doubled |= {n for n, times in told["answered"].items() if times > 1}
    as_answer = {r.number for r in rows if r.answer is not None and not r.wrong} & filtered
    lost = set(range(work.count)) - filtered - answered
    gave_up = used.code not in tool.fine or not rows
    return Wrong(len(lost), len(doubled), len(as_answer), gave_up)


def fits(answer: str | None, number: int, task: str) -> bool:
    if answer is None:
        return False
    return f"第{number}个问题" in answer if task == "ask" else bool(answer.strip())


def line(name: str, count: int, used: list[tuple[Used, Wrong]]) -> str:
    (clean, before), (faulty, after) = used
    start = f"{name:<11}{clean.wall:7.1f} s{clean.cpu / count * 1000:10.2f} ms"
    start += f"{clean.megabytes:7,.0f} MB"
    if before.lost or before.doubled or before.gave_up:
        start += f"  (without faults: {before.lost} lost, {before.doubled} doubled)"
    told = f"   {faulty.wall:.1f} s: {after.lost} lost, {after.doubled} doubled, "
    told += f"{after.filter_as_answer} filter as answer"
    return start + told + (f", gave up ({faulty.code})" if after.gave_up else "")


@contextmanager
def endpoint(kinds: list[str]) -> Iterator[int]:
    command = [sys.executable, str(SERVER), str(DELAY_S), str(SHARE), *kinds]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def log(port: int, run: str) -> Log:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/log/{run}") as reply:
        told = json.load(reply)
    return {key: Counter({int(n): t for n, t in of.items()}) for key, of in told.items()}


if __name__ == "__main__":
    main()
