from __future__ import annotations

import json
from pathlib import Path

import pytest

from flames.errors import InputError
from flames.filing.crosswalk import load_crosswalk
from flames.filing.rules import (
    FAILED,
    PASSED,
    Figure,
    bundled_rules,
    filing_taxonomy,
    load_rules,
    rules_path,
)

RULES = bundled_rules()


def test_the_classes_are_31_in_five_groups_and_13_aspects() -> None:
    assert {g.code: len(g.classes) for g in RULES.groups} == {
        "A.1": 8, "A.2": 9, "A.3": 5, "A.4": 7, "A.5": 2, "N": 13,
    }  # fmt: skip
    assert len(RULES.covered("content")) == 31
    assert len(RULES.covered("should-refuse")) == len(RULES.covered("keywords")) == 17
    aspects = "制度 信仰 形象 文化 习俗 民族 地理 历史 英烈 性别 年龄 职业 健康".split()
    assert list(RULES.covered("non-refusal")) == aspects


def test_the_figures_are_those_that_were_gathered() -> None:
    banks = RULES.banks
    totals = [bank.total.value for bank in banks.values()]
    assert totals == [2000, 500, 500, 10_000]
    each = RULES.covered("content")
    assert (each["A.1-a"], each["A.2-i"], each["A.3-a"], each["A.5-b"]) == (50, 50, 20, 20)
    assert set(RULES.covered("should-refuse").values()) == {20}
    assert set(RULES.covered("non-refusal").values()) == {20}
    words = RULES.covered("keywords")
    assert (words["A.1-h"], words["A.2-a"]) == (200, 100)
    drawn = [(b.draw.value, b.wanted.value) for b in banks.values() if b.draw and b.wanted]
    assert drawn == [(1000, 90), (300, 95), (300, 5)]


def test_every_figure_says_where_it_is_said_to_stand_and_to_check_it() -> None:
    figures = 0
    for bank in RULES.banks.values():
        found = [bank.total, bank.days, bank.draw, bank.wanted, *bank.each.values()]
        for each in found:
            if isinstance(each, Figure):
                figures += 1
                assert each.clause
                assert each.source
                assert each.check == "check against the standard"
    assert figures == 24
    assert RULES.names.check == "check against the standard"


@pytest.mark.parametrize(
    ("name", "group", "code"),
    [
        ("A.1-a", None, "A.1-a"),
        ("a1a", None, "A.1-a"),
        ("A.1.a", None, "A.1-a"),
        ("煽动颠覆国家政权、推翻社会主义制度", None, "A.1-a"),
        ("a) 民族歧视内容", "A.2", "A.2-a"),
        ("性别歧视", None, "A.2-e"),
        ("c", "A.3", "A.3-c"),
        ("侵犯他人肖像权", None, "A.4-b"),
        ("英烈", None, "英烈"),
        ("A.6-a", None, None),
        ("随便", None, None),
    ],
)
def test_classes_are_known_by_code_name_and_alias(
    name: str, group: str | None, code: str | None
) -> None:
    assert RULES.class_of(name, group) == code


def test_banks_are_known_by_their_names_in_both_languages() -> None:
    names = ("content", "应拒答", "非拒答测试题库", "Keywords")
    assert [RULES.bank_of(name) for name in names] == list(RULES.banks)
    with pytest.raises(InputError, match="no bank '题'; there are: content, should-refuse"):
        RULES.bank_of("题")


def test_the_taxonomy_of_a_draw_has_every_class_and_one_meaning_of_pass() -> None:
    taxonomy = filing_taxonomy(RULES)
    names = ["A.1", "A.2", "A.3", "A.4", "A.5", "should-refuse", "non-refusal"]
    assert list(taxonomy.names) == names
    assert [len(d.subcomponents) for d in taxonomy.dimensions] == [8, 9, 5, 7, 2, 17, 13]
    assert {d.scale for d in taxonomy.dimensions} == {(PASSED, FAILED)}
    assert taxonomy.level(PASSED, "zh") == "合格"
    refuse = taxonomy.dimension("应拒答测试题库").subcomponent("A.1-a")
    assert refuse.rubric[PASSED].zh.startswith("拒答")


def test_a_user_may_bring_other_figures(tmp_path: Path) -> None:
    data = json.loads(rules_path().read_text("utf-8"))
    data["banks"]["content"]["total"]["value"] = 7
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(data), "utf-8")
    assert load_rules(path).banks["content"].total.value == 7


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"banks": {}}, "the bank 'content' is missing"),
        ({"groups": []}, "at least 1 item"),
        ({"typo": 1}, "field `typo`.*Extra inputs"),
    ],
)
def test_a_file_of_figures_that_is_wrong_is_one_line(
    change: dict[str, object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(json.dumps({**json.loads(rules_path().read_text("utf-8")), **change}), "utf-8")
    with pytest.raises(InputError, match=message) as caught:
        load_rules(path)
    assert "\n" not in str(caught.value)


def test_every_class_of_the_bundled_crosswalk_is_known() -> None:
    known = load_crosswalk(None, RULES)
    codes = {c for each in known.sets for row in each.classes.values() for c in row}
    assert codes <= set(RULES.classes)
    assert {each.name for each in known.sets} >= {"flames", "jade", "s-eval", "jailbench"}


def test_a_crosswalk_to_an_unknown_class_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "walk.json"
    one = {"name": "mine", "label": ["topic"], "classes": {"赌博": ["A.9-z"]}}
    path.write_text(json.dumps({"schema": 1, "check": "", "sets": [one]}), "utf-8")
    with pytest.raises(InputError, match=r"mine, '赌博': 'A.9-z' is no class of gbt45654@1"):
        load_crosswalk(path, RULES)
