"""Imports labels: sheets, Label Studio exports, and verdicts of any origin.

A file is imported as a whole or not at all. Importing a file twice changes nothing. A label that
differs from the stored one replaces it, and the old one stays in the events.
"""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, insert, select

from flames.annotation.database import assignments
from flames.annotation.database import items as items_table
from flames.annotation.database import people as people_table
from flames.annotation.events import NewEvent, append_events, timestamp
from flames.annotation.formats import (
    MARK,
    WHOSE,
    RawLabel,
    is_sheet,
    read_sheet_row,
    same_text,
    sheet_token,
)
from flames.annotation.label_studio_exports import (
    Submission,
    is_export_row,
    is_task,
    lacks_score,
    read_export_row,
    read_task,
)
from flames.annotation.labels_out import AGGREGATED
from flames.annotation.ledger import Item, read_items, read_ledger
from flames.annotation.marks import check_controls
from flames.annotation.matching import ItemIndex
from flames.annotation.people import (
    Person,
    add_person,
    checked_name,
    find_person,
    list_people,
    person_key,
)
from flames.annotation.project import Project
from flames.annotation.queue import change_taken
from flames.annotation.tasks import STATES, UNSCORED, VOIDED, check_score, clean_text
from flames.annotation.work import record_answer
from flames.errors import InputError, UsageError, notify
from flames.records import Frozen
from flames.storage.checksums import file_sha256
from flames.storage.mapping import columns_there
from flames.storage.record_files import ReadOptions, read_verdicts
from flames.text import shorten, with_point


class Imported(Frozen):
    """The result of importing a file: `open` rows were blank, `added_people` cannot sign in."""

    file: str
    kind: str
    rows: int
    new: int
    changed: int
    unchanged: int
    open: int
    beyond_quota: int
    added_people: tuple[str, ...]


class _Row(NamedTuple):
    line: int | None
    item: Item
    label: RawLabel

    @property
    def annotator(self) -> str:
        return str(self.label.annotator)


def import_labels(
    project: Project,
    path: str | os.PathLike[str],
    *,
    annotator: str | None = None,
    options: ReadOptions | None = None,
) -> Imported:
    """Imports a sheet, a JSON export of Label Studio, or verdicts, recognised by their content.

    `annotator` is that of labels which name none. If one row cannot be used, none is imported.
    """
    path = Path(path)
    options = options or ReadOptions()
    with project.database.read() as connection:
        items = read_items(connection)
    index = ItemIndex(items.values())
    kind, rows = _rows_of(path, project, index, annotator, options)
    incoming: dict[tuple[str, int], _Row] = {}
    blank = 0
    for row in rows:
        if row is None:
            blank += 1
            continue
        with _errors_at(path, row.line):
            row = _checked(row, project)
            if incoming.setdefault((person_key(row.annotator), row.item.id), row) is not row:
                raise InputError(f"{row.annotator!r} has two labels on item {row.item.ref}")
    return _store(project, path, kind, list(incoming.values()), blank)


def _rows_of(
    path: Path, project: Project, index: ItemIndex, annotator: str | None, options: ReadOptions
) -> tuple[str, Iterator[_Row | None]]:
    """Returns what kind of file it is, and its labels; None stands for a row without one."""
    first = next(replace(options, mapping={}).rows(path), None)
    if first is None:
        raise InputError("is empty", path=path)
    if is_task(first.fields) or is_export_row(first.fields):
        return "label-studio", _from_label_studio(path, project, index, annotator, options)
    if is_sheet(next(options.rows(path)).fields):
        return "sheet", _from_sheet(path, project, index, options)
    return "verdicts", _from_verdicts(path, project, index, annotator, options)


@contextmanager
def _errors_at(path: Path, line: int | None) -> Iterator[None]:
    """Adds its place in the file to an error."""
    try:
        yield
    except InputError as error:
        raise error.at(path, line) from None
    except UsageError as error:
        raise InputError(str(error), path=path, line=line) from None


def _from_sheet(
    path: Path, project: Project, index: ItemIndex, options: ReadOptions
) -> Iterator[_Row | None]:
    people = {person_key(person.name): person for person in list_people(project)}
    owners = {sheet_token(project, person.id): person for person in people.values()}
    for line, fields in options.rows(path):
        with _errors_at(path, line):
            cells, label = read_sheet_row(fields)
            if label is None:
                yield None
                continue
            _check_owner(cells, people, owners)
            item = index.find({MARK: cells[MARK]})
            if not same_text(cells["response"], item.response.response or ""):
                message = f"the response is not that of item {item.ref}: were columns sorted apart?"
                raise InputError(message)
            yield _Row(line, item, label)


