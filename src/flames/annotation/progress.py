"""How far an annotator is, as each page says."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    bindparam,
    func,
    literal,
    select,
    union_all,
)

from flames.annotation.database import assignments, items, people
from flames.annotation.project import Project
from flames.annotation.queue import (
    Counts,
    controls_ahead,
    count_served,
    open_to,
    state_counts,
    training_left,
)
from flames.annotation.tasks import VOIDED


class Progress(NamedTuple):
    """A person's progress: answers given, and answers given plus those still to give.

    Of the work, those are the person's share: their quota, or the labels wanted, divided by the
    active annotators.
    Who has done their share gets more while there is some, and the total grows with it.
    """

    phase: Literal["training", "work"]
    done: int
    total: int
    training_right: int
    training_answered: int


def read_progress(project: Project, person: int) -> Progress:
    """Returns a person's progress. It grows by one per answer, whatever the kind of the item.

    Takes time by their answers, not by the items of the project.
    """
    with project.database.look() as connection:
        counts, whole = _read_counts(connection, person)
        training, left = training_left(counts)
        known = 0
        if training:
            known = connection.execute(_known(), {"person": person}).scalar_one()
        if left:
            return Progress("training", training - left, training, known, training - left)
        share = _share(connection, project, whole)
        states = () if whole.quota is None else ("skipped", VOIDED)
        mine = sum(
            n for (kind, state), n in counts.items() if kind == "work" and state not in states
        )
        work = _free(connection, person, share - mine)
    served = count_served(counts)
    in_hand = sum(counts.get((kind, "leased"), 0) for kind in ("work", "control"))
    controls = controls_ahead(project, person, served, work, counts.get(("control", "waiting"), 0))
    return Progress("work", served - in_hand, served + work + controls, known, training)


class _Whole(NamedTuple):
    last: int  # item
    annotators: int
    quota: int | None


def _read_counts(connection: Connection, person: int) -> tuple[Counts, _Whole]:
    """Counts the person's assignments, and reads what their share follows from, at once."""
    rows = connection.execute(_counts(), {"person": person})
    counts: Counts = {(kind, state): n for kind, state, n in rows}
    return counts, _Whole(*(counts.pop(("", name)) for name in _Whole._fields))


def _share(connection: Connection, project: Project, whole: _Whole) -> int:
    """Returns how many work items a person is to answer."""
    if whole.quota is not None:
        return whole.quota
    # Items are only ever added, at the end: their sum holds as long as the last one is the same.
    if project.places[0] != whole.last:
        project.places = (whole.last, connection.execute(_places()).scalar_one())
    return -(-project.places[1] // max(whole.annotators, 1))


def _free(connection: Connection, person: int, most: int) -> int:
    """Counts the work items that a person may still get, up to `most`."""
    if most <= 0:
        return 0
    return int(connection.execute(_open(), {"person": person, "most": most}).scalar_one())


_PERSON = bindparam("person", type_=assignments.c.person.type)


@cache
def _known() -> Select[Any]:
    mine = (assignments.c.person == _PERSON, assignments.c.kind == "training")
    joined = assignments.join(items, items.c.id == assignments.c.item)
    right = assignments.c.score == items.c.gold
    return select(func.count()).select_from(joined).where(*mine, right)


@cache
def _counts() -> CompoundSelect[Any]:
    active = (people.c.active == 1, people.c.role == "annotator")
    whole = (
        select(*_named("last"), func.coalesce(func.max(items.c.id), 0)),
        select(*_named("annotators"), func.count()).select_from(people).where(*active),
        select(*_named("quota"), people.c.quota).where(people.c.id == _PERSON),
    )
    return union_all(*state_counts(_PERSON), *whole)


def _named(name: str) -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """Selects a name in place of kind and state."""
    return literal("", assignments.c.kind.type), literal(name, assignments.c.state.type)


@cache
def _places() -> Select[Any]:
    return select(func.coalesce(func.sum(items.c.quota), 0))


@cache
def _open() -> Select[Any]:
    mine = (assignments.c.person == _PERSON, assignments.c.state == "waiting")
    joined = assignments.join(items, items.c.id == assignments.c.item)
    free = (assignments.c.kind == "work", items.c.taken < items.c.quota, open_to(_PERSON))
    some = select(assignments.c.item).select_from(joined).where(*mine, *free)
    most = bindparam("most", type_=items.c.id.type)
    return select(func.count()).select_from(
        some.order_by(assignments.c.position).limit(most).subquery()
    )
