"""Labels as columns: a few bytes for each, their texts in a temporary file."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple, overload

import numpy as np

from flames.metrics.codes import Codes, Rows, extend_array, first_rows, in_order, joint_codes
from flames.metrics.columns import Coded
from flames.metrics.whole_columns import WholeRows
from flames.records import Key, Prompt, Response, Status, Verdict, asked_in
from flames.scorers.base import majority
from flames.scorers.text_digests import TextDigests
from flames.storage.spill import Spill
from flames.taxonomy import Taxonomy
from flames.thinking import split_thinking
from flames.turns import HISTORY, Turn


@dataclass(frozen=True, slots=True)
class Labelled:
    """A response and its labels.

    `score` is the row's own score or, of several rows, that of more than half, if any; `votes` has
    each annotator's score by name, `where` is the file and line of the first label, `source` that
    file as the user named it.
    """

    response: Response
    score: int | None
    votes: Mapping[str, int]
    where: str
    source: str = ""

    @property
    def key(self) -> Key:
        """Prompt, model and sample."""
        return self.response.key

    @property
    def dimension(self) -> str:
        """The dimension that was judged."""
        return self.response.dimension or ""


class LabelledPart(NamedTuple):
    """What a labelled response is counted with."""

    model: str
    dimension: str
    subcomponent: str | None


class Opinion(NamedTuple):
    """What the labels of a response say together: the score that counts, and all scores."""

    score: int | None
    votes: tuple[int, ...]


@dataclass(frozen=True)
class LabelColumns:
    """The fields of labelled responses that figures are computed from, a column each.

    Prompts are numbered in the order in which they come.
    """

    ids: Sequence[str]
    prompts: Codes
    parts: Sequence[LabelledPart]
    part: Codes
    samples: Rows
    opinions: Sequence[Opinion]
    opinion: Codes
    texts: TextDigests

    def __len__(self) -> int:
        return len(self.prompts)

    @classmethod
    def of(cls, rows: Sequence[Labelled]) -> LabelColumns:
        """Returns the columns of labelled responses, which stored ones have already."""
        if isinstance(rows, StoredLabels):
            return rows.columns
        prompts: Coded[str] = Coded()
        parts: Coded[LabelledPart] = Coded()
        opinions: Coded[Opinion] = Coded()
        samples, texts = array("q"), TextDigests()
        for row in rows:
            response = row.response
            prompts.append(response.prompt_id)
            parts.append(LabelledPart(response.model, row.dimension, response.subcomponent))
            samples.append(response.sample)
            opinions.append(Opinion(row.score, tuple(row.votes.values())))
            texts.append(response.asked, response.response)
        return cls(
            ids=prompts.values,
            prompts=np.asarray(prompts.codes, dtype=np.int32),
            parts=parts.values,
            part=np.asarray(parts.codes, dtype=np.int32),
            samples=np.asarray(samples, dtype=np.int64),
            opinions=opinions.values,
            opinion=np.asarray(opinions.codes, dtype=np.int32),
            texts=texts,
        )


class Said(NamedTuple):
    """A label without what it is on: `file` is the name of its file, `source` the user's for it."""

    part: LabelledPart
    score: int | None
    votes: tuple[tuple[str, int], ...]
    scorer: str
    annotator: str | None
    file: str
    source: str

    @classmethod
    def of(cls, label: Verdict, file: str, source: str) -> Said:
        """Returns what a label says."""
        part = LabelledPart(label.model, label.dimension, label.subcomponent)
        votes = tuple(several_votes(label).items())
        return cls(part, label.score, votes, label.scorer, label.annotator, file, source)

    def add_to(self, votes: dict[str, int], place: str) -> None:
        """Adds the votes of a label of one response by annotator, namesakes with their place."""
        name = self.annotator or self.scorer
        name = f"{name} ({place})" if name in votes else name
        votes.update(self.votes or ({} if self.score is None else {name: self.score}))