def _check_owner(
    cells: Mapping[str, str], people: Mapping[str, Person], owners: Mapping[str, Person]
) -> None:
    """Refuses a sheet under another name than that of the person whom it was written for."""
    name = cells["annotator"]
    owner, named = owners.get(cells.get(WHOSE, "")), people.get(person_key(name))
    if named is not None and named.role != "annotator":
        return  # who gives no labels at all, as is said later
    if owner is None:
        raise InputError(
            f"holds none of this project's sheet tokens; `flames annotate sheet` writes {name!r} "
            "a sheet, and the column comes back with it",
            field=WHOSE,
        )
    if person_key(name) != person_key(owner.name):
        what = f"is {name!r}, but the sheet was written for {owner.name!r}"
        raise InputError(what, field="annotator")


def _from_label_studio(
    path: Path, project: Project, index: ItemIndex, annotator: str | None, options: ReadOptions
) -> Iterator[_Row | None]:
    """Yields the newest label of each person on each item, and None for tasks without any."""
    given: list[tuple[_Row, str]] = []
    edited: dict[str, int] = {}
    for line, shown, submissions in _submissions(path, project, options):
        with _errors_at(path, line):
            labels = [(label, at) for label, at in submissions if label is not None]
            if not labels:
                yield None
                continue
            if annotator is None and any(label.annotator is None for label, _ in labels):
                raise InputError("does not say who labelled it; name them with --annotator")
            item, unchanged = index.shown(shown)
            if not unchanged:
                edited.setdefault(item.ref, line)
            for label, at in labels:
                when = _stored_time(label.labelled_at)
                named = label._replace(annotator=annotator or label.annotator, labelled_at=when)
                row = _Row(line, item, named)
                given.append((row, _stored_time(at) or ""))
    if edited:
        ref, line = next(iter(edited.items()))
        notify(
            f"tasks with other texts than the project's: {len(edited)}, the first in line {line} "
            f"(item {ref}); their labels are taken by the item's id",
            path,
        )
    names = {} if annotator else _names_in(project, (row for row, _ in given))
    newest: dict[tuple[str, int], tuple[str, _Row]] = {}
    for row, at in given:
        name = names.get(row.annotator, row.annotator)
        key = person_key(name), row.item.id
        if key not in newest or newest[key][0] <= at:
            newest[key] = at, row._replace(label=row.label._replace(annotator=name))
    yield from (row for _, row in newest.values())


def _submissions(
    path: Path, project: Project, options: ReadOptions
) -> Iterator[tuple[int, dict[str, Any], list[Submission]]]:
    mapping, labelled = options.mapping, False
    without: InputError | None = None
    for line, task in replace(options, mapping={}).rows(path):
        with _errors_at(path, line):
            if is_task(task):
                yield line, *read_task(task, mapping, project.taxonomy)
                continue
            if not is_export_row(task):
                raise InputError("is not like the rows before it, an export of Label Studio")
            fields, submission = read_export_row(task, mapping, project.taxonomy)
            labelled = labelled or submission.label is not None
            if without is None and lacks_score(task, mapping):
                what = f"has an annotation, but no score: {columns_there(task, 'score')}"
                without = InputError(what, path=path, line=line)
            yield line, fields, [submission]
    if without is not None and not labelled:
        raise without


def _names_in(project: Project, rows: Iterable[_Row]) -> dict[str, str]:
    """Returns under which names the project has the annotators of a file, where they differ.

    Label Studio names its users by address in some exports and by number in others, but an
    annotation of an item has the same time of creation in all of them.
    """
    with project.database.read() as connection:
        ledger = read_ledger(project, connection)
    stored: dict[tuple[int, str | None], set[str]] = defaultdict(set)
    for given in ledger.answers.values():
        stored[given.item, given.labelled_at].add(ledger.people[given.person].name)
    found: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.label.labelled_at is not None:
            others = stored.get((row.item.id, row.label.labelled_at), set())
            mine = row.annotator
            found[mine] |= {name for name in others if name.isdecimal() != mine.isdecimal()}
    return {name: others.pop() for name, others in found.items() if len(others) == 1}


def _from_verdicts(
    path: Path, project: Project, index: ItemIndex, annotator: str | None, options: ReadOptions
) -> Iterator[_Row | None]:
    reading = replace(options, taxonomy=project.taxonomy, prompts=index.prompts())
    for verdict in read_verdicts(path, reading):
        if verdict.scorer in AGGREGATED:
            message = f"{path}: contains {verdict.scorer} labels, made of several; "
            raise UsageError(message + "import the labels of each annotator")
        answer = "label" if verdict.score is not None else UNSCORED.get(str(verdict.unscored))
        if answer is None:
            yield None
            continue
        fields = {name: verdict.extra.get(name) or "" for name in ("prompt", "response")}
        key = verdict.key._asdict()
        label = RawLabel(
            annotator or verdict.annotator or verdict.scorer,
            answer,
            verdict.score,
            verdict.rationale or "",
            verdict.extra.get("labelled_at"),
            verdict.extra.get("seconds"),
        )
        with _errors_at(path, None):
            item = index.find({**key, **fields})
        yield _Row(None, item, label)


