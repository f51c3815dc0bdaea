"""Training heads on a frozen backbone: features once, then least squares in closed form."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from flames.errors import UsageError
from flames.metrics.result import Note
from flames.records import PARTLY_READ, Verdict, dump_line
from flames.scorers.base import ScorerContext, score_where
from flames.scorers.frozen.backbone import Features
from flames.scorers.frozen.model import FrozenHead, FrozenModel, FrozenSettings
from flames.scorers.frozen.scorer import FrozenScorer, why_unscored
from flames.scorers.heads import pick_head, scored_by
from flames.scorers.label_rows import Labelled
from flames.scorers.labelled import LabelledSet
from flames.scorers.lexical import bundled_model
from flames.scorers.trained.settings import TrainingData
from flames.storage.atomic import write_atomic
from flames.taxonomy import Taxonomy
from flames.text import shorten
from flames.training import crossfit, folder
from flames.training.backbones import Source, open_source
from flames.training.features import FeatureStore
from flames.training.leaks import near_same
from flames.training.multilevel import (
    Floats,
    Heads,
    Labels,
    Leaning,
    fit_heads,
    solve_dual,
    standardised,
)
from flames.training.options import Progress, TrainOptions
from flames.training.results import About, Trained, evaluate_parts, write_card, write_results
from flames.training.splits import LEFT_OUT, Split, check_dimensions
from flames.training.targets import source_weights, target_levels, training_data

LEANING = Leaning()
PENALTY = 0.3
PENALTIES = (0.03, 0.1, PENALTY, 1.0, 3.0)
"""Those that a validation part chooses from; without one it is `PENALTY`."""

_MOST = 15_000  # rows: what is solved has their square, several times in memory
_ABSTAINED = 0.03  # of the training rows, at most, for a scorer that abstains


@dataclass(frozen=True)
class _Fitted:
    """Heads on standardised features, the factor of their probabilities, and left-out chances."""

    mean: Floats
    scale: Floats
    heads: Heads
    penalty: float
    factor: float
    chances: crossfit.Chances | None


def train_frozen(
    split: Split,
    options: TrainOptions,
    out: Path,
    taxonomy: Taxonomy,
    *,
    resume: bool = False,
    progress: Progress = lambda what, share: None,
) -> Trained:
    """Fits heads on a frozen backbone and writes the scorer, its figures and its model card."""
    data = training_data(split.training, taxonomy)
    rows = split.training.rows
    if len(rows) > _MOST:
        raise UsageError(
            f"--frozen solves for all rows at once, at most {_MOST:,}, and there are {len(rows):,};"
            " train on fewer, or by gradient steps without --frozen"
        )
    labels = labels_of(rows, taxonomy, options)
    progress("comparing responses with one another", 0.0)
    turns = _turns(split, taxonomy)
    plan = folder.plan_of(options, split, data.sha256)
    folder.claim(out, plan, resume=resume)
    progress("loading the backbone", 0.0)
    source = open_source(options)
    folder.begin(out, plan)
    store = FeatureStore(source)
    parts = split.parts()
    read = {
        name: store.read([_pair(row) for row in part.rows], progress)
        for name, part in parts.items()
        if name != LEFT_OUT
    }
    held = {name: part for name, part in parts.items() if name != "training"}
    fitted = _fit(split, labels, read, turns, options, taxonomy, progress)
    model = _model(source, fitted, split, data, options, out, taxonomy)
    source.keep(out)
    model.save(out)
    progress("evaluating", 1.0)
    verdicts = {
        name: _verdicts(model, part, read[name], taxonomy)
        if name != LEFT_OUT
        else _left_out(model, part, read["training"], fitted.chances, labels, taxonomy)
        for name, part in held.items()
    }
    if LEFT_OUT in verdicts:
        lines = "".join(dump_line(verdict.to_dict()) + "\n" for verdict in verdicts[LEFT_OUT])
        write_atomic(out / "left-out.jsonl", lines)
    settings = model.settings
    result = evaluate_parts(
        held, verdicts, settings.id, settings.notes, options, taxonomy, split, out
    )
    shortened = {name: sum(each.cut) for name, each in read.items()}
    write_results(result, split, _about(model, source, fitted, data, options, shortened), taxonomy)
    write_card(result, settings.id)
    folder.finish(out, settings.id, [])
    return result


def labels_of(rows: Sequence[Labelled], taxonomy: Taxonomy, options: TrainOptions) -> Labels:
    """Returns labels with the annotators' shares, the weight of each file, and levels balanced."""
    levels = tuple(sorted({s for d in taxonomy.dimensions for s in d.scale}, reverse=True))
    labels = Labels(
        levels,
        target_levels(rows, levels),
        np.array([row.dimension for row in rows]),
        np.array([row.response.subcomponent or "" for row in rows]),
        source_weights(rows, options.weights),
    )
    return labels.smoothed(options.label_smoothing, taxonomy).balanced()


