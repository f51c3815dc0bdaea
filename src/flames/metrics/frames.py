"""Results and verdicts as pandas DataFrames, and as tables in a notebook."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

from flames.errors import MissingExtraError
from flames.records import Prompt, Response, Verdict
from flames.text import for_terminal

if TYPE_CHECKING:
    from pandas import DataFrame

_SHOWN = 20


class HasRows(Protocol):
    """Something that gives rows of its own, such as a `Result`."""

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yields cells by column."""


def to_frame(
    items: Iterable[Prompt | Response | Verdict | HasRows], columns: Sequence[str] | None = None
) -> DataFrame:
    """Returns verdicts, responses, prompts or results as a DataFrame.

    Args:
        items: One row each; a result gives a row per dimension, subcomponent and technique.
        columns: Which columns, in that order; by default all there are.
    """
    try:
        import pandas as pd
    except ImportError:
        raise MissingExtraError("table", "a DataFrame") from None
    rows: list[Mapping[str, Any]] = []
    for item in items:
        if isinstance(item, Prompt | Response | Verdict):
            rows.append(item.to_dict())
        else:
            rows += item.rows()
    return pd.DataFrame(rows, columns=None if columns is None else list(columns))


def html_table(columns: Sequence[str], rows: Sequence[Sequence[object]], caption: str) -> str:
    """Returns rows as an HTML table for a notebook: escaped, the first 20 rows."""

    def cells(tag: str, values: Iterable[object]) -> str:
        texts = ("" if v is None else escape(for_terminal(str(v), one_line=False)) for v in values)
        return "<tr>" + "".join(f"<{tag}>{text}</{tag}>" for text in texts) + "</tr>"

    body = "".join(cells("td", row) for row in rows[:_SHOWN])
    more = f" (first {_SHOWN:,} of {len(rows):,} rows)" if len(rows) > _SHOWN else ""
    return (
        f"<table><caption>{escape(for_terminal(caption + more))}</caption>"
        f"<thead>{cells('th', columns)}</thead><tbody>{body}</tbody></table>"
    )
