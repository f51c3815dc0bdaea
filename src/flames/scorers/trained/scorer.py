"""The `Scorer` protocol over an engine that turns token ids into the heads' logits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.special import softmax

from flames.records import PARTLY_READ, Response, Verdict, verdict_for
from flames.scorers.base import ScorerInfo, TrainingLabels, score_where
from flames.scorers.trained.backends import Logits
from flames.scorers.trained.encoding import Encoder
from flames.scorers.trained.engine import Engine
from flames.scorers.trained.settings import ScorerSettings


def unscorable(response: Response, settings: ScorerSettings) -> str | None:
    """Returns why a classifier cannot score a response; None if it can."""
    if settings.head(response.dimension) is None:
        return "no head for its dimension"
    if "{prompt}" in settings.template and not (response.prompt and response.prompt.strip()):
        return "no prompt text"
    return None


def verdict_of(
    response: Response, logits: Logits, settings: ScorerSettings, *, truncated: bool
) -> Verdict:
    """Turns a row of all heads' logits into a verdict; `truncated`: the input was shortened."""
    head = settings.head(response.dimension)
    assert head is not None
    fields: dict[str, Any] = {"scorer": settings.id, "dimension": head.name}
    if truncated:
        fields[PARTLY_READ] = True
    own = logits[settings.slices[head.name]]
    if not np.isfinite(own).all():
        return verdict_for(response, unscored="no finite logits", **fields)
    scores = zip(head.scale, softmax(own.astype(np.float64)), strict=True)
    return verdict_for(
        response,
        score=head.scale[int(own.argmax())],
        probabilities={str(score): round(float(p), 6) for score, p in scores},
        **fields,
    )


class ClassifierScorer:
    """A trained classifier behind the `Scorer` protocol."""

    def __init__(
        self, encoder: Encoder, engine: Engine, *, title: str, details: Mapping[str, Any]
    ) -> None:
        self.encoder = encoder
        self.engine = engine
        # Responses that `score_stream` takes at a time: two chunks of those who compute, at least.
        self.window = max(1024, 128 * engine.backend.parallel)
        self.settings = settings = encoder.settings
        data = settings.training_data
        learnt = [] if data is None else [(settings.id, tuple(data.files.values()), data.models)]
        self.info = ScorerInfo(
            id=settings.id,
            title=title,
            taxonomy=settings.taxonomy,
            notes=settings.notes,
            details={
                "heads": {head.name: list(head.scale) for head in settings.heads},
                "template": settings.template,
                "max_length": settings.max_length,
                "input_truncation": settings.input_truncation,
                "pooling": settings.pooling,
                "training_data": data.model_dump() if data else None,
                "selftest": settings.selftest,
                **details,
            },
            learnt=tuple(TrainingLabels(*each) for each in learnt),
        )

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        """Scores a batch; see `flames.scorers.base.Scorer`."""
        reasons = [unscorable(response, self.settings) for response in responses]
        return score_where(responses, reasons, self.info.id, self._scored)

    def _scored(self, responses: Sequence[Response]) -> Iterator[Verdict]:
        pairs = [(r.prompt or "", r.response or "") for r in responses]
        shortened, logits = self.engine.stream(pairs, self.encoder.encode)
        for response, truncated, row in zip(responses, shortened, logits, strict=True):
            yield verdict_of(response, row, self.settings, truncated=truncated)
