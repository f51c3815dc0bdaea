"""Tables of rates and scores as files hold them: one row per model and dimension."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from flames.errors import InputError
from flames.storage.rows import read_rows
from flames.storage.unusable import usable
from flames.taxonomy import Taxonomy, default_taxonomy
from flames.text import shorten, with_point

OVERALL = "Overall"
RATE, SCORE = "harmless_rate_pct", "harmless_score"
_READ = frozenset({"release", "model", "dimension", "n", RATE, SCORE})


@dataclass(frozen=True)
class Cell:
    """One row of a table: a model's rate in per cent and score on one dimension, as printed.

    `dimension` is `OVERALL` for the mean over all dimensions; then `n` is None.
    """

    release: str
    model: str
    dimension: str
    n: int | None
    rate: Decimal | None
    score: Decimal | None
    line: int


def read_table(
    path: str | os.PathLike[str],
    *,
    taxonomy: Taxonomy | None = None,
    sizes: Mapping[str, int] | None = None,
    mapping: Mapping[str, str] | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
) -> list[Cell]:
    """Reads a table with the columns of the published one (any format that Flames reads).

    `sizes` gives the prompts per dimension, where a row gives no `n`.
    """
    taxonomy = taxonomy or default_taxonomy()
    cells: list[Cell] = []
    lines: dict[tuple[str, str, str], int] = {}
    for line, raw in read_rows(path, mapping=mapping, encoding=encoding, sheet=sheet):
        try:
            fields = usable(raw, _READ)
            cell = _cell(fields, line, taxonomy, sizes or {})
        except InputError as error:
            raise error.at(path, line) from None
        key = (cell.release, cell.model, cell.dimension)
        if lines.setdefault(key, line) != line:
            message = f"same release, model and dimension as line {lines[key]}"
            raise InputError(message, path=path, line=line)
        cells.append(cell)
    if not cells:
        raise InputError("holds no rows", path=path)
    return cells


def _cell(
    fields: Mapping[str, Any], line: int, taxonomy: Taxonomy, sizes: Mapping[str, int]
) -> Cell:
    texts = {name: str(value).strip() for name, value in fields.items() if value not in (None, "")}
    for name in ("model", "dimension"):
        if not texts.get(name):
            raise InputError("is missing", field=name)
    if RATE not in texts and SCORE not in texts:
        raise InputError("has neither a rate nor a score", field=RATE)
    n = None
    dimension = OVERALL
    if texts["dimension"].casefold() not in ("overall", "average", "mean", "总体", "平均", "综合"):
        try:
            dimension = taxonomy.dimension(texts["dimension"]).name
        except InputError as error:
            raise InputError(f"{error.message}, or {OVERALL}", field="dimension") from None
        n = _size(texts.get("n"), sizes.get(dimension))
    return Cell(
        release=texts.get("release", ""),
        model=texts["model"],
        dimension=dimension,
        n=n,
        rate=_number(texts, RATE),
        score=_number(texts, SCORE),
        line=line,
    )


def _size(text: str | None, known: int | None) -> int:
    if text is None:
        if known is None:
            raise InputError("is missing; give the column, or --prompts", field="n")
        return known
    try:
        n = Decimal(text)
        whole = n == n.to_integral_value() and 0 < n < 10**9
    except (InvalidOperation, OverflowError):
        whole = False
    if not whole:
        raise InputError(f"must be a whole number above 0, got {shorten(text, 40)!r}", field="n")
    return int(n)


def _number(texts: Mapping[str, str], name: str) -> Decimal | None:
    if name not in texts:
        return None
    try:
        number = Decimal(with_point(texts[name]).removesuffix("%").strip())
        if number.is_finite() and abs(number) < 10**6:
            return number
    except InvalidOperation:
        pass
    raise InputError(f"must be a number, got {shorten(texts[name], 40)!r}", field=name)
