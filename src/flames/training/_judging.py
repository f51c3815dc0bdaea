"""What a new scorer reaches on what was held back, and others on the same rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from flames.errors import FlamesError
from flames.evaluation import Evaluation, LabelledSet, evaluate, judge, majorities, versus
from flames.io import write_atomic
from flames.records import Verdict
from flames.scorers.base import ScorerContext, ScorerInfo
from flames.scorers.classifier import ScorerSettings
from flames.taxonomy import Taxonomy
from flames.training._card import card
from flames.training._options import TrainOptions
from flames.training._splits import Split

_CARD = "README.md"


@dataclass(frozen=True)
class Trained:
    """A finished training.

    Args:
        folder: Where the scorer is.
        evaluations: Of the validation and test parts, by part.
        others: What the scorers it is compared with reach on the same rows, by part.
        skipped: Scorers that it could not be compared with, and why.
    """

    folder: Path
    evaluations: Mapping[str, Evaluation]
    others: Mapping[str, tuple[Evaluation, ...]]
    skipped: Mapping[str, str] = field(default_factory=dict)


def judged(
    held: Mapping[str, LabelledSet],
    verdicts: Mapping[str, Sequence[Verdict]],
    settings: ScorerSettings,
    options: TrainOptions,
    taxonomy: Taxonomy,
    split: Split,
    out: Path,
) -> Trained:
    """Holds the new scorer, and those it is compared with, against the labels."""
    info = ScorerInfo(
        id=settings.id, title="trained here", taxonomy=taxonomy.id, notes=settings.notes
    )
    most = majorities(split.training.rows)
    found: dict[str, Evaluation] = {}
    others: dict[str, tuple[Evaluation, ...]] = {}
    skipped: dict[str, str] = {}
    for name, part in held.items():
        own, beside = verdicts[name], []
        found[name] = evaluate(part, own, info, taxonomy, majority=most, seed=options.seed)
        for spec in options.compare:
            try:
                beside.append(_compared(spec, part, own, taxonomy, options.seed))
            except FlamesError as error:
                skipped[spec] = str(error)
        others[name] = tuple(beside)
    return Trained(out, found, others, skipped)


def _compared(
    spec: str, part: LabelledSet, verdicts: Sequence[Verdict], taxonomy: Taxonomy, seed: int
) -> Evaluation:
    """Another scorer on the same rows, and its advantage."""
    from flames.scorers import load_scorer

    scorer = load_scorer(spec, ScorerContext(taxonomy=taxonomy))
    theirs, seconds = judge(scorer, part)
    made = evaluate(part, theirs, scorer.info, taxonomy, seconds=seconds, seed=seed)
    gap = versus(part, theirs, verdicts, seed=seed)
    return made.model_copy(update={"difference": gap})


def write_results(
    result: Trained,
    split: Split,
    options: TrainOptions,
    settings: ScorerSettings,
    taxonomy: Taxonomy,
    parameters: int,
    shortened: Mapping[str, int],
) -> None:
    """Writes the figures and the model card beside the scorer."""
    for name, found in result.evaluations.items():
        each = [found, *result.others[name]]
        data = {"schema": 1, "results": [one.to_dict() for one in each]}
        text = json.dumps(data, ensure_ascii=False, indent=1)
        path = result.folder / f"evaluation-{name.replace(' ', '-')}.json"
        write_atomic(path, text + "\n")
    text = card(
        result.evaluations,
        result.others,
        result.skipped,
        split,
        options,
        settings,
        taxonomy,
        parameters,
        shortened,
    )
    write_atomic(result.folder / _CARD, text)
