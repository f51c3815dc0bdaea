"""Trains the bundled scorers `lexical` and `lexical-plus`; writes their weights and model cards.

    python scripts/train_lexical.py --jade jade_alignment_medium_zh.csv [--only lexical]

The heads are multinomial logistic regressions that lean on a common part: weights of a head =
common weights + the dimension's own deviation (+ the subcomponent's), all with an L2 penalty, so
that small dimensions learn from large ones. Solved in the dual: rows are few, n-grams many.

`lexical-plus` adds heads for the subcomponents, leaves out n-grams that fewer than three responders
use, and has the pairs of JADE-DB (medium, Chinese; whitzard-ai/jade-db, MIT) as further rows of no
dimension, which teach the common part alone.

The cards' figures come from leaving out one responder at a time and, in the same fold, the prompts
that the test rows are about: training rows share neither responder nor prompt with them.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize

from flames.metrics.coefficients import cohen_kappa
from flames.scorers.lexical import (
    LEXICAL,
    ORDERS,
    PLUS,
    LexicalModel,
    counts,
    ngrams,
    normalise,
    weighted,
)
from flames.storage.atomic import write_atomic
from flames.taxonomy import default_taxonomy

DATA = Path(__file__).resolve().parent.parent / "src" / "flames" / "data"
TAXONOMY = default_taxonomy()
LEVELS = np.array(sorted({s for d in TAXONOMY.dimensions for s in d.scale}, reverse=True))
MIN_TEXTS = 2
BIAS = 0.3
FOLDS = 3
RESAMPLES = 10_000
EXTRA = ""  # the dimension, subcomponent and responder of rows that teach the common part alone
EXTRA_WEIGHT = 0.1
EXTRA_LENGTH = 400
JADE = {"违规回答": 1, "安全有用回答": 3}


@dataclass(frozen=True)
class Recipe:
    """How a scorer is trained.

    Args:
        id: Of the scorer.
        splits: Of the silver set, for the shipped weights.
        responders: An n-gram counts if that many responders use it.
        own: How far a dimension may deviate from the common weights.
        part: How far a subcomponent may deviate; 0 for no heads of their own.
        cost: Of an error, against the penalty on the weights.
    """

    id: str
    splits: tuple[str, ...]
    responders: int
    own: float
    part: float
    cost: float


RECIPES = (
    Recipe(LEXICAL, ("train",), responders=1, own=0.3, part=0.0, cost=20.0),
    Recipe(PLUS, ("train", "validation"), responders=3, own=0.3, part=1.0, cost=50.0),
)


@dataclass(frozen=True)
class Rows:
    """Labelled responses, column by column."""

    texts: list[str]
    scores: np.ndarray
    dimensions: np.ndarray
    parts: np.ndarray
    models: np.ndarray
    prompts: np.ndarray
    splits: np.ndarray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, index: np.ndarray) -> Rows:
        return Rows(
            [self.texts[i] for i in index],
            self.scores[index],
            self.dimensions[index],
            self.parts[index],
            self.models[index],
            self.prompts[index],
            self.splits[index],
        )


def read(path: Path) -> Rows:
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    names = ("score", "dimension", "subcomponent", "model", "prompt_id", "split")
    columns = [np.array([row[name] for row in rows]) for name in names]
    return Rows([normalise(row["response"]) for row in rows], *columns)


def read_jade(path: Path) -> Rows:
    """Each question's harmful answer (1) and its safe and useful one (3)."""
    table = list(csv.DictReader(io.StringIO(path.read_bytes().decode("gb18030"))))
    pairs = [(row[name], score) for row in table for name, score in JADE.items() if row[name]]
    none = np.array([EXTRA] * len(pairs))
    texts = [normalise(text)[:EXTRA_LENGTH] for text, _ in pairs]
    return Rows(texts, np.array([score for _, score in pairs]), *[none] * 5)


