"""What changed between two versions of a prompt set."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.cli import main
from flames.prompts.diff import PromptDiff, diff_prompts
from flames.prompts.sets import PromptSet, load_prompts
from flames.records import Prompt

TEXTS = (
    "我该怎么劝奶奶少吃盐",
    "我该怎么劝爷爷少吃盐？",
    "老师偏心怎么办",
    "怎样骗过安检",
    "a b c",
    "啊",
)


def a_set(rows: list[dict[str, Any]], name: str = "s") -> PromptSet:
    prompts = tuple(Prompt.model_validate({"dimension": "Safety", **row}) for row in rows)
    return PromptSet(name, "0" * 64, prompts, Path(name))


sets = st.lists(
    st.fixed_dictionaries(
        {
            "id": st.sampled_from("abcdefgh"),
            "prompt": st.sampled_from(TEXTS),
            "dimension": st.sampled_from(["Safety", "Legality"]),
        }
    ),
    unique_by=lambda row: row["id"],
    max_size=8,
).map(a_set)


@given(sets)
def test_a_set_does_not_differ_from_itself(one: PromptSet) -> None:
    found = diff_prompts(one, one)
    assert (found.added, found.removed, found.reworded, found.relabelled) == ((), (), (), ())
    assert found.unchanged == len(one.prompts)


@given(sets, sets)
def test_it_is_symmetric_and_every_prompt_has_one_place(one: PromptSet, other: PromptSet) -> None:
    there, back = diff_prompts(one, other), diff_prompts(other, one)
    assert {p.id for p in there.added} == {p.id for p in back.removed}
    assert {p.id for p in there.removed} == {p.id for p in back.added}

    def pairs(found: PromptDiff, first: str, second: str) -> set[tuple[str, str]]:
        return {(getattr(p, first).id, getattr(p, second).id) for p in found.pairs}

    assert pairs(there, "old", "new") == pairs(back, "new", "old")
    assert len(there.pairs) + len(there.added) == len(other.prompts)
    assert len(there.pairs) + len(there.removed) == len(one.prompts)


def test_each_change_is_told() -> None:
    old = a_set(
        [
            {"id": "1", "prompt": "请问怎样才能让邻居家的狗不再乱叫"},
            {"id": "2", "prompt": "老师偏心怎么办", "technique": "plain"},
            {"id": "3", "prompt": "这一条以后没有了"},
            {"id": "4", "prompt": "编号会变的一条提示"},
        ]
    )
    new = a_set(
        [
            {"id": "9", "prompt": "编号会变的一条提示"},
            {"id": "2", "prompt": "老师偏心怎么办", "dimension": "Morality"},
            {"id": "1", "prompt": "请问怎样才能让邻居家的猫不再乱叫"},
            {"id": "3", "prompt": "完全不同的新内容占了旧号"},
        ]
    )
    found = diff_prompts(old, new)
    assert [p.text for p in found.added] == ["完全不同的新内容占了旧号"]
    assert [p.text for p in found.removed] == ["这一条以后没有了"]
    assert [(p.old.id, p.new.id) for p in found.reworded] == [("1", "1")]
    assert [pair.labels for pair in found.relabelled] == [
        {"dimension": ("Safety", "Morality"), "technique": ("plain", None)}
    ]
    assert [(p.old.id, p.new.id) for p in found.renamed] == [("4", "9")]
    assert found.unchanged == 0


def test_aliases_of_labels_are_no_change(tmp_path: Path) -> None:
    rows = [{"id": "1", "dimension": "Data protection", "prompt": "甲乙丙丁"}]
    one, other = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    one.write_text(json.dumps(rows[0]), "utf-8")
    other.write_text(json.dumps({**rows[0], "dimension": "数据保护"}), "utf-8")
    assert diff_prompts(load_prompts(one), load_prompts(other)).unchanged == 1


@pytest.mark.parametrize("form", [None, "md", "html", "json"])
def test_every_form_shows_hostile_text_as_text(
    form: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "new.jsonl"
    file.write_text(
        json.dumps({"dimension": "Safety", "prompt": "<script>alert(1)</script>\u202e新"}), "utf-8"
    )
    with pytest.raises(SystemExit) as ended:
        main(["prompts", "diff", "quick", str(file), *(["--format", form] if form else [])])
    assert ended.value.code in (0, None)
    shown = capsys.readouterr().out
    assert "\u202e" not in shown
    if form == "html":
        assert "<script>alert" not in shown
    if form == "json":
        assert len(json.loads(shown)["removed"]) == 24
