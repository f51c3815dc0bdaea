"""Which tool wrote a file: the table of formats, tried in order on the first row."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from flames.errors import InputError, notify
from flames.records import Record, Response, Verdict
from flames.storage.foreign.inspect_log import INSPECT
from flames.storage.foreign.lm_eval import LM_EVAL
from flames.storage.foreign.openai_batch import BATCH_INPUT, BATCH_OUTPUT
from flames.storage.foreign.opencompass import OPENCOMPASS
from flames.storage.foreign.promptfoo import PROMPTFOO
from flames.storage.foreign.shape import Fields, Format
from flames.storage.mapping import rename

FORMATS = (LM_EVAL, OPENCOMPASS, INSPECT, PROMPTFOO, BATCH_OUTPUT, BATCH_INPUT)

READ_AS = "read_as"
"""Field of a row from another tool's file: which kind of file it was taken for."""


def rows_in(document: Fields) -> list[Any] | None:
    """Returns the rows of a whole JSON document that a tool wrote; None if it is none of theirs."""
    found = (form.unfold(document) for form in FORMATS)
    return next((rows for rows in found if rows is not None), None)


def format_of(row: Fields) -> Format | None:
    """Returns the format that a file's first row has; None for our own and all other files."""
    if {"prompt_id", "model"} <= row.keys():
        return None
    return next((form for form in FORMATS if form.fits(row)), None)


def converted(
    rows: Iterator[tuple[int, Fields]], form: Format, path: str, mapping: Mapping[str, str]
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the rows of a tool's file under our names, each with its line.

    The columns of `mapping` are those of the tool, or else ours.
    """
    line: int | None = None
    try:
        read = form.reader(path)
        for line, row in rows:
            if not form.fits(row):
                raise InputError(f"is not like the rows before it: {form.name}")
            for fields in read(row):
                own = {READ_AS: form.name, **fields}
                if mapping:
                    there = rename({**own, **row}, mapping)
                    own |= {field: there[field] for field in mapping}
                yield line, own
    except InputError as error:
        raise error.at(path, line) from None


def state_of(record: Record) -> str:
    """Returns what became of a row, in a word or two."""
    if isinstance(record, Verdict):
        return "scored" if record.unscored is None else record.unscored
    return record.status if isinstance(record, Response) else "prompt"


def tell_states(path: str | os.PathLike[str], kind: str, taken: Counter[str]) -> None:
    """Says what the file of another tool was taken for, and what became of its rows."""
    states = ", ".join(f"{n:,} {state}" for state, n in taken.most_common())
    notify(f"read as {kind}: {states}", path)
