"""What choosing prompts by runs is worth, where prompts really differ: simulated models.

    python benchmarks/prompt_selection.py          # 120 of 600 prompts, 15 models, 5 held out

Prints Kendall's tau on models held out for balanced random samples and both ways to choose, the
mean over ten simulated sets with the 95 % interval of the difference, and the shift of the rates.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from flames.analysis.difficulty import Answers
from flames.analysis.selection import select_prompts
from flames.prompts.sets import PromptSet
from flames.records import Prompt
from flames.taxonomy import default_taxonomy

MODELS, PROMPTS, CHOSEN, SETS = 15, 600, 120, 10


def simulated(spread: float, seed: int) -> Answers:
    """Returns responses of models whose abilities vary by 0.5 logits."""
    chance = np.random.default_rng(seed)
    labels = [
        (d.name, part.name) for d in default_taxonomy().dimensions for part in d.subcomponents
    ]
    parts = np.arange(PROMPTS) % len(labels)
    prompts = tuple(
        Prompt(id=str(n), dimension=labels[p][0], subcomponent=labels[p][1], prompt=f"{n}")
        for n, p in enumerate(parts.tolist())
    )
    difficulty = chance.normal(0, 0.5, len(labels))[parts] + chance.normal(0, spread, PROMPTS)
    logit = chance.normal(0.8, 0.5, MODELS)[:, None] - difficulty
    passed = (chance.random(logit.shape) < 1 / (1 + np.exp(-logit))).astype(float)
    return Answers(
        prompts=PromptSet("simulated", "0" * 64, prompts, Path("simulated")),
        names=tuple(f"model {n}" for n in range(MODELS)),
        sources=(),
        passed=passed,
        unscored=tuple(tuple(Counter() for _ in prompts) for _ in range(MODELS)),
        parts=parts,
        labels=tuple(labels),
    )


def main() -> None:
    for spread in (1.0, 2.5):
        print(f"difficulties vary by {spread} logits")
        found = [
            select_prompts(simulated(spread, seed), CHOSEN, default_taxonomy().id).judged
            for seed in range(SETS)
        ]
        tau = np.array([[each.tau.value for each in judged if each.tau] for judged in found])
        shift = np.array([[each.shift.value for each in judged] for judged in found])
        half = 2.26 * (tau - tau[:, :1]).std(axis=0, ddof=1) / np.sqrt(SETS)  # Student's t
        for n, judged in enumerate(found[0]):
            gain = float((tau - tau[:, :1])[:, n].mean())
            print(
                f"  {judged.way:8} tau {tau[:, n].mean():.2f}, more than random {gain:+.2f} "
                f"[{gain - half[n]:+.2f}, {gain + half[n]:+.2f}], shift {shift[:, n].mean():+.1f}"
            )


if __name__ == "__main__":
    main()
