"""Parquet without texts, read as whole columns: what comes out is what reading rows gives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flames.analysis import loading
from flames.analysis.loading import load_sources
from flames.errors import InputError
from flames.metrics.rates import measure
from flames.prompts.sets import load_prompts
from flames.records import Verdict
from flames.scorers.base import Truncated
from flames.taxonomy import default_taxonomy

pyarrow = pytest.importorskip("pyarrow", reason="needs the extra table")

from pyarrow import parquet  # noqa: E402

KNOWN = load_prompts("open").prompts[:3]


def row(**fields: Any) -> dict[str, Any]:
    given = {
        "prompt_id": "p1", "model": "m", "sample": 0, "dimension": "Safety", "subcomponent": None,
        "status": "ok", "scorer": "judge:x@1", "score": 3,
    }  # fmt: skip
    return given | fields


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def written(rows: list[dict[str, Any]], name: str = "v.parquet") -> Path:
        path = tmp_path / name
        if path.suffix == ".parquet":
            table = pyarrow.Table.from_pylist(rows)
            parquet.write_table(table, path, row_group_size=7)
        else:
            path.write_text("".join(json.dumps(each) + "\n" for each in rows), "utf-8")
        return path

    return written


rows = st.lists(
    st.fixed_dictionaries(
        {
            "prompt_id": st.sampled_from(["a", "b", " c ", *(p.id for p in KNOWN)]),
            "model": st.sampled_from(["m", "n"]),
            "sample": st.integers(0, 5),
            "dimension": st.sampled_from(["Fairness", "公平", "Morality"]),
            "status": st.sampled_from(["ok", "truncated", "blocked", None]),
            "scorer": st.sampled_from(["judge:x@1", "human:li"]),
            "annotator": st.sampled_from([None, "li"]),
            "score": st.sampled_from([3, 1, None]),
            "stance": st.sampled_from([None, "refused"]),
        }
    ),
    min_size=1,
    max_size=40,
    unique_by=lambda r: (
        r["prompt_id"].strip(), r["model"], r["sample"], r["scorer"], r["annotator"]
    ),
)  # fmt: skip


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rows=rows, truncated=st.sampled_from(["scored", "unscored"]))
def test_whole_columns_give_what_rows_give(
    write: Callable[..., Path], rows: list[dict[str, Any]], truncated: Truncated
) -> None:
    # a known prompt stands under its own dimension, or the file would be refused either way
    known = {p.id: p.dimension for p in KNOWN}
    listed = [r | {"dimension": known.get(r["prompt_id"], r["dimension"])} for r in rows]
    found = load_sources(write(listed), truncated=truncated)
    plain = load_sources(write(listed, "v.jsonl"), truncated=truncated)
    assert [(s.model, s.scorer, s.samples, s.notes) for s in found] == [
        (s.model, s.scorer, s.samples, s.notes) for s in plain
    ]
    for one, other in zip(found, plain, strict=True):
        assert one.prompt_set.ids_sha256 == other.prompt_set.ids_sha256
        assert list(map(without_texts, one.verdicts)) == list(map(without_texts, other.verdicts))
        taxonomy = default_taxonomy()
        assert measure(one, taxonomy) == measure(other, taxonomy)


def without_texts(verdict: Verdict) -> dict[str, Any]:
    return {name: getattr(verdict, name) for name in Verdict.model_fields}


def test_it_is_not_read_row_by_row(
    write: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "read_verdicts", lambda *_: pytest.fail("rows were read"))
    path = write([row(prompt_id=str(n), score=float(n % 2 * 2 + 1)) for n in range(20)])
    [source] = load_sources(path)
    assert [verdict.score for verdict in source.verdicts] == [1, 3] * 10


def test_texts_are_read_row_by_row(write: Callable[..., Path]) -> None:
    [source] = load_sources(write([row(response="好的", rationale="因为")]))
    assert source.verdicts[0].rationale == "因为"
    assert next(iter(source.responses.values())).response == "好的"


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row(prompt_id="x", score=4), "must be 3 or 2 or 1 in Safety, got 4"),
        (row(prompt_id="x", dimension="Nothing"), "Nothing"),
        (row(prompt_id="x", sample=-1), "must be 0 or more, got -1"),
        (row(prompt_id=None), "needs `prompt`, or the `prompt_id`"),
        (row(prompt_id=" "), "needs `prompt`, or the `prompt_id`"),
        (row(prompt_id="x", unscored="empty"), "says why there is no score"),
    ],
)
def test_a_bad_row_is_named(write: Callable[..., Path], bad: dict[str, Any], message: str) -> None:
    good = [row(prompt_id=str(n), unscored=None) for n in range(9)]
    with pytest.raises(InputError) as caught:
        load_sources(write([*good, row(**bad), row(prompt_id="last")]))
    assert caught.value.line == 10
    assert message in str(caught.value)


def test_a_row_that_is_there_twice_is_named(write: Callable[..., Path]) -> None:
    path = write([row(prompt_id=each) for each in "abcbc"])
    with pytest.raises(
        InputError, match="same prompt, model, sample and scorer as line 2"
    ) as caught:
        load_sources(path)
    assert caught.value.line == 4


def test_a_repeated_column_and_a_broken_file_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.parquet"
    path.write_bytes(b"PAR1 and nothing")
    with pytest.raises(InputError, match="is no readable Parquet file"):
        load_sources(path)
    column = pyarrow.array(["a"])
    twice = pyarrow.Table.from_arrays([column, column], names=["prompt_id", "prompt_id"])
    parquet.write_table(twice, path)
    with pytest.raises(InputError, match="column 'prompt_id' is there twice"):
        load_sources(path)
