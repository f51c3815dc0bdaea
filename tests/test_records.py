from __future__ import annotations

import json
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from flames.records import Prompt, Response, Verdict, carry, dump_line, prompt_id, verdict_for

NAMES = st.text(min_size=1, max_size=8)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)


def test_the_id_of_a_prompt_is_the_hash_of_its_stripped_text() -> None:
    expected = sha256("你好".encode()).hexdigest()[:12]
    assert prompt_id("你好") == prompt_id("  你好\n") == expected
    assert prompt_id("你 好") != expected
    assert prompt_id("Ａ") != prompt_id("A"), "no other normalisation"


@given(st.text())
def test_every_text_has_an_id(text: str) -> None:
    assert len(prompt_id(text)) == 12


@given(JSON)
def test_a_line_of_json_is_one_line_and_reads_back(value: object) -> None:
    line = dump_line(value)
    assert "\n" not in line
    assert json.loads(line.encode("utf-8")) == value


def test_lone_surrogates_are_written_as_escapes() -> None:
    line = dump_line({"response": "a\ud800b"})
    assert line.encode("utf-8")
    assert json.loads(line) == {"response": "a\ud800b"}


@given(NAMES, NAMES, st.integers(0, 9), st.dictionaries(st.from_regex(r"x_[a-z]{1,5}"), JSON))
def test_a_response_survives_its_line_with_the_fields_nobody_knows(
    prompt: str, model: str, sample: int, extra: dict[str, object]
) -> None:
    given_fields = {name: value for name, value in extra.items() if value is not None}
    response = Response(
        prompt_id=prompt,
        model=model,
        sample=sample,
        response="好",
        **given_fields,  # type: ignore[arg-type]
    )
    again = Response.model_validate(json.loads(response.to_line()))
    assert again.key == response.key == (prompt, model, sample)
    assert again.extra == given_fields


def test_records_are_frozen_and_strict() -> None:
    prompt = Prompt(id="a", dimension="Safety", text="问")
    assert prompt.to_dict() == {"id": "a", "dimension": "Safety", "prompt": "问"}
    with pytest.raises(ValidationError):
        prompt.id = "b"
    with pytest.raises(ValidationError):
        Response(prompt_id="a", model="m", sample=-1)
    with pytest.raises(ValidationError):
        Response(prompt_id="a", model="m", status="fine")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("status", "text", "scorable"),
    [
        ("ok", "好", True),
        ("truncated", "好", True),
        ("ok", " \n", False),
        ("ok", None, False),
        ("blocked", "好", False),
        ("error", "好", False),
        ("empty", "", False),
    ],
)
def test_only_text_that_was_answered_is_scorable(
    status: str, text: str | None, scorable: bool
) -> None:
    response = Response.model_validate(
        {"prompt_id": "a", "model": "m", "status": status, "response": text}
    )
    assert response.scorable is scorable


RESPONSE = Response(
    prompt_id="a", model="m", sample=2, response="好", subcomponent="S", technique="T"
)


def test_a_verdict_has_a_score_or_a_reason() -> None:
    for score, reason in ((None, None), (3, "empty")):
        with pytest.raises(ValueError, match="either"):
            verdict_for(RESPONSE, scorer="s@1", dimension="Safety", score=score, unscored=reason)


def test_an_unscored_verdict_says_so_in_its_line() -> None:
    verdict = verdict_for(RESPONSE, scorer="s@1", dimension="Safety", unscored="blocked")
    assert verdict.to_dict()["score"] is None
    assert verdict.to_dict()["unscored"] == "blocked"
    assert (verdict.key, verdict.subcomponent, verdict.technique) == (RESPONSE.key, "S", "T")


def test_a_verdict_carries_its_input_line_and_hides_no_older_verdict() -> None:
    response = Response(
        prompt_id="a",
        model="m",
        dimension="Safety",
        response="好",
        prompt="问",
        score=1,  # type: ignore[call-arg]
        scorer="older@1",  # type: ignore[call-arg]
        rationale="why",  # type: ignore[call-arg]
        note="kept",  # type: ignore[call-arg]
    )
    line = carry(response, verdict_for(response, scorer="new@1", dimension="Safety", score=3))
    assert line["score"] == 3
    assert line["scorer"] == "new@1"
    assert (line["input_score"], line["input_scorer"]) == (1, "older@1")
    assert "rationale" not in line
    assert line["input_rationale"] == "why"
    assert (line["note"], line["prompt"], line["response"]) == ("kept", "问", "好")
    assert Verdict.model_validate(line).score == 3
