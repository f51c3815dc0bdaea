from __future__ import annotations

import gzip
import random
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from filing_banks import RULES, rows_of, text_of, write
from hypothesis import given
from hypothesis import strategies as st

from flames.errors import InputError, UsageError
from flames.filing.banks import BankOptions, read_banks
from flames.filing.check import CheckOptions, FilingCheck, check_banks
from flames.filing.crosswalk import load_crosswalk, place_by_label
from flames.storage.atomic import to_csv
from flames.storage.row_files import table_bytes

TODAY = date(2026, 11, 29)


def check(*banks: str, **options: Any) -> FilingCheck:
    return check_banks(banks, CheckOptions(**{"today": TODAY, **options}))


def test_a_full_bank_lacks_only_the_total(tmp_path: Path) -> None:
    """Every class has what is asked; 50 and 20 a class do not make 2,000."""
    path = write(tmp_path / "q.jsonl", rows_of("content", 日期="2026-11-20"))
    found = check(f"content={path}").banks["content"]
    assert found.counted == found.rows == 17 * 50 + 14 * 20
    gaps = check(f"content={path}").gaps
    assert [(g.kind, g.missing) for g in gaps] == [("total", 2000 - found.rows)]


def test_exactly_the_gaps_that_were_made_are_found(tmp_path: Path) -> None:
    rows = rows_of("should-refuse", {"A.1-a": 180, "A.1-c": -3, "A.2-e": -20}, date="2026-01-01")
    rows += [
        {**rows[0]},  # an exact copy
        {"测试题": "没有类别的问题应当怎么办呢", "date": "2026-01-01"},
        {"测试题": "类别写错的问题应当怎么办才好", "二级分类": "A.9-z", "date": "2026-01-02"},
        {"测试题": "类别不归这里的问题怎么办", "二级分类": "A.3-a", "date": "2026-10-01"},
        {"测试题": rows[1]["测试题"] + "啊", "二级分类": "A.1-a"},  # nearly a copy, no date
    ]
    path = write(tmp_path / "r.jsonl", rows)
    found = check(f"should-refuse={path}")
    bank = found.banks["should-refuse"]
    counted = 17 * 20 + 180 - 3 - 20 + 1
    assert (bank.rows, bank.distinct, bank.counted) == (counted + 4, counted + 3, counted)
    assert [(g.kind, g.what, g.asked, g.counted, g.missing) for g in found.gaps] == [
        ("total", "", 500, counted, 2),
        ("class", "A.1-c", 20, 17, 3),
        ("class", "A.2-e", 20, 0, 20),
        ("unplaced", "", None, 1, None),
        ("unplaced", "A.9-z", None, 1, None),
        ("outside", "A.3-a", None, 1, None),
        ("stale", "2026-10-01", 31, 59, 28),
        ("undated", "", None, 1, None),
    ]
    assert [(a.first.line, a.second.line) for a in bank.duplicates] == [(1, len(rows) - 4)]
    assert [(a.first.line, a.second.line) for a in bank.near] == [(2, len(rows))]
    assert found.missing
    assert found.absent == ["content", "non-refusal", "keywords"]


def test_nothing_is_missing_where_all_is_there(tmp_path: Path) -> None:
    more = {"制度": 240}
    path = write(tmp_path / "a.jsonl", rows_of("non-refusal", more, 日期="2026-11-01"))
    found = check(f"非拒答={path}")
    assert (found.gaps, found.missing) == ([], False)


@pytest.mark.parametrize("form", ["jsonl", "csv", "xlsx", "jsonl.gz"])
def test_banks_read_the_same_from_any_form(form: str, tmp_path: Path) -> None:
    rows = [{**row, "日期": "2026/11/05"} for row in rows_of("non-refusal")[:30]]
    path = tmp_path / f"bank.{form}"
    if form == "csv":
        path.write_text(to_csv(rows, rows[0]), "utf-8")
    elif form == "xlsx":
        pytest.importorskip("openpyxl")
        path.write_bytes(table_bytes(rows, "xlsx"))
    else:
        plain = write(tmp_path / "plain.jsonl", rows).read_bytes()
        path.write_bytes(gzip.compress(plain) if form.endswith("gz") else plain)
    [bank] = read_banks([f"non-refusal={path}"], BankOptions()).values()
    assert [each.text for each in bank.items] == [row["测试题"] for row in rows]
    codes = [RULES.class_of(row["二级分类"]) for row in rows]
    assert [each.place.code for each in bank.items] == codes
    assert {each.date for each in bank.items} == {date(2026, 11, 5)}


@given(st.integers(0, 2**32))
def test_the_order_of_rows_changes_no_count(seed: int) -> None:
    rows = _ROWS[:]
    random.Random(seed).shuffle(rows)
    walk = load_crosswalk(None, RULES)
    for row in rows:
        place = place_by_label(row, walk, RULES, "content")
        assert place.code in (None, *RULES.covered("content"))
        assert place.by in (None, "flames", "jade")


_ROWS = [{"subcomponent": "Personal data"}, {"违规子类": "诈骗"}, {"x": "y"}, {"subcomponent": ""}]


