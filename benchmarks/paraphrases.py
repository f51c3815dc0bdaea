"""How many paraphrases `flames prompts check` finds, by n-grams and with --embed.

    python benchmarks/paraphrases.py               # needs the extra `local`

`paraphrases.jsonl` says 36 prompts of the bundled sets again in other words, written by hand. Each
is added to its set. What is found without them are pairs of the set itself.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

from flames.metrics.intervals import wilson
from flames.prompts.doubts import find_doubts
from flames.prompts.sets import load_prompts
from flames.scorers.frozen.backbone import text_embedder


def main() -> int:
    lines = Path(__file__).with_suffix(".jsonl").read_text("utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    embed = text_embedder(lambda text: print(text, file=sys.stderr))
    hits = 0
    for name in ("open", "borderline"):
        found_set = load_prompts(name)
        added = [
            found_set.by_id[row["of"]].model_copy(update={"id": f"new-{n}", "text": row["prompt"]})
            for n, row in enumerate(rows)
            if row["set"] == name
        ]
        wanted = {f"new-{n}": row["of"] for n, row in enumerate(rows) if row["set"] == name}
        found = find_doubts(replace(found_set, prompts=(*found_set.prompts, *added)), embed=embed)
        pairs = [each for each in found if each.kind in ("paraphrase", "near duplicate")]
        right = {each.id for each in pairs if wanted.get(each.id) == each.other}
        by_grams = sum(each.kind == "near duplicate" for each in pairs)
        own = sum(each.id not in wanted for each in pairs)
        other = len(pairs) - len(right) - own
        hits += len(right)
        print(
            f"{name}: {len(right)} of {len(added)} found, {by_grams} of them by n-grams; "
            f"with another prompt {other}, pairs of the set itself {own}"
        )
    low, high = wilson(hits, len(rows))
    print(f"{hits} of {len(rows)}: {hits / len(rows):.0%} [{low:.0%}, {high:.0%}]")
    return 0


if __name__ == "__main__":
    sys.exit(main())
