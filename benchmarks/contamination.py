"""How fast corpora are searched for the prompts of a set, and in how much memory.

    python benchmarks/contamination.py        # 100 MB in each form

The corpora are put together from the bundled answers (Chinese) or from English words, and hold
a copy of each hundredth prompt. The ratio is to reading the same files with Python and doing
nothing: JSON Lines parsed by `json`, text decoded.
"""

from __future__ import annotations

import gzip
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from importlib import resources
from pathlib import Path

from flames.prompts.contamination import find_contamination
from flames.prompts.sets import load_prompts

LETTERS = (
    "the of and to in that is was he for it with as his on be at by had not are but from".split()
)


def texts(kind: str, size: int) -> Iterator[str]:
    """Yields documents of about a kilobyte, until there are `size` bytes of them."""
    chance = random.Random(20261129)
    data = resources.files("flames").joinpath("data", "natural.jsonl").read_text("utf-8")
    answers = [json.loads(line)["response"] for line in data.splitlines()]
    planted = [prompt.text for prompt in load_prompts("open").prompts][::100]
    made = 0
    while made < size:
        if kind == "zh":
            text = "\n".join(chance.choices(answers, k=4))
        else:
            text = " ".join(chance.choice(LETTERS) + chance.choice(LETTERS) for _ in range(200))
        if planted and made > size // 2:
            text += planted.pop()
        made += len(text.encode())
        yield text


def reading(path: Path) -> None:
    with path.open("rb") as file:
        if path.suffix == ".jsonl":
            for line in file:
                json.loads(line)
        else:
            while block := file.read(1 << 20):
                block.decode("utf-8", "replace")


def seconds(work: Callable[[], object]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


def main() -> int:
    size = 1_000_000 * int(sys.argv[1]) if len(sys.argv) > 1 else 100_000_000
    prompts = load_prompts("open")
    find_contamination(prompts, [prompts.path])  # tables and caches
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("zh", "en"):
            rows = Path(folder, f"{kind}.jsonl")
            plain = Path(folder, f"{kind}.txt")
            packed = Path(folder, f"{kind}.txt.gz")
            with rows.open("w") as one, plain.open("w") as two, gzip.open(packed, "wt", 1) as three:
                for text in texts(kind, size):
                    one.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
                    two.write(text + "\n")
                    three.write(text + "\n")
            for path in (rows, plain, packed):
                taken = seconds(lambda path=path: found.append(find_contamination(prompts, [path])))
                done = found.pop()
                speed = done.reading.bytes / 1e6 / taken
                base = (
                    ""
                    if path is packed
                    else f", {taken / seconds(lambda p=path: reading(p)):.1f} × reading"
                )
                print(f"{path.name:10} {speed:5.0f} MB/s{base}, {len(done.leaked)} prompts found")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{peak:.0f} MB at most")
    return 0


found: list = []

if __name__ == "__main__":
    sys.exit(main())
