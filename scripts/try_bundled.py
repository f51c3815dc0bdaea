"""Tries other fits of `gemma-heads` on left-out rows, and prints a table of them.

    python scripts/try_bundled.py --jade jade_alignment_medium_zh.csv \
        --flames Flames_1k_Chinese.jsonl [--sets natural]

Rows, features and what is left out are those of `scripts/train_bundled.py`, whose fit is the first
line; the features that it keeps are used. The last lines choose among the fits: for each natural
responder the one that does best on the left-out rows of the other seven, whose heads knew the rows
of the first. `--sets` are those that are learnt from; the natural set alone takes a minute, once
its features are there.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import train_bundled as bundled
from scipy.stats import kendalltau
from train_bundled import TAXONOMY, Floats, Rows

from flames.training import crossfit
from flames.training.frozen import LEANING, PENALTY
from flames.training.multilevel import Labels, standardised

SETS = (*bundled.SETS, "jade")
COLUMNS = (
    "fit", "levels", "harmless or not", "level 1 found", "rate off by", "expectation off by",
    "tau", "log loss", "silver, levels",
)  # fmt: skip
ADAPTED = 50  # rounds of re-estimating a responder's levels


def part(rows: Rows, sets: list[str]) -> Rows:
    """The rows of some sets."""
    own = np.flatnonzero(np.isin(rows.sets, sets))
    kept = Rows(
        [rows.prompts[i] for i in own],
        [rows.responses[i] for i in own],
        rows.ids[own],
        rows.models[own],
        rows.sets[own],
        rows.labels.take(own),
    )
    return replace(kept, labels=weighted(kept))


def weighted(rows: Rows, **weights: float) -> Labels:
    """The labels with other weights of the sets; levels of a dimension count the same."""
    by_set = {**bundled.WEIGHTS, **weights}
    own = np.array([by_set[name] for name in rows.sets], np.float32)
    return replace(rows.labels, weights=own).balanced()


def by_responder(rows: Rows) -> Labels:
    """The labels with weights under which the levels of a responder count the same."""
    before, level = rows.labels.weights, rows.labels.shares.argmax(axis=1)
    weights = before.copy()
    for model in set(rows.models[rows.known].tolist()):
        own = rows.models == model
        there = sorted(set(level[own].tolist()))
        for each in there:
            chosen = own & (level == each)
            weights[chosen] *= min(4.0, before[own].sum() / len(there) / before[chosen].sum())
    return replace(rows.labels, weights=weights)


def fits(rows: Rows, words: Floats, states: Floats) -> Iterator[tuple[str, Floats]]:
    """Names and left-out scores of the fits."""
    turns = list(crossfit.turns(rows.models, rows.ids, rows.labels.dimensions == ""))

    def scores(kernel: Floats, penalty: float = 0.15, labels: Labels = rows.labels) -> Floats:
        related = LEANING.relate(kernel, labels, labels)
        return crossfit.left_out(related, labels, turns, penalty)

    both = (words + states) / 2
    by_words, by_states = scores(words, PENALTY), scores(states, PENALTY)
    yield "two fits, scores added", by_words + by_states
    yield "n-grams alone (`lexical`)", by_words
    yield "states alone", by_states
    yield "one fit over both, penalty 0.15", scores(both)
    yield "…, penalty 0.05 (`gemma-heads`)", scores(both, bundled.JOINT_PENALTY)
    yield "…, penalty 0.5", scores(both, 0.5)
    yield "…, states at double weight", scores((words + 2 * states) / 3)
    yield "…, with products of pairs of features", scores((both + both**2) / 2)
    if "silver" in rows.sets:
        yield "…, silver at weight 0.2", scores(both, labels=weighted(rows, silver=0.2))
        yield "…, silver at weight 1", scores(both, labels=weighted(rows, silver=1.0))
    if "jade" in rows.sets:
        yield "…, JADE at weight 1", scores(both, labels=weighted(rows, jade=1.0))
    yield "…, levels of each responder balanced", scores(both, labels=by_responder(rows))


def adapted(rows: Rows, chances: Floats) -> Floats:
    """Chances with the levels of each responder re-estimated from its own responses.

    See Saerens, Latinne and Decaestecker, Adjusting the outputs of a classifier to new a priori
    probabilities (2002). The usual levels are those of the other natural responders.
    """
    made, natural = chances.copy(), rows.sets == "natural"
    for model in set(rows.models[rows.known].tolist()):
        own = rows.models == model
        usual = rows.labels.shares[natural & ~own].mean(axis=0)
        levels = usual
        for _ in range(ADAPTED):
            made[own] = chances[own] * (levels / usual)
            made[own] /= made[own].sum(axis=1, keepdims=True)
            levels = made[own].mean(axis=0)
    return made


def line(rows: Rows, chances: Floats, name: str) -> str:
    """A line of the table."""
    found = bundled.figures(rows, chances, "natural")
    whole, each = found["all"], list(found["responders"].values())
    tau = kendalltau([e["said harmless"] for e in each], [e["harmless"] for e in each]).statistic
    silver = "–"
    if "silver" in rows.sets:
        silver = f"{bundled.figures(rows, chances, 'silver')['all']['levels']:.1f} %"
    cells = [
        name,
        *(f"{whole[key]:.1f} %" for key in ("levels", "harmless or not", "level 1 found")),
        f"{whole['mean absolute bias']:.1f}",
        f"{whole['mean absolute bias of the expectation']:.1f}",
        f"{tau:.2f}",
        f"{loss(rows, chances, rows.sets == 'natural'):.3f}",
        silver,
    ]
    return f"| {' | '.join(cells)} |"


def loss(rows: Rows, chances: Floats, own: np.ndarray) -> float:
    """The mean log loss of some rows."""
    likely = (chances[own] * rows.labels.shares[own]).sum(axis=1)
    return float(-np.log(np.maximum(likely, 1e-9)).mean())


def bias(rows: Rows, chances: Floats, own: np.ndarray) -> float:
    """The mean absolute error of the harmless rate of the responders of some rows."""
    said, true = chances.argmax(axis=1) == 0, rows.labels.shares.argmax(axis=1) == 0
    models = sorted(set(rows.models[own].tolist()))
    each = [own & (rows.models == model) for model in models]
    return float(np.mean([abs(said[some].mean() - true[some].mean()) for some in each]))


def chosen(
    rows: Rows, found: dict[str, Floats], badness: Callable[[Rows, Floats, np.ndarray], float]
) -> Floats:
    """Chances of each responder by the fit that is the least bad for the other natural ones."""
    made = next(iter(found.values())).copy()
    for model in sorted(set(rows.models[rows.sets == "natural"].tolist())):
        rest = (rows.sets == "natural") & (rows.models != model)
        best = min(found, key=lambda name: badness(rows, found[name], rest))
        made[rows.models == model] = found[best][rows.models == model]
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jade", type=Path, required=True)
    parser.add_argument("--flames", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=SETS)
    options = parser.parse_args()
    rows = part(bundled.read_rows(options.jade, options.flames), list(options.sets))
    grams, _, _ = bundled.lexical_features(rows)
    words = bundled.products(grams)
    flat, _, _ = standardised(bundled.states(rows).reshape(len(rows), -1))
    found: dict[str, Floats] = {}
    print(f"| {' | '.join(COLUMNS)} |\n| --- {'| --: ' * (len(COLUMNS) - 1)}|")
    weights = bundled.natural(rows)
    for name, scores in fits(rows, words, flat @ flat.T):
        given = (scores, rows.labels, rows.models, weights, TAXONOMY)
        found[name] = crossfit.left_out_chances(*given)
        print(line(rows, found[name], name), flush=True)
    joint = found["one fit over both, penalty 0.15"]
    print(line(rows, adapted(rows, joint), "…, levels re-estimated from each responder's own"))
    for name, badness in (("chosen by log loss", loss), ("chosen by the rates' error", bias)):
        print(line(rows, chosen(rows, found, badness), name), flush=True)


if __name__ == "__main__":
    main()
