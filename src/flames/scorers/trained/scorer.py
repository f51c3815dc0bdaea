"""The `Scorer` protocol over anything that turns token ids into the heads' logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flames.records import Response, Verdict, verdict_for
from flames.scorers.base import ScorerInfo, TrainingLabels
from flames.scorers.trained.encoding import Encoded, Encoder
from flames.scorers.trained.settings import Head, ScorerSettings

Logits = NDArray[np.floating[Any]]


def unscorable(response: Response, settings: ScorerSettings) -> str | None:
    """Why a classifier cannot judge a response, or None where it can."""
    if settings.head(response.dimension) is None:
        return "no head for its dimension"
    if settings.reads_prompt and not (response.prompt and response.prompt.strip()):
        return "no prompt text"
    return None


def softmax(logits: Logits) -> NDArray[np.float64]:
    """Probabilities along the last axis."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def verdict_of(
    response: Response, logits: Logits, settings: ScorerSettings, *, truncated: bool
) -> Verdict:
    """The verdict that one row of logits stands for.

    Args:
        response: The response, of a dimension that has a head.
        logits: All heads' logits, one after the other.
        settings: The classifier's settings.
        truncated: Whether the input was shortened; then the verdict carries
            `response_truncated`.
    """
    head = settings.head(response.dimension)
    assert head is not None
    own = logits[settings.slices[head.name]]
    extra = {"response_truncated": True} if truncated else {}
    if not np.isfinite(own).all():
        return _verdict(response, settings, head, unscored="no finite logits", **extra)
    return _verdict(
        response,
        settings,
        head,
        score=head.scale[int(own.argmax())],
        probabilities={
            str(score): round(float(p), 6)
            for score, p in zip(head.scale, softmax(own), strict=True)
        },
        **extra,
    )


def _verdict(response: Response, settings: ScorerSettings, head: Head, **fields: Any) -> Verdict:
    return verdict_for(response, scorer=settings.id, dimension=head.name, **fields)


class ClassifierScorer:
    """A classifier behind the `Scorer` protocol.

    Args:
        encoder: Makes token ids of prompts and responses.
        compute: Turns rows of ids into logits (rows × all classes), a row's never depending on
            the others.
        title: One line about it.
        details: Anything else worth telling.
        window: Responses taken at a time by `score_stream`.
    """

    def __init__(
        self,
        encoder: Encoder,
        compute: Callable[[Sequence[Encoded]], Logits],
        *,
        title: str = "a trained classifier, one head a dimension",
        details: Mapping[str, Any] | None = None,
        window: int = 1024,
    ) -> None:
        self.encoder = encoder
        self.settings = encoder.settings
        self.compute = compute
        self.window = window
        self.info = ScorerInfo(
            id=self.settings.id,
            title=title,
            taxonomy=self.settings.taxonomy,
            notes=self.settings.notes,
            details={**_details(self.settings), **(details or {})},
            learnt=_learnt(self.settings),
        )

    def read(self, pairs: Sequence[tuple[str, str]]) -> tuple[list[bool], Logits]:
        """Logits of pairs of prompt and response.

        Returns:
            Whether each input had to be shortened, and the logits (pairs × all classes).
        """
        rows = self.encoder.encode(pairs)
        logits = self.compute(rows) if rows else np.zeros((0, sum(self.settings.sizes)))
        return [row.truncated for row in rows], logits

    def score(self, responses: Sequence[Response]) -> list[Verdict]:
        """Judges a batch; see `flames.scorers.base.Scorer`."""
        reasons = [unscorable(response, self.settings) for response in responses]
        able = [r for r, reason in zip(responses, reasons, strict=True) if reason is None]
        shortened, logits = self.read([(r.prompt or "", r.response or "") for r in able])
        judged = (
            verdict_of(response, row, self.settings, truncated=truncated)
            for response, truncated, row in zip(able, shortened, logits, strict=True)
        )
        return [
            next(judged)
            if reason is None
            else verdict_for(
                response,
                scorer=self.settings.id,
                dimension=response.dimension or "",
                unscored=reason,
            )
            for response, reason in zip(responses, reasons, strict=True)
        ]


def _learnt(settings: ScorerSettings) -> tuple[TrainingLabels, ...]:
    data = settings.training_data
    if data is None:
        return ()
    return (TrainingLabels(settings.id, tuple(data.files.values()), data.models),)


def _details(settings: ScorerSettings) -> dict[str, Any]:
    data = settings.training_data
    return {
        "heads": {head.name: list(head.scale) for head in settings.heads},
        "template": settings.template,
        "max_length": settings.max_length,
        "truncation": settings.truncation,
        "pooling": settings.pooling,
        "training_data": data.model_dump() if data else None,
        "selftest": settings.selftest,
    }
