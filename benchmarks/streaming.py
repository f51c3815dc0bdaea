"""A hundred thousand pairs in constant memory, killed half-way and resumed.

    python benchmarks/streaming.py                 # lexical, and a small exported int8 model
    python benchmarks/streaming.py --scorer PATH   # a scorer of yours

Scores a file as `flames score --out` does, kills the process with SIGKILL when 40 % are written,
starts it again and compares: the lines that were there stand unchanged at the start of the result,
every pair is there once and in order, and the second process gave its scorer only the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--scorer", action="append")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        work(given.scorer[0], *map(Path, given.worker))
        return
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        os.environ["FLAMES_HOME"] = str(place / "home")
        source = write(place / "pairs.jsonl", given.pairs)
        for scorer in given.scorer or ["lexical", small_export(place)]:
            run(source, place, scorer, given.pairs)


def write(path: Path, count: int) -> Path:
    """Pairs made of silver responses and bundled prompts, each under a model's name of its own."""
    from flames.prompts.sets import load_prompts
    from flames.scorers.labels import labels_path

    prompts = load_prompts("open").prompts
    lines = labels_path("labels:silver").read_text("utf-8").splitlines()
    texts = [json.loads(line)["response"] for line in lines]
    with open(path, "w", encoding="utf-8") as file:
        for number in range(count):
            prompt = prompts[number % len(prompts)]
            row = {
                "prompt_id": prompt.id,
                "dimension": prompt.dimension,
                "prompt": prompt.text,
                "response": texts[number * 7 % len(texts)],
                "model": f"m{number // len(prompts)}",
            }
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def small_export(place: Path) -> str:
    """A small BERT (2 layers, 64 wide) fitted to the self-test's pairs, exported to int8."""
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
    import tiny_trained

    folder = tiny_trained.scorer(place / "small")
    out = place / "small-int8"
    words = ["scorer", "export", str(folder), "--out", str(out), "--precision", "int8", "-q"]
    subprocess.run([sys.executable, "-m", "flames", *words], check=True)
    return str(out)


class Counting:
    """A scorer that counts what it is given."""

    def __init__(self, scorer: Any) -> None:
        self.scorer, self.info, self.given = scorer, scorer.info, 0
        self.window = getattr(scorer, "window", 256)

    def score(self, responses: Any) -> Any:
        self.given += len(responses)
        return self.scorer.score(responses)


def work(name: str, source: Path, out: Path) -> None:
    from flames.scorers.base import ScorerContext
    from flames.scorers.registry import load_scorer
    from flames.scorers.scoring import score_file_to

    scorer = Counting(load_scorer(name, ScorerContext()))
    score_file_to(source, out, scorer)
    print(scorer.given)


def run(source: Path, place: Path, scorer: str, count: int) -> None:
    out = place / f"{Path(scorer).name}.jsonl"
    part = out.with_name(out.name + ".part")
    command = [sys.executable, __file__, "--scorer", scorer, "--worker", str(source), str(out)]
    start, peak = time.perf_counter(), 0
    process = subprocess.Popen(command)
    while process.poll() is None and (not part.exists() or lines(part) < 0.4 * count):
        peak = max(peak, memory(process.pid))
        time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = part.read_bytes()
    kept = before[: before.rindex(b"\n") + 1]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    while process.poll() is None:
        peak = max(peak, memory(process.pid))
        time.sleep(0.2)
    if process.returncode:
        raise SystemExit(process.returncode)
    seconds = time.perf_counter() - start
    anew = int(process.communicate()[0])
    whole = out.read_bytes()
    same_keys = keys(whole) == keys(source.read_bytes())
    there = kept.count(b"\n")
    print(
        f"{Path(scorer).name}: {count:,} pairs in {seconds:.0f} s, killed at {there:,}; peak "
        f"{peak / 1024:.0f} MB; anew after it {anew:,}, the rest exactly: {there + anew == count}; "
        f"kept lines unchanged: {whole.startswith(kept)}; each pair once, in order: {same_keys}"
    )


def keys(data: bytes) -> list[tuple[str, str]]:
    return [(row["model"], row["prompt_id"]) for row in map(json.loads, data.splitlines())]


def lines(path: Path) -> int:
    with open(path, "rb") as file:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))


def memory(pid: int) -> int:
    """The most that a process ever held, in kB; 0 once it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                return int(line.split()[1])
    except OSError:
        pass
    return 0


if __name__ == "__main__":
    main()
