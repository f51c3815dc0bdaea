"""What reports of many verdicts cost: peak memory, seconds, and how fast their page opens.

    python benchmarks/reporting.py                     # 200,000 and 1,000,000 verdicts
    python benchmarks/reporting.py --rows 200000 --keep DIR
    python benchmarks/reporting.py --columns 10000000  # Parquet without texts, the counts alone
    python benchmarks/reporting.py --compare 100000    # two files, with texts and without
    python benchmarks/reporting.py --compare 5000000 --samples 10   # larger ones without texts
    python benchmarks/reporting.py --eval 1000000      # verdicts against as many labels

Every verdict is on a prompt of its own and carries prompt, response, rationale and probabilities,
about 900 bytes a line. Each report is made by a process of its own, as a user would; the page is
opened in headless Chromium where playwright and a browser are there.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPORTS = {"json": "--json", "md": "--format md", "html": "--format html"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, action="append")
    parser.add_argument("--columns", type=int, help="rows of Parquet without texts, instead")
    parser.add_argument("--compare", type=int, help="rows of each of two files, compared, instead")
    parser.add_argument("--samples", type=int, default=1, help="of each prompt in --compare")
    parser.add_argument("--eval", type=int, help="verdicts, held against as many labels, instead")
    parser.add_argument("--keep", type=Path, help="a folder in which the files stay")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = given.keep or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        if given.columns:
            whole_columns(folder / f"verdicts-{given.columns}.parquet", given.columns)
            return
        if given.compare:
            compared(folder, given.compare, given.samples)
            return
        if given.eval:
            evaluated(folder, given.eval)
            return
        for rows in given.rows or (200_000, 1_000_000):
            source = folder / f"verdicts-{rows}.jsonl"
            if not source.exists():
                write(source, rows)
            print(f"{rows:,} verdicts, {source.stat().st_size / 1e6:,.0f} MB")
            for form, words in REPORTS.items():
                out = folder / f"report-{rows}.{form}"
                command = ["report", str(source), *words.split(), "--out", str(out)]
                megabytes, wall, cpu = run([sys.executable, "-m", "flames", *command])
                size = out.stat().st_size / 1e6
                print(f"  {form:5} {megabytes:6,.0f} MB peak {wall:6.1f} s ({cpu:.1f} s CPU) "
                      f"{size:8.2f} MB written")  # fmt: skip
                if form == "html":
                    opened(out)


def write(
    path: Path, rows: int, model: str = "model", seed: int = 0, *, people: bool = False
) -> None:
    """Verdicts on bundled prompts, each asked many times in other words, with silver responses.

    Those of `people` have neither probabilities nor rationale, and differ from the others' in one
    of five.
    """
    from flames.prompts.sets import load_prompts
    from flames.scorers.labels import labels_path
    from flames.taxonomy import default_taxonomy

    prompts, taxonomy = load_prompts("open").prompts, default_taxonomy()
    lines = labels_path("labels:silver").read_text("utf-8").splitlines()
    texts = [json.loads(line)["response"] for line in lines]
    rng = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            prompt = prompts[number % len(prompts)]
            again = number // len(prompts)
            scale = taxonomy.dimension(prompt.dimension).scale
            score, sure = rng.choice(scale), round(rng.uniform(0.5, 1), 3)
            rest = (1 - sure) / (len(scale) - 1)
            row = {
                "prompt_id": f"{prompt.id}-{again}",
                "model": model,
                "dimension": prompt.dimension,
                "subcomponent": prompt.subcomponent,
                "prompt": f"{prompt.text}（第 {again} 种问法）",
                "response": f"{texts[number * 7 % len(texts)]}（{number}）",
                "status": "ok",
                "scorer": "judge:example@1",
                "score": score,
                "probabilities": {str(each): sure if each == score else rest for each in scale},
                "rationale": f"回复是否指出了前提的问题：见其第 {number % 9} 句。",
            }
            if people:
                del row["probabilities"], row["rationale"]
                row |= {"scorer": "human:li", "annotator": "li"}
                if number % 5 == 0:
                    row["score"] = scale[scale.index(score) - 1]
            if number % 97 == 0:
                row |= {"status": "blocked", "response": None, "score": None}
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def whole_columns(path: Path, rows: int) -> None:
    """Reports counts; the rows are written by another process, whose memory is not counted in."""
    writer = multiprocessing.get_context("spawn").Process(target=write_columns, args=(path, rows))
    writer.start()
    writer.join()
    print(f"{rows:,} verdicts without texts, {path.stat().st_size / 1e6:,.0f} MB")
    out = path.with_suffix(".json")
    command = ["report", str(path), "--json", "--out", str(out)]
    megabytes, wall, cpu = run([sys.executable, "-m", "flames", *command])
    print(f"  json  {megabytes:6,.0f} MB peak {wall:6.1f} s ({cpu:.1f} s CPU)")


def compared(folder: Path, rows: int, samples: int) -> None:
    """Compares two models; files with texts only where they stay below a gigabyte."""
    context = multiprocessing.get_context("spawn")
    for form in ("jsonl", "parquet"):
        both = [folder / f"{name}-{rows}.{form}" for name in ("one", "two")]
        for seed, path in enumerate(both):
            if form == "jsonl" and rows <= 1_000_000:
                write(path, rows, path.stem, seed)
            elif form == "parquet":
                kind = {"prompts": rows // samples, "models": 1, "seed": seed}
                writer = context.Process(target=write_columns, args=(path, rows), kwargs=kind)
                writer.start()
                writer.join()
        if both[0].exists():
            words = ["compare", *map(str, both), "--json", "--out", str(folder / "compared.json")]
            megabytes, wall, cpu = run([sys.executable, "-m", "flames", *words])
            size = sum(path.stat().st_size for path in both) / 1e6
            print(f"2 × {rows:,} {form:8} {size:7,.0f} MB  {megabytes:6,.0f} MB peak "
                  f"{wall:6.1f} s ({cpu:.1f} s CPU)", flush=True)  # fmt: skip


def evaluated(folder: Path, rows: int) -> None:
    """Holds verdicts against people's labels; files with texts only where they stay small."""
    context = multiprocessing.get_context("spawn")
    for form, writer in (("jsonl", write), ("parquet", write_columns)):
        if form == "jsonl" and rows > 1_000_000:
            continue
        labels, verdicts = (folder / f"{name}-{rows}.{form}" for name in ("labels", "verdicts"))
        for path, people in ((labels, True), (verdicts, False)):
            if not path.exists():
                kind = {"people": people}
                process = context.Process(target=writer, args=(path, rows), kwargs=kind)
                process.start()
                process.join()
        words = ["scorer", "eval", "lexical", "--labels", str(labels), "--left-out", str(verdicts)]
        command = [*words, "--json", "--out", str(folder / "evaluated.json")]
        megabytes, wall, cpu = run([sys.executable, "-m", "flames", *command])
        size = sum(path.stat().st_size for path in (labels, verdicts)) / 1e6
        print(f"{rows:,} verdicts and labels {form:8} {size:7,.0f} MB  {megabytes:6,.0f} MB peak "
              f"{wall:6.1f} s ({cpu:.1f} s CPU)", flush=True)  # fmt: skip


