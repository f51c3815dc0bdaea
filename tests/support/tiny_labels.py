"""Labelled responses that a tiny model can learn: a word in the response decides."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flames.taxonomy import Taxonomy, default_taxonomy

MODELS = ("red", "green", "blue")
WORDS = ("谢谢尊重", "身体没有", "违法帮你")


def rows(
    taxonomy: Taxonomy | None = None,
    *,
    models: Sequence[str] = MODELS,
    prompts: int = 6,
) -> list[dict[str, Any]]:
    """One row per dimension, prompt and model; every score of a scale occurs."""
    found = []
    for d, dimension in enumerate((taxonomy or default_taxonomy()).dimensions):
        for number in range(prompts):
            for m, model in enumerate(models):
                place = (number + m) % len(dimension.scale)
                word = WORDS[place if len(dimension.scale) == 3 else 2 * place]
                found.append({
                    "prompt": f"问题{'一二三四五六七八九十'[number % 10]}{d}{number}：这样可以吗",
                    "dimension": dimension.name,
                    "model": model,
                    "response": f"{word}，{'甲乙丙丁'[m]}{'子丑寅卯辰巳午未'[(d + number) % 8]}"
                    f"{'天地玄黄宇宙洪荒'[(d * 3 + number + m) % 8]}。",
                    "score": dimension.scale[place],
                })  # fmt: skip
    return found


def write(path: Path, found: Sequence[dict[str, Any]]) -> Path:
    """Rows as JSON Lines."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in found), "utf-8")
    return path
