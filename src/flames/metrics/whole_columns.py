"""Verdicts without texts from Parquet, as whole columns: no row is made into a record.

What few different values there are of all fields but prompt and sample goes through the ordinary
reader, once for each combination, with the first row that has it. So names, rules and messages are
those of every other file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flames.errors import InputError
from flames.metrics.codes import first_rows, in_order, joint_codes
from flames.metrics.columns import Coded, Columns
from flames.records import Prompt, Verdict
from flames.storage.foreign.parquet import opened, plain
from flames.storage.record_files import VERDICT_KEY, ReadOptions, verdict_of

Codes = NDArray[np.int32]
Ints = NDArray[np.int64]
Group = tuple[str, str, str | None]
"""Model, scorer and annotator."""

_BATCH = 1 << 19
_TEXTS = frozenset(
    "prompt_id model dimension subcomponent technique expected status scorer unscored annotator "
    "stance stance_by".split()
)
_NEEDED = frozenset({"prompt_id", "score", "scorer"})
_FROM_PROMPT = ("dimension", "subcomponent", "technique", "expected")


@dataclass(frozen=True)
class WholeRows:
    """Rows of a file in its order: the numbers of prompt and example of each, and its sample.

    Prompts and examples are numbered as they first come; an example is the verdict of the first row
    that has its fields.
    """

    prompts: Codes
    ids: Sequence[str]
    kinds: Codes
    examples: list[Verdict]
    samples: Ints


def whole_rows(path: Path, options: ReadOptions) -> WholeRows | None:
    """Returns the rows of a file; None where they have to be read one by one.

    That is where the file is no Parquet file, holds texts or other fields of its own, is read under
    other names, has no rows, or leaves samples to be numbered.

    Raises:
        InputError: A row is no verdict, or stands there twice; names one such row.
    """
    read = _reading(path, options)
    if read is None or (options.numbered and not read.with_samples):
        return None
    columns = _columns(read)
    if columns is None:
        return None
    prompts, kinds, samples = columns
    _refuse_repeated(path, _groups(read.examples, kinds)[1], prompts, samples)
    prompts, ids = in_order(prompts, list(read.prompts.number_of))
    return WholeRows(prompts, ids, kinds, read.examples, samples)


def whole_columns(
    path: Path, options: ReadOptions, keep: Callable[[Verdict], Verdict]
) -> Iterator[tuple[Group, Columns]] | None:
    """Returns the columns of each model, scorer and annotator of a file, in the order they come.

    None where rows have to be read one by one, as `whole_rows` has it.

    Args:
        keep: What is kept of a verdict.

    Raises:
        InputError: A row is no verdict, or stands there twice; names one such row.
    """
    read = _reading(path, options)
    return None if read is None else _grouped(read, keep)


def _reading(path: Path, options: ReadOptions) -> _Read | None:
    if options.mapping or path.suffix.lower() != ".parquet" or not path.is_file():
        return None
    with opened(path) as file:
        from pyarrow import types

        names = set(file.schema_arrow.names)
        if not _NEEDED <= names <= _TEXTS | {"sample", "score"}:
            return None
        if not all(map(_is_simple, file.schema_arrow)):
            return None
        coded = [each.name for each in file.schema_arrow if types.is_string(each.type)]
    return _Read(path, options.named(path), coded, "sample" in names)


def _is_simple(column: Any) -> bool:
    from pyarrow import types

    if column.name in _TEXTS:
        kind = column.type.value_type if types.is_dictionary(column.type) else column.type
        return any((types.is_string(kind), types.is_large_string(kind), types.is_null(kind)))
    if column.name == "score" and types.is_floating(column.type):  # as pandas has it with gaps
        return True
    return bool(types.is_integer(column.type))


@dataclass
class _Read:
    """What has been read: prompts and examples with their numbers."""

    path: Path
    options: ReadOptions
    coded: Sequence[str]
    with_samples: bool
    examples: list[Verdict] = field(default_factory=list)
    example_of: dict[tuple[Any, ...], int] = field(default_factory=dict)

    @cached_property
    def prompts(self) -> _Prompts:
        """The prompts that have come so far."""
        return _Prompts(self.options.prompts)

    def example(self, fields: dict[str, Any], sort: int, line: int) -> int:
        """Returns the number of a combination; it is read when it comes for the first time."""
        key = (sort, *(v for k, v in fields.items() if k not in ("prompt_id", "sample")))
        found = self.example_of.get(key)
        if found is None:
            found = self.example_of[key] = len(self.examples)
            self.examples.append(verdict_of(fields, line, self.options, self.path))
        return found


class _Prompts:
    """Ids of prompts by numbers; an id is made into a text once, however many batches have it.

    `sorts` tells by number what a row may take from its prompt, as a number too, 0 for nothing.
    """

    def __init__(self, known: Mapping[str, Prompt]) -> None:
        self.number_of: dict[str, int] = {}
        self.sorts = np.zeros(0, dtype=np.int64)
        self.sort_of: dict[tuple[Any, ...] | None, int] = {None: 0}
        self._known = known
        self._ids: Any = None  # as they stand in the file
        self._numbers = np.empty(0, dtype=np.int32)

    def numbered(self, ids: Any) -> Codes:
        """Returns the numbers of an array of ids, -1 where there is none."""
        from pyarrow import compute, concat_arrays

        before = ids.slice(0, 0) if self._ids is None else self._ids
        if ids.slice(0, len(before)).equals(before):  # a file's dictionary grows as it is read
            places, new = np.arange(len(ids)), ids.slice(len(before))
        else:
            found = compute.index_in(ids, value_set=before)
            places, new = _ints(found, -1), ids.filter(found.is_null())
            places = np.where(places < 0, len(before) - 1 + np.cumsum(places < 0), places)
        if len(new):
            self._ids = concat_arrays([before, new])
            self._add([(text or "").strip() for text in new.to_pylist()])
        return self._numbers[places]

    def _add(self, texts: Sequence[str]) -> None:
        number_of, start = self.number_of, len(self.number_of)
        added = dict(zip(texts, range(start, start + len(texts)), strict=True))
        if len(added) == len(texts) and "" not in added and number_of.keys().isdisjoint(added):
            number_of |= added
            numbers = np.arange(start, len(number_of))
        else:  # spaces around them made two of one, or nothing of one
            found = [number_of.setdefault(t, len(number_of)) if t else -1 for t in texts]
            numbers = np.asarray(found)
        self._numbers = np.append(self._numbers, numbers.astype(np.int32))
        self.sorts = np.zeros(len(number_of), dtype=np.int64)
        for text, known in self._known.items():
            if (number := number_of.get(text)) is not None:
                filled = tuple(getattr(known, name) for name in _FROM_PROMPT)
                self.sorts[number] = self.sort_of.setdefault(filled, len(self.sort_of))


def _groups(examples: Sequence[Verdict], kinds: Codes) -> tuple[dict[Group, int], Codes]:
    """Returns the groups by number, and that of each row."""
    groups: dict[Group, int] = {}
    named = ((each.model, each.scorer, each.annotator) for each in examples)
    of_example = [groups.setdefault(each, len(groups)) for each in named]
    return groups, np.asarray(of_example, dtype=np.int32)[kinds]


def _grouped(read: _Read, keep: Callable[[Verdict], Verdict]) -> Iterator[tuple[Group, Columns]]:
    columns = _columns(read)
    if columns is None:
        raise InputError("holds no verdicts", path=read.path)
    prompts, kinds, samples = columns
    groups, group = _groups(read.examples, kinds)
    _refuse_repeated(read.path, group, prompts, samples)
    texts, kept = list(read.prompts.number_of), list(map(keep, read.examples))
    for key, number in groups.items():
        rows = np.flatnonzero(group == number) if len(groups) > 1 else slice(None)
        ids = Coded.of_codes(*in_order(prompts[rows], texts))
        yield key, Columns.of_codes(ids, *in_order(kinds[rows], kept), samples[rows])


def _columns(read: _Read) -> tuple[Codes, Codes, Ints] | None:
    """Returns the prompts, examples and samples of all rows, a number each; None without rows."""
    with opened(read.path, read.coded) as file:
        size, line = file.metadata.num_rows, 1
        prompts, kinds = np.empty(size, dtype=np.int32), np.empty(size, dtype=np.int32)
        samples = np.empty(size, dtype=np.int64)
        for batch in file.iter_batches(batch_size=_BATCH):
            columns = dict(zip(batch.schema.names, batch.columns, strict=True))
            rows = slice(line - 1, line - 1 + len(batch))
            prompts[rows], sorts = _prompts(columns["prompt_id"], read, line)
            kinds[rows] = _examples(columns, sorts, read, line)
            samples[rows] = _samples(columns, read, line)
            line += len(batch)
    return (prompts, kinds, samples) if size else None


def _prompts(column: Any, read: _Read, line: int) -> tuple[Codes, Ints]:
    """Returns the prompt of each row, and what the row may take from it."""
    encoded = column.dictionary_encode()
    numbers = np.append(read.prompts.numbered(encoded.dictionary), np.int32(-1))
    prompts = numbers[_numbers(encoded)]
    bad = np.flatnonzero(prompts < 0)
    if len(bad):
        what = "needs `prompt`, or the `prompt_id` of a known prompt"
        raise InputError(what, path=read.path, line=line + int(bad[0]))
    return prompts, read.prompts.sorts[prompts]


def _numbers(encoded: Any) -> Ints:
    """Returns the numbers of a dictionary's texts; one more than the last where there is none."""
    return _ints(encoded.indices, len(encoded.dictionary))


