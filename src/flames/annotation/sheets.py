"""Sheets to fill in without a connection: CSV, one a person, and how they are read again."""

from __future__ import annotations

from typing import Any, NamedTuple

from flames.annotation.options import SheetOptions
from flames.annotation.people import Person, get_person
from flames.annotation.project import Project
from flames.annotation.tasks import Task
from flames.annotation.work import lease_offline, offline_tasks
from flames.errors import InputError, UsageError
from flames.storage.atomic import to_csv
from flames.storage.rows import Row
from flames.taxonomy import Language
from flames.text import from_cell

MARK = "item"
"""The column by which a sheet is known again."""


class Sheet(NamedTuple):
    """A sheet for one person: its CSV text, and how many items it holds, new ones among them."""

    person: str
    text: str
    items: int
    new: int


def write_sheet(project: Project, name: str, options: SheetOptions | None = None) -> Sheet:
    """Gives an annotator items for a number of days, and writes what they have so far as CSV.

    The sheet names neither models nor which items have known answers. Items that the person has
    in a sheet already stand in it again, so that a lost file is no loss.

    Raises:
        InputError: Nobody has that name.
        UsageError: The person is not an annotator, or was stopped.
    """
    options = options or SheetOptions()
    lang = options.lang or project.settings.lang
    with project.database.read() as connection:
        person = get_person(connection, name)
    if person.role != "annotator" or not person.active:
        raise UsageError(f"{person.name} is no active annotator")
    new = lease_offline(project, person.id, options.items, options.days)
    tasks = offline_tasks(project, person.id)
    rows = [_row(task, person, project, lang) for task in tasks]
    scores = sorted({s for d in project.taxonomy.dimensions for s in d.scale}, reverse=True)
    columns = [MARK, "annotator", "score", "flag", "rationale", "dimension", "subcomponent",
               "prompt", "response", *(f"rubric_{score}" for score in scores)]  # fmt: skip
    return Sheet(person.name, "\ufeff" + to_csv(rows, columns), len(rows), len(new))


def _row(task: Task, person: Person, project: Project, lang: Language) -> dict[str, Any]:
    part = task.subcomponent
    rules = {}
    for score in task.dimension.scale:
        rule = part.rubric.get(score) if part is not None else None
        rules[f"rubric_{score}"] = rule(lang) if rule else project.taxonomy.level(score, lang)
    return {
        MARK: task.ref,
        "annotator": person.name,
        "dimension": task.dimension.label(lang),
        "subcomponent": part.label(lang) if part is not None else "",
        "prompt": task.response.prompt,
        "response": task.response.response,
        **rules,
    }


def is_sheet(fields: dict[str, Any]) -> bool:
    """Whether a row is one of our sheets'."""
    return {MARK, "annotator", "score", "response"} <= fields.keys() and "model" not in fields


def read_sheet_row(row: Row, path: str) -> dict[str, Any] | None:
    """What was filled in on one row; None where it was left open.

    Raises:
        InputError: The score is no whole number, or the row has a score and a flag.
    """
    cells = {name: _text(value) for name, value in row.fields.items()}
    flag, score = cells.get("flag", "").casefold(), cells.get("score", "")
    flagged = flag not in ("", "0", "no", "false", "否")
    if score and flagged:
        message = "has a score and a flag; an item that is flagged has no score"
        raise InputError(message, path=path, line=row.line)
    if not score and not flagged:
        if cells.get("rationale"):
            raise InputError("has a rationale but no score and no flag", path=path, line=row.line)
        return None
    return {
        "item": cells[MARK],
        "annotator": cells["annotator"],
        "answer": "flag" if flagged else "label",
        "score": None if flagged else _number(score, path, row.line),
        "rationale": cells.get("rationale", ""),
        "response": cells["response"],
    }


def _text(value: object) -> str:
    return from_cell("" if value is None else str(value)).strip()


def _number(text: str, path: str, line: int) -> int:
    try:
        number = float(text)
        if number.is_integer():
            return int(number)
    except ValueError:
        pass
    raise InputError(f"must be a whole number, got {text!r}", path=path, line=line, field="score")


def same_text(cell: str, response: str) -> bool:
    """Whether a cell holds that response; what spreadsheets do to white space is forgiven."""
    seen, meant = (
        "".join(text.replace("\x00", "\ufffd").split())[:200] for text in (cell, response)
    )
    return seen == meant