class ReadLabels:
    """Labels in the order in which they are read, several of one response among them.

    Args:
        keep_texts: Whether responses may be wanted, not only the columns.
    """

    def __init__(self, *, keep_texts: bool) -> None:
        self.prompts: Coded[str] = Coded()
        self.said: Coded[Said] = Coded()
        self.samples, self.numbers = array("q"), array("i")
        self.texts = TextDigests()
        self._keep_texts, self._places, self._spill = keep_texts, array("q"), Spill()

    def __len__(self) -> int:
        return len(self.samples)

    def append(self, label: Verdict, number: int, file: str, source: str) -> None:
        """Adds a label, the file's `number`th."""
        self.prompts.append(label.prompt_id)
        self.said.append(Said.of(label, file, source))
        self.samples.append(label.sample)
        self.numbers.append(number)
        asked, text = asked_in(label), text_of(label, "response")
        self.texts.append(asked, text)
        if self._keep_texts:
            about = label.technique, label.expected, label.status
            turns = label.extra.get(HISTORY) or None
            kept = (*about, asked.text, asked.system, turns, text)
            self._places.append(self._spill.add(kept))

    def extend(
        self, rows: WholeRows, file: str, source: str, known: Mapping[str, Prompt]
    ) -> Counter[str]:
        """Adds labels without texts but those of known prompts; counts those without a score."""
        numbers = np.arange(1, len(rows.kinds) + 1, dtype=np.int32)
        prompts, ids, kinds, samples = rows.prompts, rows.ids, rows.kinds, rows.samples
        unscored: Counter[str] = Counter()
        scored = np.array([each.score is not None for each in rows.examples])
        if not scored.all():
            counts = np.bincount(kinds, minlength=len(scored)).tolist()
            for kind in np.flatnonzero(~scored).tolist():
                unscored[rows.examples[kind].unscored or ""] += counts[kind]
            kept = scored[kinds]
            numbers, kinds, samples = numbers[kept], kinds[kept], samples[kept]
            prompts, ids = in_order(prompts[kept], ids)
        self.prompts.extend(prompts, ids)
        self.said.extend(kinds, [Said.of(each, file, source) for each in rows.examples])
        extend_array(self.samples, samples)
        extend_array(self.numbers, numbers)
        self.texts.extend(prompts, ids, known)
        return unscored

    def response_of(self, label: int) -> Response:
        """Returns the response that a label is on; without its texts where they are not kept."""
        technique = expected = status = text = system = turns = response = None
        if self._keep_texts:
            kept = self._spill.get(self._places[label])
            technique, expected, status, text, system, turns, response = kept
        part = self.said.values[self.said.codes[label]].part
        whole: Status = "truncated" if status == "truncated" else "ok"
        return Response.model_construct(
            prompt_id=self.prompts.values[self.prompts.codes[label]],
            model=part.model,
            sample=self.samples[label],
            dimension=part.dimension,
            subcomponent=part.subcomponent,
            technique=technique,
            expected=expected,
            status=whole,
            response=response,
            prompt=text or None,
            system=system,
            history=tuple(map(Turn.model_validate, turns)) if turns else None,
        )

    def by_response(self) -> tuple[Rows, Rows] | None:
        """Returns the labels by response, and where those of each response start.

        Responses come in the order of their first labels, labels of one in the order of reading.
        None where each label is on a response of its own.
        """
        models: dict[str, int] = {}
        of_said = [models.setdefault(s.part.model, len(models)) for s in self.said.values]
        model = np.array(of_said, dtype=np.int32)[np.asarray(self.said.codes)]
        columns = np.asarray(self.prompts.codes), model, np.asarray(self.samples)
        key = joint_codes(*columns)
        key.sort()
        if (key[1:] != key[:-1]).all():
            return None
        key = joint_codes(*columns)
        order = np.argsort(key, kind="stable")
        new = np.diff(key[order], prepend=-1) != 0
        place = np.empty(int(new.sum()), dtype=np.int64)
        place[np.argsort(order[new])] = np.arange(len(place))
        response = np.empty(len(key), dtype=np.int64)
        response[order] = place[np.cumsum(new) - 1]
        counts = np.bincount(response)
        return np.argsort(response, kind="stable"), np.cumsum(counts) - counts


class Apart(NamedTuple):
    """A response, and the place of a label of it that is on something else than its first one."""

    row: int
    place: str


