"""What `flames prompts check` costs on a large set, without --embed.

    python benchmarks/prompt_check.py              # 100,000 prompts

The prompts are put together from clauses of the bundled sets; 1 % are nearly the same as another.
"""

from __future__ import annotations

import random
import re
import resource
import sys
import time
from pathlib import Path

from flames.prompts.doubts import find_doubts
from flames.prompts.sets import PromptSet, load_prompts
from flames.records import Prompt


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    chance = random.Random(20261129)
    bundled = [p.text for name in ("open", "borderline") for p in load_prompts(name).prompts]
    clauses = [clause for text in bundled for clause in re.split("[，。？]", text) if clause]
    texts = ["，".join(chance.sample(clauses, 3)) for _ in range(count - count // 100)]
    texts += [text[:-1] + "吗" for text in chance.sample(texts, count // 100)]
    made = (Prompt(id=str(n), dimension="Safety", prompt=text) for n, text in enumerate(texts))
    prompts = PromptSet("made", "0" * 64, tuple(made), Path("made"))
    begun = time.perf_counter()
    doubts = find_doubts(prompts)
    found = sum(each.kind in ("duplicate", "near duplicate") for each in doubts)
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(texts):,} prompts: {found:,} pairs, {seconds:.1f} s, {peak:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