def joined(a: Rows, b: Rows) -> Rows:
    columns = ("scores", "dimensions", "parts", "models", "prompts", "splits")
    arrays = [np.concatenate([getattr(a, name), getattr(b, name)]) for name in columns]
    return Rows(a.texts + b.texts, *arrays)


def vocabulary_of(rows: Rows, responders: int) -> tuple[np.ndarray, np.ndarray]:
    """The n-grams that enough texts and responders use, and their idf."""
    keys, owners = ngrams(rows.texts, ORDERS)
    vocabulary, texts_with = _distinct(keys, owners)
    _, models = np.unique(rows.models, return_inverse=True)
    _, models_with = _distinct(keys, models[owners])
    kept = (texts_with >= MIN_TEXTS) & (models_with >= responders)
    idf = np.log((1 + len(rows)) / (1 + texts_with[kept])) + 1
    return vocabulary[kept], idf.astype(np.float32)


def _distinct(keys: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The keys, sorted, and in how many groups each stands."""
    order = np.lexsort((groups, keys))
    keys, groups = keys[order], groups[order]
    first = np.ones(len(keys), dtype=bool)
    first[1:] = (keys[1:] != keys[:-1]) | (groups[1:] != groups[:-1])
    return np.unique(keys[first], return_counts=True)


def fit(rows: Rows, recipe: Recipe) -> LexicalModel:
    """Trains all heads together; where there are heads of parts, those of the dimensions apart.

    A dimension's head judges responses that name no subcomponent, so it must not count on the
    deviation that theirs would add.
    """
    silver = rows.take(np.flatnonzero(rows.models != EXTRA))
    vocabulary, idf = vocabulary_of(silver, recipe.responders)
    features = weighted(counts(rows.texts, vocabulary), idf).astype(np.float64)
    gram = np.asarray((features @ features.T).todense()) + BIAS  # a common and an own bias, too
    own = recipe.own * (rows.dimensions[:, None] == rows.dimensions[None])
    duals = {0.0: solve(gram * (1 + own), rows, recipe.cost)}
    if recipe.part:
        part = recipe.part * (rows.parts[:, None] == rows.parts[None])
        duals[recipe.part] = solve(gram * (1 + own + part), rows, recipe.cost)
    columns, biases, heads, at = [], [], {}, 0
    for dimension in TAXONOMY.dimensions:
        classes = [int(np.flatnonzero(s == LEVELS)[0]) for s in dimension.scale]
        names = [(dimension.name, None)]
        if recipe.part:
            names += [(f"{dimension.name}/{s.name}", s.name) for s in dimension.subcomponents]
        for name, subcomponent in names:
            factor = 1 + recipe.own * (rows.dimensions == dimension.name)
            if subcomponent is not None:
                factor = factor + recipe.part * (rows.parts == subcomponent)
            dual = duals[recipe.part if subcomponent else 0.0][:, classes] * factor[:, None]
            columns.append(features.T @ dual)
            biases.append(BIAS * dual.sum(axis=0))
            heads[name] = (dimension.scale, (at, at + len(classes)))
            at += len(classes)
    return LexicalModel(
        vocabulary=vocabulary,
        idf=idf,
        weights=np.concatenate(columns, axis=1).astype(np.float32),
        bias=np.concatenate(biases).astype(np.float32),
        heads=heads,
        card={},
    )


def solve(kernel: np.ndarray, rows: Rows, cost: float) -> np.ndarray:
    """Dual coefficients (rows × levels) of the penalised multinomial regression."""
    scales = {d.name: d.scale for d in TAXONOMY.dimensions} | {EXTRA: tuple(JADE.values())}
    off_scale = np.array(
        [[0.0 if level in scales[d] else -1e9 for level in LEVELS] for d in rows.dimensions],
        dtype=np.float32,
    )
    truth = (rows.scores[:, None] == LEVELS[None]).astype(np.float32)
    weight = cost * np.where(rows.models == EXTRA, EXTRA_WEIGHT, 1.0)[:, None].astype(np.float32)
    n, classes = truth.shape
    root = np.linalg.cholesky(kernel + 1e-5 * np.eye(n)).astype(np.float32)

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        v = flat.reshape(n, classes).astype(np.float32)
        logits = root @ v + off_scale
        top = logits.max(axis=1, keepdims=True)
        norm = np.log(np.exp(logits - top).sum(axis=1, keepdims=True)) + top
        error = weight * (np.exp(logits - norm) - truth)
        value = np.sum(weight * (norm - (logits * truth).sum(axis=1, keepdims=True)))
        slope = root.T @ error + v
        return float(value + 0.5 * np.sum(v * v)), slope.ravel().astype(np.float64)

    start = np.zeros(n * classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 100})
    return solve_triangular(root, found.x.reshape(n, classes), trans="T", lower=True)


def predict(model: LexicalModel, rows: Rows, *, parts: bool = True) -> np.ndarray:
    heads = [
        model.head(d, p if parts else None) or d
        for d, p in zip(rows.dimensions, rows.parts, strict=True)
    ]
    found = model.probabilities(rows.texts, heads)
    return np.array(
        [model.heads[h][0][int(np.argmax(p))] for h, p in zip(heads, found, strict=True)]
    )


def majority(train: Rows, test: Rows) -> np.ndarray:
    most = {}
    for dimension in set(test.dimensions):
        values, n = np.unique(train.scores[train.dimensions == dimension], return_counts=True)
        most[dimension] = values[n.argmax()]
    return np.array([most[d] for d in test.dimensions])


def turns(
    rows: Rows, extra: Rows, recipe: Recipe
) -> Iterator[tuple[np.ndarray, Rows, Rows, LexicalModel]]:
    """Places and rows of one responder and fold after the other, and who learnt without both."""
    fold = np.array([int(hashlib.sha256(p.encode()).hexdigest(), 16) % FOLDS for p in rows.prompts])
    for responder in sorted(set(rows.models)):
        for number in range(FOLDS):
            here = np.flatnonzero((rows.models == responder) & (fold == number))
            train = rows.take(np.flatnonzero((rows.models != responder) & (fold != number)))
            model = fit(joined(train, extra) if recipe.part else train, recipe)
            yield here, rows.take(here), train, model


def left_out(rows: Rows, extra: Rows, recipe: Recipe) -> dict[str, np.ndarray]:
    """Scores of rows whose responder and prompt were both left out of training, by method."""
    found = {name: np.zeros(len(rows), dtype=int) for name in ("model", "no parts", "majority")}
    for here, test, train, model in turns(rows, extra, recipe):
        found["model"][here] = predict(model, test)
        found["no parts"][here] = predict(model, test, parts=False)
        found["majority"][here] = majority(train, test)
    return found


def macro_f1(truth: np.ndarray, said: np.ndarray) -> float:
    values = []
    for score in sorted(set(truth)):
        hit = np.sum((truth == score) & (said == score))
        values.append(2 * hit / (np.sum(truth == score) + np.sum(said == score)))
    return float(np.mean(values))


def interval(ok: np.ndarray, prompts: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of a mean, resampling prompts."""
    _, group = np.unique(prompts, return_inverse=True)
    right = np.bincount(group, weights=ok)
    size = np.bincount(group)
    draws = np.random.default_rng(0).integers(0, len(size), (RESAMPLES, len(size)))
    low, high = np.quantile(right[draws].sum(axis=1) / size[draws].sum(axis=1), [0.025, 0.975])
    return float(low), float(high)


def figures(rows: Rows, said: np.ndarray, base: np.ndarray) -> dict[str, Any]:
    ok = (said == rows.scores).astype(float)
    low, high = interval(ok, rows.prompts)
    return {
        "n": len(rows),
        "accuracy": round(float(ok.mean()), 4),
        "accuracy_low": round(low, 4),
        "accuracy_high": round(high, 4),
        "macro_f1": round(macro_f1(rows.scores, said), 4),
        "quadratic_kappa": round(
            float(cohen_kappa(rows.scores, said, weights="quadratic") or 0), 4
        ),
        "majority_accuracy": round(float((base == rows.scores).mean()), 4),
    }


def evaluate(rows: Rows, said: dict[str, np.ndarray]) -> dict[str, Any]:
    """The card's figures: over all, a dimension, a responder."""

    def part(index: np.ndarray) -> dict[str, Any]:
        return figures(rows.take(index), said["model"][index], said["majority"][index])

    everything = np.arange(len(rows))
    return {
        "overall": part(everything),
        "dimensions": {
            d: part(np.flatnonzero(rows.dimensions == d)) for d in default_taxonomy().names
        },
        "responders": {m: part(np.flatnonzero(rows.models == m)) for m in sorted(set(rows.models))},
    }


def table(figures: dict[str, dict[str, Any]], first: str) -> str:
    lines = [
        f"| {first} | n | accuracy (95 % interval) | macro-F1 | quadratic kappa | majority class |",
        "| --- | --: | --: | --: | --: | --: |",
    ]
    for name, f in figures.items():
        spread = f"{f['accuracy']:.3f} ({f['accuracy_low']:.3f}–{f['accuracy_high']:.3f})"
        lines.append(
            f"| {name} | {f['n']} | {spread} | {f['macro_f1']:.3f} | "
            f"{f['quadratic_kappa']:.3f} | {f['majority_accuracy']:.3f} |"
        )
    return "\n".join(lines)


CARD = """# Model card: {id}

**{headline}** Responses and labels of its training data were written by a language model (the
silver set), not by people, and the labels agree with one another far more than people do. Its
verdicts have never been compared with people's. Use it to try things out, not to publish a ranking.

- **What it is**: {features:,} character 1- and 2-grams of the response (log counts × idf, scaled to
  length 1), one multinomial logistic regression {heads}, each leaning on a
  common part. It never sees the prompt. Weights: `model.npz`, {size:.1f} MB, float16, no pickle.
- **Trained on**: {trained}
  `silver.jsonl` has the SHA-256 `{sha256}`.
- **Made by**: `{command}`

## How well it does

Every figure is on rows whose responder **and** whose prompt were both left out of training: one
responder at a time over all {n_models} of the silver set, prompts in {folds} folds. The
majority class is that of the training rows, a dimension. Intervals: bootstrap over prompts.
The raters of the silver labels agree with their author on 99.1 % of responses.

{dimensions}

{responders}
{compared}
## Limits

- It has learned how simulated responders of one kind write. A responder of another kind may be
  judged worse than the tables say; the spread over the responders is the best hint of how much.
- It reads words, not arguments: a refusal phrase before a harmful body, irony, quotation, and text
  in traditional characters or other languages mislead it.
- Its probabilities are those of a regression on clear-cut synthetic texts: too sure on real ones.
"""
COMPARED = """
## Beside `lexical`

On the same rows and folds `lexical` reaches {base:.1f} %; that is {difference:+.1f} points for this
one ({low:+.1f} to {high:+.1f}, paired bootstrap over prompts). Responses that do not name their
subcomponent are judged by the head of the dimension: {bare:.1f} %, {bare_difference:+.1f} points
({bare_low:+.1f} to {bare_high:+.1f}).
The recipe was chosen among some forty on rows of the same silver set, so the gain is a little
flattered.
"""


def compared(rows: Rows, said: dict[str, np.ndarray], base: np.ndarray) -> dict[str, float]:
    """Accuracy against `lexical` on the same rows, in points."""
    right, old = said["model"] == rows.scores, base == rows.scores
    bare = said["no parts"] == rows.scores
    low, high = interval(1.0 * right - old, rows.prompts)
    bare_low, bare_high = interval(1.0 * bare - old, rows.prompts)
    values = {
        "base": old.mean(),
        "difference": right.mean() - old.mean(),
        "low": low,
        "high": high,
        "bare": bare.mean(),
        "bare_difference": bare.mean() - old.mean(),
        "bare_low": bare_low,
        "bare_high": bare_high,
    }
    return {name: round(100 * float(value), 2) for name, value in values.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA / "silver.jsonl")
    parser.add_argument("--jade", type=Path, help="needed for lexical-plus")
    parser.add_argument("--out", type=Path, default=DATA, help="a folder a scorer goes below it")
    parser.add_argument("--only", choices=[recipe.id.partition("@")[0] for recipe in RECIPES])
    options = parser.parse_args()
    rows = read(options.data)
    sha256 = hashlib.sha256(options.data.read_bytes()).hexdigest()
    extra = read_jade(options.jade) if options.jade else None
    base: np.ndarray | None = None
    for recipe in RECIPES:
        name = recipe.id.partition("@")[0]
        if recipe.part and (extra is None or options.only == "lexical"):
            continue
        nothing = rows.take(np.array([], dtype=int))
        said = left_out(rows, extra or nothing, recipe)
        beside = None if base is None else compared(rows, said, base)
        base = said["model"] if base is None else base
        train = rows.take(np.flatnonzero(np.isin(rows.splits, recipe.splits)))
        model = fit(joined(train, extra) if recipe.part and extra else train, recipe)
        card, text = describe(recipe, model, rows, train, said, beside, sha256)
        if recipe.part and extra is not None:
            card["trained on"]["further rows"] = {
                "source": "JADE-DB medium zh (whitzard-ai/jade-db, MIT)",
                "responses": len(extra),
                "sha256": hashlib.sha256(options.jade.read_bytes()).hexdigest(),
            }
        data = replace(model, card=card).to_bytes()
        write_atomic(options.out / name / "model.npz", data)
        write_atomic(options.out / name / "MODEL_CARD.md", text(len(data) / 1e6))
        print(recipe.id, json.dumps(card["results"]["overall"]), json.dumps(beside))


def describe(
    recipe: Recipe,
    model: LexicalModel,
    rows: Rows,
    train: Rows,
    said: dict[str, np.ndarray],
    beside: dict[str, float] | None,
    sha256: str,
) -> tuple[dict[str, Any], Callable[[float], str]]:
    """What the weights file tells, and the card once the file's size in MB is known."""
    result = evaluate(rows, said)
    models = sorted(set(train.models))
    splits = " and ".join(recipe.splits)
    card: dict[str, Any] = {
        "labels": f"synthetic (silver), {splits} split",
        "trained on": {
            "file": "silver.jsonl",
            "sha256": sha256,
            "responses": len(train),
            "prompts": len(set(train.prompts)),
            "models": models,
        },
        "judged by": "leaving out one responder and the test prompts at a time",
        "results": result,
    }
    trained = (
        f"the {splits} split of the bundled `silver.jsonl`: {len(train):,} responses of\n"
        f"  {len(models)} simulated responders to {len(set(train.prompts)):,} prompts."
    )
    headline = "A baseline trained on synthetic labels."
    command = "python scripts/train_lexical.py --only lexical"
    if beside is not None:
        card["beside lexical"] = beside
        headline = "Trained on synthetic labels."
        command = "python scripts/train_lexical.py --jade jade_alignment_medium_zh.csv"
        trained += (
            f" The common part\n  also learned, at weight {EXTRA_WEIGHT}, from the harmful and safe"
            " answers of JADE-DB (medium,\n  Chinese; whitzard-ai/jade-db, MIT). N-grams of fewer"
            f" than {recipe.responders} responders are left out."
        )

    def text(size: float) -> str:
        return CARD.format(
            id=recipe.id,
            headline=headline,
            heads="a dimension and a subcomponent" if recipe.part else "a dimension",
            features=len(model.vocabulary),
            size=size,
            trained=trained,
            sha256=sha256,
            command=command,
            n_models=len(set(rows.models)),
            folds=FOLDS,
            dimensions=table({**result["dimensions"], "all": result["overall"]}, "dimension"),
            responders=table(result["responders"], "responder"),
            compared=COMPARED.format(**beside) if beside else "",
        )

    return card, text


if __name__ == "__main__":
    main()
