"""Disguised versions of prompts, tied to their originals."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flames.cli import main
from flames.prompts.check import check_prompts
from flames.prompts.disguises import DISGUISES, Disguise, disguise_text
from flames.prompts.doubts import find_doubts, mended
from flames.prompts.sets import load_prompts
from flames.prompts.vary import vary_prompts
from flames.records import prompt_id

BY_SOUND: tuple[Disguise, ...] = ("pinyin", "homophones")
ASK = "请问老板，我的好朋友明天带手机去酒店，应该怎么安排才好？"
CHINESE = st.text(alphabet="请问座位该怎么安排好明林你说钱，。？!1a ", max_size=60)


@pytest.fixture(autouse=True)
def packages() -> None:
    pytest.importorskip("pypinyin")
    pytest.importorskip("opencc")


def changed(disguise: Disguise, text: str = ASK, seed: int = 0) -> str:
    return disguise_text(text, disguise, seed) or ""


def test_what_each_disguise_does() -> None:
    assert changed("traditional") == "請問老闆，我的好朋友明天帶手機去酒店，應該怎麼安排纔好？"
    assert changed("zero-width").replace("\u200b", "") == ASK
    assert changed("emoji") == "请问老板，我的好朋友明天带📱去🏨，应该怎么安排才好？"
    assert changed("english") == (
        "excuse me boss，我的好friend tomorrow带phone去hotel，should怎么安排才好？"
    )
    assert changed("reversed") == "板老问请，店酒去机手带天明友朋好的我，好才排安么怎该应？"
    assert changed("reversed", "给10个iPhone打分。") == "分打iPhone个10给。"
    assert changed("split", "好") == "女子"


def test_pinyin_and_homophones_read_like_the_text() -> None:
    from pypinyin import Style, lazy_pinyin

    spelt = changed("pinyin")
    assert re.search("[a-z]{4}", spelt)
    assert "".join(lazy_pinyin(spelt)) == "".join(lazy_pinyin(ASK))
    other = changed("homophones")
    assert len(other) == len(ASK)
    assert lazy_pinyin(other, style=Style.TONE3)[:4] == lazy_pinyin(ASK, style=Style.TONE3)[:4]
    assert 3 <= sum(a != b for a, b in zip(ASK, other, strict=True)) <= 12
    assert not set("一二三十") & {a for a, b in zip("一起吃二十个三明治", changed(
        "homophones", "一起吃二十个三明治"), strict=True) if a != b}  # fmt: skip


def test_parts_of_split_characters_are_written_once_each() -> None:
    tables = json.loads(
        (Path(sys.modules["flames"].__file__ or "").parent / "data/disguises.json").read_text()
    )
    assert all(len(parts) == 2 and char not in parts for char, parts in tables["split"].items())
    twice = [parts for parts, n in Counter(tables["split"].values()).items() if n > 1]
    assert twice == [], "a reader could not tell them apart"
    assert all(
        word and mark for name in ("emoji", "english") for word, mark in tables[name].items()
    )


@pytest.mark.parametrize("disguise", DISGUISES)
@settings(deadline=None, max_examples=60)
@given(text=CHINESE, seed=st.integers(0, 5))
def test_a_disguise_is_the_same_each_time_and_never_empty(
    disguise: Disguise, text: str, seed: int
) -> None:
    found = disguise_text(text, disguise, seed)
    assert found == disguise_text(text, disguise, seed)
    assert found is None or (found != text and found.strip())


@settings(deadline=None, max_examples=60)
@given(text=CHINESE)
def test_reversing_twice_gives_the_text(text: str) -> None:
    once = disguise_text(text, "reversed") or text
    assert (disguise_text(once, "reversed") or once) == text


def test_another_seed_changes_other_words() -> None:
    for disguise in ("pinyin", "homophones", "split"):
        assert len({changed(disguise, seed=seed) for seed in range(8)}) > 2


def test_variants_follow_their_original_with_its_labels() -> None:
    given = load_prompts("quick")
    varied = vary_prompts(given)
    ids = [prompt.id for prompt in varied.prompts]
    assert len(set(ids)) == len(ids)
    assert [p for p in varied.prompts if p.variant_of is None] == list(given.prompts)
    for prompt in varied.prompts:
        if prompt.variant_of is None:
            original = prompt
            continue
        assert prompt.variant_of == original.id
        assert prompt.id == prompt_id(prompt.text)
        assert (prompt.dimension, prompt.technique) == (original.dimension, original.technique)
    for disguise, counts in varied.to_dict()["disguises"].items():
        written = sum(prompt.disguise == disguise for prompt in varied.prompts)
        assert counts["written"] == written
        assert sum(counts.values()) == varied.originals == len(given.prompts)
    assert varied.unchanged["emoji"] > 0


def test_a_set_that_has_variants_gets_no_more_of_them(tmp_path: Path) -> None:
    for name, seed in (("a", "0"), ("b", "7")):
        source = "quick" if name == "a" else str(tmp_path / "a.jsonl")
        assert run("vary", source, "--out", tmp_path / f"{name}.jsonl", "--seed", seed) == 0
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    again = load_prompts(tmp_path / "a.jsonl")
    assert vary_prompts(again, seed=3).written.total() == 0
    # what is wanted is not found wanting
    assert check_prompts(tmp_path / "a.jsonl").near_duplicates == []
    assert find_doubts(again) == find_doubts(load_prompts("quick"))
    assert mended(again) == list(again.prompts)


def run(*words: object) -> int:
    with pytest.raises(SystemExit) as done:
        main(["prompts", *map(str, words)])
    return int(done.value.code or 0)


def test_the_command_counts_and_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "v.jsonl"
    asked = ("vary", "quick", "--out", out)
    assert run(*asked, "--disguises", "emoji,split", "--json") == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert list(told["disguises"]) == ["split", "emoji"]
    assert told["prompts"] == len(out.read_text().splitlines()) == load(out)
    assert run(*asked, "--disguises", "emojo") == 2
    assert "--disguises takes pinyin, homophones" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "pypinyin", None)
    before = out.read_bytes()
    assert run(*asked) == 2
    assert "'.[probes]'" in capsys.readouterr().err
    assert run(*asked, "--disguises", "reversed") == 0, "needs no package"
    assert out.read_bytes() != before


def load(path: Path) -> int:
    return len(load_prompts(path).prompts)
