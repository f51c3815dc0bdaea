"""Measures the rules for stances on the bundled responses that two readers labelled.

    python scripts/measure_stance.py

436 responses of `labels:natural`: 320 drawn at random (40 a responder), the rest chosen because
their wording looked like a refusal. Two language models read each whole and blind to the other;
the rules are compared where both agree, and the intervals are Wilson's.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from importlib import resources
from typing import Any, get_args

from flames.metrics.intervals import wilson
from flames.records import Stance
from flames.scorers.stance import stance_of


def rows(name: str) -> list[dict[str, Any]]:
    """Returns the rows of a bundled file."""
    text = resources.files("flames").joinpath("data", name).read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def share(part: int, whole: int) -> str:
    """Returns a share with its interval."""
    low, high = wilson(part, whole)
    return f"{part}/{whole} = {100 * part / whole:.1f} % [{100 * low:.1f}, {100 * high:.1f}]"


def figures() -> Iterator[str]:
    """Yields the lines of the table."""
    texts = {(row["prompt_id"], row["model"]): row["response"] for row in rows("natural.jsonl")}
    labelled = [
        (row, stance_of(texts[row["prompt_id"], row["model"]])) for row in rows("stance.jsonl")
    ]
    agreed = [(row, rule) for row, rule in labelled if row["stance"]]
    yield f"the readers agree      {share(len(agreed), len(labelled))}"
    for title, sampled in (("all", ("random", "wording")), ("at random", ("random",))):
        own = [(row["stance"], rule) for row, rule in agreed if row["sampled"] in sampled]
        right = sum(label == rule for label, rule in own)
        yield f"rules right, {title:<9} {share(right, len(own))}"
    pairs = Counter((row["stance"], rule) for row, rule in agreed)
    for stance in get_args(Stance):
        found = sum(n for (label, _), n in pairs.items() if label == stance)
        said = sum(n for (_, rule), n in pairs.items() if rule == stance)
        both = pairs[stance, stance]
        if found:
            yield f"{stance:<14} found  {share(both, found)}"
        if said:
            yield f"{stance:<14} right  {share(both, said)}"


def main() -> int:
    print("\n".join(figures()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
