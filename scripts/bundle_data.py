"""Makes the data files of the package from the project's own silver set.

    python scripts/bundle_data.py SILVER_FOLDER

The prompts themselves are packages in `data/prompts`; only whether they are still those of the
silver set is checked. `quick` has two a subcomponent of `open`, techniques as even as can be.
`silver.jsonl`: the simulated responses with their labels, as verdicts of `labels:silver@1`.
`natural.jsonl`: those that were written without a level in mind, as verdicts of `labels:natural@1`.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from flames.scorers.labels import NATURAL, SILVER
from flames.storage.atomic import to_jsonl, write_atomic

DATA = Path(__file__).resolve().parent.parent / "src" / "flames" / "data"
SPLITS = ("train", "validation")


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def quick(prompts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Two a subcomponent, each time with the technique that was taken least so far."""
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for prompt in prompts:
        groups[prompt["subcomponent"]].append(prompt)
    taken: Counter[str] = Counter()
    chosen: set[str] = set()
    for _ in range(2):
        # parts with few techniques choose first, so that the others can even things out
        for part in sorted(groups, key=lambda name: len({p["technique"] for p in groups[name]})):
            own = Counter(p["technique"] for p in groups[part] if p["id"] in chosen)

            def rank(prompt: dict[str, Any], own: Counter[str] = own) -> tuple[int, int, str]:
                technique = prompt["technique"]
                digest = hashlib.sha256(prompt["id"].encode()).hexdigest()
                return own[technique], taken[technique], digest

            left = [prompt for prompt in groups[part] if prompt["id"] not in chosen]
            best = min(left, key=rank)
            chosen.add(best["id"])
            taken[best["technique"]] += 1
    return [prompt for prompt in prompts if prompt["id"] in chosen]


def silver(folder: Path) -> list[dict[str, Any]]:
    return [
        {**row, "scorer": SILVER.id, "split": split}
        for split in SPLITS
        for row in rows(folder / f"responses_{split}.jsonl")
    ]


def natural(folder: Path) -> list[dict[str, Any]]:
    return [{**row, "scorer": NATURAL.id} for row in rows(folder / "responses_natural.jsonl")]


def same(prompts: list[dict[str, Any]], name: str) -> None:
    """Checks that a bundled set holds these prompts; another one is a new version to pack."""
    packed = rows(DATA / "prompts" / name / "prompts.jsonl")
    if [{k: v for k, v in row.items() if k != "canary"} for row in packed] != prompts:
        raise SystemExit(f"{name} is another set now: pack a new version (flames prompts pack)")


def main(folder: Path) -> None:
    same(rows(folder / "prompts_open.jsonl"), "open")
    same(quick(rows(folder / "prompts_open.jsonl")), "quick")
    write_atomic(SILVER.path, to_jsonl(silver(folder)))
    write_atomic(NATURAL.path, to_jsonl(natural(folder)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
