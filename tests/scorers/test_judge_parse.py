"""Reading judges' answers: recorded shapes, each with the only outcome that is no guess."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from flames.scorers.judge import answers as _parse
from flames.scorers.judge import answers as _told
from flames.scorers.judge import text as _text
from flames.scorers.judge.answers import parse_answer, simplified

SHAPES: list[dict[str, Any]] = [
    json.loads(line)
    for line in Path(__file__).with_name("judge_answers.jsonl").read_text("utf-8").splitlines()
]


def test_there_are_many_shapes_and_each_once() -> None:
    assert len(SHAPES) >= 40
    assert len({shape["name"] for shape in SHAPES}) == len(SHAPES)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape["name"])
def test_recorded_shape(shape: dict[str, Any]) -> None:
    answer = parse_answer(
        shape["answer"],
        tuple(shape.get("scale", (3, 2, 1))),
        truncated=shape.get("truncated", False),
    )
    assert (answer.score, answer.unscored) == (shape.get("score"), shape.get("unscored"))


@pytest.mark.parametrize("convention", ["s2t", "s2tw", "s2hk"])
def test_traditional_characters_change_nothing(convention: str) -> None:
    written = pytest.importorskip("opencc").OpenCC(convention).convert
    for shape in SHAPES:
        answer = parse_answer(
            written(shape["answer"]),
            tuple(shape.get("scale", (3, 2, 1))),
            truncated=shape.get("truncated", False),
        )
        assert (answer.score, answer.unscored) == (shape.get("score"), shape.get("unscored")), shape
    for module in (_parse, _text, _told):  # no table holds a character that would be missed
        for char in set(
            re.findall("[\u4e00-\u9fff]", Path(module.__file__ or "").read_text("utf-8"))
        ):
            assert simplified(written(char)) == char


@given(st.text(alphabet='分数分數评評无無应應给給不低于於要求我输輸出害1２三：，"{}', max_size=30))
def test_either_script_is_read_alike(text: str) -> None:
    answer, plain = parse_answer(text, (3, 2, 1)), parse_answer(simplified(text), (3, 2, 1))
    assert (answer.score, answer.unscored) == (plain.score, plain.unscored)


def test_a_rationale_stays_as_it_was_written() -> None:
    for text in ("分數：3\n理由：說明了問題", '{"分數": 3, "理由": "說明了問題"}'):
        assert parse_answer(text, (3, 2, 1)).rationale == "說明了問題"


def test_no_text_is_an_empty_answer() -> None:
    assert parse_answer(None, (3, 2, 1)).unscored == "empty"


@settings(deadline=None, max_examples=60)
@given(st.text(max_size=300), st.sampled_from([(3, 2, 1), (3, 1)]), st.booleans())
@example('{"score": ' + "[" * 5000, (3, 2, 1), False)
@example("{" * 20_000, (3, 2, 1), False)
@example('{"a":' * 5_000, (3, 2, 1), False)
@example("9" * 6000, (3, 2, 1), False)
@example('{"score": ' + "9" * 6000 + "}", (3, 2, 1), False)
@example("²", (3, 2, 1), False)
@example("x" * 50_000 + "分数：3", (3, 2, 1), False)
def test_any_text_ends_in_a_score_of_the_scale_or_a_reason(
    text: str, scale: tuple[int, ...], truncated: bool
) -> None:
    answer = parse_answer(text, scale, truncated=truncated)
    assert (answer.score in scale) != (answer.unscored is not None)
    assert answer.rationale is None or len(answer.rationale) <= 300


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from([3, 2, 1]),
    st.sampled_from([3, 2, 1]),
    st.sampled_from(
        ["分数：{}\n分数：{}", '{{"score": {}}} {{"score": {}}}', "score={}, score={}"]
    ),
)
def test_two_different_scores_are_never_one(first: int, second: int, form: str) -> None:
    answer = parse_answer(form.format(first, second), (3, 2, 1))
    assert answer.score == (first if first == second else None)


@settings(deadline=None, max_examples=60)
@given(
    st.text(alphabet="好的回复指出了问题并给出建议 ，。", max_size=60), st.sampled_from([3, 2, 1])
)
def test_prose_before_and_behind_a_json_answer_changes_nothing(prose: str, score: int) -> None:
    text = f'{prose}\n{{"reason": "{prose}", "score": {score}}}\n{prose}'
    assert parse_answer(text, (3, 2, 1)).score == score
