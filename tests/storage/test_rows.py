from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.errors import InputError, UsageError
from flames.storage.atomic import to_jsonl, write_atomic
from flames.storage.rows import read_rows
from flames.storage.text_files import stem_of

ROWS: list[dict[str, Any]] = [
    {"dimension": "公平", "prompt": "问，“一”\n两行", "response": "答,1"},
    {"dimension": "安全", "prompt": "=1+1", "response": ""},
]


def _write(folder: Path, form: str) -> Path:
    path = folder / f"rows.{form}"
    if form == "jsonl":
        path.write_text(to_jsonl(ROWS), "utf-8")
    elif form == "json":
        path.write_text(json.dumps(ROWS), "utf-8")
    elif form in ("csv", "tsv"):
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ROWS[0], delimiter="\t" if form == "tsv" else ",")
            writer.writeheader()
            writer.writerows(ROWS)
    else:
        book = openpyxl.Workbook()
        sheet = book.active
        assert sheet is not None
        sheet.append(list(ROWS[0]))
        for row in ROWS:
            sheet.append([value if value[:1] != "=" else f"'{value}" for value in row.values()])
        book.save(path)
    return path


@pytest.mark.parametrize("form", ["jsonl", "json", "csv", "tsv", "xlsx"])
def test_every_format_gives_the_same_rows(tmp_path: Path, form: str) -> None:
    rows = [row.fields for row in read_rows(_write(tmp_path, form))]
    if form == "xlsx":  # the formula was written as text
        rows[1]["prompt"] = rows[1]["prompt"].removeprefix("'")
    assert rows == ROWS


@pytest.mark.parametrize("form", ["jsonl", "json", "csv"])
def test_a_packed_file_is_read_as_it_was(tmp_path: Path, form: str) -> None:
    path = _write(tmp_path, form)
    packed = tmp_path / f"mine.{form}.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert [row.fields for row in read_rows(packed)] == ROWS
    assert (stem_of(packed), stem_of(path), stem_of("-")) == ("mine", "rows", "stdin")
    packed.write_bytes(path.read_bytes())  # packed by name alone
    assert [row.fields for row in read_rows(packed)] == ROWS


@pytest.mark.parametrize("form", ["jsonl", "json", "csv", "tsv"])
@pytest.mark.parametrize("twist", ["bom", "crlf", "blank lines", "no last break"])
def test_bom_line_ends_and_blank_lines_are_simply_read(
    tmp_path: Path, form: str, twist: str
) -> None:
    path = _write(tmp_path, form)
    raw = path.read_bytes()
    if twist == "bom":
        raw = b"\xef\xbb\xbf" + raw
    elif twist == "crlf" and form in ("jsonl", "json"):
        raw = raw.replace(b"\n", b"\r\n")
    elif twist == "blank lines" and form != "json":
        raw = b"\n" + raw + b"\n\n"
    else:
        raw = raw.rstrip(b"\r\n")
    path.write_bytes(raw)
    assert [row.fields for row in read_rows(path)] == ROWS


