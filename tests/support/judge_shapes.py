"""The recorded answers of judges, each with the state that it ends in."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parents[1] / "scorers" / "judge_answers.jsonl"
SHAPES: list[dict[str, Any]] = [json.loads(line) for line in _FILE.read_text("utf-8").splitlines()]


def keyed(shape: dict[str, Any], key: str) -> str:
    """Returns the answer of a judge that was asked for its score under a key.

    The recorded answers have the plain key `score`. Their own objects get the key; the first
    `quoted` objects are somebody else's words, which cannot know it.
    """
    number = itertools.count()

    def replaced(found: re.Match[str]) -> str:
        own = next(number) >= shape.get("quoted", 0)
        return found[0].replace("score", key) if own else found[0]

    return re.sub(r"(?<!\\)([\"'])score\1", replaced, shape["answer"])