def _ints(column: Any, missing: int) -> Ints:
    """Returns whole numbers from Arrow, whose own way imports pandas, which takes a second."""
    there, numbers = column.buffers()
    rows = slice(column.offset, column.offset + len(column))
    found = np.frombuffer(numbers or b"", dtype=column.type.to_pandas_dtype())[rows]
    if column.null_count:
        bits = np.frombuffer(there, dtype=np.uint8)
        known = np.unpackbits(bits, bitorder="little")[rows].astype(bool)
        found = np.where(known, found, missing)
    return found.astype(np.int64, copy=False)


def _examples(columns: Mapping[str, Any], sorts: Ints, read: _Read, line: int) -> Codes:
    """Returns the number of each row's combination of fields."""
    code, size = sorts, len(read.prompts.sort_of)
    for name, column in columns.items():
        if name in ("prompt_id", "sample"):
            continue
        encoded = column.dictionary_encode()
        more = len(encoded.dictionary) + 1
        if size * more > 2**62:
            code = np.unique(code, return_inverse=True)[1]
            size = int(code.max()) + 1
        code, size = code * more + _numbers(encoded), size * more
    first, code = first_rows(code, size)
    numbers = np.empty(len(first), dtype=np.int32)
    for place in np.argsort(first).tolist():
        row = int(first[place])
        fields = {name: plain(column[row].as_py(), name) for name, column in columns.items()}
        numbers[place] = read.example(fields, int(sorts[row]), line + row)
    return np.asarray(numbers[code])


def _samples(columns: Mapping[str, Any], read: _Read, line: int) -> Ints:
    if "sample" not in columns:
        return np.zeros(len(columns["prompt_id"]), dtype=np.int64)
    found = _ints(columns["sample"], 0)
    bad = np.flatnonzero(found < 0)
    if len(bad):
        what = f"must be 0 or more, got {found[bad[0]]}"
        raise InputError(what, path=read.path, line=line + int(bad[0]), field="sample")
    return found


def _refuse_repeated(path: Path, *parts: Any) -> None:
    """Refuses a second row with the same numbers."""
    ordered = joint_codes(*parts)
    ordered.sort()
    twice = ordered[1:][ordered[1:] == ordered[:-1]]
    if not len(twice):
        return
    key = joint_codes(*parts)
    lines: dict[int, int] = {}
    for row in np.flatnonzero(np.isin(key, twice)).tolist():
        earlier = lines.setdefault(int(key[row]), row + 1)
        if earlier != row + 1:
            raise InputError(f"same {VERDICT_KEY} as line {earlier}", path=path, line=row + 1)
