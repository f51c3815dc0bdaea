"""Labels on their way in: sheets, Label Studio exports, and labels of any other origin.

A file is taken in whole or not at all. Reading the same file twice changes nothing; a label that
differs from the one there is a change, and the old one stays in the events.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Connection, Row, insert, select, update

from flames.annotation import events as _events
from flames.annotation.events import NewEvent
from flames.annotation.label_studio import read_annotations
from flames.annotation.labels_out import AGGREGATED
from flames.annotation.ledger import STATES, Item, read_items
from flames.annotation.people import add_person, checked_name, find_person, person_key
from flames.annotation.project import Project
from flames.annotation.schema import assignments, people
from flames.annotation.schema import items as items_table
from flames.annotation.sheets import MARK, is_sheet, read_sheet_row, same_text
from flames.annotation.tasks import Answer, clean_text
from flames.annotation.work import record_answer
from flames.errors import InputError, UsageError
from flames.records import Key, Prompt, prompt_id
from flames.storage.checksums import file_sha256
from flames.storage.record_files import ReadOptions, read_verdicts
from flames.storage.rows import read_rows
from flames.text import from_cell, shorten, split_opening

_ANSWERS: dict[str, Answer] = {"flagged": "flag", "skipped": "skip"}
_TABLES = {".csv", ".tsv", ".xlsx", ".xlsm", ".xls", ".ods"}


class Imported(BaseModel):
    """What a file came to.

    `open` counts rows that were left blank, `beyond_quota` labels on items that had as many as
    they should; they are kept all the same. `added_people` are annotators nobody knew before;
    they cannot sign in.
    """

    model_config = ConfigDict(frozen=True)

    file: str
    kind: str
    rows: int
    new: int
    changed: int
    unchanged: int
    open: int
    beyond_quota: int
    added_people: tuple[str, ...]


class _Incoming(NamedTuple):
    line: int | None
    item: Item
    annotator: str
    answer: Answer
    score: int | None
    rationale: str
    labelled_at: Any = None
    seconds: Any = None


class _Index:
    """Finds items by what a file tells of them: our reference, their key, or their texts."""

    def __init__(self, items: Iterable[Item], path: str) -> None:
        self.path = path
        self.by_ref: dict[str, Item] = {}
        self.by_key: dict[Key, Item] = {}
        self.by_text: dict[tuple[str, str], Item | None] = {}
        for item in items:
            self.by_ref[item.ref] = item
            if item.kind == "work":
                response = item.response
                self.by_key[response.key] = item
                for prompt in {response.prompt_id, (response.prompt or "").strip()}:
                    text = (prompt, (response.response or "").strip())
                    self.by_text[text] = None if text in self.by_text else item

    def prompts(self) -> dict[str, Prompt]:
        """What a label's line may leave out: its prompt's dimension and text."""
        return {
            key.prompt_id: Prompt(
                id=key.prompt_id,
                dimension=item.dimension,
                subcomponent=item.subcomponent,
                text=item.response.prompt or "-",
            )
            for key, item in self.by_key.items()
        }

    def find(self, told: Mapping[str, Any], line: int | None) -> Item:
        if item := self.by_ref.get(str(told.get(MARK))):
            return item
        prompt, text = (str(told.get(name) or "").strip() for name in ("prompt", "response"))
        response = split_opening(text)[0]  # as responses are read
        number, model = str(told.get("prompt_id") or prompt_id(prompt)), told.get("model")
        key = Key(number, str(model), int(told.get("sample") or 0))
        item = (
            self.by_key.get(key)
            or self.by_text.get((number, response))
            or self.by_text.get((prompt, response))
        )
        if item is None:
            what = f"item {told[MARK]!r}" if MARK in told else f"prompt {number}, model {model!r}"
            raise InputError(f"{what} is not in this project", path=self.path, line=line)
        here = item.response
        for name, given, own in (
            ("prompt", prompt, here.prompt),
            ("response", response, here.response),
        ):
            if given and own and not same_text(given, own):
                message = f"prompt {number}, model {model!r} has another {name} in this project"
                raise InputError(message, path=self.path, line=line)
        return item


def import_labels(
    project: Project,
    path: str | os.PathLike[str],
    *,
    annotator: str | None = None,
    options: ReadOptions | None = None,
) -> Imported:
    """Takes in a file of labels; its kind is told by its content.

    Args:
        project: The project.
        path: A sheet of `annotate sheet` (CSV or XLSX), a JSON export of Label Studio, or verdicts
            in any format that Flames reads.
        annotator: Whose labels these are, where the file does not say.
        options: How verdicts are read; the taxonomy is the project's.

    Raises:
        InputError: A row cannot be used; nothing is taken in.
        UsageError: The labels are nobody's.
    """
    name = os.fspath(path)
    with project.database.read() as connection:
        items = read_items(connection)
    index = _Index(items.values(), name)
    kind, rows = _recognised(Path(path), project, index, annotator, options or ReadOptions())
    incoming: dict[tuple[str, int], _Incoming] = {}
    left_open = 0
    for row in rows:
        if row is None:
            left_open += 1
            continue
        row = _checked(row, project, name)
        if incoming.setdefault((person_key(row.annotator), row.item.id), row) is not row:
            message = f"{row.annotator!r} has two labels on item {row.item.ref}"
            raise InputError(message, path=name, line=row.line)
    return _store(project, Path(path), kind, list(incoming.values()), left_open)


def _recognised(
    path: Path, project: Project, index: _Index, annotator: str | None, options: ReadOptions
) -> tuple[str, Iterator[_Incoming | None]]:
    first = next(read_rows(path, mapping=options.mapping, encoding=options.encoding), None)
    if first is None:
        raise InputError("is empty", path=path)
    if isinstance(first.fields.get("data"), dict):
        return "label-studio", _from_label_studio(path, index, annotator)
    if is_sheet(first.fields):
        return "sheet", _from_sheet(path, index, options)
    return "verdicts", _from_verdicts(path, project, index, annotator, options)


def _from_sheet(path: Path, index: _Index, options: ReadOptions) -> Iterator[_Incoming | None]:
    for row in read_rows(path, mapping=options.mapping, encoding=options.encoding):
        filled = read_sheet_row(row, str(path))
        if filled is None:
            yield None
            continue
        item = index.find({MARK: filled["item"]}, row.line)
        if not same_text(filled.pop("response"), item.response.response or ""):
            raise InputError(
                f"the response is not that of item {item.ref}: were columns sorted apart?",
                path=path,
                line=row.line,
            )
        yield _Incoming(row.line, **{**filled, "item": item})


def _from_label_studio(
    path: Path, index: _Index, annotator: str | None
) -> Iterator[_Incoming | None]:
    for line, task in read_rows(path):
        if not isinstance(task.get("data"), dict):
            raise InputError("is no task: it has no `data`", path=path, line=line)
        annotations = list(read_annotations(task, str(path), line))
        if not annotations:
            yield None
        for told in annotations:
            who = annotator or told["annotator"]
            if who is None:
                message = "does not say who labelled it; --annotator names them"
                raise InputError(message, path=path, line=line)
            item = index.find(task["data"], line)
            yield _Incoming(line, **{**told, "annotator": who, "item": item})


def _from_verdicts(
    path: Path, project: Project, index: _Index, annotator: str | None, options: ReadOptions
) -> Iterator[_Incoming | None]:
    plain = from_cell if path.suffix.lower() in _TABLES else str
    reading = replace(options, taxonomy=project.taxonomy, prompts=index.prompts())
    for verdict in read_verdicts(path, reading):
        if verdict.scorer in AGGREGATED:
            raise UsageError(
                f"{path}: holds {verdict.scorer} labels, made of several; import the single ones"
            )
        if verdict.score is None and verdict.unscored not in _ANSWERS:
            yield None
            continue
        texts = {name: plain(verdict.extra.get(name) or "") for name in ("prompt", "response")}
        told = {"prompt_id": verdict.prompt_id, "model": plain(verdict.model),
                "sample": verdict.sample, **texts}  # fmt: skip
        at, seconds = verdict.extra.get("labelled_at"), verdict.extra.get("seconds")
        yield _Incoming(
            None,
            index.find(told, None),
            plain(annotator or verdict.annotator or verdict.scorer),
            "label" if verdict.score is not None else _ANSWERS[str(verdict.unscored)],
            verdict.score,
            plain(verdict.rationale or ""),
            at,
            seconds,
        )


def _time(told: object) -> str | None:
    """When a file says that a label was given, as it stands in the tables.

    Raises:
        UsageError: That is no time.
    """
    if told in (None, ""):
        return None
    try:
        if isinstance(told, int | float):  # seconds since 1970, in old exports of Label Studio
            return _events.stamp(datetime.fromtimestamp(told, UTC))
        when = _events.moment(str(told))
        return _events.stamp(when if when.tzinfo else when.replace(tzinfo=UTC))
    except (ValueError, OverflowError, OSError):
        message = f"its time should be like 2026-11-22T14:30Z, not {shorten(str(told))!r}"
        raise UsageError(message) from None


def _seconds(told: object) -> float | None:
    """How long a label took, if the file tells of a time that can have passed."""
    try:
        seconds = float(str(told))
    except ValueError:
        return None
    return seconds if 0 <= seconds < math.inf else None


def _checked(row: _Incoming, project: Project, path: str) -> _Incoming:
    scale = project.taxonomy.dimension(row.item.dimension).scale
    if row.answer == "label" and row.score not in scale:
        wanted = " or ".join(map(str, scale))
        message = f"must be {wanted} in {row.item.dimension}, got {row.score}"
        raise InputError(message, path=path, line=row.line, field="score")
    try:
        return row._replace(
            annotator=checked_name(row.annotator),
            rationale=clean_text(row.rationale),
            labelled_at=_time(row.labelled_at),
            seconds=_seconds(row.seconds),
        )
    except UsageError as error:
        raise InputError(str(error), path=path, line=row.line) from None


def _store(
    project: Project, path: Path, kind: str, incoming: list[_Incoming], left_open: int
) -> Imported:
    added: list[str] = []
    counts = {"new": 0, "changed": 0, "unchanged": 0, "beyond_quota": 0}
    with project.database.write() as connection:
        names = dict.fromkeys(row.annotator for row in incoming)
        known = {name: find_person(connection, name) for name in names}
        _lock(connection, [p.id for p in known.values() if p], [row.item.id for row in incoming])
        persons: dict[str, int] = {}
        for name, person in known.items():
            if person is not None and person.role != "annotator":
                raise UsageError(f"{path}: {name!r} is {person.role} here, who gives no labels")
            if person is None:
                person = add_person(connection, project, name, "annotator", active=False)
                added.append(name)
            persons[name] = person.id
        rows = sorted(incoming, key=lambda row: (row.item.id, persons[row.annotator]))
        data = {"file": path.name, "sha256": file_sha256(path), "kind": kind, "rows": len(rows)}
        _events.append(connection, [NewEvent("imported", data=data)], project.clock())
        for row in rows:
            counts[_take_in(connection, project, persons[row.annotator], row, path.name)] += 1
        counts["beyond_quota"] = _beyond(connection, {row.item.id for row in rows})
    return Imported(
        file=str(path), kind=kind, rows=len(rows) + left_open, open=left_open,
        added_people=tuple(added), **counts,
    )  # fmt: skip


def _lock(connection: Connection, persons: list[int], items: list[int]) -> None:
    """Locks what labels will be written to, and what lies between, in the usual order."""
    for table, ids in ((people, persons), (items_table, items)):
        if ids:
            connection.execute(
                select(table.c.id).where(table.c.id.between(min(ids), max(ids)))
                .order_by(table.c.id).with_for_update(key_share=True)
            )  # fmt: skip


def _take_in(
    connection: Connection, project: Project, person: int, row: _Incoming, source: str
) -> str:
    mine = (assignments.c.person == person, assignments.c.item == row.item.id)
    found: Row[Any] | None = connection.execute(select(assignments).where(*mine)).one_or_none()
    if found is not None and (found.state, found.score, found.rationale or "") == (
        STATES[row.answer], row.score, row.rationale
    ):  # fmt: skip
        return "unchanged"
    if found is None:
        values = {"person": person, "item": row.item.id, "kind": row.item.kind, "state": "waiting"}
        connection.execute(insert(assignments).values(values))
        found = connection.execute(select(assignments).where(*mine)).one()
    if found.state in ("waiting", "skipped"):
        connection.execute(
            update(items_table)
            .where(items_table.c.id == row.item.id)
            .values(taken=items_table.c.taken + 1)
        )
    told: dict[str, Any] = {"labelled_at": row.labelled_at, "seconds": row.seconds}
    record_answer(
        connection, project, found, row.answer, row.score, row.rationale,
        source=source, **{name: value for name, value in told.items() if value is not None},
    )  # fmt: skip
    return "changed" if found.state in ("labelled", "flagged", "skipped") else "new"


def _beyond(connection: Connection, ids: set[int]) -> int:
    rows = connection.execute(
        select(items_table.c.id).where(
            items_table.c.quota.is_not(None), items_table.c.taken > items_table.c.quota
        )
    )
    return sum(row.id in ids for row in rows)
