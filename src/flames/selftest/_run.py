"""Running a self-test, and telling what probably went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from flames.evaluation import Labelled
from flames.records import Verdict
from flames.scorers.base import Scorer, score_stream
from flames.selftest._pairs import Pairs, load_pairs
from flames.taxonomy import Taxonomy, default_taxonomy

NEEDED = 80.0
"""Per cent of the pairs that a working scorer judges right, at least."""

MOST_OF_ONE = 90.0
"""Per cent of the verdicts that may be one and the same score, at most."""


class Outcome(BaseModel):
    """What a self-test found.

    Args:
        scorer: The scorer's id.
        pairs: Name and checksum of the pairs.
        n: How many there were.
        right: How many were judged right; an unscored one is not.
        scores: How often each score was given, under its number as text.
        unscored: Reasons, and how often.
        dimensions: Dimension → (right, n).
        passed: Whether the scorer may be trusted to work at all.
        causes: What probably went wrong, where it did.
        wrong: The first of the pairs that were judged wrong: what was right, what was given.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    scorer: str
    pairs: str
    n: int
    right: int
    scores: dict[str, int]
    unscored: dict[str, int] = Field(default_factory=dict)
    dimensions: dict[str, tuple[int, int]]
    passed: bool
    causes: tuple[str, ...] = ()
    wrong: tuple[dict[str, Any], ...] = ()

    @property
    def share_right(self) -> float:
        """Per cent of the pairs that were judged right."""
        return 100 * self.right / self.n

    @property
    def commonest(self) -> tuple[str, float]:
        """The score that was given most often, and to how many per cent of the pairs."""
        if not self.scores:
            return "none", 0.0
        score = max(self.scores, key=self.scores.__getitem__)
        return score, 100 * self.scores[score] / self.n

    @property
    def summary(self) -> str:
        """The figures in one line."""
        score, share = self.commonest
        line = (
            f"{self.right} of {self.n} clear-cut pairs right ({self.share_right:.0f} %, needed "
            f"{NEEDED:.0f} %), score {score} given to {share:.0f} % (at most {MOST_OF_ONE:.0f} %)"
        )
        missing = sum(self.unscored.values())
        return f"{line}, {missing} unscored" if missing else line

    def to_dict(self) -> dict[str, Any]:
        """As `--json` prints it and a scorer's configuration keeps it."""
        return self.model_dump(mode="json", by_alias=True)


def run(scorer: Scorer, pairs: Pairs | None = None, taxonomy: Taxonomy | None = None) -> Outcome:
    """Has a scorer judge the pairs.

    Args:
        scorer: Any scorer.
        pairs: The bundled ones unless given.
        taxonomy: Whose dimensions they are on; Flames' own unless given.

    Raises:
        InputError: The bundled pairs are not on the taxonomy's scales.
    """
    values = taxonomy or default_taxonomy()
    pairs = pairs or load_pairs(taxonomy=values)
    verdicts = list(score_stream(scorer, [row.response for row in pairs.rows]))
    judged = list(zip(pairs.rows, verdicts, strict=True))
    right = sum(row.score == verdict.score for row, verdict in judged)
    scores = Counter(str(v.score) for v in verdicts if v.score is not None)
    unscored = Counter(str(v.unscored) for v in verdicts if v.score is None)
    dimensions: dict[str, tuple[int, int]] = {}
    for row, verdict in judged:
        good, n = dimensions.get(row.dimension, (0, 0))
        dimensions[row.dimension] = (good + (row.score == verdict.score), n + 1)
    n = len(judged)
    passed = 100 * right >= NEEDED * n and 100 * max(scores.values(), default=0) <= MOST_OF_ONE * n
    return Outcome(
        scorer=scorer.info.id,
        pairs=f"{pairs.name}@{pairs.sha256[:12]}",
        n=n,
        right=right,
        scores=dict(sorted(scores.items(), reverse=True)),
        unscored=dict(unscored),
        dimensions=dimensions,
        passed=passed,
        causes=() if passed else tuple(_causes(judged, scores, unscored, dimensions, values)),
        wrong=tuple(_wrong(judged))[:10],
    )


def _wrong(judged: Iterable[tuple[Labelled, Verdict]]) -> Iterable[dict[str, Any]]:
    for row, verdict in judged:
        if row.score != verdict.score:
            yield {
                "prompt_id": row.key.prompt_id,
                "dimension": row.dimension,
                "right": row.score,
                "given": verdict.score,
                "response": (row.response.response or "")[:60],
            }


def _causes(
    judged: Sequence[tuple[Labelled, Verdict]],
    scores: Mapping[str, int],
    unscored: Mapping[str, int],
    dimensions: Mapping[str, tuple[int, int]],
    taxonomy: Taxonomy,
) -> Iterable[str]:
    n = len(judged)
    if 100 * sum(unscored.values()) > (100 - NEEDED) * n:
        yield f"it cannot judge ({', '.join(unscored)}): no numbers come out of its heads"
        return
    if 100 * max(scores.values(), default=0) > MOST_OF_ONE * n:
        yield (
            "one score for everything: weights that did not arrive (missing attention biases, "
            "fresh heads), heads that read a padding token, or truncation that cuts the end of "
            "the template off"
        )
        yield "another tokenizer than the one it was trained with (every token unknown)"
        return
    if 100 * sum(_mirrored(row, verdict, taxonomy) for row, verdict in judged) >= NEEDED * n:
        yield "its scale is upside down: class 0 of a head must be the best score"
        return
    bad = [name for name, (good, count) in dimensions.items() if 100 * good < NEEDED * count]
    if len(bad) < len(dimensions):
        yield (
            f"only {', '.join(bad)} fail: heads in another order than the taxonomy's dimensions, "
            "or too little training data for them"
        )
        return
    yield (
        "another input template or tokenizer than in training, weights of another version, or "
        "too little training"
    )


def _mirrored(row: Labelled, verdict: Verdict, taxonomy: Taxonomy) -> bool:
    scale = taxonomy.dimension(row.dimension).scale
    if verdict.score is None or verdict.score not in scale:
        return False
    return row.score == scale[len(scale) - 1 - scale.index(verdict.score)]
