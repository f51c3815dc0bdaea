"""What labels and verdicts say together of each response: few different things, by number."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from flames.analysis.judged import Judged
from flames.metrics.codes import Codes, Rows, first_rows, in_order, joint_codes
from flames.metrics.intervals import Array
from flames.metrics.outcomes import Outcomes
from flames.scorers.label_rows import LabelColumns
from flames.taxonomy import Taxonomy

Group = TypeVar("Group", bound=Hashable)


class Judgement(NamedTuple):
    """What a label and a verdict say of a response, beside its prompt and the probabilities.

    `majority` and `majority_part` are the most frequent labels of its dimension and subcomponent,
    `usual` and `usual_part` whether most responses there are harmless.
    """

    model: str
    dimension: str
    best: int  # score of the dimension
    label: int
    score: int | None
    unscored: str | None
    majority: int
    subcomponent: str = ""
    majority_part: int = 0
    usual: bool = True
    usual_part: bool = True


@dataclass(frozen=True)
class Judgements:
    """Labelled responses with their verdicts, in the order of the labels.

    A row stands for as many responses as `times` says, for one unless given. `chance` has the
    probability of the score, `chance_best` that of the best one, NaN where there is none; both are
    None where no verdict has any. `kinds` come in the order of the rows.
    """

    ids: Sequence[str]
    prompts: Codes
    kinds: Sequence[Judgement]
    kind: Codes
    chance: Array | None = None
    chance_best: Array | None = None
    times: Rows | None = None

    def __len__(self) -> int:
        return len(self.prompts) if self.times is None else int(self.times.sum())

    def by_kind(self) -> list[tuple[Judgement, int]]:
        """Returns the kinds in the order in which they come, and how many responses each has."""
        counts = np.bincount(self.kind, weights=self.times, minlength=len(self.kinds))
        return list(zip(self.kinds, counts.astype(np.int64).tolist(), strict=True))

    def outcomes(self, values: Array) -> Outcomes:
        """Adds up values of the kinds, shape (kinds, columns), by prompt."""
        return Outcomes.of_kinds(values, self.kind, self.prompts, self.times)

    def those(self, wanted: Callable[[Judgement], object]) -> Judgements:
        """Returns the rows of some kinds."""
        kept = np.array([bool(wanted(kind)) for kind in self.kinds], dtype=bool)
        if kept.all():
            return self
        return self.taken(np.flatnonzero(kept[self.kind]))

    def taken(self, rows: Rows) -> Judgements:
        """Returns some of the rows, in the given order."""
        kind, kinds = in_order(self.kind[rows], self.kinds)
        return Judgements(
            ids=self.ids,
            prompts=self.prompts[rows],
            kinds=kinds,
            kind=kind,
            chance=None if self.chance is None else self.chance[rows],
            chance_best=None if self.chance_best is None else self.chance_best[rows],
            times=None if self.times is None else self.times[rows],
        )

    def counted(self) -> Judgements:
        """Puts equal rows together, if there are no probabilities, in which rows differ."""
        if self.chance is not None:
            return self
        code = joint_codes(self.prompts, self.kind)
        first, place = first_rows(code, int(code.max()) + 1)
        order = np.argsort(first)
        rows = first[order]
        times = np.bincount(place)[order]
        return Judgements(self.ids, self.prompts[rows], self.kinds, self.kind[rows], times=times)

    def scored(self) -> Judgements:
        """Returns those that have a score."""
        return self.those(lambda kind: kind.score is not None)

    def unscored(self) -> dict[str, int]:
        """Counts those that have none by reason, in the order in which they come."""
        found: Counter[str] = Counter()
        for kind, n in self.by_kind():
            if kind.score is None:
                found[kind.unscored or ""] += n
        return dict(found)


class Voted(NamedTuple):
    """The labels of a response that has several, with a majority or without, and its score."""

    model: str
    dimension: str
    subcomponent: str
    votes: tuple[int, ...]
    score: int | None  # the scorer's


@dataclass(frozen=True)
class Votes:
    """Responses with several labels, a row each."""

    prompts: Codes
    kinds: Sequence[Voted]
    kind: Codes

    def __len__(self) -> int:
        return len(self.prompts)

    def those(self, wanted: Callable[[Voted], object]) -> Votes:
        """Returns the rows of some kinds."""
        kept = np.array([bool(wanted(kind)) for kind in self.kinds], dtype=bool)
        rows = np.flatnonzero(kept[self.kind])
        return Votes(self.prompts[rows], self.kinds, self.kind[rows])


def decided_rows(labels: LabelColumns) -> Rows:
    """Returns the rows whose labels have a majority."""
    decided = np.array([opinion.score is not None for opinion in labels.opinions])
    return np.flatnonzero(decided[labels.opinion])


def most_frequent(labels: Iterable[tuple[Group, int, int]]) -> dict[Group, int]:
    """Returns the most frequent score per group; of two equally frequent, the higher.

    Each item has a group, a score, and how many of it there are.
    """
    counts: dict[Group, Counter[int]] = {}
    for group, score, n in labels:
        counts.setdefault(group, Counter())[score] += n
    return {group: max(seen, key=lambda s: (seen[s], s)) for group, seen in counts.items()}


def usual_harmless(groups: Iterable[tuple[Hashable, bool, int]]) -> Mapping[Hashable, bool]:
    """Returns per group whether most of its responses are harmless; of a draw, that they are.

    Each item has a group, whether responses are harmless, and how many of them there are.
    """
    counts: dict[Hashable, Counter[bool]] = {}
    for group, harmless, n in groups:
        counts.setdefault(group, Counter())[harmless] += n
    return {group: seen[True] >= seen[False] for group, seen in counts.items()}


def judgements_of(
    labels: LabelColumns,
    given: Judged,
    rows: Rows,
    taxonomy: Taxonomy,
    majority: Mapping[str, int] | None = None,
) -> Judgements:
    """Puts together what is known of some rows; `majority` is that of the rows unless given."""
    code = joint_codes(
        *(_picked(each, rows) for each in (labels.part, labels.opinion, given.outcome))
    )
    first, code = first_rows(code, int(code.max()) + 1)
    kind, places = in_order(code.astype(np.int32), first.tolist())
    del code
    said = []
    for row, n in zip(rows[list(places)].tolist(), np.bincount(kind).tolist(), strict=True):
        part = labels.parts[labels.part[row]]
        label = labels.opinions[labels.opinion[row]].score
        assert label is not None
        said.append((part, label, given.outcomes[given.outcome[row]], n))
    best = {part.dimension: taxonomy.dimension(part.dimension).best for part, *_ in said}
    usual_labels = dict(majority or most_frequent((p.dimension, s, n) for p, s, _, n in said))
    names = [((p.dimension, p.subcomponent or ""), s, n) for p, s, _, n in said]
    part_labels = most_frequent(names)
    usual = usual_harmless(
        (key, label == best[part[0]], n) for part, label, n in names for key in (part[0], part)
    )
    kinds = [
        Judgement(
            model=part.model,
            dimension=part.dimension,
            best=best[part.dimension],
            label=label,
            score=outcome.score,
            unscored=outcome.unscored,
            majority=usual_labels.get(part.dimension, label),
            subcomponent=name[1],
            majority_part=part_labels[name],
            usual=usual[part.dimension],
            usual_part=usual[name],
        )
        for (part, label, outcome, _), (name, *_) in zip(said, names, strict=True)
    ]
    chance, chance_best = _chances(given, rows, kinds, kind)
    prompts = _picked(labels.prompts, rows)
    return Judgements(labels.ids, prompts, kinds, kind, chance, chance_best).counted()


def _picked(column: Codes, rows: Rows) -> Codes:
    """Returns some rows, in their order; all without a copy."""
    return column if len(rows) == len(column) else column[rows]


def _chances(
    given: Judged, rows: Rows, kinds: Sequence[Judgement], kind: Codes
) -> tuple[Array | None, Array | None]:
    """Returns the probabilities of the scores and of the best ones, None where there are none."""
    if given.chance is None:
        return None, None
    best = np.full(len(rows), np.nan)
    for score, column in given.chances_best.items():
        there = np.array([each.best == score for each in kinds])[kind]
        best[there] = column[rows[there]]
    return given.chance[rows], best


def votes_of(labels: LabelColumns, given: Judged) -> Votes:
    """Returns the responses with several labels."""
    several = np.array([len(opinion.votes) > 1 for opinion in labels.opinions])
    rows = np.flatnonzero(several[labels.opinion])
    if not len(rows):
        return Votes(labels.prompts[:0], (), labels.prompts[:0])
    code = joint_codes(labels.part[rows], labels.opinion[rows], given.outcome[rows])
    first, code = first_rows(code, int(code.max()) + 1)
    kinds = []
    for row in rows[first].tolist():
        part = labels.parts[labels.part[row]]
        votes = labels.opinions[labels.opinion[row]].votes
        score = given.outcomes[given.outcome[row]].score
        kinds.append(Voted(part.model, part.dimension, part.subcomponent or "", votes, score))
    return Votes(labels.prompts[rows], kinds, code.astype(np.int32))
