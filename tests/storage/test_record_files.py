from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flames.errors import InputError
from flames.records import Prompt, prompt_id
from flames.storage.atomic import to_jsonl
from flames.storage.record_files import ReadOptions, read_prompts, read_responses, read_verdicts

LABEL = {"dimension": "Fairness", "prompt": "问", "response": "答", "score": 3}
PROMPT = {"dimension": "Safety", "subcomponent": "Physical harm", "prompt": "问"}


def _file(folder: Path, *rows: dict[str, Any], name: str = "模型.jsonl") -> Path:
    path = folder / name
    path.write_text(to_jsonl(rows), "utf-8")
    return path


def test_a_prompt_without_id_gets_the_hash_of_its_text(tmp_path: Path) -> None:
    (prompt,) = read_prompts(_file(tmp_path, {**PROMPT, "dimension": "safety", "x": 1}))
    assert prompt.id == prompt_id("问")
    assert prompt.dimension == "Safety"
    assert prompt.extra == {"x": 1}


def test_the_released_format_is_read(tmp_path: Path) -> None:
    row = {"dimension": "Virtue", "prompt": "问", "response": "答", "predicted": 2}
    path = _file(tmp_path, row)
    (response,) = read_responses(path)
    assert (response.dimension, response.model, response.sample) == ("Morality", "模型", 0)
    assert response.prompt_id == prompt_id("问")
    (verdict,) = read_verdicts(path)
    assert (verdict.score, verdict.scorer) == (2, "predicted")


def test_a_response_takes_what_it_lacks_from_its_known_prompt(tmp_path: Path) -> None:
    known = Prompt(id="p1", dimension="Legality", subcomponent="Law violation", text="问")
    options = ReadOptions(prompts={"p1": known}, placed=True, model="m")
    (response,) = read_responses(_file(tmp_path, {"prompt_id": "p1", "response": "答"}), options)
    assert response.dimension == "Legality"
    assert response.subcomponent == "Law violation"
    assert response.prompt == "问"
    assert response.model == "m"
    with pytest.raises(InputError, match=r"dimension.*--prompts"):
        list(read_responses(_file(tmp_path, {"prompt": "他", "response": "答"}), options))


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"response": "答"}, "ok"),
        ({"response": " \n"}, "empty"),
        ({"response": None, "finish_reason": "stop", "status": None}, "empty"),
        ({"response": "答", "finish_reason": "length"}, "truncated"),
        ({"response": "", "finish_reason": "content_filter"}, "blocked"),
        ({"status": "error"}, "error"),
    ],
)
def test_the_status_is_told_by_the_response(
    tmp_path: Path, fields: dict[str, Any], status: str
) -> None:
    path = _file(tmp_path, {**PROMPT, **fields})
    (response,) = read_responses(path)
    assert response.status == status


@pytest.mark.parametrize(
    ("fields", "score", "reason"),
    [
        ({"score": 3}, 3, None),
        ({"score": "2"}, 2, None),
        ({"score": 1.0}, 1, None),
        ({"score": None}, None, "no score"),
        ({"score": None, "unscored": "judge refused"}, None, "judge refused"),
        ({"score": 3, "response": " "}, None, "empty"),
        ({"score": 1, "status": "blocked"}, None, "blocked"),
        ({"predicted": 3, "response": "答"}, 3, None),
        ({"predicted": None, "response": "答", "scorer": None}, None, "no score"),
        ({"predicted": None, "response": "", "scorer": None}, None, "empty"),
    ],
)
def test_unscored_is_not_a_score(
    tmp_path: Path, fields: dict[str, Any], score: int | None, reason: str | None
) -> None:
    fields = {"scorer": "s@1", **fields}
    (verdict,) = read_verdicts(_file(tmp_path, {**PROMPT, **fields}))
    assert (verdict.score, verdict.unscored) == (score, reason)


BAD_PROMPTS: dict[str, tuple[dict[str, Any], str]] = {
    "no text": ({"dimension": "Safety"}, "must hold the prompt's text"),
    "blank": ({"dimension": "Safety", "prompt": " \n"}, "must hold the prompt's text"),
    "list": ({"dimension": "Safety", "prompt": ["a"]}, "must be text, not list"),
    "no dimension": ({"prompt": "问"}, "is missing; one of: Fairness"),
    "unknown": ({"dimension": "Safty", "prompt": "问"}, "did you mean 'Safety'"),
    "elsewhere": (
        {"dimension": "Safety", "subcomponent": "Law violation", "prompt": "问"},
        "unknown subcomponent of Safety",
    ),
}


@pytest.mark.parametrize("name", BAD_PROMPTS)
def test_a_bad_prompt_is_named_with_file_line_and_field(tmp_path: Path, name: str) -> None:
    fields, said = BAD_PROMPTS[name]
    path = _file(tmp_path, PROMPT, fields)
    with pytest.raises(InputError) as caught:
        list(read_prompts(path))
    assert said in str(caught.value)
    assert str(caught.value).startswith(f"{path}:2: ")
    errors: list[InputError] = []
    assert len(list(read_prompts(path, on_error=errors.append))) == 1
    assert [str(error) for error in errors] == [str(caught.value)]