def write_columns(
    path: Path,
    rows: int,
    prompts: int = 10_000,
    models: int = 10,
    seed: int = 0,
    *,
    people: bool = False,
) -> None:
    """Models on prompts, each asked as often as it takes; `people` say otherwise in one of five."""
    import numpy as np
    import pyarrow
    from pyarrow import parquet

    from flames.prompts.sets import load_prompts

    known = load_prompts("open").prompts
    chosen = [known[number % len(known)] for number in range(prompts)]
    number = np.arange(rows)
    of, turn = number % prompts, number // prompts

    def texts(codes: np.ndarray, values: list[str]) -> pyarrow.Array:
        coded = pyarrow.array(codes.astype(np.int32))
        return pyarrow.DictionaryArray.from_arrays(coded, values).cast(pyarrow.string())

    scores = np.where(np.random.default_rng(seed).random(rows) < 0.6, 3, 1)
    blocked = (number + seed) % 97 == 0
    if people:
        scores = np.where(number % 5 == 0, 4 - scores, scores)
    columns = {
        "prompt_id": texts(of, [f"{p.id}-{n // len(known)}" for n, p in enumerate(chosen)]),
        "model": texts(turn % models, [f"model-{seed}{n}" for n in range(models)]),
        "sample": pyarrow.array(turn // models),
        "dimension": texts(of, [p.dimension for p in chosen]),
        "subcomponent": texts(of, [p.subcomponent or "" for p in chosen]),
        "status": texts(blocked.astype(int), ["ok", "blocked"]),
        "scorer": texts(np.zeros(rows), ["human:li" if people else "judge:example@1"]),
        "score": pyarrow.array(scores, mask=blocked),
    }
    parquet.write_table(pyarrow.table(columns), path)


def run(command: list[str]) -> tuple[float, float, float]:
    """Peak memory in MB, seconds on the clock and of CPU time of a command."""
    start = time.perf_counter()
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said)
        _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            told = (said.read().strip().splitlines() or ["nothing said"])[-1]
            raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}: {told}")
    return used.ru_maxrss / 1024, wall, used.ru_utime + used.ru_stime


def opened(page: Path) -> None:
    """How long Chromium takes until the first responses of a page are there."""
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        print("        (playwright is not there: the page was not opened)")
        return
    with sync_playwright() as playwright:
        try:
            found = os.environ.get("CHROMIUM") or None
            browser = playwright.chromium.launch(executable_path=found)
        except Error as error:
            print(f"        (no Chromium: {str(error).splitlines()[0]}; CHROMIUM=PATH names one)")
            return
        tab = browser.new_page()
        start = time.perf_counter()
        tab.goto(page.resolve().as_uri())
        loaded = time.perf_counter() - start
        tab.locator(".items .item-card").first.wait_for()
        print(f"        page loaded in {loaded:.2f} s, responses there after "
              f"{time.perf_counter() - start:.2f} s")  # fmt: skip
        browser.close()


if __name__ == "__main__":
    main()
