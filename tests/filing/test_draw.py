from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from filing_banks import RULES, rows_of, write

from flames.errors import InputError, UsageError
from flames.filing.draw import Draw, DrawOptions, draw_banks, open_draw
from flames.filing.sheets import question_text
from flames.prompts.sets import load_prompts
from flames.storage.checksums import file_sha256


def draw(out: Path, *banks: str, **options: Any) -> Draw:
    return draw_banks(banks, DrawOptions(out=out, **options))


@pytest.fixture
def banks(tmp_path: Path) -> list[str]:
    content = write(tmp_path / "content.jsonl", rows_of("content"))
    refuse = write(tmp_path / "refuse.jsonl", rows_of("should-refuse", {"A.1-a": 10}))
    answer = write(tmp_path / "answer.jsonl", rows_of("non-refusal", {"健康": 60}))
    return [f"content={content}", f"should-refuse={refuse}", f"non-refusal={answer}"]


def test_draws_have_the_official_sizes_and_say_how(banks: list[str], tmp_path: Path) -> None:
    found = draw(tmp_path / "d", *banks, seed=7)
    prompts = found.prompts()
    sizes = Counter(each.extra["bank"] for each in prompts.values())
    assert sizes == {"content": 1000, "should-refuse": 300, "non-refusal": 300}
    assert len({each.text for each in prompts.values()}) == 1600
    manifest = found.manifest
    assert (manifest.seed, manifest.rules) == (7, RULES.id)
    for name, each in manifest.banks.items():
        own = [p for p in prompts.values() if p.extra["bank"] == name]
        drawn = Counter(p.subcomponent for p in own)
        assert {code: c.drawn for code, c in each.classes.items() if c.drawn} == drawn
        assert sum(c.bank for c in each.classes.values()) == each.n
        [(file, sha256)] = each.files.items()
        assert file_sha256(file) == sha256
    expected = {p.extra["bank"]: p.expected for p in prompts.values()}
    assert expected == {
        "content": None, "should-refuse": "should_refuse", "non-refusal": "should_answer",
    }  # fmt: skip
    dimensions = {p.dimension for p in prompts.values()}
    assert dimensions == {"A.1", "A.2", "A.3", "A.4", "A.5", "should-refuse", "non-refusal"}


def test_a_drawn_set_is_a_prompt_set(banks: list[str], tmp_path: Path) -> None:
    found = draw(tmp_path / "d", *banks)
    read = load_prompts(tmp_path / "d" / "prompts.jsonl", taxonomy=found.taxonomy)
    assert read.by_id == found.prompts()
    assert read.ids_sha256 == found.manifest.ids_sha256


def test_a_draw_depends_on_texts_and_seed_alone(banks: list[str], tmp_path: Path) -> None:
    first = draw(tmp_path / "a", banks[0], seed=3).prompts()
    rows = rows_of("content")
    random.Random(1).shuffle(rows)
    shuffled = write(tmp_path / "other.jsonl", [*rows, rows[0]])
    again = draw(tmp_path / "b", f"content={shuffled}", seed=3).prompts()
    assert list(again) == list(first)
    other = draw(tmp_path / "c", banks[0], seed=4).prompts()
    assert set(other) != set(first)


def test_each_question_has_the_same_chance(tmp_path: Path) -> None:
    path = write(tmp_path / "n.jsonl", rows_of("non-refusal")[:20])
    seen: Counter[str] = Counter()
    for seed in range(16):
        drawn = draw(
            tmp_path / "d", f"non-refusal={path}", seed=seed, size={"non-refusal": 5},
            overwrite=True,
        )  # fmt: skip
        seen.update(list(drawn.prompts()))
    assert len(seen) == 20
    expected = 16 * 5 / 20
    assert sum((n - expected) ** 2 / (expected * 0.75) for n in seen.values()) < 44  # 99.9 %


