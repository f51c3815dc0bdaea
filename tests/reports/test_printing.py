"""Tables in a pipe are rich's, to the byte."""

from __future__ import annotations

from io import StringIO
from unittest import mock

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from flames.metrics.result import Estimate
from flames.reports import printing
from flames.reports.tables import Cell, Column, Intervals, Number, Row, Share, Stack, Strong, Table

words = st.text("ab 安全·。😀é[]:\n", max_size=12)
numbers = st.floats(0, 100).map(
    lambda value: Number(Estimate(value=value, low=value / 2, high=value, method="wilson"))
)
cells: st.SearchStrategy[Cell] = st.one_of(
    st.none(),
    words,
    words.map(Strong),
    st.lists(words, min_size=1, max_size=3).map(lambda found: Stack(tuple(found))),
    st.builds(Share, st.integers(0, 9), st.integers(10, 9999)),
    numbers,
)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    count, flags = draw(st.integers(1, 5)), st.booleans()
    columns = [Column(draw(words), lambda item: item, text=draw(flags)) for _ in range(count)]
    rows = [
        Row(tuple(draw(cells) for _ in range(count)), draw(flags), draw(flags), draw(flags))
        for _ in range(draw(st.integers(0, 4)))
    ]
    return Table(draw(words), tuple(columns), tuple(rows))


def printed(table: Table, width: int, intervals: Intervals) -> str:
    file = StringIO()
    printing.print_table(table, Console(file=file, width=width), "zh", intervals=intervals)
    return file.getvalue()


@given(tables(), st.sampled_from([20, 60, 200]), st.sampled_from(["inline", "below", "column"]))
def test_a_table_in_a_pipe_looks_as_rich_prints_it(
    table: Table, width: int, intervals: Intervals
) -> None:
    ours = printed(table, width, intervals)
    with mock.patch.object(printing, "_plain_lines", return_value=[]):
        assert ours == printed(table, width, intervals)


many = st.lists(
    st.floats(0, 100).map(
        lambda value: Number(Estimate(value=value, low=value / 3, high=value, method="wilson"))
    ),
    min_size=2,
    max_size=9,
)
titles = st.sampled_from(["accuracy %", "harmless-or-not %", "bias of the harmless rate", "无害率"])


@given(many, st.data(), st.integers(44, 130), st.sampled_from(["inline", "below"]))
def test_no_figure_is_cut_however_narrow_the_terminal(
    numbers: list[Number], data: st.DataObject, width: int, intervals: Intervals
) -> None:
    columns = [Column("scorer", lambda item: item, text=True)]
    columns += [Column(data.draw(titles), lambda item: item) for _ in numbers]
    names = [data.draw(st.sampled_from(["lexical@2", "latent-jailbreak", "a b"])) for _ in "xx"]
    rows = [Row((name, *numbers)) for name in names]
    found = printed(Table("Summary", tuple(columns), tuple(rows)), width, intervals)
    assert max(map(cell_len, found.splitlines())) <= width
    for number in numbers:
        parts = (str(number),) if intervals == "inline" else (number.value, number.span)
        assert all(found.count(part) >= len(names) for part in parts)
