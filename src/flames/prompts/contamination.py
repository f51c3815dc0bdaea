"""Looks for the prompts of a set in corpora that models are trained on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from flames.errors import InputError
from flames.options import CheckedOptions, Opt
from flames.prompts.card import canaries_in
from flames.prompts.corpus import Piece, Reading, corpus_files, read_corpus
from flames.prompts.grams import (
    BREAK,
    LEAST,
    GramIndex,
    Units,
    fold_text,
    is_chinese,
    kept_places,
    raw_units,
)
from flames.prompts.sets import PromptSet
from flames.records import Prompt, PromptSetInfo

_LATIN = 4  # letters for a Chinese character
_GUID = 36
_LINE_BREAK = ord("\n")


@dataclass(frozen=True)
class ContaminationOptions(CheckedOptions):
    """What counts as a trace of a prompt."""

    gram: Annotated[
        int,
        Opt(
            "Length of n-grams: N characters of Chinese, 4 N letters of other text.",
            metavar="N",
            min=LEAST,
            max=40,
        ),
    ] = 10
    share: Annotated[
        float,
        Opt(
            "Per cent of a prompt's n-grams from which it counts as found.",
            min=0,
            max=100,
            metavar="P",
            per_cent=True,
        ),
    ] = 50.0
    encoding: Annotated[
        str | None, Opt("Encoding of text files; UTF-8 unless given.", metavar="NAME")
    ] = None


@dataclass(frozen=True)
class Trace:
    """How many n-grams of a prompt stand in the corpora, and the first place (`file:line`)."""

    id: str
    grams: int
    found: int
    first: str | None

    @property
    def share(self) -> float:
        """The per cent of n-grams that were found."""
        return 100 * self.found / self.grams


@dataclass(frozen=True)
class Contamination:
    """What was found of a set in corpora, and what was read for it.

    `traces` are in the set's order. Prompts of `too_short` have no n-gram and cannot be looked for.
    `canaries` are GUIDs with the first place of each, None where it was not found.
    """

    prompt_set: PromptSetInfo
    gram: int
    least: float
    traces: tuple[Trace, ...]
    too_short: tuple[str, ...]
    canaries: dict[str, str | None]
    reading: Reading

    @property
    def leaked(self) -> tuple[Trace, ...]:
        """The prompts that count as found, the largest share first."""
        found = [trace for trace in self.traces if trace.found and trace.share >= self.least]
        return tuple(sorted(found, key=lambda trace: -trace.share))

    @property
    def clean(self) -> bool:
        """Whether no prompt and no canary was found."""
        return not self.leaked and not any(self.canaries.values())

    def to_dict(self) -> dict[str, Any]:
        """Returns everything as JSON shows it."""
        return {
            "schema": 1,
            "prompt_set": self.prompt_set.model_dump(),
            "gram": self.gram,
            "share": self.least,
            "clean": self.clean,
            "leaked": len(self.leaked),
            "prompts": [
                {
                    "id": trace.id,
                    "grams": trace.grams,
                    "found": trace.found,
                    "share": round(trace.share, 1),
                    "first": trace.first,
                }
                for trace in self.traces
            ],
            "too_short": list(self.too_short),
            "canaries": self.canaries,
            "read": {
                "files": self.reading.files,
                "bytes": self.reading.bytes,
                "rows": self.reading.rows,
                "unreadable_rows": self.reading.unreadable_rows,
                "skipped": self.reading.skipped,
            },
        }


@dataclass
class _Part:
    """Prompts with n-grams of one length, and where each gram was first."""

    ids: list[str]
    index: GramIndex
    file: NDArray[np.int64] = field(init=False)
    line: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.file = np.full(len(self.index.found), np.iinfo(np.int64).max)
        self.line = np.zeros(len(self.index.found), dtype=np.int64)


class _Scan:
    """A pass over files."""

    def __init__(self, parts: Sequence[_Part], canaries: Sequence[str]) -> None:
        self._parts = parts
        self.canaries: dict[str, tuple[int, int] | None] = dict.fromkeys(canaries)
        self._keep = max((part.index.n for part in parts), default=2) - 1
        self.begin(0)

    def begin(self, file: int) -> None:
        """Begins a file, of which nothing is carried over."""
        self._file = file
        self._tail = ""
        self._carried: Units = np.zeros(0, dtype=np.uint16)
        self._breaks_after = np.zeros(0, dtype=np.int64)  # between a carried unit and this piece

    def look(self, piece: Piece) -> None:
        """Looks at a piece of the file."""
        text = piece.texts[0] if len(piece.texts) == 1 else "\0".join(piece.texts)
        own = fold_text(text)
        units = np.concatenate([self._carried, own]) if len(self._carried) else own
        found = [(part, *part.index.search(units)) for part in self._parts]
        if any(len(grams) for _, grams, _ in found):
            lines = self._lines(piece, text)
            for part, grams, starts in found:
                part.file[grams] = self._file
                part.line[grams] = lines[starts]
        self._look_for_canaries(piece, text)
        if piece.flowing:
            self._carry(text, own)

    def _carry(self, text: str, own: Units) -> None:
        """Keeps the end of a piece, which n-grams may go over."""
        self._tail = (self._tail + text)[1 - _GUID :]
        kept = min(len(own), self._keep)
        size = 4 * self._keep
        while len(places := kept_places(text[-size:])) < kept:
            size *= 8
        breaks = np.flatnonzero(raw_units(text[-size:]) == _LINE_BREAK)
        after = len(breaks) - np.searchsorted(breaks, places[len(places) - kept :])
        rest = len(self._carried) - max(0, len(self._carried) - (self._keep - kept))
        if rest:
            older = self._breaks_after[-rest:] + text.count("\n")
            self._breaks_after = np.concatenate([older, after])
            self._carried = np.concatenate([self._carried[-rest:], own[len(own) - kept :]])
        else:
            self._breaks_after, self._carried = after, own[len(own) - kept :]

    def _lines(self, piece: Piece, text: str) -> NDArray[np.int64]:
        """Returns the line of each unit that was searched."""
        own = _line_of(piece, text, kept_places(text))
        if not len(self._carried):
            return own
        return np.concatenate([piece.lines[0] - self._breaks_after, own])

    def _look_for_canaries(self, piece: Piece, text: str) -> None:
        for canary, place in self.canaries.items():
            if place is not None:
                continue
            if (at := (self._tail + text[:_GUID]).find(canary)) >= 0:
                line = piece.lines[0] - self._tail[at:].count("\n")
            elif (at := text.find(canary)) >= 0:
                units = len(text[:at].encode("utf-16-le", "surrogatepass")) // 2
                line = int(_line_of(piece, text, np.array([units]))[0])
            else:
                continue
            self.canaries[canary] = (self._file, line)


def _line_of(piece: Piece, text: str, places: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns the lines of units of a piece."""
    if piece.flowing:
        breaks = np.flatnonzero(raw_units(text) == _LINE_BREAK)
        found: NDArray[np.int64] = piece.lines[0] + np.searchsorted(breaks, places)
        return found
    sizes = [len(each.encode("utf-16-le", "surrogatepass")) // 2 + 1 for each in piece.texts]
    rows = np.searchsorted(np.cumsum(sizes), places, side="right")
    return np.array(piece.lines, dtype=np.int64)[rows]


def find_contamination(
    prompts: PromptSet,
    corpora: Sequence[str | os.PathLike[str]],
    options: ContaminationOptions | None = None,
) -> Contamination:
    """Looks for the n-grams of prompts, and their canaries, in files and folders.

    Only texts are compared, as `flames.prompts.grams` folds them; earlier turns of a prompt count
    as parts of it.

    Raises:
        InputError: There is no such file, or nothing of the corpora could be read.
    """
    options = options or ContaminationOptions()
    files = list(corpus_files(corpora))
    parts, too_short = _parts(prompts.prompts, options.gram)
    canaries = (
        [each for each in canaries_in(prompts.path) if each] if prompts.path.is_file() else []
    )
    scan, reading = _Scan(parts, canaries), Reading()
    for number, path in enumerate(files):
        scan.begin(number)
        for piece in read_corpus(path, reading, options.encoding):
            scan.look(piece)
    if not reading.rows:
        path, reason = next(iter(reading.skipped.items()), (os.fspath(corpora[0]), "is empty"))
        raise InputError(f"{reason}; no row could be read", path=path)
    traces = {trace.id: trace for part in parts for trace in _traces(part, files)}
    return Contamination(
        prompt_set=prompts.info,
        gram=options.gram,
        least=options.share,
        traces=tuple(traces[each.id] for each in prompts.prompts if each.id in traces),
        too_short=tuple(too_short),
        canaries={
            guid: None if place is None else f"{files[place[0]]}:{place[1]}"
            for guid, place in scan.canaries.items()
        },
        reading=reading,
    )


def _parts(prompts: Sequence[Prompt], gram: int) -> tuple[list[_Part], list[str]]:
    by_size: dict[int, list[tuple[str, Units]]] = {gram: [], _LATIN * gram: []}
    too_short = []
    for prompt in prompts:
        units = fold_text(
            "\0".join((*(turn.content for turn in prompt.history or ()), prompt.text))
        )
        size = gram if is_chinese(units[units != BREAK]) else _LATIN * gram
        if len(units) < size:
            too_short.append(prompt.id)
        else:
            by_size[size].append((prompt.id, units))
    return [
        _Part([name for name, _ in found], GramIndex([units for _, units in found], size))
        for size, found in by_size.items()
        if found
    ], too_short


def _traces(part: _Part, files: Sequence[str]) -> list[Trace]:
    traces = []
    for name, grams in zip(part.ids, part.index.grams_of, strict=True):
        there = grams[part.index.found[grams]]
        first = None
        if len(there):
            place = min(zip(part.file[there].tolist(), part.line[there].tolist(), strict=True))
            first = f"{files[place[0]]}:{place[1]}"
        traces.append(Trace(name, len(grams), len(there), first))
    return traces
