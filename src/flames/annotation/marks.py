"""Pass marks: who gets too few known answers right is held, and gets nothing until a lead decides.

The mark of the training round is checked when it ends; what is skipped or flagged in it is not
right. The mark of the controls is checked after each one that has a score, from the fifth on (or
the last, if there are fewer), over those since the last release; of a sheet, when it comes back.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, case, func, select, update

from flames.annotation.database import assignments, items, people
from flames.annotation.events import NewEvent, append_events
from flames.annotation.people import Person, get_lead, get_person, lock_person
from flames.annotation.project import Project
from flames.annotation.tasks import Answer
from flames.errors import UsageError

FEWEST_CONTROLS = 5


class _Tally(NamedTuple):
    all: int
    answered: int
    scored: int
    right: int


def missed_mark(
    connection: Connection,
    project: Project,
    person: Row[Any],
    row: Row[Any],
    what: Answer,
    score: int | None,
) -> NewEvent | None:
    """Returns the event that holds a person whose answer, about to be stored, misses a mark."""
    settings = project.settings
    mark = {"training": settings.pass_training, "control": settings.pass_controls}.get(row.kind)
    if mark is None or person.held is not None:
        return None
    found = _tally(connection, person, row.kind)
    scored, right = found.scored + (what == "label"), found.right + (score == row.gold)
    if row.kind == "training":
        ended = found.answered + 1 >= found.all
        missed = ended and _below(mark, found.all, right)
        return _held(person, "training", mark, right, found.all) if missed else None
    missed = what == "label" and _missed(mark, found.all, scored, right)
    return _held(person, "controls", mark, right, scored) if missed else None


def _tally(connection: Connection, person: Row[Any], kind: str) -> _Tally:
    """Counts the person's answers to items with known ones; controls since the last release."""

    def count(condition: Any) -> Any:
        return func.coalesce(func.sum(case((condition, 1), else_=0)), 0)

    since = person.cleared if kind == "control" else 0
    recent = assignments.c.seq > since
    given = assignments.c.state.in_(("labelled", "flagged", "skipped")) & recent
    labelled = (assignments.c.state == "labelled") & recent
    query = (
        select(
            func.count(), count(given), count(labelled),
            count(labelled & (assignments.c.score == items.c.gold)),
        )
        .select_from(assignments.join(items, items.c.id == assignments.c.item))
        .where(assignments.c.person == person.id, assignments.c.kind == kind)
    )  # fmt: skip
    return _Tally(*connection.execute(query).one())


def check_controls(connection: Connection, project: Project, person: int) -> None:
    """Holds a person whose stored answers miss the mark of the controls: after an import."""
    mark, who = project.settings.pass_controls, lock_person(connection, person)
    if mark is None or who.held is not None:
        return
    found = _tally(connection, who, "control")
    if _missed(mark, found.all, found.scored, found.right):
        event = _held(who, "controls", mark, found.right, found.scored)
        append_events(connection, [event], project.now())
        hold(connection, event)


def _missed(mark: float, controls: int, scored: int, right: int) -> bool:
    enough = scored >= min(FEWEST_CONTROLS, controls) and scored > 0
    return enough and _below(mark, scored, right)


def _below(mark: float, n: int, right: int) -> bool:
    return right < mark * n - 1e-9  # 0.7 of 10 is 7, whatever floats make of it


def _held(person: Row[Any], name: str, mark: float, right: int, n: int) -> NewEvent:
    data = {"mark": name, "right": right, "n": n, "least": mark}
    return NewEvent("held", person.id, None, data)


def hold(connection: Connection, event: NewEvent) -> None:
    """Keeps a person from getting items; the event is stored by who took the answer."""
    held = update(people).where(people.c.id == event.person).values(held=event.data["mark"])
    connection.execute(held)


def release(project: Project, name: str, lead: str | None = None) -> Person:
    """Lets a held person go on; controls count from here on. `lead` may be the only one."""
    with project.database.write() as connection:
        by, person = get_lead(connection, lead), get_person(connection, name)
        lock_person(connection, person.id)
        person = get_person(connection, name)
        if person.held is None:
            raise UsageError(f"{person.name} is not held: nothing keeps them from getting items")
        event = NewEvent("released", person.id, None, {"by": by.id})
        seq = append_events(connection, [event], project.now())
        let_go = update(people).where(people.c.id == person.id).values(held=None, cleared=seq)
        connection.execute(let_go)
    return person._replace(held=None)
