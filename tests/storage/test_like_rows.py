"""Rows that are like an earlier one: what comes out is what reading each anew gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flames.errors import InputError
from flames.prompts.sets import load_prompts
from flames.records import Verdict
from flames.storage import like_rows
from flames.storage.record_files import ReadOptions, read_verdicts

KNOWN = load_prompts("open").by_id
OPTIONS = ReadOptions(prompts=KNOWN)

rows = st.fixed_dictionaries(
    {
        "prompt_id": st.sampled_from(["a", "b", " c", *list(KNOWN)[:2]]),
        "dimension": st.just("公平"),
    },
    optional={
        "model": st.sampled_from(["m", " m", "n", None]),
        "sample": st.sampled_from([0, 1, 2, "3", 4.0]),
        "subcomponent": st.sampled_from([None, "Bias and discrimination", ""]),
        "expected": st.sampled_from(["should_refuse", "maybe", None]),
        "stance": st.sampled_from(["refused", "other"]),
        "status": st.sampled_from([None, "ok", "blocked", "truncated", ""]),
        "scorer": st.sampled_from(["s@1", "s@1", "", "t"]),
        "annotator": st.sampled_from(["li", None]),
        "score": st.sampled_from([3, 1, 3, 1, None, "1", 3.0, True]),
        "predicted": st.sampled_from([3, 1]),
        "unscored": st.sampled_from([None, "tie", ""]),
        "probabilities": st.sampled_from([None, {}, {"3": 0.5, "1": 0.5}, {"3": 1}]),
        "rationale": st.sampled_from([None, " 因为 ", "", "so"]),
        "response": st.sampled_from(["好", "", " ", "<think>嗯</think>好", None]),
        "finish_reason": st.sampled_from(["stop", "length", "content_filter", None]),
        "note": st.sampled_from([None, 1, 0.5, True, "x", [1], {"a": None}]),
        "system": st.sampled_from([None, "s"]),
        "id": st.sampled_from([1, "x"]),
    },
)


def read(path: Path) -> list[str] | str:
    try:
        return [verdict.to_line() for verdict in read_verdicts(path, OPTIONS)]
    except InputError as error:
        return str(error)


@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(given=st.lists(rows, min_size=1, max_size=12), usual=rows)
def test_like_rows_give_what_reading_anew_gives(
    tmp_path: Path, given: list[dict[str, Any]], usual: dict[str, Any]
) -> None:
    path = tmp_path / "v.jsonl"
    lines = [{**usual, **each} for each in given]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        found = read(path)
        patch.setattr(like_rows, "_MOST", 0)
        assert found == read(path)


def test_a_row_like_another_is_not_read_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "v.jsonl"
    row = {"model": "m", "dimension": "Safety", "score": 3, "scorer": "s@1", "response": "好"}
    lines = [{**row, "prompt_id": f"p{n}", "probabilities": {"3": n / 9}} for n in range(9)]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), "utf-8")
    built: list[object] = []
    validate = Verdict.model_validate
    monkeypatch.setattr(Verdict, "model_validate", lambda f: built.append(f) or validate(f))
    found = list(read_verdicts(path))
    assert len(built) == 1
    assert [verdict.prompt_id for verdict in found] == [f"p{n}" for n in range(9)]
    assert [verdict.probabilities for verdict in found] == [{"3": n / 9} for n in range(9)]
    assert found == [validate(verdict.to_dict()) for verdict in found]
