"""Sheets: CSV files that leave a project, which one annotator fills in offline, and come back."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import Any, NamedTuple

from flames.annotation.options import SheetOptions
from flames.annotation.people import get_person
from flames.annotation.project import Project
from flames.annotation.tasks import Answer, Task
from flames.annotation.work import lease_offline, offline_tasks
from flames.errors import InputError, UsageError
from flames.records import Response
from flames.reports.words import say
from flames.storage.atomic import to_csv
from flames.storage.record_fields import whole
from flames.storage.unusable import usable
from flames.taxonomy import Dimension, Language, Subcomponent, Taxonomy

MARK = "item"  # the column by which a sheet is recognised
BEFORE = "earlier_turns"
"""The column with what came before a prompt, to be read; there where an item has any."""

WHOSE = "token"  # the column that says whose sheet it is, whatever `annotator` says


class RawLabel(NamedTuple):
    """A label as a file gives it; None where the file has no value."""

    annotator: str | None
    answer: Answer
    score: int | None
    rationale: str
    labelled_at: Any = None
    seconds: Any = None


class Sheet(NamedTuple):
    """The CSV text of a person's sheet, and how many items it holds, new ones among them."""

    person: str
    text: str
    items: int
    new: int


def write_sheet(project: Project, name: str, options: SheetOptions | None = None) -> Sheet:
    """Leases items to an annotator for some days, and writes all their offline items as CSV.

    It shows neither models nor known answers, and repeats the open items of earlier sheets.
    """
    options = options or SheetOptions()
    lang = options.lang or project.settings.lang
    with project.database.read() as connection:
        person = get_person(connection, name)
    if person.role != "annotator" or not person.active:
        raise UsageError(f"{person.name} is not an active annotator")
    new = lease_offline(project, person.id, options.items, options.days)
    tasks = offline_tasks(project, person.id)
    whose = {"annotator": person.name, WHOSE: sheet_token(project, person.id)}
    rows = [_sheet_row(task, project.taxonomy, lang) | whose for task in tasks]
    scores = sorted({s for d in project.taxonomy.dimensions for s in d.scale}, reverse=True)
    before = [BEFORE] * any(row[BEFORE] for row in rows)
    columns = [MARK, "annotator", "score", "flag", "rationale", "dimension", "subcomponent",
               *before, "prompt", "response", *(f"rubric_{score}" for score in scores),
               "rulings", WHOSE]  # fmt: skip
    return Sheet(person.name, "\ufeff" + to_csv(rows, columns), len(rows), new)


def sheet_token(project: Project, person: int) -> str:
    """Returns what a person's sheets carry; nobody can make it up for another person."""
    settings = project.settings
    key = f"{settings.items_sha256}:{settings.created}:{settings.seed}"
    digest = hmac.new(key.encode(), str(person).encode(), "sha256").hexdigest()
    return f"sheet-{digest[:16]}"  # no spreadsheet takes that for a number


def _sheet_row(task: Task, taxonomy: Taxonomy, lang: Language) -> dict[str, Any]:
    part = task.subcomponent
    rules = {}
    for score in task.dimension.scale:
        rule = part.rubric.get(score) if part is not None else None
        rules[f"rubric_{score}"] = rule(lang) if rule else taxonomy.level(score, lang)
    rules["rulings"] = "\n".join(rulings(task.dimension, part, lang))
    return shown_texts(task.ref, task.dimension, part, task.response, lang) | rules


def rulings(dimension: Dimension, part: Subcomponent | None, lang: Language) -> list[str]:
    """Returns the rulings that hold for an item, in a language."""
    return [ruling(lang) for ruling in dimension.rulings_on(part)]


def shown_texts(
    ref: str, dimension: Dimension, part: Subcomponent | None, response: Response, lang: Language
) -> dict[str, Any]:
    """Returns what annotators see of an item in a file."""
    turns = (f"{say(f'work.role.{role}')(lang)}: {text}" for role, text in response.asked.before)
    return {
        MARK: ref,
        "dimension": dimension.label(lang),
        "subcomponent": part.label(lang) if part is not None else "",
        BEFORE: "\n\n".join(turns),
        "prompt": response.prompt,
        "response": response.response,
    }


def is_sheet(fields: Mapping[str, Any]) -> bool:
    """Returns whether a row is one of our sheets'."""
    return {MARK, "annotator", "score", "response"} <= fields.keys() and "model" not in fields


def read_sheet_row(fields: Mapping[str, Any]) -> tuple[dict[str, str], RawLabel | None]:
    """Returns a row's cells, and the label; None where the row was left blank."""
    known = usable(fields, fields)
    cells = {name: "" if value is None else str(value).strip() for name, value in known.items()}
    flag, score, rationale = (cells.get(name, "") for name in ("flag", "score", "rationale"))
    flagged = flag.casefold() not in ("", "0", "no", "false", "否")
    if score and flagged:
        raise InputError("has a score and a flag; leave the score of a flagged item empty")
    if not score and not flagged:
        if rationale:
            raise InputError("has a rationale but no score and no flag")
        return cells, None
    number = None if flagged else whole(cells, "score")
    return cells, RawLabel(cells["annotator"], "flag" if flagged else "label", number, rationale)


def same_text(cell: str, response: str) -> bool:
    """Compares a cell with a text, ignoring changes of white space by spreadsheets."""
    texts = (text.replace("\x00", "\ufffd").split() for text in (cell, response))
    return len({"".join(words)[:200] for words in texts}) == 1