@pytest.mark.parametrize(
    ("fields", "bank", "code", "candidates"),
    [
        ({"subcomponent": "Personal data"}, "content", "A.4-f", ()),
        ({"subcomponent": "Chinese values"}, "content", None, ("A.1-a", "A.1-b", "A.1-c")),
        # one of the candidates is of another bank: that does not make the other one sure
        ({"subcomponent": "Property safety"}, "should-refuse", None, ("A.1-h",)),
        ({"subcomponent": "Disobey social norm"}, "content", None, ()),
        ({"违规子类": "侵害他人隐私权 "}, "content", "A.4-e", ()),
        ({"违规子类": "侵害他人隐私权"}, "should-refuse", "A.4-e", ()),  # counted as outside
        ({"risk_type": "Extremism"}, "content", "A.1-d", ()),
        ({"二级领域": "科学"}, "content", None, ("A.5-a", "A.5-b")),
    ],
)
def test_labels_of_other_sets_lead_to_classes(
    fields: dict[str, str], bank: Any, code: str | None, candidates: tuple[str, ...]
) -> None:
    place = place_by_label(fields, load_crosswalk(None, RULES), RULES, bank)
    assert (place.code, place.candidates) == (code, candidates)
    assert place.by is not None


def test_the_bundled_sets_fill_what_their_labels_say() -> None:
    found = check("content=open", "should-refuse=borderline", "non-refusal=borderline")
    content = found.banks["content"]
    assert {c.code: c.crosswalk for c in content.classes if c.counted} == {
        "A.1-h": 20, "A.4-a": 40, "A.4-f": 20,
    }  # fmt: skip
    assert sum(n for n, _ in content.open.values()) == 100
    assert content.unplaced.total() == 60
    answer = found.banks["non-refusal"]
    assert (answer.rows, answer.elsewhere) == (247, 120)
    assert {c.counted for c in answer.classes} == {19}
    assert found.banks["should-refuse"].elsewhere == 247


def test_columns_may_be_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"题干": "问题一", "类": "年龄", "于": "2026年1月2日"}])
    mapping = {"prompt": "题干", "class": "类", "date": "于"}
    [bank] = read_banks([f"non-refusal={path}"], BankOptions(mapping=mapping)).values()
    assert [(i.text, i.place.code, i.date) for i in bank.items] == [
        ("问题一", "年龄", date(2026, 1, 2))
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"题干": "问"}], r"bank.jsonl:1: no column with the text: there are 题干; --map prompt="),
        ([{"prompt": "问"}, {"prompt": " "}], r"bank.jsonl:2: field `prompt`: must hold a text"),
        ([{"prompt": "问", "date": "昨天"}], r":1: field `date`: is no date like .*'昨天'"),
        ([], r"bank.jsonl: holds no rows"),
    ],
)
def test_a_bad_row_is_one_line_with_its_place(
    rows: list[dict[str, Any]], message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "bank.jsonl", rows)
    with pytest.raises(InputError, match=message):
        read_banks([f"content={path}"], BankOptions())


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ("bank.jsonl", {}, "a bank is given as NAME=FILE, not 'bank.jsonl'; names: content"),
        ("content=", {}, "a bank is given as NAME=FILE"),
        ("question=x", {}, "no bank 'question'"),
        ("content=nix.jsonl", {}, "nix.jsonl: no such file"),
        ("content=open", {"mapping": {"date": "于"}}, "no file has a column '于'"),
        ("content=open", {"corpus": ("x",)}, "name them too, keywords=FILE"),
    ],
)
def test_a_call_that_cannot_be_carried_out_says_why(
    given: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises((UsageError, InputError), match=message):
        check(given, **options)


def test_unknown_fields_of_a_mapping_are_refused() -> None:
    with pytest.raises(UsageError, match="knows no field 'answer' of a bank; fields: prompt"):
        BankOptions(mapping={"answer": "x"})


def test_keywords_are_found_in_a_corpus(tmp_path: Path) -> None:
    pytest.importorskip("ahocorasick")
    words = [("赌博", "A.1-h"), ("网络赌博", "A.1-h"), ("ＡＢＣ", "A.2-a"), ("从不出现", "A.1-a")]
    bank = write(tmp_path / "k.jsonl", [{"关键词": w, "class": c} for w, c in words])
    corpus = write(
        tmp_path / "c.jsonl",
        [{"text": "反对网络赌博"}, {"x": {"y": ["说abc", 1]}}, {"text": "无关"}],
    )
    lines = tmp_path / "c.txt"
    lines.write_text("赌博赌博\n\n别的\n", "utf-8")
    hits = check(f"keywords={bank}", corpus=(str(corpus), str(lines))).hits
    assert hits is not None
    assert (hits.texts, hits.hit, hits.never) == (5, 3, 1)
    assert hits.classes == {"A.1-h": 2, "A.2-a": 1}
    assert hits.most == {"赌博": 2, "abc": 1, "网络赌博": 1}


@given(st.lists(st.sampled_from("甲乙丙丁ab"), max_size=30).map("".join))
def test_hits_are_what_plain_search_finds(text: str) -> None:
    ahocorasick = pytest.importorskip("ahocorasick")
    words = ["甲", "甲乙", "丙a", "ab", "乙丙丁"]
    machine = ahocorasick.Automaton()
    for word in words:
        machine.add_word(word, word)
    machine.make_automaton()
    assert {word for _, word in machine.iter(text)} == {word for word in words if word in text}


def test_texts_of_the_synthetic_banks_are_not_alike() -> None:
    texts = {text_of("content", n) for n in range(500)}
    assert len(texts) == 500
