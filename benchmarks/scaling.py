"""How much faster two workers of `flames score --engine ray` on two cores are than one on one core.

    python benchmarks/scaling.py [--responses 512] [--rounds 2] [--scorer gemma-heads]

Each is a whole command with the driver, Ray's processes and the workers on its cores (`taskset`,
which all of them inherit, as they do a priority that the benchmark is started with). They take
turns. One worker also runs with both cores at hand: then the other processes take nothing from it.
The rate is that of the windows that were scored while every worker was at work, from the times that
the workers wrote down: starting Ray, loading the scorer and the last windows do not count, waiting
for the next window does. On a shared machine the clock also counts what others take, so the ratio
is printed by processor time too: processor seconds a response, and the share of the time that
workers are at work instead of waiting for a window. The files of all runs must be the same bytes as
those of `--engine local`. The scorer gets windows of 16 responses instead of 256, so that there are
enough of them in a short run.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

WINDOW = 16
PACKAGE = f"""
import os, time
from flames.scorers.registry import load_among

class Windows:
    window = {WINDOW}
    def __init__(self, scorer):
        self.info, self._scorer = scorer.info, scorer
    def score(self, responses):
        begun, used = time.monotonic(), time.process_time()
        verdicts = self._scorer.score(responses)
        used = time.process_time() - used
        with open(os.environ["WINDOW_TIMES"], "a") as file:
            file.write(f"{{os.getpid()}} {{begun}} {{time.monotonic()}} {{used}}\\n")
        return verdicts

def load(argument, context):
    return Windows(load_among(argument, context))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--responses", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--scorer", default="gemma-heads")
    parser.add_argument("--score", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.score:
        score(Path(given.score[0]), int(given.score[1]), given.scorer)
        return
    cores = sorted(os.sched_getaffinity(0))[:2]
    if len(cores) < 2:
        raise SystemExit("needs two cores")
    with tempfile.TemporaryDirectory() as place:
        compare(Path(place), cores, given)


def compare(place: Path, cores: list[int], given: argparse.Namespace) -> None:
    install(place / "package")
    write_input(place / "in.jsonl", given.responses)
    whole = run(place, cores, 0, given.scorer)
    ways = [(1, 1), (1, 2), (2, 2)]
    told: dict[tuple[int, int], list[dict[str, Any]]] = {way: [] for way in ways}
    print(f"{processor()}, {given.responses} responses, windows of {WINDOW}, {given.scorer}")
    for number in range(given.rounds):
        for way in ways if number % 2 == 0 else reversed(ways):
            workers, count = way
            one = run(place, cores[:count], workers, given.scorer)
            assert one["sha"] == whole["sha"], "other bytes than on one machine"
            told[way].append(one)
            print(
                f"  {workers} workers on {count} cores: {one['rate']:5.1f}/s after "
                f"{one['begun']:.1f} s; {1000 * one['cpu']:.1f} ms of processor a response, "
                f"{100 * one['at_work']:.1f} % of the time at work"
            )

    def middle(way: tuple[int, int], what: str) -> float:
        return statistics.median(one[what] for one in told[way])

    for way, what in zip(ways, ("one on one core", "one with both at hand"), strict=False):
        ratio = middle((2, 2), "rate") / middle(way, "rate") / 2
        quiet = middle(way, "cpu") / middle((2, 2), "cpu") * middle((2, 2), "at_work")
        quiet /= middle(way, "at_work")
        print(f"two on two cores against {what}: {ratio:.2f} of linear by the clock,")
        print(f"  {quiet:.2f} by processor time, as if nobody else used the cores")
    print("every file the same bytes as --engine local")


def run(place: Path, cores: list[int], workers: int, scorer: str) -> dict[str, Any]:
    """Runs one command on some cores; 0 workers are `--engine local`."""
    command = [sys.executable, __file__, "--score", str(place), str(workers), "--scorer", scorer]
    paths = [str(place / "package"), os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(filter(None, paths))
    bound = ["taskset", "-c", ",".join(map(str, cores))]
    done = subprocess.run(
        [*bound, *command],
        stdout=subprocess.PIPE,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told


def score(place: Path, workers: int, scorer: str) -> None:
    from hashlib import sha256

    import flames

    begun = time.monotonic()
    out, times = (place / f"{kind}-{os.getpid()}" for kind in ("out", "times"))
    os.environ["WINDOW_TIMES"] = str(times)
    engine: dict[str, Any] = {"engine": "ray", "workers": workers} if workers else {}
    flames.score(place / "in.jsonl", out=out, scorer=f"windows:{scorer}", **engine)
    of_worker: dict[str, list[tuple[float, float]]] = {}
    used = 0.0
    for line in times.read_text().splitlines():
        process, *numbers = line.split()
        start, end, seconds = map(float, numbers)
        of_worker.setdefault(process, []).append((start, end))
        used += seconds
    assert len(of_worker) == max(1, workers), "a worker got nothing to do"
    first = max(windows[0][0] for windows in of_worker.values())
    last = min(windows[-1][1] for windows in of_worker.values())
    shares = [
        (max(0.0, min(end, last) - max(start, first)), end - start)
        for windows in of_worker.values()
        for start, end in windows
    ]
    done = sum(inside / whole for inside, whole in shares)
    at_work = sum(inside for inside, _ in shares) / (last - first) / len(of_worker)
    digest = sha256(out.read_bytes()).hexdigest()
    rate = WINDOW * done / (last - first)
    told = {"rate": rate, "begun": first - begun, "sha": digest, "at_work": at_work}
    print(json.dumps({**told, "cpu": used / sum(map(len, of_worker.values())) / WINDOW}))


def write_input(path: Path, count: int) -> None:
    from flames.scorers.labels import labels_path

    with labels_path("labels:silver").open(encoding="utf-8") as file, path.open("w") as out:
        for line, _ in zip(file, range(count), strict=False):
            row = json.loads(line)
            names = ("prompt_id", "model", "dimension", "response", "status")
            kept = {name: row[name] for name in names if name in row}
            out.write(json.dumps({**kept, "prompt": f"问题 {row['prompt_id']}"}) + "\n")


def install(folder: Path) -> None:
    info = folder / "windows-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "flames_windows.py").write_text(PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: windows\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[flames.scorers]\nwindows = flames_windows:load\n")


def processor() -> str:
    from flames.scorers.trained.backends import processor as found

    return f"{found().name}, {found().cores} cores"


if __name__ == "__main__":
    main()
