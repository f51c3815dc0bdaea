"""Tables for other programs read back exactly, and hold no formula."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from command import run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flames.errors import InputError
from flames.records import Response, Verdict
from flames.storage.record_files import read_responses, read_verdicts
from flames.storage.row_files import table_bytes
from flames.storage.rows import read_rows

FORMS = ("xlsx", "parquet")
HOSTILE = [
    "=HYPERLINK(\"http://x\",\"y\")", "'=1+1", "''=x", "+1", "-1", "@SUM(A1)", "＝1", "\t=1", "|x",
    "a\x07b\x1b[31m", "line\r\nbreak\rend", "_x0041_", "_x005F_x0041_", " lead ",
    "1e5", "00012", "true", "12345678901234567890", "文字 🎉", "\u200b", "#N/A!", "{\"a\": 1}",
]  # fmt: skip


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest) -> Any:
    pytest.importorskip("openpyxl" if request.param == "xlsx" else "pyarrow")
    return request.param


def back(rows: list[dict[str, Any]], form: Any, folder: Path) -> list[dict[str, Any]]:
    path = folder / f"table.{form}"
    path.write_bytes(table_bytes(rows, form))
    found = [row.fields for row in read_rows(path)]
    return [{n: v for n, v in row.items() if v is not None and v != ""} for row in found]


def test_hostile_texts_come_back(form: Any, tmp_path: Path) -> None:
    rows = [{"prompt_id": str(n), "response": text} for n, text in enumerate(HOSTILE)]
    assert back(rows, form, tmp_path) == rows


def test_values_of_every_kind_come_back(form: Any, tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"prompt_id": "a", "score": 3, "flag": True, "latency_s": 0.25, "id2": 2**53 - 1},
        {
            "prompt_id": "b",
            "probabilities": {"3": 0.75, "1": 0.25},
            "judging": {"votes": [1, None]},
        },
        {"prompt_id": "c", "probabilities": {"2": 1.0}, "notes": ["=x", {"n": "真"}]},
    ]
    found = back(rows, form, tmp_path)
    if form == "xlsx":  # 15 digits are all that a workbook keeps of a number
        assert found[0].pop("id2") == str(rows[0].pop("id2"))
    assert found == rows


TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\x00\ufffe\uffff"), max_size=12
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(texts=st.lists(TEXT, min_size=1, max_size=5))
def test_any_text_comes_back(form: Any, tmp_path: Path, texts: list[str]) -> None:
    rows = [{"prompt_id": f"p{n}", "response": text} for n, text in enumerate(texts)]
    kept = [{name: value for name, value in row.items() if value} for row in rows]
    assert back(rows, form, tmp_path) == kept


def test_a_workbook_holds_no_formula(tmp_path: Path) -> None:
    pytest.importorskip("openpyxl")
    path = tmp_path / "t.xlsx"
    path.write_bytes(table_bytes([{text: text for text in HOSTILE[:6]}], "xlsx"))
    with zipfile.ZipFile(path) as archive:
        sheets = [archive.read(n) for n in archive.namelist() if n.startswith("xl/worksheets/")]
    assert not any(b"<f" in sheet.replace(b"<freeze", b"") for sheet in sheets)
    import openpyxl

    for row in openpyxl.load_workbook(path).active.iter_rows():
        for cell in row:
            assert cell.data_type == "s"
            assert str(cell.value)[0] == "'"  # also once it is copied into a CSV


def test_what_a_workbook_cannot_hold_is_refused() -> None:
    pytest.importorskip("openpyxl")
    with pytest.raises(InputError, match="a cell holds 32,767 characters, and response has more"):
        table_bytes([{"response": "长" * 32_768}], "xlsx")


def test_a_column_that_is_called_json_and_is_none(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("prompt_id,usage:json\na,{oops\n", "utf-8")
    with pytest.raises(InputError, match=r"t\.csv:2: field `usage`: is called usage:json, but"):
        list(read_rows(path))


def test_verdicts_are_scored_into_a_table_and_read_again(form: Any, tmp_path: Path) -> None:
    rows = [
        {"prompt_id": f"p{n}", "model": "m", "dimension": "Safety", "prompt": "怎么办？",
         "response": "=这样说并不合适，请不要伤害他人。", "usage": {"prompt_tokens": n}}
        for n in range(3)
    ]  # fmt: skip
    source = tmp_path / "responses.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    out, plain = tmp_path / f"v.{form}", tmp_path / "v.jsonl"
    for target in (plain, out):
        assert run("score", source, "--scorer", "lexical", "--out", target, "--quiet") == 0
    assert list(read_verdicts(out)) == list(read_verdicts(plain))
    [first, *_] = read_verdicts(out)
    assert isinstance(first, Verdict)
    assert first.probabilities
    assert not (tmp_path / f"v.{form}.part").exists()
    assert run("score", source, "--scorer", "lexical", "--format", form) == 2  # where to?
    table = tmp_path / f"r.{form}"
    table.write_bytes(table_bytes(rows, form))
    assert list(read_responses(table)) == list(read_responses(source))
    assert all(isinstance(each, Response) for each in read_responses(table))


def test_a_report_as_a_table(form: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verdicts = tmp_path / "v.jsonl"
    row = {"prompt_id": "a", "model": "=m", "dimension": "Safety", "scorer": "s@1", "score": 3}
    verdicts.write_text(json.dumps(row) + "\n", "utf-8")
    out = tmp_path / f"report.{form}"
    assert run("report", verdicts, "--format", form, "--out", out) == 0
    [overall, safety, *_] = (each.fields for each in read_rows(out))
    assert (overall["model"], safety["name"], safety["harmless_rate"]) == ("=m", "Safety", 100)
    assert run("report", verdicts, "--format", form) == 2
    assert f"--format {form} needs --out FILE" in capsys.readouterr().err
