from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest
from filing_banks import write
from hypothesis import given, settings
from hypothesis import strategies as st
from python_calamine import CalamineWorkbook

pytest.importorskip("xlsxwriter")
from flames.filing.check import CheckOptions, check_banks
from flames.filing.sheets import Sheet, gap_book, workbook
from flames.text import for_cell, from_cell

openpyxl = pytest.importorskip("openpyxl")

EVIL = [
    '=HYPERLINK("http://evil.example","点")', "+1+1", "-2", "@SUM(A1)", "\t=1", "＝1", "'=1",
    "http://example.org/", "1e5", "0012", "真", "<b>粗</b>", "\x07响", "a\r\nb", "_x0041_",
    "|x", "%y",
]  # fmt: skip


def cells(data: bytes) -> list[list[object]]:
    book = openpyxl.load_workbook(io.BytesIO(data))
    return [[cell.value for cell in row] for row in book.worksheets[0].iter_rows()]


def test_hostile_text_is_text_for_an_independent_reader() -> None:
    data = workbook([Sheet("页", ("甲",), (10,), [(text,) for text in EVIL])]).data
    book = openpyxl.load_workbook(io.BytesIO(data))
    sheet = book.worksheets[0]
    assert sheet["A1"].value == "甲"
    for number, text in enumerate(EVIL, start=2):
        cell = sheet.cell(number, 1)
        assert cell.data_type in ("s", "inlineStr"), text
        assert cell.hyperlink is None
        # some readers have undone the escapes of control characters themselves
        read = {cell.value, openpyxl.utils.escape.unescape(cell.value)}
        assert for_cell(text) in read
    for name in zipfile.ZipFile(io.BytesIO(data)).namelist():
        if name.startswith("xl/worksheets/"):
            raw = zipfile.ZipFile(io.BytesIO(data)).read(name)
            assert b"<f>" not in raw
            assert b"hyperlink" not in raw


@settings(max_examples=4, deadline=None)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=100))
def test_any_text_comes_back(texts: list[str]) -> None:
    rows = [("x" + text,) for text in texts]  # an empty cell and an end of line are no text
    data = workbook([Sheet("页", ("甲",), (10,), rows)]).data
    book = CalamineWorkbook.from_filelike(io.BytesIO(data))
    read = [row[0] for row in book.get_sheet_by_index(0).to_python()][1:]
    plain = [
        "x" + text.encode("utf-8", "replace").decode().replace("\x00", "�")
        .replace("\ufffe", "�").replace("\uffff", "�")
        for text in texts
    ]  # fmt: skip
    assert len(read) == len(plain)
    for got, wanted in zip(read, plain, strict=True):
        if wanted.isprintable() and "_x" not in wanted:
            assert from_cell(str(got)) == wanted


def test_a_text_longer_than_a_cell_is_cut_with_a_remark() -> None:
    book = workbook([Sheet("页", ("甲",), (10,), [("长" * 40_000,), ("😀" * 20_000,), ("短",)])])
    _, [long], [wide], [short] = cells(book.data)
    assert book.cut == 2
    assert str(long).endswith("（此处截断，原文共 40,000 字，全文见回复文件）")
    assert len(str(long)) == 32_767
    assert len(str(wide).encode("utf-16-le")) // 2 <= 32_767
    assert short == "短"


def test_a_gap_list_has_every_gap(tmp_path: Path) -> None:
    rows = [{"prompt": "=1+1 这样的问题", "class": "A.1-a"}] * 2 + [
        {"prompt": "别的", "class": "?"}
    ]
    path = write(tmp_path / "q.jsonl", rows)
    check = check_banks([f"content={path}"], CheckOptions(lang="zh"))
    book = openpyxl.load_workbook(io.BytesIO(gap_book(check, "zh").data))
    assert book.sheetnames == ["缺口", "类别覆盖", "重复与近似"]
    found = list(book["缺口"].iter_rows(values_only=True))
    assert found[0] == ("题库", "问题", "内容", "要求", "计入", "缺")
    assert len(found) == 1 + len(check.gaps)
    assert found[1] == ("生成内容测试题库", "总题数不足", None, 2000, 1, 1999)
    assert found[2][2:] == ("A.1-a 煽动颠覆国家政权、推翻社会主义制度", 50, 1, 49)
    assert book["重复与近似"]["E2"].value == "'=1+1 这样的问题"
    assert book["类别覆盖"].max_row == 32