class StoredLabels(Sequence[Labelled]):
    """Labelled responses of which each is made anew when it is asked for; `columns` need none."""

    def __init__(self, read: ReadLabels) -> None:
        self._read = read
        self._several = read.by_response()

    def __len__(self) -> int:
        return len(self._read) if self._several is None else len(self._several[1])

    @overload
    def __getitem__(self, index: int) -> Labelled: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Labelled, ...]: ...

    def __getitem__(self, index: int | slice) -> Labelled | tuple[Labelled, ...]:
        if isinstance(index, slice):
            return tuple(map(self._made, range(*index.indices(len(self)))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"no labelled response {index} of {len(self):,}")
        return self._made(index % len(self))

    def _made(self, row: int) -> Labelled:
        labels = self._labels_of(row)
        said = [self._read.said.values[self._read.said.codes[label]] for label in labels]
        votes: dict[str, int] = {}
        for label, each in zip(labels, said, strict=True):
            each.add_to(votes, self.where(label))
        response, score = self._read.response_of(labels[0]), majority_of(said)
        return Labelled(response, score, votes, self.where(labels[0]), said[0].source)

    def _labels_of(self, row: int) -> list[int]:
        if self._several is None:
            return [row]
        labels, starts = self._several
        end = starts[row + 1] if row + 1 < len(self) else len(labels)
        found: list[int] = labels[starts[row] : end].tolist()
        return found

    def where(self, label: int) -> str:
        """Returns the place of a label."""
        file = self._read.said.values[self._read.said.codes[label]].file
        return f"{file}, label {self._read.numbers[label]}"

    def said(self) -> Counter[Said]:
        """Counts the labels by what they say, in the order they come."""
        said = np.asarray(self._read.said.codes, dtype=np.int32)
        said = said if self._several is None else said[self._several[0]]
        codes, found = in_order(said, self._read.said.values)
        return Counter(dict(zip(found, np.bincount(codes).tolist(), strict=True)))

    def off_scale(self, taxonomy: Taxonomy) -> Labelled | None:
        """Returns the first response with a vote that is no score of its dimension."""
        columns = self.columns
        code = joint_codes(columns.part, columns.opinion)
        for row in np.sort(first_rows(code, int(code.max()) + 1)[0]).tolist():
            scale = taxonomy.dimension(columns.parts[columns.part[row]].dimension).scale
            if not set(columns.opinions[columns.opinion[row]].votes) <= set(scale):
                return self._made(row)
        return None

    def apart(self) -> Apart | None:
        """Returns the first label that is on another text or dimension than an earlier one."""
        if self._several is None:
            return None
        labels, starts = self._several
        first = np.repeat(labels[starts], np.diff(starts, append=len(labels)))
        texts, said = self._read.texts, self._read.said
        known: dict[str, int] = {}
        of_said = [known.setdefault(s.part.dimension, len(known)) for s in said.values]
        dimension = np.array(of_said)[np.asarray(said.codes)]
        other = dimension[first] != dimension[labels]
        other |= texts.differing(labels, texts, first)
        if not other.any():
            return None
        place = int(np.argmax(other))
        row = int(np.searchsorted(starts, place, side="right")) - 1
        return Apart(row, self.where(int(labels[place])))

    @cached_property
    def columns(self) -> LabelColumns:
        """What figures are computed from."""
        read = self._read
        prompts, said = np.asarray(read.prompts.codes), np.asarray(read.said.codes)
        samples, texts = np.asarray(read.samples, dtype=np.int64), read.texts
        patterns: Sequence[Sequence[int]] = [(number,) for number in range(len(read.said.values))]
        opinion = said
        if self._several is not None:
            opinion, patterns = self._patterns(said, *self._several)
            first = self._several[0][self._several[1]]
            prompts, said, samples = prompts[first], said[first], samples[first]
            texts = texts.taken(first)
        opinions: Coded[Opinion] = Coded()
        for pattern in patterns:
            votes: dict[str, int] = {}
            given = [read.said.values[number] for number in pattern]
            for place, each in enumerate(given):
                each.add_to(votes, str(place))
            opinions.append(Opinion(majority_of(given), tuple(votes.values())))
        part_of: Coded[LabelledPart] = Coded()
        for each in read.said.values:
            part_of.append(each.part)
        part, parts = in_order(np.asarray(part_of.codes)[said], part_of.values)
        prompts, ids = in_order(prompts, read.prompts.values)
        opinion = np.asarray(opinions.codes)[opinion]
        return LabelColumns(ids, prompts, parts, part, samples, opinions.values, opinion, texts)

    def _patterns(self, said: Codes, labels: Rows, starts: Rows) -> tuple[Codes, list[list[int]]]:
        """Returns the number of what the labels of each response say, and all that they say."""
        counts = np.diff(starts, append=len(labels))
        code = said[labels[starts]].astype(np.int64)
        for place in range(1, int(counts.max())):
            more = counts > place
            following = np.zeros(len(code), dtype=np.int64)
            following[more] = said[labels[starts[more] + place]] + 1
            code = joint_codes(code, following)
        rows, code = first_rows(code, int(code.max()) + 1)
        patterns = [[int(said[label]) for label in self._labels_of(row)] for row in rows.tolist()]
        return code.astype(np.int32), patterns


def text_of(verdict: Verdict, name: str) -> str:
    """Returns a text that a verdict carries, a response without its thinking, as ours are read."""
    value = verdict.extra.get(name)
    value = value if isinstance(value, str) else ""
    return split_thinking(value).answer if name == "response" else value


def majority_of(labels: Iterable[Verdict] | Iterable[Said]) -> int | None:
    """Returns the score that most of the labels of one response give, if there is one."""
    return majority([label.score for label in labels if label.score is not None])


def several_votes(verdict: Verdict) -> dict[str, int]:
    """Returns the votes in the row of a label that has them of several annotators."""
    votes = verdict.extra.get("votes")
    if isinstance(votes, dict) and len(votes) > 1 and all(type(s) is int for s in votes.values()):
        return {str(who): score for who, score in votes.items()}
    return {}
