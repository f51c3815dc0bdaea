"""Holds a scorer that was judged by what is left out in turn against the bundled ones.

    flames scorer train --frozen --split each --labels labels:silver … --out scorers/frozen
    python scripts/compare_left_out.py scorers/frozen/left-out.jsonl --jade FILE

`lexical` and `lexical-plus` are fitted anew for each turn, without the turn's responder and its
prompts, as the other one was: every scorer is judged on rows that it has not seen. Prints each
one's accuracy and macro-F1, those of the mean of its and `lexical-plus`'s probabilities (`flames
score --scorer ensemble:lexical-plus+…`), and how much better each is, paired, over prompts.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from train_lexical import (
    DATA,
    RECIPES,
    TAXONOMY,
    Recipe,
    Rows,
    interval,
    macro_f1,
    majority,
    read,
    read_jade,
    turns,
)

WIDEST = 3


def left_out(rows: Rows, extra: Rows, recipe: Recipe) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (rows × classes of the row's head, best first), and the majority's scores."""
    chances = np.zeros((len(rows), WIDEST))
    most = np.zeros(len(rows), dtype=int)
    for here, test, train, model in turns(rows, extra, recipe):
        heads = [model.head(d, p) or d for d, p in zip(test.dimensions, test.parts, strict=True)]
        for row, found in zip(here, model.probabilities(test.texts, heads), strict=True):
            chances[row, : len(found)] = found
        most[here] = majority(train, test)
    return chances, most


def told(path: Path, keys: list[tuple[str, str]], scales: list[tuple[int, ...]]) -> np.ndarray:
    """The probabilities that a file of verdicts gives, joined by prompt and responder."""
    given = {}
    for line in path.read_text("utf-8").splitlines():
        verdict = json.loads(line)
        given[verdict["prompt_id"], verdict["model"]] = verdict["probabilities"]
    missing = [key for key in keys if key not in given]
    if missing:
        raise SystemExit(f"{path}: no verdict on {len(missing)} rows, the first is {missing[0]}")
    chances = np.zeros((len(keys), WIDEST))
    for row, (key, scale) in enumerate(zip(keys, scales, strict=True)):
        chances[row, : len(scale)] = [given[key].get(str(score), 0.0) for score in scale]
    return chances


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("left_out", type=Path, metavar="LEFT-OUT.JSONL")
    parser.add_argument("--jade", type=Path, required=True, help="for lexical-plus")
    parser.add_argument("--data", type=Path, default=DATA / "silver.jsonl")
    options = parser.parse_args()
    rows, extra = read(options.data), read_jade(options.jade)
    scale_of = {d.name: d.scale for d in TAXONOMY.dimensions}
    scales = [scale_of[d] for d in rows.dimensions]
    keys = list(zip(rows.prompts.tolist(), rows.models.tolist(), strict=True))
    chances, most = {}, np.zeros(0, dtype=int)
    for recipe in RECIPES:
        chances[recipe.id], most = left_out(rows, extra, recipe)
    chances["this one"] = told(options.left_out, keys, scales)
    plus = RECIPES[-1].id
    chances[f"{plus} + this one"] = (chances[plus] + chances["this one"]) / 2
    said = {
        name: np.array([s[int(np.argmax(c[: len(s)]))] for s, c in zip(scales, each, strict=True)])
        for name, each in chances.items()
    }
    said = {"majority class": most, **said}
    for name, scores in said.items():
        right = 1.0 * (scores == rows.scores)
        low, high = interval(right, rows.prompts)
        worst = min(set(rows.models), key=lambda m: right[rows.models == m].mean())
        print(
            f"{name:28} accuracy {100 * right.mean():.1f} % [{100 * low:.1f}, {100 * high:.1f}], "
            f"macro-F1 {100 * macro_f1(rows.scores, scores):.1f} %, worst on {worst}: "
            f"{100 * right[rows.models == worst].mean():.1f} %"
        )
        for other in (RECIPES[0].id, plus):
            if name in (other, "majority class", RECIPES[0].id):
                continue
            gain = right - (said[other] == rows.scores)
            low, high = interval(gain, rows.prompts)
            print(
                f"{'':28} against {other}: {100 * gain.mean():+.1f} points "
                f"[{100 * low:+.1f}, {100 * high:+.1f}]"
            )


if __name__ == "__main__":
    main()
