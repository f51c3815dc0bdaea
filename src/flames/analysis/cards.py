"""Making a scorer's card of its evaluations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flames import __version__
from flames.analysis.evaluation import Evaluation
from flames.errors import MissingExtraError, UsageError
from flames.scorers.card import (
    FILE,
    By,
    CardEntry,
    ScorerCard,
    find_card,
    own_card_path,
    read_card,
)
from flames.scorers.external import EXTERNAL
from flames.scorers.labelled import labels_by
from flames.scorers.labels import NATURAL, SILVER
from flames.scorers.options import ScorerName, load_with
from flames.storage.atomic import write_atomic
from flames.taxonomy import TaxonomyOptions

_BUNDLED: Mapping[str, By] = {"natural": "natural", "silver": "silver"}
_OUTSIDE: Mapping[str, By] = {"people": "outside", "partly": "partly", "design": "design"}


@dataclass(frozen=True)
class CardOptions(TaxonomyOptions):
    """Whose card is shown."""

    scorer: ScorerName = "default"


def card_of(options: CardOptions) -> tuple[str, ScorerCard | None]:
    """Returns a scorer's id and its card, where there is one; it may be of another version."""
    spec = options.scorer
    try:
        info = load_with(spec, {"ignore_selftest": True}, options.taxonomy).info
    except MissingExtraError:  # the card of a bundled scorer is here without what runs it
        if (found := find_card(spec)) is None:
            raise
        return found.scorer, found
    return info.id, find_card(info.id, Path(spec) if Path(spec).is_dir() else None)


def write_cards(
    evaluations: Iterable[Evaluation], specs: Iterable[str], out: Path | None = None
) -> list[Path]:
    """Adds evaluations to the cards of their scorers; returns the files, each written whole.

    `specs` are the scorers as they were named, in the order of the evaluations of each set. A card
    of another version is replaced. Without `out` a card is kept in the user's cache, from where
    reports find it, and beside a trained scorer.

    Raises:
        UsageError: A scorer was trained on the labels, so that its figures would flatter it.
    """
    by_spec: dict[str, list[Evaluation]] = {}
    found = list(evaluations)
    names = list(specs)
    for place, each in enumerate(found):
        by_spec.setdefault(names[place % len(names)], []).append(each)
    cards = {spec: tuple(map(card_entry, own)) for spec, own in by_spec.items()}
    written: dict[Path, None] = {}
    for spec, entries in cards.items():
        first = by_spec[spec][0]
        new = ScorerCard(scorer=first.scorer, title=first.title, code_version=__version__)
        folder = Path(spec)
        paths = [folder / FILE] if folder.is_dir() else []
        paths = [out] if out is not None else [*paths, own_card_path(first.scorer)]
        for path in paths:
            old = read_card(path)
            card = new if old is None or old.scorer != new.scorer else old
            write_atomic(path, card.with_entries(entries).to_json())
            written[path] = None
    return list(written)


def card_entry(evaluation: Evaluation) -> CardEntry:
    """Returns the figures of an evaluation as they stand on a card."""
    harmless = evaluation.overall.harmless
    if harmless is None or harmless.accuracy is None or harmless.bias is None:
        raise UsageError(f"{evaluation.scorer} scored no labelled response; a card needs some")
    learnt = next((note for note in evaluation.notes if note.code == "learnt"), None)
    if learnt is not None:
        raise UsageError(
            f"{evaluation.scorer} was trained on {', '.join(evaluation.labels)}, so its figures "
            "there say nothing; give verdicts made without the model of each response in "
            "training with --left-out FILE, or leave these labels off the card"
        )
    biases = [abs(each.bias.value) for each in evaluation.bias]
    labels, by = _of(evaluation)
    overall = evaluation.overall
    return CardEntry(
        labels=labels,
        by=by,
        files=evaluation.labels,
        n=overall.n,
        scored=overall.scored,
        prompts=evaluation.prompts,
        models=len(evaluation.models),
        left_out=any(note.code == "left_out" for note in evaluation.notes),
        accuracy=overall.accuracy,
        harmless=harmless.accuracy,
        majority=harmless.subcomponent_majority,
        bias=harmless.bias,
        caught=harmless.caught,
        auc=harmless.auc,
        model_bias=float(np.mean(biases)) if len(biases) > 1 else None,
        tau=evaluation.rank_agreement,
    )


def _of(evaluation: Evaluation) -> tuple[str, By]:
    """Returns what the labels are called, and whose they are."""
    if evaluation.label_set is not None:
        known = EXTERNAL[evaluation.label_set]
        return known.name, _OUTSIDE[known.labelled_by]
    codes = {note.code for note in evaluation.notes}
    simulated = [each for each in (NATURAL, SILVER) if each.name in codes]
    if simulated:
        return " + ".join(each.spec for each in simulated), _BUNDLED[simulated[-1].name]
    return " + ".join(evaluation.labels), labels_by(evaluation.notes)
