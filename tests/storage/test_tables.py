"""What our CSV writer guards comes back exactly, through every reader of tables."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flames.storage.atomic import to_csv
from flames.storage.rows import read_rows
from flames.text import is_bare_formula, with_point

FORMULAS = ["=1+1", "'=1", "''@x", "-坏", "+1", "＝全角", " =x", "|a", "%0", "\t=1", "\n-x", "\r=1"]
TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=8)
START = st.sampled_from(["", "'", "''", " ", "\n"])
VALUE = st.one_of(
    st.tuples(START, st.sampled_from("=+-@|%＝x1'"), TEXT).map("".join),
    st.sampled_from(FORMULAS),
    TEXT,
)
NUMBER = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False))
ROWS = st.lists(
    st.fixed_dictionaries({"a": VALUE, "b": st.one_of(VALUE, NUMBER), "id": st.just("x")}),
    min_size=1,
    max_size=6,
)


def as_xlsx(text: str) -> bytes:
    """Returns what a spreadsheet program makes of a CSV file whose columns it takes as text."""
    book = openpyxl.Workbook()
    sheet = book.worksheets[0]
    for number, cells in enumerate(csv.reader(io.StringIO(text, newline="")), start=1):
        for place, cell in enumerate(cells, start=1):
            sheet.cell(number, place, cell).data_type = "s"
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


WRITTEN = {
    "a.csv": lambda text: text.encode("utf-8"),
    "b.csv": lambda text: text.encode("utf-8-sig"),  # as sheets for annotators are
    "a.csv.gz": lambda text: gzip.compress(text.encode("utf-8"), 1),
    "c.csv": lambda text: text.encode("utf-16"),
}


def came_back(folder: Path, name: str, raw: bytes) -> list[dict[str, Any]]:
    path = folder / name
    path.write_bytes(raw)
    return [row.fields for row in read_rows(path)]


@given(ROWS)
@example([{"a": "'=1", "b": -1.5, "id": "x"}, {"a": "- 第一", "b": "-1.5", "id": "x"}])
@example([{"a": "a\rb", "b": "", "id": "x"}, {"a": "\r", "b": "x\r\n", "id": "x"}])
def test_any_text_survives_our_csv(tmp_path_factory: Any, rows: list[dict[str, Any]]) -> None:
    folder = tmp_path_factory.mktemp("csv")
    expected = [{name: str(value) for name, value in row.items()} for row in rows]
    text = to_csv(rows, ["a", "b", "id"])
    for name, written in WRITTEN.items():
        assert came_back(folder, name, written(text)) == expected, name


@given(st.lists(st.sampled_from([*FORMULAS[:11], "'", "'x", "普通"]), min_size=1, max_size=6))
def test_our_csv_survives_a_spreadsheet(tmp_path_factory: Any, texts: list[str]) -> None:
    rows = [{"a": text, "id": "x"} for text in texts]
    raw = as_xlsx(to_csv(rows, ["a", "id"]))
    assert came_back(tmp_path_factory.mktemp("xlsx"), "a.xlsx", raw) == rows


@pytest.mark.parametrize("name", ["=a", "'=a", "'a", "-"])
def test_the_name_of_a_column_survives(tmp_path: Path, name: str) -> None:
    text = to_csv([{name: "=1", "id": "x"}], [name, "id"])
    assert came_back(tmp_path, "a.csv", text.encode()) == [{name: "=1", "id": "x"}]


@given(st.lists(TEXT.map(lambda text: "'-" + text), min_size=1))
def test_a_quote_that_another_program_wrote_stays(tmp_path_factory: Any, texts: list[str]) -> None:
    """A file with a bare formula is not ours: our writer leaves none in a column."""
    folder, file = tmp_path_factory.mktemp("foreign"), io.StringIO(newline="")
    csv.writer(file).writerows([["a", "id"], *([text, "x"] for text in texts), ["- bare", "x"]])
    found = came_back(folder, "a.csv", file.getvalue().encode("utf-8"))
    assert [row["a"] for row in found] == [*texts, "- bare"]


@pytest.mark.parametrize(
    ("given_number", "read"),
    [
        ("3,0", "3.0"),
        (" 0,85 % ", "0.85 %"),
        ("0,125", "0.125"),
        ("-1,5", "-1.5"),
        ("1234,567", "1234.567"),
        *((same, same) for same in ("1,000", "12,345", "1,2,3", "1.5", "a,b", ",5")),
    ],
)
def test_a_decimal_comma_becomes_a_point_unless_it_may_mean_thousands(
    given_number: str, read: str
) -> None:
    assert with_point(given_number) == read


def test_numbers_are_no_formulas() -> None:
    assert not any(map(is_bare_formula, ["-1", "+1.5", "-1e-05", "'-x", "x", "", "-inf"]))
    assert all(map(is_bare_formula, ["-x", "=1", " -", "－1", "-1%", "+", "@"]))
