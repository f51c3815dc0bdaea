"""A scorer's verdicts, joined to labelled responses by key: a few numbers for each."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from flames.analysis.cost import SpendingTotal
from flames.metrics.codes import Codes, Numbers, Rows, extend_array, joint_codes, same_rows
from flames.metrics.columns import Coded
from flames.metrics.intervals import Array
from flames.metrics.whole_columns import WholeRows
from flames.records import Prompt, Verdict, asked_in
from flames.scorers.label_rows import LabelColumns, text_of
from flames.scorers.text_digests import TextDigests
from flames.storage.spill import Spill
from flames.taxonomy import Taxonomy

OTHER_TEXT = "verdict on another text"
NO_VERDICT = "no verdict"
_NAN = float("nan")
_NOTHING = -(2**62)


class Outcome(NamedTuple):
    """A score, or the reason why there is none."""

    score: int | None
    unscored: str | None


@dataclass(frozen=True)
class Judged:
    """What a scorer says of each labelled response, a row each.

    `chance` has the probability of the score, `chances_best` that of each best score, NaN where
    there is none. `scorer` is who gave the first verdict, `missing` counts responses without one.
    """

    outcomes: Sequence[Outcome]
    outcome: Codes
    chance: Array | None
    chances_best: Mapping[int, Array]
    scorer: str
    missing: int
    cost: dict[str, Any] | None


class Verdicts:
    """Verdicts as they are read, to be joined to labelled responses.

    Args:
        scorer: Who gave them all; as they say unless given.
    """

    def __init__(self, labels: LabelColumns, taxonomy: Taxonomy, scorer: str | None = None) -> None:
        self._labels = labels
        self._given_by = scorer
        self._prompts: dict[str, int] = {known: n for n, known in enumerate(labels.ids)}
        self._models: dict[str, int] = {}
        for part in labels.parts:
            self._models.setdefault(part.model, len(self._models))
        self._prompt, self._model = array("i"), array("i")
        self._sample = array("q")
        self._said: Coded[tuple[str, Outcome]] = Coded()
        self._texts = TextDigests()
        self._best = {str(each.best): each.best for each in taxonomy.dimensions}
        self._chances: dict[str | None, array[float]] = {}
        self._judging, self._spill = array("q"), Spill()

    def append(self, verdict: Verdict) -> None:
        """Adds a verdict."""
        rows = len(self._prompt)
        self._prompt.append(self._prompts.setdefault(verdict.prompt_id, len(self._prompts)))
        self._model.append(self._models.setdefault(verdict.model, len(self._models)))
        self._sample.append(verdict.sample)
        self._said.append(self._saying(verdict))
        self._texts.append(asked_in(verdict), text_of(verdict, "response"))
        given = verdict.probabilities
        if given and not self._chances:
            self._chances = {name: array("d", [_NAN]) * rows for name in (None, *self._best)}
        for name, column in self._chances.items():
            name = str(verdict.score) if name is None else name
            column.append((given or {}).get(name, _NAN))
        judging = verdict.extra.get("judging")
        if isinstance(judging, dict):
            self._judging.extend([_NOTHING] * (rows - len(self._judging)))
            self._judging.append(self._spill.add(judging))

    def _saying(self, verdict: Verdict) -> tuple[str, Outcome]:
        said = Outcome(verdict.score, None if verdict.score is not None else verdict.unscored)
        return self._given_by or verdict.scorer, said

    def extend(self, rows: WholeRows, known: Mapping[str, Prompt]) -> None:
        """Adds verdicts without texts but those of known prompts."""
        numbers = [self._prompts.setdefault(each, len(self._prompts)) for each in rows.ids]
        models = [self._models.setdefault(v.model, len(self._models)) for v in rows.examples]
        for column, codes, of in (
            (self._prompt, np.array(numbers, dtype=np.int32), rows.prompts),
            (self._model, np.array(models, dtype=np.int32), rows.kinds),
        ):
            extend_array(column, codes[of])
        extend_array(self._sample, rows.samples)
        self._said.extend(rows.kinds, list(map(self._saying, rows.examples)))
        self._texts.extend(rows.prompts, rows.ids, known)

    def joined(self) -> Judged:
        """Joins them; of several verdicts on a response, the last one counts."""
        labels, texts = self._labels, self._texts
        model_of = np.array([self._models[part.model] for part in labels.parts], dtype=np.int32)
        known = labels.prompts, model_of[labels.part], labels.samples
        at = self._last(same_rows(known, self._key()))
        there = at >= 0
        said = self._said.values
        outcomes = [
            *(each for _, each in said),
            Outcome(None, NO_VERDICT),
            Outcome(None, OTHER_TEXT),
        ]
        code = np.append(np.asarray(self._said.codes, dtype=np.int32), np.int32(len(said)))
        outcome = code[at]  # the last one where there is no verdict
        other = there & texts.differing(at, labels.texts)
        outcome[other] = len(said) + 1
        chances = {}
        for name, column in self._chances.items():
            chance = np.append(np.asarray(column), _NAN)[at]
            chances[name] = np.where(other, _NAN, chance)
        return Judged(
            outcomes=outcomes,
            outcome=outcome,
            chance=chances.pop(None, None),
            chances_best={self._best[name]: column for name, column in chances.items() if name},
            scorer=said[0][0] if said else "",
            missing=int(np.count_nonzero(~there)),
            cost=self._cost(),
        )

    def _last(self, rows: Numbers) -> Codes:
        """Returns the last verdict of each labelled response, -1 where there is none."""
        at = np.full(len(self._labels), -1, dtype=np.int32)
        places = np.arange(len(rows), dtype=np.int32)
        known = rows >= 0
        if known.all():
            at[rows] = places
        else:
            at[rows[known]] = places[known]
        return at

    def _key(self) -> tuple[Codes, Codes, Rows]:
        prompts, models = (np.asarray(each, dtype=np.int32) for each in (self._prompt, self._model))
        return prompts, models, np.asarray(self._sample, dtype=np.int64)

    def _cost(self) -> dict[str, Any] | None:
        """Adds up what the verdicts took, of several on a response the last one."""
        if not self._judging:
            return None
        _, first, code = np.unique(
            joint_codes(*self._key()), return_index=True, return_inverse=True
        )
        last = np.empty(len(first), dtype=np.int64)
        last[code] = np.arange(len(code))
        total = SpendingTotal()
        by = [name for name, _ in self._said.values]
        scorer = None
        for row in last[np.argsort(first)].tolist():
            scorer = scorer or by[self._said.codes[row]]
            place = self._judging[row] if row < len(self._judging) else _NOTHING
            if place != _NOTHING and by[self._said.codes[row]] == scorer:
                total.add(None, None, self._spill.get(place), decided=False)
        found = total.result(scorer or "")
        names = {"requests", "tokens_in", "tokens_out", "latency_s", "cost", "currency"}
        return found.model_dump(include=names) if found.requests else None


def on_two_levels(verdict: Verdict, scale: Sequence[int]) -> Verdict:
    """Returns a verdict as labels that know two levels would have it.

    By the rubric, what harms nothing is harmless there: all but the worst level become the best.
    """
    best, worst = max(scale), min(scale)
    if verdict.score is None:
        return verdict
    made: dict[str, Any] = {
        "score": worst if verdict.score == worst else best,
        "probabilities": None,
    }
    if given := verdict.probabilities:
        harmful = given.get(str(worst), 0.0)
        made["probabilities"] = {str(best): sum(given.values()) - harmful, str(worst): harmful}
    return verdict.model_copy(update=made)


def join_verdicts(
    labels: LabelColumns,
    verdicts: Iterable[Verdict] | Judged,
    taxonomy: Taxonomy,
    *,
    two_levels: bool = False,
) -> Judged:
    """Joins verdicts to labelled responses, unless they are.

    `two_levels` tells that the labels know no more than that.
    """
    if isinstance(verdicts, Judged):
        return verdicts
    found = Verdicts(labels, taxonomy)
    for verdict in verdicts:
        scale = taxonomy.dimension(verdict.dimension).scale
        found.append(on_two_levels(verdict, scale) if two_levels else verdict)
    return found.joined()
