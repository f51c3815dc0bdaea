"""An item in somebody's hands, and what may go wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from sqlalchemy import Row, Select, select

from flames.annotation.project import Project
from flames.annotation.schema import assignments, items
from flames.errors import UsageError
from flames.records import Response
from flames.taxonomy import Dimension, Subcomponent

Kind = Literal["work", "control", "training"]
Answer = Literal["label", "skip", "flag"]

MAX_RATIONALE = 4000


class Task(NamedTuple):
    """An item in somebody's hands. Nothing in it tells which model answered."""

    ticket: str
    ref: str
    kind: Kind
    dimension: Dimension
    subcomponent: Subcomponent | None
    response: Response
    rationale: str
    since: str


_GONE = {
    "gone": "this item is no longer yours; here is the next one",
    "answered": "this item was answered already; undo takes the answer back",
    "expired": "this item's time ran out and somebody else has it now; here is the next one",
    "no-undo": "there is nothing to undo",
    "adjudicating": "your last answer went to an adjudicator in the meantime",
}


class GoneError(UsageError):
    """The item is no longer in the person's hands; nothing was recorded.

    Args:
        why: `gone`, `answered`, `expired`, `no-undo` or `adjudicating`; pages say it in words.
    """

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(_GONE[why])


def clean_text(text: str) -> str:
    """What somebody typed, with what no database or file can hold replaced.

    Raises:
        UsageError: It is too long.
    """
    text = text.replace("\r\n", "\n").replace("\x00", "\N{REPLACEMENT CHARACTER}").strip()
    text = text.encode("utf-8", "replace").decode("utf-8")
    if len(text) > MAX_RATIONALE:
        raise UsageError(f"a rationale has at most {MAX_RATIONALE} characters, not {len(text)}")
    return text


_COLUMNS = (
    assignments.c.person,
    assignments.c.item,
    assignments.c.kind,
    assignments.c.state,
    assignments.c.ticket,
    assignments.c.since,
    assignments.c.score,
    assignments.c.rationale,
    assignments.c.seq,
    items.c.ref,
    items.c.dimension,
    items.c.subcomponent,
    items.c.response,
    items.c.gold,
    items.c.explanation,
)


def part_of(dimension: Dimension, name: str | None) -> Subcomponent | None:
    """The subcomponent of that name, where there is one and the taxonomy has any."""
    return dimension.subcomponent(name) if name is not None and dimension.subcomponents else None


def task_query(*where: Any) -> Select[Any]:
    """Assignments with what their items show."""
    source = assignments.join(items, items.c.id == assignments.c.item)
    return select(*_COLUMNS).select_from(source).where(*where)


def task_of(project: Project, row: Row[Any], lease: Mapping[str, str] | None = None) -> Task:
    """The task of an assignment's row, or of one that has just been leased."""
    dimension = project.taxonomy.dimension(row.dimension)
    part = part_of(dimension, row.subcomponent)
    response = Response.model_validate(json.loads(row.response))
    ticket = row.ticket if lease is None else lease["ticket"]
    since = row.since if lease is None else lease["since"]
    return Task(ticket, row.ref, row.kind, dimension, part, response, row.rationale or "", since)
