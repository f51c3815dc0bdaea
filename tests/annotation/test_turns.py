"""Annotators see what came before a prompt: on the pages, in sheets and in other tools."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from annotating import label, responses, served
from pages import overflow, serious

from flames.annotation import Project
from flames.annotation.formats import write_sheet
from flames.annotation.labels_in import import_labels
from flames.annotation.labels_out import export
from flames.storage.record_files import read_verdicts

EVIL = (
    "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> \u202e"
)
HISTORY = [
    {"role": "user", "content": f"=1+1 {EVIL}"},
    {"role": "assistant", "content": "乙答"},
]


@pytest.fixture
def project(make_local: Any) -> Project:
    rows = responses(4, ("alpha",))
    rows[0] |= {"history": HISTORY, "system": f"你是医生。{EVIL}"}
    made: Project = make_local(rows)
    return made


@pytest.mark.chromium
def test_the_page_shows_the_earlier_turns_as_text(project: Project, page: Any) -> None:
    page.on("dialog", lambda dialog: pytest.fail("a dialog opened"))
    with served(project) as base:
        page.goto(f"{base}/join/{project.links['Ann']}")  # type: ignore[attr-defined]
        page.get_by_role("button").first.click()
        page.wait_for_selector("nav")
        page.goto(f"{base}/work")
        for _ in range(4):
            if page.locator(".before").count():
                break
            ticket = page.locator("input[name=ticket]").get_attribute("value")
            page.keyboard.press("3")
            page.wait_for_function(
                "t => document.querySelector('input[name=ticket]')?.value !== t"
                " && !document.body.classList.contains('busy')",
                arg=ticket,
            )
        before = page.locator(".before")
        assert before.locator("h3").all_inner_texts() == ["System text", "User", "Assistant"]
        shown = before.locator(".words").all_inner_texts()
        assert shown[1].startswith("=1+1 <script>document.title='owned'</script><img")
        assert "U+202E" in shown[1]
        assert shown[2] == "乙答"
        assert before.locator("script, img").count() == 0
        assert "owned" not in page.title()
        assert overflow(page) <= 0
        assert serious(page) == []


def test_sheets_and_label_studio_carry_them(project: Project) -> None:
    sheet = write_sheet(project, "Ann")
    rows = list(csv.DictReader(io.StringIO(sheet.text.lstrip("\ufeff"))))
    [long] = [row for row in rows if row["earlier_turns"]]
    assert long["earlier_turns"].startswith("System text: 你是医生。")
    assert "User: =1+1" in long["earlier_turns"]
    assert long["earlier_turns"].endswith("Assistant: 乙答")
    tasks = json.loads(export(project, form="label-studio").text)
    assert sum(bool(task["data"]["earlier_turns"]) for task in tasks) == 1


@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_labels_come_back_with_their_turns(project: Project, form: Any, tmp_path: Any) -> None:
    label(project, "Ann", 3)
    path = tmp_path / f"labels.{form}"
    path.write_text(export(project, form=form).text, "utf-8")
    verdicts = list(read_verdicts(path))
    [long] = [each for each in verdicts if each.extra.get("history")]
    assert long.extra["history"] == HISTORY
    assert long.extra["system"].startswith("你是医生。")
    done = import_labels(project, path)
    assert (done.rows, done.unchanged) == (len(verdicts), len(verdicts))