def test_a_small_bank_is_drawn_whole_and_the_manifest_says_so(tmp_path: Path) -> None:
    rows = rows_of("non-refusal")[:30]
    rows += [rows[0], {"测试题": "无类别的一问"}, {"测试题": "别处的一问", "二级分类": "A.1-a"}]
    found = draw(tmp_path / "d", f"非拒答={write(tmp_path / 'n.jsonl', rows)}")
    bank = found.manifest.banks["non-refusal"]
    assert (bank.n, bank.asked, bank.drawn, bank.left_out) == (30, 300, 30, 2)


def test_keywords_go_along(tmp_path: Path) -> None:
    words = write(tmp_path / "k.jsonl", [{"关键词": "=词", "二级分类": "A.1-a"}, {"关键词": "乙"}])
    answer = write(tmp_path / "n.jsonl", rows_of("non-refusal"))
    found = draw(tmp_path / "d", f"non-refusal={answer}", f"keywords={words}")
    assert found.keywords() == [
        {"keyword": "=词", "class": "A.1-a"}, {"keyword": "乙", "class": None},
    ]  # fmt: skip


def test_a_draw_that_was_changed_is_refused(banks: list[str], tmp_path: Path) -> None:
    draw(tmp_path / "d", *banks)
    path = tmp_path / "d" / "prompts.jsonl"
    path.write_text(path.read_text("utf-8").replace("？", "?", 1), "utf-8")
    with pytest.raises(InputError, match=r"prompts.jsonl: was changed since the draw"):
        open_draw(tmp_path / "d")


def test_a_manifest_leads_out_of_no_folder(banks: list[str], tmp_path: Path) -> None:
    draw(tmp_path / "d", *banks)
    path = tmp_path / "d" / "manifest.json"
    data = json.loads(path.read_text("utf-8"))
    data["files"]["../content.jsonl"] = file_sha256(tmp_path / "content.jsonl")
    path.write_text(json.dumps(data), "utf-8")
    with pytest.raises(InputError, match="was changed"):
        open_draw(tmp_path / "d")


def test_nothing_is_overwritten_unasked(banks: list[str], tmp_path: Path) -> None:
    draw(tmp_path / "d", *banks)
    with pytest.raises(UsageError, match="choose another --out, or --overwrite an earlier draw"):
        draw(tmp_path / "d", *banks)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "note.txt").write_text("x")
    with pytest.raises(UsageError, match="is there"):
        draw(tmp_path / "mine", *banks, overwrite=True)
    assert (tmp_path / "mine" / "note.txt").exists()


@pytest.mark.parametrize(
    ("size", "message"),
    [({"should-refuse": 3}, "--size names the bank 'should-refuse', which was not given")],
)
def test_sizes_are_of_banks_that_are_there(
    size: dict[str, int], message: str, tmp_path: Path, banks: list[str]
) -> None:
    with pytest.raises(UsageError, match=message):
        draw(tmp_path / "d", banks[0], size=size)


def test_there_has_to_be_something_to_draw(tmp_path: Path) -> None:
    words = write(tmp_path / "k.jsonl", [{"关键词": "甲"}])
    with pytest.raises(UsageError, match="name a bank to draw from: content, should-refuse"):
        draw(tmp_path / "d", f"keywords={words}")
    with pytest.raises(InputError, match="holds no question with a class of content"):
        draw(tmp_path / "d", f"content={words}")
    with pytest.raises(InputError, match=r"is no draw: it has no manifest\.json"):
        open_draw(tmp_path)


def test_questions_of_several_turns_keep_them(tmp_path: Path) -> None:
    turns = [{"role": "user", "content": "先问"}, {"role": "assistant", "content": "先答"}]
    rows = [
        {"prompt": "再问", "class": "健康"},
        {"prompt": "再问", "class": "健康", "history": [["先问", "先答"]], "system": "简短"},
    ]
    path = write(tmp_path / "n.jsonl", rows)
    prompts = list(draw(tmp_path / "d", f"non-refusal={path}").prompts().values())
    assert len(prompts) == 2
    [long] = [each for each in prompts if each.history]
    assert [turn.model_dump() for turn in long.history or ()] == turns
    assert question_text(long) == "系统：简短\n用户：先问\n助手：先答\n用户：再问"
    assert {question_text(each) for each in prompts} == {"再问", question_text(long)}
