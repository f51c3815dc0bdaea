"""A scorer of linear heads on the states of a small frozen language model, `gemma-heads`."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import resources
from pathlib import Path

import numpy as np
from scipy.special import softmax

from flames.records import PARTLY_READ, Response, Verdict
from flames.scorers.base import Scorer, ScorerContext, ScorerInfo, score_where
from flames.scorers.card import find_card
from flames.scorers.frozen import WEIGHTS
from flames.scorers.frozen.backbone import Features, Reader, Reading
from flames.scorers.frozen.model import (
    BACKBONE,
    GGUF,
    WORDS,
    FrozenModel,
    FrozenSettings,
    read_frozen,
)
from flames.scorers.heads import Heads, heads_for, learnt_from, pick_head, scored_by
from flames.scorers.lexical import bundled_model
from flames.scorers.registry import scorer_notes
from flames.scorers.selftest import ensure_selftest
from flames.storage.checksums import file_sha256

NAME = "gemma-heads"

_log = logging.getLogger(__name__)


class FrozenScorer:
    """Judges by a `FrozenModel`; the language model is loaded with the first response."""

    window = 256

    def __init__(self, model: FrozenModel, context: ScorerContext) -> None:
        settings = model.settings
        self._model = model
        self._heads = heads_for(settings.places, context.taxonomy, settings.id)
        self._backbone: Reader | None = None
        self.info = ScorerInfo(
            id=settings.id,
            title=f"Linear heads on the states of {settings.backbone_name}, kept as it is",
            taxonomy=context.taxonomy.id,
            notes=(*scorer_notes(settings.id), *settings.notes),
            details={
                "backbone": f"{settings.backbone_name} (SHA-256 {settings.backbone[:12]}…), "
                f"{'on torch' if settings.runs == 'torch' else 'int8'}",
                "layers": list(settings.layers),
                "segments": settings.segments,
                "longest input": longest_input(settings.reading),
                "lexical": settings.lexical,
                **settings.card,
            },
            learnt=(learnt_from(settings.id, settings.card),),
        )

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        """Returns one verdict per response; what it has no head for or cannot read is unscored."""
        reasons = why_unscored(self._model.settings, self._heads, responses)
        return score_where(responses, reasons, self.info.id, self._scored)

    def judged(self, responses: Sequence[Response], features: Features) -> list[Verdict]:
        """Returns what `score` does, of responses whose features are known."""
        reasons = why_unscored(self._model.settings, self._heads, responses)
        able = [place for place, reason in enumerate(reasons) if reason is None]
        own = Features(features.values[able], [features.cut[place] for place in able])
        return score_where(
            responses, reasons, self.info.id, lambda given: self._verdicts(given, own)
        )

    def _scored(self, responses: Sequence[Response]) -> Iterator[Verdict]:
        if self._backbone is None:
            self._backbone = self._model.backbone(_log.warning)
        pairs = [(r.prompt or "", r.response or "") for r in responses]
        return self._verdicts(responses, self._backbone.features(pairs))

    def _verdicts(self, responses: Sequence[Response], features: Features) -> Iterator[Verdict]:
        scores = self._model.scores(features.values, [r.response or "" for r in responses])
        heads = [pick_head(self._heads, r.dimension, r.subcomponent) or "" for r in responses]
        cuts = [self._heads[head][1] for head in heads]
        own = [row[first:last] for row, (first, last) in zip(scores, cuts, strict=True)]
        for response, head, row, cut in zip(responses, heads, own, features.cut, strict=True):
            scale = self._heads[head][0]
            chances = softmax(self._model.settings.factor * row.astype(np.float64))
            fields = {PARTLY_READ: True} if cut else {}
            yield scored_by(response, self.info.id, scale, chances, **fields)


def longest_input(reading: Reading) -> str:
    """Says how much of prompt and response is read."""
    head, tail = reading.head, reading.tail
    prompt = f"{reading.prompt_tokens} tokens of prompt and frame and " * reading.needs_prompt
    ends = f"its first {head} and last {tail} where it is longer"
    return f"{prompt}{head + tail} tokens of the response ({ends})"


def why_unscored(
    settings: FrozenSettings, heads: Heads, responses: Sequence[Response]
) -> list[str | None]:
    """Returns why each response is not judged, or None."""
    texts = [response.response or "" for response in responses]
    unread = bundled_model().unread(texts) if settings.abstains else [None] * len(texts)
    return [
        _lack(settings, heads, response) or reason
        for response, reason in zip(responses, unread, strict=True)
    ]


def _lack(settings: FrozenSettings, heads: Heads, response: Response) -> str | None:
    if pick_head(heads, response.dimension, response.subcomponent) is None:
        return "no head"
    prompted = (response.prompt or "").strip() or not settings.reading.needs_prompt
    return None if prompted else "no prompt text"


def load(_: str, context: ScorerContext) -> Scorer:
    """Loads the bundled scorer `gemma-heads`."""
    return FrozenScorer(read_frozen(bundled_folder()), context)


def load_folder(folder: str | Path, context: ScorerContext) -> Scorer:
    """Loads a scorer that `flames scorer train --frozen` wrote, and tests it at its first use."""
    scorer = FrozenScorer(read_frozen(folder), context)
    parts = (WEIGHTS, WORDS, GGUF, *sorted(f"{BACKBONE}/{each.name}" for each in _files(folder)))
    weights = "".join(file_sha256(path) for p in parts if (path := Path(folder) / p).is_file())
    card = find_card(scorer.info.id, Path(folder))
    if card is not None and card.scorer == scorer.info.id:
        scorer.info = replace(scorer.info, notes=(*scorer.info.notes, *card.notes()))
    return ensure_selftest(scorer, context, weights)


def _files(folder: str | Path) -> Iterator[Path]:
    backbone = Path(folder) / BACKBONE
    return iter(backbone.iterdir()) if backbone.is_dir() else iter(())


def bundled_folder() -> Path:
    """Returns the folder of the bundled scorer."""
    return Path(str(resources.files("flames").joinpath("data", NAME)))
