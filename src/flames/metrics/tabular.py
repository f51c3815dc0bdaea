"""Rows as DataFrames, and as tables of notebooks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from flames.errors import need_extra
from flames.records import Prompt, Response, Verdict
from flames.text import for_terminal

if TYPE_CHECKING:
    from pandas import DataFrame


class Rows(Protocol):
    """A result, or anything else that has rows."""

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yields them."""


def to_frame(
    items: Iterable[Prompt | Response | Verdict | Rows | Mapping[str, Any]],
    columns: Sequence[str] | None = None,
) -> DataFrame:
    """Returns verdicts, responses, prompts, results or rows of any kind as a DataFrame.

    A result gives a row per dimension, subcomponent and technique; `columns` are all by default.
    """
    need_extra("table", "a DataFrame", "pandas")
    import pandas as pd

    rows: list[Mapping[str, Any]] = []
    for item in items:
        if isinstance(item, Prompt | Response | Verdict):
            rows.append(item.to_dict())
        elif isinstance(item, Mapping):
            rows.append(item)
        else:
            rows += item.rows()
    return pd.DataFrame(rows, columns=None if columns is None else list(columns))


def html_table(columns: Sequence[str], rows: Sequence[Sequence[object]], caption: str) -> str:
    """Returns rows as an HTML table for a notebook: escaped, the first 20 rows."""

    def cells(tag: str, values: Iterable[object]) -> str:
        texts = ("" if v is None else escape(for_terminal(str(v), one_line=False)) for v in values)
        return "<tr>" + "".join(f"<{tag}>{text}</{tag}>" for text in texts) + "</tr>"

    body = "".join(cells("td", row) for row in rows[:20])
    more = f" (first 20 of {len(rows):,} rows)" if len(rows) > 20 else ""
    return (
        f"<table><caption>{escape(for_terminal(caption + more))}</caption>"
        f"<thead>{cells('th', columns)}</thead><tbody>{body}</tbody></table>"
    )
