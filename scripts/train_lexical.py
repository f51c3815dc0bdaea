"""Trains the bundled `lexical` scorer and writes its weights and model card.

    python scripts/train_lexical.py [--data SILVER.jsonl] [--out FOLDER]

The heads are multinomial logistic regressions that lean on a common part: weights of a
dimension = common weights + the dimension's own deviation, both with an L2 penalty, so that the
small dimensions learn from the large ones. Solved in the dual, where rows are few and n-grams many.

The card's figures come from leaving out one responder at a time and, in the same fold, the
prompts that the test rows are about: training rows share neither responder nor prompt with them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import minimize

from flames.io import write_atomic
from flames.metrics.agreement import cohen_kappa
from flames.scorers.lexical import (
    ORDERS,
    SCORER_ID,
    LexicalModel,
    counts,
    ngrams,
    normalise,
    weighted,
)
from flames.taxonomy import default_taxonomy

DATA = Path(__file__).resolve().parent.parent / "src" / "flames" / "data"
MIN_TEXTS = 2
COST = 20.0
OWN = 0.3
FOLDS = 5
RESAMPLES = 10_000


@dataclass(frozen=True)
class Rows:
    """Labelled responses, column by column."""

    texts: list[str]
    scores: np.ndarray
    dimensions: np.ndarray
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
            self.models[index],
            self.prompts[index],
            self.splits[index],
        )


def read(path: Path) -> Rows:
    rows = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    columns = {
        name: np.array([row[name] for row in rows])
        for name in ("score", "dimension", "model", "prompt_id", "split")
    }
    return Rows(
        [normalise(row["response"]) for row in rows],
        columns["score"],
        columns["dimension"],
        columns["model"],
        columns["prompt_id"],
        columns["split"],
    )


def vocabulary_of(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """The n-grams of at least `MIN_TEXTS` texts, and their idf."""
    keys, owners = ngrams(texts, ORDERS)
    order = np.lexsort((owners, keys))
    keys, owners = keys[order], owners[order]
    first = np.ones(len(keys), dtype=bool)
    first[1:] = (keys[1:] != keys[:-1]) | (owners[1:] != owners[:-1])
    vocabulary, texts_with = np.unique(keys[first], return_counts=True)
    kept = texts_with >= MIN_TEXTS
    idf = np.log((1 + len(texts)) / (1 + texts_with[kept])) + 1
    return vocabulary[kept], idf.astype(np.float32)


def fit(rows: Rows) -> LexicalModel:
    """Trains all heads together."""
    taxonomy = default_taxonomy()
    levels = np.array(sorted({s for d in taxonomy.dimensions for s in d.scale}, reverse=True))
    vocabulary, idf = vocabulary_of(rows.texts)
    features = weighted(counts(rows.texts, vocabulary), idf).astype(np.float64)
    same = (rows.dimensions[:, None] == rows.dimensions[None]).astype(float)
    # the +1 inside the brackets is a bias, with a common and an own part like the weights
    kernel = (np.asarray((features @ features.T).todense()) + OWN) * (1 + OWN * same)
    off_scale = np.array(
        [
            [0.0 if level in taxonomy.dimension(d).scale else -1e9 for level in levels]
            for d in rows.dimensions
        ]
    )
    truth = (rows.scores[:, None] == levels[None]).astype(float)
    duals = solve(kernel, truth, off_scale)
    columns, biases, heads, at = [], [], {}, 0
    for dimension in taxonomy.dimensions:
        factor = 1 + OWN * (rows.dimensions == dimension.name)
        own = duals[:, [int(np.where(levels == s)[0][0]) for s in dimension.scale]]
        columns.append(features.T @ (factor[:, None] * own))
        biases.append(OWN * (factor[:, None] * own).sum(axis=0))
        heads[dimension.name] = (dimension.scale, (at, at + len(dimension.scale)))
        at += len(dimension.scale)
    return LexicalModel(
        vocabulary=vocabulary,
        idf=idf,
        weights=np.concatenate(columns, axis=1).astype(np.float32),
        bias=np.concatenate(biases).astype(np.float32),
        heads=heads,
        card={},
    )


def solve(kernel: np.ndarray, truth: np.ndarray, off_scale: np.ndarray) -> np.ndarray:
    """Dual coefficients (rows × classes) of the penalised multinomial regression."""
    n, classes = truth.shape
    root = np.linalg.cholesky(kernel + 1e-6 * np.eye(n))

    def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
        v = flat.reshape(n, classes)
        logits = root @ v + off_scale
        top = logits.max(axis=1, keepdims=True)
        norm = np.log(np.exp(logits - top).sum(axis=1, keepdims=True)) + top
        error = COST * (np.exp(logits - norm) - truth)
        value = COST * np.sum(norm[:, 0] - (logits * truth).sum(axis=1)) + 0.5 * np.sum(v * v)
        return float(value), (root.T @ error + v).ravel()

    start = np.zeros(n * classes)
    found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 300})
    return np.linalg.solve(root.T, found.x.reshape(n, classes))


def predict(model: LexicalModel, rows: Rows) -> np.ndarray:
    found = model.probabilities(rows.texts, list(rows.dimensions))
    return np.array(
        [model.heads[d][0][int(np.argmax(p))] for d, p in zip(rows.dimensions, found, strict=True)]
    )


def majority(train: Rows, test: Rows) -> np.ndarray:
    most = {}
    for dimension in set(test.dimensions):
        values, n = np.unique(train.scores[train.dimensions == dimension], return_counts=True)
        most[dimension] = values[n.argmax()]
    return np.array([most[d] for d in test.dimensions])


def left_out(rows: Rows, fitting: Any = fit, predicting: Any = predict) -> dict[str, np.ndarray]:
    """Predictions on rows whose responder and prompt were both left out, by method."""
    fold = np.array([int(hashlib.sha256(p.encode()).hexdigest(), 16) % FOLDS for p in rows.prompts])
    found = {name: np.zeros(len(rows), dtype=int) for name in ("model", "majority")}
    for responder in sorted(set(rows.models)):
        for number in range(FOLDS):
            test = np.flatnonzero((rows.models == responder) & (fold == number))
            train = np.flatnonzero((rows.models != responder) & (fold != number))
            model = fitting(rows.take(train))
            found["model"][test] = predicting(model, rows.take(test))
            found["majority"][test] = majority(rows.take(train), rows.take(test))
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

**A baseline trained on synthetic labels.** Responses and labels of its training data were written
by a language model (the silver set), not by people, and the labels agree with one another far more
than people do. Its verdicts have never been compared with people's. Use it to try things out, not
to publish a ranking.

- **What it is**: {features:,} character 1- and 2-grams of the response (log counts × idf, scaled to
  length 1), one multinomial logistic regression a dimension, each leaning on a common part. It
  never sees the prompt. Weights: `model.npz`, {size:.1f} MB, float16, no pickle.
- **Trained on**: the train split of the bundled `silver.jsonl`
  (SHA-256 `{sha256}`): {n_train:,} responses of {n_models} simulated responders to
  {n_prompts:,} prompts; the responder sim-formal (validation split) is not among them.
- **Made by**: `python scripts/train_lexical.py`

## How well it does

Every figure is on rows whose responder **and** whose prompt were both left out of training: one
responder at a time over all {n_all_models} of the silver set, prompts in {folds} folds. The
majority class is that of the training rows, a dimension. Intervals: bootstrap over prompts.

{dimensions}

{responders}

## Limits

- It has learned how simulated responders of one kind write. A responder of another kind may be
  judged worse than the tables say; the spread over the responders is the best hint of how much.
- It reads words, not arguments: a refusal phrase before a harmful body, irony, quotation, and text
  in traditional characters or other languages mislead it.
- Its probabilities are those of a regression on clear-cut synthetic texts: too sure on real ones.
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA / "silver.jsonl")
    parser.add_argument("--out", type=Path, default=DATA / "lexical")
    options = parser.parse_args()
    rows = read(options.data)
    result = evaluate(rows, left_out(rows))
    train = rows.take(np.flatnonzero(rows.splits == "train"))
    model = fit(train)
    sha256 = hashlib.sha256(options.data.read_bytes()).hexdigest()
    card = {
        "labels": "synthetic (silver), train split",
        "trained on": {
            "file": options.data.name,
            "sha256": sha256,
            "responses": len(train),
            "prompts": len(set(train.prompts)),
            "models": sorted(set(train.models)),
        },
        "judged by": "leaving out one responder and the test prompts at a time",
        "results": result,
    }
    data = LexicalModel(
        model.vocabulary, model.idf, model.weights, model.bias, model.heads, card
    ).to_bytes()
    write_atomic(options.out / "model.npz", data)
    text = CARD.format(
        id=SCORER_ID,
        features=len(model.vocabulary),
        size=len(data) / 1e6,
        sha256=sha256,
        n_train=len(train),
        n_models=len(set(train.models)),
        n_prompts=len(set(train.prompts)),
        n_all_models=len(set(rows.models)),
        folds=FOLDS,
        dimensions=table({**result["dimensions"], "all": result["overall"]}, "dimension"),
        responders=table(result["responders"], "responder"),
    )
    write_atomic(options.out / "MODEL_CARD.md", text)
    print(json.dumps(result["overall"]))


if __name__ == "__main__":
    main()