def _turns(split: Split, taxonomy: Taxonomy) -> list[crossfit.Turn]:
    """Who is left out in turn; none where a validation part says how sharp chances are."""
    rows = split.training.rows
    if split.validation.rows and not split.each:
        return []
    models = np.array([row.key.model for row in rows])
    prompts = np.array([row.key.prompt_id for row in rows])
    found = list(crossfit.turns(models, prompts, alike=near_same(rows)))
    if split.each:
        for here, train in found:
            name = f"training (without {shorten(models[here[0]])})"
            check_dimensions(name, [rows[index] for index in train], taxonomy)
    return [turn for turn in found if len(turn.train)]


def _pair(row: Labelled) -> tuple[str, str]:
    return row.response.prompt or "", row.response.response or ""


def _fit(
    split: Split,
    labels: Labels,
    read: Mapping[str, Features],
    turns: Sequence[crossfit.Turn],
    options: TrainOptions,
    taxonomy: Taxonomy,
    progress: Progress,
) -> _Fitted:
    features, mean, scale = standardised(_flat(read["training"]))
    kernel = features @ features.T
    weights = source_weights(split.training.rows, options.weights)
    chances, penalty, factor = None, PENALTY, 1.0
    if turns:
        related = LEANING.relate(kernel, labels, labels)
        scores = crossfit.left_out(
            related, labels, turns, penalty,
            lambda share: progress("fitting without each model and prompt", share),
        )  # fmt: skip
        judged = np.zeros(len(labels), np.float32)
        for here, _ in turns:
            judged[here] = weights[here]
        factor = crossfit.sharpen(scores, labels, judged, taxonomy)
        if split.each:
            models = np.array([row.key.model for row in split.training.rows])
            chances = crossfit.left_out_chances(scores, labels, models, judged, taxonomy)
    elif "validation" in read:
        progress("choosing the penalty", 0.0)
        asked = labels_of(split.validation.rows, taxonomy, replace(options, weights={}))
        known = ((_flat(read["validation"]) - mean) / scale).astype(np.float32)
        new = known @ features.T
        penalty, factor = _chosen(kernel, labels, new, asked, taxonomy)
    progress("fitting the heads", 0.9)
    heads = fit_heads(features, kernel, labels, LEANING, penalty, taxonomy)
    return _Fitted(mean, scale, heads, penalty, factor, chances)


def _chosen(
    kernel: Floats, labels: Labels, new: Floats, asked: Labels, taxonomy: Taxonomy
) -> tuple[float, float]:
    """Penalty and factor under which rows that were held back are the least surprising."""
    same = np.ones(len(asked), np.float32)
    across = LEANING.relate(new, asked, labels)
    losses = {}
    for penalty in PENALTIES:
        dual = solve_dual(LEANING.relate(kernel, labels, labels), labels, penalty)
        scores = across @ dual
        factor = crossfit.sharpen(scores, asked, same, taxonomy)
        loss = crossfit.log_loss(scores, asked, same, taxonomy, factor)
        losses[penalty, factor] = loss
    return min(losses, key=losses.__getitem__)


def _flat(features: Features) -> Floats:
    return features.values.reshape(len(features.values), -1)


