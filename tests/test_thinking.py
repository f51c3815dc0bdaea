"""Reasoning before an answer, in every dress that models give it."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.errors import UsageError
from flames.storage.atomic import to_jsonl
from flames.storage.record_files import ReadOptions, read_responses
from flames.thinking import Thinking, read_tags, split_thinking

DRESSES = [
    "<think>想</think>答",
    "<Thinking>\n想\n</Thinking>\n\n答",
    "\ufeff\n<think>想</think>答",
    "想</think>\n答",
    "<seed:think>想</seed:think>答",
    "◁think▷想◁/think▷答",
    "<mm:think>想</mm:think>答",
    "<thought>想</thought>答",
    "<reasoning>想</reasoning>答",
    "[THINK]想[/THINK]答",
    "<longcat_think>想</longcat_think>答",
    "<|begin_of_thought|>想<|end_of_thought|>答",
    "<|START_THINKING|>想<|END_THINKING|>答",
    "<|channel|>analysis<|message|>想<|end|><|start|>assistant<|channel|>final<|message|>答<|return|>",
    "<|start|>assistant<|channel|>analysis<|message|>想<|channel|>final<|message|>答",
    "想<|end|><|start|>assistant<|channel|>final <|constrain|>json<|message|>答<|end|>",
    "analysis想assistantfinal答",
    "<|channel>thought\n想<channel|>答",
    "想<channel|>答",
    "<unused94>thought\n想<unused95>答",
]


@pytest.mark.parametrize("text", DRESSES)
def test_every_dress_of_thinking_is_split_off(text: str) -> None:
    assert split_thinking(text) == Thinking("答", "想")


@pytest.mark.parametrize("text", [text for text in DRESSES if "analysis想" not in text])
def test_what_is_cut_off_while_thinking_has_no_answer(text: str) -> None:
    cut = text[: text.index("想") + 1]
    if cut != "想":  # the tag was in the prompt
        assert split_thinking(cut) == Thinking("", "想", unclosed=True)


@pytest.mark.parametrize(
    "text",
    [
        "答",
        "推理模型先写 <think>，再写 </think>。",
        "`<reasoning>` 与 `</reasoning>` 之间是思考",
        "看到“</think>”就说明想完了",
        "analysis of the question",
        "答 <|channel> 与 [think]",
        "<b>答</b>",
        "",
    ],
)
def test_an_answer_may_speak_of_the_tags(text: str) -> None:
    assert split_thinking(text) == Thinking(text, "")


@pytest.mark.parametrize(
    ("text", "answer", "reasoning"),
    [
        ("<think>一</think><reasoning>二</reasoning>答", "答", "一\n二"),
        ("<think>一</think>答<think>二</think>案", "答<think>二</think>案", "一"),
        ("<think>先写 <think> 再写</think>答", "答", "先写 <think> 再写"),
        ("<think>一<think>二</think>三</think>答", "答", "一<think>二</think>三"),
        ("<think>想</think>用 </think> 结束", "用 </think> 结束", "想"),
        ("<think></think>答", "答", ""),
        ("<|channel|>final<|message|>答<|return|>", "答", ""),
        ("<|channel|>final<|message|><think>是标签", "<think>是标签", ""),
    ],
)
def test_only_what_stands_in_front_is_thinking(text: str, answer: str, reasoning: str) -> None:
    assert split_thinking(text) == Thinking(answer, reasoning)


def test_further_tags_are_known_where_they_are_named(tmp_path: Path) -> None:
    tags = read_tags(["<plan>", "(( ))"])
    assert split_thinking("<plan>想</plan>答", tags) == Thinking("答", "想")
    assert split_thinking("((想))答", tags) == Thinking("答", "想")
    assert split_thinking("<plan>想</plan>答").reasoning == ""
    path = tmp_path / "r.jsonl"
    path.write_text(to_jsonl([{"prompt": "问", "response": "<plan>想</plan>答"}]), "utf-8")
    (read,) = read_responses(path, ReadOptions(think_tags=tags))
    assert (read.response, read.reasoning) == ("答", "想")
    with pytest.raises(UsageError, match="--think-tags"):
        read_tags(["x"])


@given(st.lists(st.sampled_from(["<think>", "</think>", "好", "的", "`", " "]), max_size=9))
def test_nothing_is_lost_but_tags_and_space(pieces: list[str]) -> None:
    text = "".join(pieces)
    split = split_thinking(text)
    bare = re.compile(r"</?think>|\s")
    whole = bare.sub("", split.reasoning) + bare.sub("", split.answer)
    assert whole == bare.sub("", text)
    if text.strip()[:7] != "<think>" and "</think>" not in text:
        assert split == Thinking(text, "")


@pytest.mark.parametrize(
    "text",
    [
        "<think></think>" * 20_000,
        "<think>" * 30_000,
        "</think>" * 30_000,
        " " * 100_000 + "<",
        "<|channel|>analysis<|message|>" * 10_000,
        "assistantfinal" + "analysis" * 30_000,
        "<think>" + "</think><think>" * 20_000,
    ],
)
def test_hostile_texts_take_no_time(text: str) -> None:
    started = time.process_time()
    split_thinking(text)
    assert time.process_time() - started < 5