def test_lines_are_counted_as_an_editor_shows_them(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('\n{"a": 1}\n\n{"a": 2}\n', "utf-8")
    assert [row.line for row in read_rows(path)] == [2, 4]
    table = tmp_path / "a.csv"
    table.write_text('a,b\n"two\nlines",x\nlast,y\n', "utf-8")
    assert [row.line for row in read_rows(table)] == [2, 4]


@given(
    st.lists(
        st.fixed_dictionaries(
            {"a": st.text(min_size=1), "b": st.text(st.characters(exclude_characters="\x00"))}
        ),
        min_size=1,
        max_size=5,
    )
)
def test_any_text_survives_jsonl(tmp_path_factory: Any, rows: list[dict[str, str]]) -> None:
    path = write_atomic(tmp_path_factory.mktemp("rows") / "a.jsonl", to_jsonl(rows))
    assert [row.fields for row in read_rows(path)] == rows


def test_gb18030_is_read_when_it_is_named_and_hinted_at_when_not(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("问题,回答\n你好,好\n".encode("gb18030"))
    rows = list(read_rows(path, encoding="gb18030", mapping={"prompt": "问题", "response": "回答"}))
    assert rows[0].fields == {"prompt": "你好", "response": "好"}
    with pytest.raises(InputError, match="gb18030 may help"):
        list(read_rows(path))
    with pytest.raises(UsageError, match="unknown encoding"):
        list(read_rows(path, encoding="klingon"))


def test_a_mapping_renames_and_keeps_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"问题": "q", "回答": "r", "other": 1, "prompt": "old"}\n', "utf-8")
    (row,) = read_rows(path, mapping={"prompt": "问题", "response": "回答"})
    assert row.fields == {"prompt": "q", "response": "r", "other": 1}


def test_an_empty_cell_of_a_sheet_is_empty_and_its_column_is_there(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    assert sheet is not None
    for cells in (["问题", "回答", "分数"], ["q", None, None], [None, None, None], [None, "r", 3]):
        sheet.append(cells)
    book.save(tmp_path / "a.xlsx")
    mapping = {"prompt": "问题", "response": "回答", "score": "分数"}
    rows = list(read_rows(tmp_path / "a.xlsx", mapping=mapping))
    assert rows == [
        (2, {"prompt": "q", "response": "", "score": ""}),
        (4, {"prompt": "", "response": "r", "score": 3}),
    ]


@pytest.mark.parametrize(
    ("codec", "given"),
    [("utf-16", None), ("utf-16", "utf-16"), ("utf-16-le", "utf-16-le"), ("utf-32", "utf-32")],
)
def test_wide_text_is_read_line_by_line(tmp_path: Path, codec: str, given: str | None) -> None:
    path = tmp_path / "a.tsv"
    path.write_bytes("问题\t回答\r\n上\t下\r\n\r\n\u0a0a\t\u0a0d\r\n".encode(codec))
    assert list(read_rows(path, encoding=given)) == [
        (2, {"问题": "上", "回答": "下"}),
        (4, {"问题": "\u0a0a", "回答": "\u0a0d"}),
    ]
    path.write_bytes(b"\xff\xfe" + b"a\x00" * 3 + b"b")
    with pytest.raises(InputError, match="is not text in UTF-16"):
        list(read_rows(path))


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_may_have_semicolons_or_tabs(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(f'a{mark}b\r\n1{mark}"x{mark}y, z; \t"\r\n'.encode("utf-8-sig"))
    assert [row.fields for row in read_rows(path)] == [{"a": "1", "b": f"x{mark}y, z; \t"}]


def test_standard_input_is_jsonl(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BytesIO(b'{"a": 1}\n{"a": 2}\n')

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert [row.fields for row in read_rows("-")] == [{"a": 1}, {"a": 2}]


BAD: dict[str, tuple[str, bytes, str, int | None]] = {
    "broken line": ("a.jsonl", b'{"a": 1}\n{"a": \n', "is no JSON", 2),
    "half a line": ("a.jsonl", b'{"a": 1}\n{"a": "x', "at column 7; the file ends here", 2),
    "an array": ("a.jsonl", b'[\n{"a": 1}\n]', "one array is named .json", 1),
    "half a gzip file": (
        "a.jsonl.gz",
        gzip.compress(b'{"a": 1}\n' * 99)[:-9],
        "no whole gzip",
        None,
    ),
    "a list": ("a.jsonl", b"[1]\n", "must be a JSON object, not list", 1),
    "a number": ("a.jsonl", b"3\n", "must be a JSON object, not int", 1),
    "deep": ("a.jsonl", b'{"a": ' + b"[" * 200_000 + b"\n", "nested too deep", 1),
    "huge number": ("a.jsonl", b'{"a": ' + b"9" * 5000 + b"}\n", "is no JSON", 1),
    "binary": ("a.jsonl", b"\x00\x01\x02", "is a binary file", 1),
    "latin": ("a.jsonl", b'{"a": "\xe9t\xe9"}\n', "is not text in UTF-8", 1),
    "zip": ("a.jsonl", b"PK\x03\x04rest", "name it .xlsx", None),
    "array of numbers": ("a.json", b"[1, 2]", "must be a JSON object, not int", 1),
    "broken array": ("a.json", b'[{"a": 1},\n{"a": oops}]', "is no JSON", 2),
    "too many cells": ("a.csv", b"a,b\n1,2,3\n", "has 3 cells, the header 2", 2),
    "same column": ("a.csv", b"a,a\n1,2\n", "column 'a' is there twice", 1),
    "open quote": ("a.csv", b'a,b\n1,"2\n', "is no readable CSV", 2),
    "no sheet": ("a.xlsx", b"not a sheet", "is no readable spreadsheet", None),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_with_its_place(tmp_path: Path, name: str) -> None:
    file, content, said, line = BAD[name]
    path = tmp_path / file
    path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        list(read_rows(path))
    error = caught.value
    assert said in str(error)
    assert "\n" not in str(error)
    assert error.path == str(path)
    assert error.line == line


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "xlsx"])
def test_what_is_no_file_is_named(tmp_path: Path, suffix: str) -> None:
    with pytest.raises(InputError, match="no such file"):
        list(read_rows(tmp_path / f"none.{suffix}"))
    folder = tmp_path / f"folder.{suffix}"
    folder.mkdir()
    with pytest.raises(InputError, match="is a directory"):
        list(read_rows(folder))


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("问题,答\nq,r\n", "utf-8")
    with pytest.raises(InputError, match=r"no column '回答'.*columns: 问题, 答"):
        list(read_rows(path, mapping={"response": "回答"}))
