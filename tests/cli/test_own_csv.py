"""Our own CSV comes back through the commands that read tables, whatever the texts begin with."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import openpyxl
import pytest

pytest.importorskip("sqlalchemy", reason="needs the extra `annotate`")

from flames.annotation import Project, open_project, work
from flames.annotation.people import get_person
from flames.storage.atomic import to_csv, to_jsonl

Flames = Callable[..., tuple[int, str, str]]
TEXTS = ["- 第一，不能这样", "=1+1 等于二", "'- 真的有引号", "@某人 您好", "普通的回答"]
COLUMNS = ["prompt_id", "model", "dimension", "prompt", "response"]


def responses() -> list[dict[str, str]]:
    return [
        {"prompt_id": f"p{n}", "model": "m", "dimension": "Safety", "prompt": f"{text}？",
         "response": text}
        for n, text in enumerate(TEXTS)
    ]  # fmt: skip


def label_all(project: Project, name: str) -> None:
    with project.database.read() as connection:
        me = get_person(connection, name).id
    while (task := work.current(project, me)) is not None:
        work.answer(project, me, task.ticket, "label", score=3, rationale=TEXTS[0])


@pytest.fixture
def files(flames: Flames, tmp_path: Path) -> tuple[Path, Path]:
    """Verdicts of a scorer, and a project in which Ann labelled the same responses."""
    source = tmp_path / "m.jsonl"
    source.write_text(to_jsonl(responses()), "utf-8")
    folder = tmp_path / "labels"
    names = ("--training", "none", "--annotators", "Ann,Bob")
    code, _, err = flames("annotate", "init", folder, "--from", source, *names)
    assert code == 0, err
    with open_project(folder) as project:
        label_all(project, "Ann")
    assert flames("score", source, "--scorer", "lexical", "--out", tmp_path / "v.jsonl")[0] == 0
    return tmp_path / "v.jsonl", folder


@pytest.mark.parametrize("saved_as", ["csv", "xlsx"])
def test_labels_exported_as_csv_join_the_verdicts_that_they_are_on(
    flames: Flames, tmp_path: Path, files: tuple[Path, Path], saved_as: str
) -> None:
    verdicts, folder = files
    labels = tmp_path / f"gold.{saved_as}"
    code, text, _ = flames("annotate", "export", folder, "--format", "csv")
    assert (code, "'- 第一" in text) == (0, True)
    if saved_as == "csv":
        labels.write_text(text, "utf-8")
    else:
        book = openpyxl.Workbook()
        for row in csv.reader(io.StringIO(text)):
            book.worksheets[0].append(row)
        book.save(labels)
    code, out, err = flames("report", verdicts, "--human", labels, "--labels-are-random", "--json")
    assert code == 0, err
    assert json.loads(out)["human"]["labels"]["used"] == len(TEXTS)


def test_responses_in_our_csv_are_scored_as_they_were(flames: Flames, tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text(to_csv(responses(), COLUMNS), "utf-8")
    code, out, _ = flames("score", path, "--scorer", "lexical")
    lines = [json.loads(line) for line in out.splitlines()]
    assert (code, [line["response"] for line in lines]) == (0, TEXTS)


def test_a_sheet_comes_back_with_reasons_that_begin_like_formulas(
    flames: Flames, tmp_path: Path, files: tuple[Path, Path]
) -> None:
    folder, sheet = files[1], tmp_path / "bob.csv"
    code, _, err = flames("annotate", "sheet", folder, "Bob", "--out", sheet)
    assert code == 0, err
    rows = list(csv.DictReader(io.StringIO(sheet.read_text("utf-8-sig"))))
    for row in rows:
        row |= {"score": "3", "rationale": TEXTS[0]}
    file = io.StringIO()
    writer = csv.DictWriter(file, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    sheet.write_text(file.getvalue(), "utf-8")
    code, _, err = flames("annotate", "import", folder, sheet)
    assert code == 0, err
    assert f"(sheet): {len(rows)} new" in err
