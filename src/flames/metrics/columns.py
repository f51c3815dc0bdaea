"""Verdicts as columns of numbers: a few bytes each, their texts in a temporary file."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from functools import cached_property
from operator import itemgetter
from typing import Any, Generic, Literal, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from flames.metrics.codes import Codes, Rows, extend_array
from flames.records import Key, Verdict
from flames.storage.spill import Spill

NO_SCORE = -(2**62)
"""What stands in the column of scores where there is none."""

_T = TypeVar("_T")


Field = Literal[
    "prompt_id", "model", "dimension", "subcomponent", "technique", "status", "scorer",
    "unscored", "annotator", "expected", "stance", "stance_by",
]  # fmt: skip
_KIND: tuple[Field, ...] = (
    "model", "dimension", "subcomponent", "technique", "status", "scorer",
    "unscored", "annotator", "expected", "stance", "stance_by",
)  # fmt: skip
_kind_of = itemgetter(*_KIND)
_NOTHING = -(2**62)
_WITHOUT = (None, None, None)
_ORDER = tuple(Verdict.model_fields)
_NAN = float("nan")
_DIGITS, _SCORES = 3, 128  # what scores of scales look like, and how many there may be


class Coded(Generic[_T]):
    """A column of values: each value once, and a number per row, in the order they first came."""

    def __init__(self) -> None:
        self.codes = array("i")
        self.code_of: dict[_T, int] = {}
        self.values: list[_T] = []

    def append(self, value: _T) -> None:
        """Adds a row."""
        code = self.code_of.get(value)
        if code is None:
            code = self.code_of[value] = len(self.values)
            self.values.append(value)
        self.codes.append(code)

    def extend(self, codes: Codes, values: Sequence[_T]) -> None:
        """Adds rows by the numbers that `codes` gives to `values`."""
        if not self.values:
            column = Coded.of_codes(codes, values)
            self.codes, self.code_of, self.values = column.codes, column.code_of, column.values
            return
        for value in values:
            if self.code_of.setdefault(value, len(self.values)) == len(self.values):
                self.values.append(value)
        numbers = np.array([self.code_of[value] for value in values], dtype=np.int32)
        extend_array(self.codes, numbers[codes])

    @classmethod
    def of_codes(cls, codes: Codes, values: Sequence[_T]) -> Coded[_T]:
        """Returns a column of numbers and what they stand for; equal values become one."""
        column = cls()
        column.code_of = dict(zip(values, range(len(values)), strict=True))
        if len(column.code_of) < len(values):
            column.code_of = {each: n for n, each in enumerate(dict.fromkeys(values))}
            numbers = [column.code_of[each] for each in values]
            codes = np.asarray(numbers, dtype=np.int32)[codes]
        column.values = list(column.code_of)
        extend_array(column.codes, codes.astype(np.int32, copy=False))
        return column

    def taken(self, rows: Rows) -> Coded[_T]:
        """Returns some of the rows, in the given order; values keep their numbers."""
        other = copy(self)
        other.codes = _picked(self.codes, rows)
        return other


class Columns:
    """The fields of verdicts that figures are computed from, a column each.

    What few different values there are of (dimension, status, …) stands in `kinds`, all together.
    """

    def __init__(self) -> None:
        self.prompts: Coded[str] = Coded()
        self.kinds: Coded[tuple[str | None, ...]] = Coded()
        self.samples = array("q")
        self.scores = array("q")
        self.given = array("b")  # whether there are probabilities
        self.chances: dict[str, array[float]] = {}  # by score; NaN without, 0 where it is not named

    @classmethod
    def of(cls, verdicts: Iterable[Verdict]) -> Columns:
        """Returns the columns of verdicts, which stored ones have already."""
        if isinstance(verdicts, StoredVerdicts):
            return verdicts.columns
        columns = cls()
        for verdict in verdicts:
            columns.append(verdict)
        return columns

    @classmethod
    def of_codes(
        cls, prompts: Coded[str], kinds: Codes, examples: Sequence[Verdict], samples: Rows
    ) -> Columns:
        """Returns the columns of verdicts that differ from an example in prompt and sample alone.

        Args:
            prompts: The prompts' ids, shape (rows,).
            kinds: The number of each row's example, shape (rows,).
            examples: Verdicts without probabilities.
            samples: Shape (rows,).
        """
        columns = cls()
        columns.prompts = prompts
        columns.kinds = Coded.of_codes(kinds, [_kind_of(vars(each)) for each in examples])
        columns.samples = array("q", samples.tobytes())
        scores = [NO_SCORE if each.score is None else each.score for each in examples]
        columns.scores = array("q", np.asarray(scores, dtype=np.int64)[kinds].tobytes())
        columns.given = array("b", bytes(len(kinds)))
        return columns

    def append(self, verdict: Verdict) -> None:
        """Adds a row."""
        fields = vars(verdict)
        self.prompts.append(fields["prompt_id"])
        self.kinds.append(_kind_of(fields))
        score = fields["score"]
        self.samples.append(fields["sample"])
        self.scores.append(NO_SCORE if score is None else score)
        given = fields["probabilities"]
        if given and not given.keys() <= self.chances.keys():
            self._know(given)
        self.given.append(1 if given else 0)
        for score, column in self.chances.items():
            column.append(given.get(score, 0.0) if given else _NAN)

    def _know(self, given: Mapping[str, float]) -> None:
        for name in given:
            new = name not in self.chances and len(self.chances) < _SCORES
            if new and name.isdecimal() and len(name) <= _DIGITS:
                before = np.where(np.asarray(self.given, dtype=bool), 0.0, _NAN)
                self.chances[name] = array("d", before.tobytes())

    def __len__(self) -> int:
        return len(self.scores)

    def codes(self, name: Field, rows: Rows | NDArray[np.bool_] | None = None) -> Codes:
        """Returns a column of texts as their numbers, of all rows or of some."""
        column = self.prompts.codes if name == "prompt_id" else self.kinds.codes
        chosen = np.asarray(column, dtype=np.int32)
        chosen = chosen if rows is None else chosen[rows]
        if name == "prompt_id":
            return chosen
        place, code_of = _KIND.index(name), {text: n for n, text in enumerate(self.texts(name))}
        known = np.array([code_of[kind[place]] for kind in self.kinds.values], dtype=np.int32)
        return np.asarray(known[chosen])

    def texts(self, name: Field) -> Sequence[str | None]:
        """Returns the different texts of a column by their numbers."""
        if name == "prompt_id":
            return self.prompts.values
        place = _KIND.index(name)
        return list(dict.fromkeys(kind[place] for kind in self.kinds.values))

    def chance_of(self, score: int, rows: Rows) -> NDArray[np.float64]:
        """Returns the probabilities of a score in some rows; NaN where a row has none at all."""
        if (known := self.chances.get(str(score))) is not None:
            return np.asarray(known, dtype=np.float64)[rows]
        return np.where(np.asarray(self.given, dtype=bool)[rows], 0.0, _NAN)

    def score_column(self) -> Rows:
        """Returns the scores, `NO_SCORE` where there is none."""
        return np.asarray(self.scores, dtype=np.int64)

    def rows_with(self, name: Field, texts: Iterable[str | None]) -> NDArray[np.bool_]:
        """Tells for each row whether its text is one of these."""
        wanted = set(texts)
        known = [code for code, text in enumerate(self.texts(name)) if text in wanted]
        return np.isin(self.codes(name), known)

    def rescored(self, scores: Rows) -> Columns:
        """Returns the same rows with other scores."""
        other = copy(self)
        other.scores = array("q", scores.tobytes())
        return other

    def taken(self, rows: Rows) -> Columns:
        """Returns some of the rows, in the given order; texts keep their numbers."""
        other = Columns()
        other.prompts, other.kinds = self.prompts.taken(rows), self.kinds.taken(rows)
        for column in ("samples", "scores", "given"):
            setattr(other, column, _picked(getattr(self, column), rows))
        other.chances = {score: _picked(column, rows) for score, column in self.chances.items()}
        return other


def _picked(column: array[Any], rows: Rows) -> array[Any]:
    return array(column.typecode, np.asarray(column)[rows].tobytes())


class StoredVerdicts(Sequence[Verdict]):
    """Verdicts of which each is made anew when it is asked for; `columns` need no making."""

    def __init__(self, verdicts: Iterable[Verdict] = ()) -> None:
        self.columns = Columns()
        self._places = array("q")
        self._spill = Spill()
        for verdict in verdicts:
            self.append(verdict)

    @classmethod
    def of_columns(cls, columns: Columns) -> StoredVerdicts:
        """Returns verdicts that have nothing outside their columns."""
        stored = cls()
        stored.columns = columns
        stored._places = array("q", [_NOTHING]) * len(columns)
        return stored

    def append(self, verdict: Verdict) -> None:
        """Adds a verdict."""
        self.columns.append(verdict)
        fields = vars(verdict)
        rest = (fields["rationale"], fields["probabilities"], verdict.extra or None)
        self._places.append(_NOTHING if rest == _WITHOUT else self._spill.add(rest))

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, index: int) -> Verdict: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Verdict, ...]: ...

    def __getitem__(self, index: int | slice) -> Verdict | tuple[Verdict, ...]:
        if isinstance(index, slice):
            return tuple(map(self._made, range(*index.indices(len(self)))))
        if not -len(self) <= index < len(self):
            raise IndexError(f"no verdict {index} of {len(self):,}")
        return self._made(index % len(self))

    def __iter__(self) -> Iterator[Verdict]:
        return map(self._made, range(len(self)))

    def rest(self, row: int) -> tuple[str | None, dict[str, float] | None, dict[str, Any]]:
        """Returns what a verdict has outside the columns: rationale, probabilities, the unknown."""
        place = self._places[row]
        rationale, probabilities, extra = _WITHOUT if place == _NOTHING else self._spill.get(place)
        return rationale, probabilities, extra or {}

    def _made(self, row: int) -> Verdict:
        columns = self.columns
        kind = columns.kinds.values[columns.kinds.codes[row]]
        fields: dict[str, Any] = dict(zip(_KIND, kind, strict=True))
        fields["prompt_id"] = columns.prompts.values[columns.prompts.codes[row]]
        score = columns.scores[row]
        fields["sample"] = columns.samples[row]
        fields["score"] = None if score == NO_SCORE else score
        fields["rationale"], fields["probabilities"], extra = self.rest(row)
        return Verdict.rebuilt({name: fields[name] for name in _ORDER}, extra)

    def taken(self, rows: Rows) -> StoredVerdicts:
        """Returns some of the verdicts, in the given order."""
        other = StoredVerdicts()
        other.columns = self.columns.taken(rows)
        other._places = array("q", np.asarray(self._places)[rows].tobytes())
        other._spill = self._spill
        return other

    def row_of(self, key: Key) -> int | None:
        """Returns the row of a key, None if there is none."""
        prompt = self.columns.prompts.code_of.get(key.prompt_id)
        if prompt is None:
            return None
        order, prompts, samples = self._by_key
        start, end = np.searchsorted(prompts, [prompt, prompt + 1])
        first, last = start + np.searchsorted(samples[start:end], [key.sample, key.sample + 1])
        kinds, place = self.columns.kinds, _KIND.index("model")
        rows = order[first:last].tolist()
        return next(
            (row for row in rows if kinds.values[kinds.codes[row]][place] == key.model), None
        )

    @cached_property
    def _by_key(self) -> tuple[Rows, Codes, Rows]:
        codes, samples = self.columns.codes("prompt_id"), np.asarray(self.columns.samples)
        order = np.lexsort((samples, codes))
        return order, codes[order], samples[order]