def _model(
    source: Source,
    fitted: _Fitted,
    split: Split,
    data: TrainingData,
    options: TrainOptions,
    out: Path,
    taxonomy: Taxonomy,
) -> FrozenModel:
    rows, weights = split.training.rows, fitted.heads
    unread = bundled_model().unread([row.response.response or "" for row in rows])
    card = {
        "labels": "synthetic" if data.synthetic else ", ".join(data.files),
        "trained on": {
            "sha256": dict(data.files),
            "responses": len(rows),
            "prompts": len({row.key.prompt_id for row in rows}),
            "models": list(data.models),
            "weights": {Path(name).name: each for name, each in options.weights.items()},
        },
    }
    settings = FrozenSettings(
        name=options.name or out.resolve().name,
        version="0",
        taxonomy=taxonomy.id,
        backbone=source.sha256,
        backbone_name=source.name,
        runs=source.runs,
        layers=source.layers,
        segments=source.segments,
        reading=source.reading,
        abstains=sum(map(bool, unread)) <= _ABSTAINED * len(rows),
        heads={n: FrozenHead(scale=s, classes=c) for n, (s, c) in weights.places.items()},
        factor=fitted.factor,
        notes=(Note("simulated"),) if data.synthetic else split.training.notes,
        card=card,
    )
    parts = (fitted.mean, fitted.scale, weights.weights, weights.bias)
    model = FrozenModel(settings, *parts, folder=out)
    version = hashlib.sha256(model.to_bytes() + settings.model_dump_json().encode()).hexdigest()
    return replace(model, settings=settings.model_copy(update={"version": version[:8]}))


def _verdicts(
    model: FrozenModel, part: LabelledSet, read: Features, taxonomy: Taxonomy
) -> list[Verdict]:
    scorer = FrozenScorer(model, ScorerContext(taxonomy=taxonomy))
    return scorer.judged([row.response for row in part.rows], read)


def _left_out(
    model: FrozenModel,
    part: LabelledSet,
    read: Features,
    chances: crossfit.Chances | None,
    labels: Labels,
    taxonomy: Taxonomy,
) -> list[Verdict]:
    """Verdicts of the heads that each row was left out of."""
    assert chances is not None
    settings, responses = model.settings, [row.response for row in part.rows]
    reasons = why_unscored(settings, settings.places, responses)
    rows = iter([place for place, reason in enumerate(reasons) if reason is None])

    def judged(able: Sequence[Any]) -> list[Verdict]:
        found = []
        for response, place in zip(able, rows, strict=True):
            head = pick_head(settings.places, response.dimension, response.subcomponent) or ""
            scale = settings.places[head][0]
            own = chances[place, [labels.levels.index(level) for level in scale]]
            fields = {PARTLY_READ: True} if read.cut[place] else {}
            found.append(scored_by(response, settings.id, scale, own, **fields))
        return found

    return score_where(responses, reasons, settings.id, judged)


def _about(
    model: FrozenModel,
    source: Source,
    fitted: _Fitted,
    data: TrainingData,
    options: TrainOptions,
    shortened: Mapping[str, int],
) -> About:
    settings = model.settings
    layers = ", ".join(map(str, source.layers))
    return About(
        id=settings.id,
        name=settings.name,
        what=(
            f"{settings.backbone_name}, kept as it is, reads {options.form!r}. Its states after "
            f"layer {layers} are averaged over each of {source.segments} parts of the response; "
            "one least-squares head per dimension and subcomponent, each leaning on common weights"
        ),
        data_sha256=data.sha256,
        longest=options.longest,
        shortened=shortened,
        facts={
            "backbone": f"{settings.backbone_name} (SHA-256 {source.sha256})",
            "frozen": True,
            "layers": layers,
            "segments": source.segments,
            "template": repr(options.form),
            "dtype": source.dtype,
            "penalty": fitted.penalty,
            "factor of the scores": round(fitted.factor, 3),
            "label_smoothing": options.label_smoothing,
            "weights": settings.card["trained on"]["weights"] or "none",
            "abstains": settings.abstains,
        },
        software=("numpy", "scipy", *(("torch", "transformers") if source.runs == "torch" else
                                      ("onnxruntime",))),
        backbone=options.backbone,
    )  # fmt: skip