def _stored_time(value: object) -> str | None:
    if value in (None, ""):
        return None
    try:
        if isinstance(value, int | float):  # seconds since 1970, in old exports of Label Studio
            return timestamp(datetime.fromtimestamp(value, UTC))
        when = datetime.fromisoformat(str(value))
        return timestamp(when if when.tzinfo else when.replace(tzinfo=UTC))
    except (ValueError, OverflowError, OSError):
        message = f"its time should be like 2026-11-22T14:30Z, not {shorten(str(value))!r}"
        raise UsageError(message) from None


def _stored_seconds(value: object) -> float | None:
    try:
        seconds = float(with_point(str(value)))
    except ValueError:
        return None
    return seconds if 0 <= seconds < math.inf else None


def _checked(row: _Row, project: Project) -> _Row:
    label = row.label
    if label.answer == "label":
        check_score(project.taxonomy, row.item.dimension, label.score)
    return row._replace(
        label=label._replace(
            annotator=checked_name(row.annotator),
            rationale=clean_text(label.rationale),
            labelled_at=_stored_time(label.labelled_at),
            seconds=_stored_seconds(label.seconds),
        )
    )


def _store(project: Project, path: Path, kind: str, rows: list[_Row], blank: int) -> Imported:
    added: list[str] = []
    with project.database.write() as connection:
        names = dict.fromkeys(row.annotator for row in rows)
        known = {name: find_person(connection, name) for name in names}
        _lock(connection, [p.id for p in known.values() if p], [row.item.id for row in rows])
        persons: dict[str, int] = {}
        for name, person in known.items():
            if person is not None and person.role != "annotator":
                raise UsageError(f"{path}: {name!r} is {person.role} here, who gives no labels")
            if person is None:
                person = add_person(connection, project, name, "annotator", active=False)
                added.append(name)
            persons[name] = person.id
        rows = sorted(rows, key=lambda row: (row.item.id, persons[row.annotator]))
        data = {"file": path.name, "sha256": file_sha256(path), "kind": kind, "rows": len(rows)}
        append_events(connection, [NewEvent("imported", data=data)], project.now())
        counts = Counter(
            _import_row(connection, project, persons[row.annotator], row, path.name) for row in rows
        )
        for name, person in known.items():
            if person is not None and person.active:
                check_controls(connection, project, persons[name])
        full = items_table.c.taken > items_table.c.quota  # NULL, so false, without a quota
        over = connection.scalars(select(items_table.c.id).where(full))
        beyond = len({row.item.id for row in rows}.intersection(over))
    return Imported(
        file=str(path), kind=kind, rows=len(rows) + blank, new=counts["new"],
        changed=counts["changed"], unchanged=counts["unchanged"], open=blank,
        beyond_quota=beyond, added_people=tuple(added),
    )  # fmt: skip


def _lock(connection: Connection, persons: list[int], items: list[int]) -> None:
    """Locks what labels will be written to, and what lies between, in the usual order."""
    for table, ids in ((people_table, persons), (items_table, items)):
        if ids:
            connection.execute(
                select(table.c.id).where(table.c.id.between(min(ids), max(ids)))
                .order_by(table.c.id).with_for_update(key_share=True)
            )  # fmt: skip


def _import_row(
    connection: Connection, project: Project, person: int, row: _Row, source: str
) -> str:
    label, item = row.label, row.item
    query = select(assignments).where(assignments.c.person == person, assignments.c.item == item.id)
    stored: Row[Any] | None = connection.execute(query).one_or_none()
    same = stored is not None and (stored.score, stored.rationale or "") == (
        label.score, label.rationale
    )  # fmt: skip
    if stored is not None and same and stored.state in (STATES[label.answer], VOIDED):
        return "unchanged"  # what a lead voided does not come back by itself
    if stored is None:
        values = {"person": person, "item": item.id, "kind": item.kind, "state": "waiting"}
        connection.execute(insert(assignments).values(values))
        stored = connection.execute(query).one()
    if stored.state in ("waiting", "skipped", VOIDED):
        change_taken(connection, item.id, 1)
    extra = {"labelled_at": label.labelled_at, "seconds": label.seconds}
    record_answer(
        connection, project, stored, label.answer, label.score, label.rationale,
        source=source, **{name: value for name, value in extra.items() if value is not None},
    )  # fmt: skip
    return "changed" if stored.state in STATES.values() else "new"