BAD_RESPONSES: dict[str, tuple[dict[str, Any], str]] = {
    "no response": (dict(PROMPT), "there are dimension, subcomponent, prompt; --map response="),
    "no prompt": ({"response": "答"}, "needs `prompt`"),
    "other names": ({"问": "问", "答": "答"}, "there are 问, 答; --map prompt=NAME"),
    "number": ({**PROMPT, "response": {"a": 1}}, "must be text, not dict"),
    "status": ({**PROMPT, "response": "答", "status": "fine"}, "field `status`"),
    "sample": ({**PROMPT, "response": "答", "sample": "x"}, "must be a whole number"),
    "minus": ({**PROMPT, "response": "答", "sample": -1}, "field `sample`"),
    "model": ({**PROMPT, "response": "答", "model": []}, "must be text, not list"),
}


@pytest.mark.parametrize("name", BAD_RESPONSES)
def test_a_bad_response_is_named_with_file_and_line(tmp_path: Path, name: str) -> None:
    fields, said = BAD_RESPONSES[name]
    path = _file(tmp_path, {**PROMPT, "prompt": "先", "response": "答"}, fields)
    with pytest.raises(InputError) as caught:
        list(read_responses(path))
    assert said in str(caught.value)
    assert f"{path}:2: " in str(caught.value)


BAD_VERDICTS: dict[str, tuple[dict[str, Any], str]] = {
    "off the scale": ({**PROMPT, "score": 4}, "must be 3 or 2 or 1 in Safety, got 4"),
    "two-level scale": (
        {"dimension": "Legality", "prompt": "问", "score": 2},
        "must be 3 or 1 in Legality, got 2",
    ),
    "zero": ({**PROMPT, "score": 0}, "got 0"),
    "half": ({**PROMPT, "score": 2.5}, "must be a whole number"),
    "true": ({**PROMPT, "score": True}, "must be a whole number"),
    "word": ({**PROMPT, "predicted": "good"}, "must be a whole number"),
    "responses": ({**PROMPT, "response": "答"}, "flames score"),
}


@pytest.mark.parametrize("name", BAD_VERDICTS)
def test_a_bad_verdict_is_named_with_file_and_line(tmp_path: Path, name: str) -> None:
    fields, said = BAD_VERDICTS[name]
    path = _file(tmp_path, fields)
    with pytest.raises(InputError) as caught:
        list(read_verdicts(path))
    assert said in str(caught.value)
    assert f"{path}:1: " in str(caught.value)


def test_the_same_key_twice_is_refused_with_both_lines(tmp_path: Path) -> None:
    row = {**PROMPT, "response": "答"}
    with pytest.raises(InputError, match=":3: same prompt, model and sample as line 1"):
        list(read_responses(_file(tmp_path, row, {**row, "sample": 1}, row)))
    with pytest.raises(InputError, match="same prompt as line 1"):
        list(read_prompts(_file(tmp_path, PROMPT, {**PROMPT, "prompt": " 问 "})))
    named = {**PROMPT, "id": "a"}
    with pytest.raises(InputError, match="same id 'a' as line 1"):
        list(read_prompts(_file(tmp_path, named, {**named, "prompt": "另一条"})))
    verdict = {**PROMPT, "score": 3}
    two = [{**verdict, "annotator": "a"}, {**verdict, "annotator": "b"}]
    assert len(list(read_verdicts(_file(tmp_path, *two)))) == 2


def test_reading_is_lazy(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    good = json.dumps({**PROMPT, "response": "答"})
    path.write_text(good + "\nbroken\n", "utf-8")
    stream = read_responses(path)
    assert next(stream).response == "答"
    with pytest.raises(InputError, match=":2: is no JSON"):
        next(stream)


THOUGHTS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "a block before the answer": (
        {"response": "\ufeff <think>想\n想</think>\n\n答"},
        {"response": "答", "reasoning": "想\n想", "status": "ok"},
    ),
    "opened by the chat template": (
        {"response": "想想</think>答", "finish_reason": "length"},
        {"response": "答", "reasoning": "想想", "status": "truncated"},
    ),
    "empty": ({"response": "<think>\n\n</think>\n\n答"}, {"response": "答", "reasoning": None}),
    "never answered": (
        {"response": "<Thinking>想", "status": "ok", "finish_reason": "length"},
        {"response": "", "reasoning": "想", "status": "truncated in thought"},
    ),
    "blocked while it answered": (
        {"response": "<think>想</think>", "status": "blocked"},
        {"response": "", "status": "blocked"},
    ),
    "beside reasoning of its own": (
        {"response": "<think>想</think>答", "reasoning": "另想"},
        {"response": "答", "reasoning": "另想", "input_response": "<think>想</think>答"},
    ),
}


@pytest.mark.parametrize("name", THOUGHTS)
def test_thinking_before_the_answer_is_no_part_of_it(tmp_path: Path, name: str) -> None:
    fields, expected = THOUGHTS[name]
    (response,) = read_responses(_file(tmp_path, {**PROMPT, **fields}))
    assert {key: getattr(response, key) for key in expected} == expected
    assert response.extra["thought_aloud"] is True
    (again,) = read_responses(_file(tmp_path, response.to_dict()))
    assert again == response


