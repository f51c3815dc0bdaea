"""What it costs to find prompts of a large set that are nearly the same.

    python benchmarks/prompt_check.py              # 100,000 prompts

The prompts are put together from clauses of the bundled sets; 1 % are nearly the same as another.
"""

from __future__ import annotations

import random
import re
import resource
import sys
import time

from flames.prompts.likeness import like_pairs
from flames.prompts.sets import load_prompts


def main() -> int:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    chance = random.Random(20261129)
    bundled = [p.text for name in ("open", "borderline") for p in load_prompts(name).prompts]
    clauses = [clause for text in bundled for clause in re.split("[，。？]", text) if clause]
    texts = ["，".join(chance.sample(clauses, 3)) for _ in range(count - count // 100)]
    texts += [text[:-1] + "吗" for text in chance.sample(texts, count // 100)]
    begun = time.perf_counter()
    found = sum(1 for _ in like_pairs(texts, 0.8))
    seconds = time.perf_counter() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{len(texts):,} prompts: {found:,} pairs, {seconds:.1f} s, {peak:.0f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
