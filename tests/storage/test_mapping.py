from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flames.analysis.loading import mappings_of
from flames.errors import InputError, UsageError
from flames.storage.mapping import MISSING, columns_there, parse_mapping, rename, value_at
from flames.storage.record_files import ReadOptions
from flames.storage.rows import read_rows

NESTED = {"id": 7, "data": {"text": {"zh": "问"}, "answer": None, "a.b": 1}, "data.x": {"y": 2}}


def test_parse_mapping() -> None:
    assert parse_mapping("prompt=问题, response=回答") == {"prompt": "问题", "response": "回答"}
    assert parse_mapping(None) == parse_mapping("") == {}
    for bad in ("prompt", "=x", "prompt=", "prompt=a,prompt=b"):
        with pytest.raises(UsageError, match="--map"):
            parse_mapping(bad)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("id", 7),
        ("data.text.zh", "问"),
        ("data.answer", None),
        ("data.a.b", 1),  # a name with a dot inside an object
        ("data.x.y", 2),  # and one outside
        ("data.none", MISSING),
        ("id.real", MISSING),
        ("data.text.zh.0", MISSING),
        ("", MISSING),
    ],
)
def test_a_dot_reaches_into_objects(column: str, value: Any) -> None:
    assert value_at(NESTED, column) == value


@given(st.dictionaries(st.text(), st.integers(), min_size=1))
def test_a_column_of_that_very_name_comes_first(fields: dict[str, int]) -> None:
    nested: dict[str, Any] = {"a": {"b": {"c": -1}}, "a.b": {"c": -2}, **fields}
    assert all(value_at(nested, name) == value for name, value in fields.items())
    assert value_at({**nested, "a.b.c": 3}, "a.b.c") == 3


def test_what_a_dotted_name_reaches_into_stays() -> None:
    renamed = rename(NESTED, {"prompt": "data.text.zh", "prompt_id": "id"})
    assert renamed == {"prompt": "问", "prompt_id": 7} | {k: NESTED[k] for k in ("data", "data.x")}


def test_a_column_that_is_not_there_is_named_with_those_inside_objects() -> None:
    with pytest.raises(InputError) as caught:
        rename(NESTED, {"response": "data.reply"})
    assert str(caught.value) == (
        "no column 'data.reply' (--map response=data.reply); columns: "
        "id, data.text.zh, data.answer, data.a.b, data.x.y"
    )
    assert columns_there({}, "prompt").startswith("there are no fields;")
    many = columns_there({str(number): 1 for number in range(20)}, "prompt")
    assert "11, …; --map prompt=NAME" in many


def test_dotted_names_work_through_every_reader(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"data": {"q": f"问{n}"}, "out": {"text": "答"}, "kind": "安全"} for n in range(2)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    mapping = {"prompt": "data.q", "response": "out.text"}
    assert [row.fields["prompt"] for row in read_rows(path, mapping=mapping)] == ["问0", "问1"]
    plain = tmp_path / "b.jsonl"
    plain.write_text('{"question": "x"}\n', "utf-8")
    options = ReadOptions(mapping={"prompt": "data.q", "id": "question"})
    both = mappings_of([path, plain], options)
    assert both == [{"prompt": "data.q"}, {"id": "question"}]
