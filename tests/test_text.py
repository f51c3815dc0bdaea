from __future__ import annotations

import csv
import io
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.text import for_cell, for_terminal, from_cell, shorten, texts_differ, utf8_safe

ANY = st.text(st.characters(exclude_categories=()), max_size=80)


@given(ANY)
def test_nothing_reaches_a_terminal_that_moves_colours_or_reorders(text: str) -> None:
    shown = for_terminal(text)
    assert "\n" not in shown
    assert "\t" not in shown
    for char in shown:
        assert unicodedata.category(char) not in ("Cc", "Cs")
        assert char not in "\u202e\u2066\u200b\ufeff\u2028"


def test_escape_sequences_vanish_whole() -> None:
    assert for_terminal("a\x1b[31mb\x1b]0;title\x07c") == "abc"
    assert for_terminal("a\nb", one_line=False) == "a\nb"
    assert for_terminal("正常的话，Ｆ。") == "正常的话，Ｆ。"


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "＝", " =", "|", "%"])
def test_no_cell_is_a_formula(start: str) -> None:
    text = start + "cmd"
    assert for_cell(text) == "'" + text
    assert from_cell("'" + text) == text


@given(st.text(max_size=40))
def test_a_cell_survives_csv_and_is_what_it_was(text: str) -> None:
    cell = for_cell(text)
    assert isinstance(cell, str)
    file = io.StringIO(newline="")
    csv.writer(file).writerow([cell])
    (read,) = next(csv.reader(io.StringIO(file.getvalue(), newline="")))
    assert read == cell
    if "\x00" not in text and not text.startswith("'"):
        assert from_cell(read) == text


@given(st.integers() | st.none() | st.booleans())
def test_what_is_no_text_stays_as_it_is(value: object) -> None:
    assert for_cell(value) is value


@given(ANY)
def test_encodable_text_is(text: str) -> None:
    utf8_safe(text).encode("utf-8")


@given(ANY, st.integers(2, 40))
def test_a_shortened_text_fits(text: str, width: int) -> None:
    short = shorten(text, width)
    columns = sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in short)
    assert columns <= width + 1
    assert "\n" not in short


@pytest.mark.parametrize("text", ["=1", "'=1", "''=1", "'x", "''x", "", "'", " =x", "'-", "＝1"])
def test_neutralised_cells_give_their_text_back(text: str) -> None:
    assert from_cell(str(for_cell(text))) == text


@given(st.text(), st.text())
def test_texts_differ_only_where_both_are_there(first: str, second: str) -> None:
    assert not texts_differ(first, None)
    assert not texts_differ(" \n", second)
    assert not texts_differ(first, f"\r\n {first}\t")
    assert not texts_differ(first.replace("\r\n", "\n"), first)
    assert texts_differ(first, second) == texts_differ(second, first)
    assert texts_differ(f"一{first}", f"二{second}")