@pytest.mark.parametrize(
    "text",
    [
        "推理模型会输出<think>标签</think>，里面是思考",
        "`<think>` 开始，`</think>` 结束",
        "看到“</think>”就说明想完了",
        "I think so",
    ],
)
def test_a_response_that_speaks_of_the_tags_is_left_alone(tmp_path: Path, text: str) -> None:
    (response,) = read_responses(_file(tmp_path, {**PROMPT, "response": text}))
    assert (response.response, response.reasoning, response.extra) == (text, None, {})


@pytest.mark.parametrize("read", [read_responses, read_verdicts])
def test_one_id_stands_for_one_prompt(tmp_path: Path, read: Any) -> None:
    row = {"dimension": "Safety", "prompt_id": "p1", "response": "答", "score": 3}
    same = [
        {**row, "prompt": "问", "model": "a"},
        {**row, "prompt": " 问\n", "model": "b"},
        {**row, "model": "c"},
    ]
    assert len(list(read(_file(tmp_path, *same)))) == 3
    path = _file(tmp_path, *same, {**row, "prompt": "改过的问", "model": "d"})
    with pytest.raises(InputError, match=r":4: field `prompt_id`: p1 has another `prompt` than on"):
        list(read(path))
    path = _file(tmp_path, {**row, "prompt": "问"}, {**row, "prompt": "改过的问"})
    with pytest.raises(InputError, match="p1 has another `prompt` than on line 1"):
        list(read(path))


def test_a_known_id_with_another_text_is_another_prompt(tmp_path: Path) -> None:
    known = Prompt(id="p1", dimension="Legality", subcomponent="Law violation", text="问")
    options = ReadOptions(prompts={"p1": known}, placed=True)
    row = {"prompt_id": "p1", "prompt": "改过的问", "response": "答"}
    with pytest.raises(InputError, match="the prompt is none of a known set"):
        list(read_responses(_file(tmp_path, row), options))
    (response,) = read_responses(_file(tmp_path, {**row, "dimension": "Safety"}), options)
    assert (response.subcomponent, response.prompt) == (None, "改过的问")
    (response,) = read_responses(_file(tmp_path, {**row, "prompt": " "}), options)
    assert (response.subcomponent, response.prompt) == ("Law violation", "问")


def test_a_score_may_go_by_its_name(tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("dimension,prompt,response,score\nSafety,a,b,无害\nSafety,c,d,Harmful\n")
    assert [verdict.score for verdict in read_verdicts(file)] == [3, 1]
    file.write_text("dimension,prompt,response,score\nLegality,a,b,mediocre\n")
    with pytest.raises(InputError, match="must be 3 or 1 in Legality, got 2"):
        list(read_verdicts(file))


def test_repeated_prompts_are_refused_or_numbered_by_their_response(tmp_path: Path) -> None:
    rows = [
        {**LABEL, "annotator": "a"},
        {**LABEL, "annotator": "a", "response": "又答"},
        {**LABEL, "annotator": "b", "response": "又答"},
        {**LABEL, "annotator": "b"},
        {**LABEL, "annotator": "b"},
        {**LABEL, "annotator": "b", "response": "第七", "sample": 6},
    ]
    file = _file(tmp_path, *rows)
    with pytest.raises(InputError, match="same prompt, model, sample and scorer as line 1"):
        list(read_verdicts(file))
    found = list(read_verdicts(file, ReadOptions(numbered=True)))
    assert [verdict.sample for verdict in found] == [0, 1, 1, 0, 2, 6]
    assert len({(*v.key, v.annotator) for v in found}) == len(rows)
    answers = [{**row, "score": None} for row in rows[:2]]
    file = _file(tmp_path, *answers)
    assert [r.sample for r in read_responses(file, ReadOptions(numbered=True))] == [0, 1]


def test_a_sample_that_is_named_is_never_changed(tmp_path: Path) -> None:
    file = _file(tmp_path, {**LABEL, "sample": 1}, {**LABEL, "sample": 1})
    with pytest.raises(InputError, match="as line 1"):
        list(read_verdicts(file, ReadOptions(numbered=True)))


def test_a_known_prompt_judged_on_another_dimension_lends_no_subcomponent(tmp_path: Path) -> None:
    known = {
        "p": Prompt(
            id="p", dimension="Safety", subcomponent="Mental harm", technique="plain", prompt="问"
        )
    }
    rows = [
        {"prompt_id": "p", "response": "答", "model": "a"},
        {"prompt_id": "p", "response": "答", "model": "b", "dimension": "safety"},
        {"prompt_id": "p", "response": "答", "model": "c", "dimension": "Legality"},
    ]
    options = ReadOptions(prompts=known)
    found = list(read_responses(_file(tmp_path, *rows), options))
    assert [(r.dimension, r.subcomponent, r.technique) for r in found] == [
        ("Safety", "Mental harm", "plain"),
        ("Safety", "Mental harm", "plain"),
        ("Legality", None, None),
    ]
    assert {r.prompt for r in found} == {"问"}
