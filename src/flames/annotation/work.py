"""The annotators' work: the item in hand, answers to it, taking them back."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Row, case, func, select, update

from flames.annotation import events as _events
from flames.annotation.events import NewEvent
from flames.annotation.ledger import STATES
from flames.annotation.project import Project
from flames.annotation.queue import (
    Counts,
    Lease,
    candidates,
    choose,
    controls_ahead,
    count_states,
    free_place,
    fresh_lease,
    give,
    held_by,
    lease_next,
    lock_item,
    lock_person,
    new_lease,
    retake_place,
    served_of,
    sweep,
)
from flames.annotation.schema import adjudications, assignments, items
from flames.annotation.tasks import Answer, GoneError, Kind, Task, clean_text, task_of, task_query
from flames.errors import UsageError
from flames.taxonomy import Text


class Feedback(NamedTuple):
    """What a training item teaches once it was answered."""

    task: Task
    given: int | None
    right: int
    explanation: Text | None
    answered: int
    total: int


class Answered(NamedTuple):
    """What came of an answer: the item's kind (a lesson follows on training), and the next item
    where it could be leased in the same transaction."""

    kind: Kind
    following: Task | None


class Progress(NamedTuple):
    """How far somebody is: answers given, and answers given plus still to give."""

    phase: Literal["training", "work"]
    done: int
    total: int
    training_right: int
    training_answered: int


def current(project: Project, person: int) -> Task | None:
    """The item that the person has, or the next one, leased to them now; None when all is done."""
    with project.database.look() as connection:
        row = held_by(connection, person, _events.stamp(project.clock()))
    if row is not None:
        return task_of(project, row)
    sweep(project)
    while True:
        with project.database.write() as connection:
            lock_person(connection, person)
            row = held_by(connection, person, _events.stamp(project.clock()))
            if row is not None:
                return task_of(project, row)
            lease = lease_next(connection, project, person)
            if lease is not None:
                return task_of(project, lease.row, lease.values)
            locked = connection.execute(candidates(person, "work")).first()
            if locked is None:
                return None
        # All items that are left are in other transactions' hands. Waiting for one of them while
        # holding nothing cannot end in a deadlock; then everything is looked at anew.
        with project.database.write() as connection:
            lock_item(connection, locked.item)


def answer(
    project: Project,
    person: int,
    ticket: str,
    what: Answer,
    *,
    score: int | None = None,
    rationale: str = "",
) -> Answered:
    """Takes an answer to a leased item, and leases the next one in the same transaction.

    The same answer given twice (a double click, a repeated request) counts once. An answer that
    comes after the lease ran out still counts while the item has a place left.

    Raises:
        GoneError: The ticket is not the person's, was answered otherwise, or ran out and somebody
            else has the item now.
        UsageError: The score is not on the item's scale, or the rationale is too long.
    """
    rationale = clean_text(rationale)
    with project.database.write() as connection:
        lock_person(connection, person)
        row = connection.execute(
            task_query(assignments.c.person == person, assignments.c.ticket == ticket)
            .with_for_update(of=assignments, key_share=True)
        ).one_or_none()  # fmt: skip
        if row is None or row.state == "offline":
            raise GoneError("gone")
        _check_score(project, row, what, score)
        if row.state not in ("leased", "waiting"):
            if (row.state, row.score, row.rationale) == (STATES[what], score, rationale):
                return Answered(row.kind, None)
            raise GoneError("answered")
        if row.state == "waiting":
            retake_place(connection, row.item)
        # After a skip the item itself is locked: the next one waits for its own transaction.
        hurry = row.state == "leased" and what != "skip" and row.kind != "training"
        following = choose(connection, project, person, training=False) if hurry else None
        lease = record_answer(connection, project, row, what, score, rationale, following=following)
    if lease is None:
        return Answered(row.kind, None)
    return Answered(row.kind, task_of(project, lease.row, lease.values))


def _check_score(project: Project, row: Row[Any], what: Answer, score: int | None) -> None:
    if what not in STATES:
        raise UsageError("an answer is a label, a skip or a flag")
    if what != "label" and score is not None:
        raise UsageError("only a label has a score")
    scale = project.taxonomy.dimension(row.dimension).scale
    if what == "label" and score not in scale:
        raise UsageError(f"a score in {row.dimension} is {' or '.join(map(str, scale))}")


def record_answer(
    connection: Connection,
    project: Project,
    row: Row[Any],
    what: Answer,
    score: int | None,
    rationale: str,
    *,
    following: Row[Any] | None = None,
    **extra: Any,
) -> Lease | None:
    """Writes an answer to an assignment that takes a place: event and tables.

    Args:
        connection: A writing transaction that has locked the assignment.
        project: The project.
        row: The assignment (with `person`, `item`, `ticket`, `since`).
        what: Label, skip or flag.
        score: A label's score.
        rationale: May be empty.
        following: The next item, locked, to be leased at the same time.
        **extra: More for the event (`source`, `labelled_at`).
    """
    if what == "skip":
        connection.execute(
            update(items).where(items.c.id == row.item).values(taken=items.c.taken - 1)
        )
    moment = project.clock()
    data: dict[str, Any] = {"answer": what, "score": score, "rationale": rationale, **extra}
    if row.since is not None and "source" not in extra:
        seconds = (moment - _events.moment(row.since)).total_seconds()
        data["seconds"] = round(max(seconds, 0.0), 3)
    entries = [NewEvent("labelled", row.person, row.item, data)]
    lease = new_lease(project, following, moment) if following is not None else None
    if lease is not None:
        entries.append(lease.entry)
    event = _events.append(connection, entries, moment)[0]
    connection.execute(
        update(assignments)
        .where(assignments.c.person == row.person, assignments.c.item == row.item)
        .values(state=STATES[what], score=score, rationale=rationale, seq=event.seq, expires=None)
    )
    if lease is not None:
        give(connection, lease)
    return lease


def undo(project: Project, person: int) -> None:
    """Takes the person's last answer back: the item is in their hands again, text kept.

    An item that they had not answered yet goes back to the queue.

    Raises:
        GoneError: There is no answer to take back, an adjudicator has the item, or (after a skip)
            somebody else has it.
    """
    with project.database.write() as connection:
        lock_person(connection, person)
        last = connection.execute(
            task_query(
                assignments.c.person == person,
                assignments.c.state.in_(tuple(STATES.values())),
                assignments.c.ticket.is_not(None),
            )
            .order_by(assignments.c.seq.desc())
            .limit(1)
        ).one_or_none()
        if last is None or last.kind == "training":
            raise GoneError("no-undo")
        taken_up = select(adjudications.c.item).where(adjudications.c.item == last.item)
        if connection.execute(taken_up).first() is not None:
            raise GoneError("adjudicating")
        open_leases = connection.execute(
            task_query(assignments.c.person == person, assignments.c.state == "leased")
            .with_for_update(of=assignments, key_share=True)
        ).all()  # fmt: skip
        freed = [row.item for row in open_leases]
        changed = sorted({*freed, *([last.item] if last.state == "skipped" else [])})
        connection.execute(
            select(items.c.id).where(items.c.id.in_(changed)).order_by(items.c.id)
            .with_for_update(key_share=True)
        )  # fmt: skip
        if last.state == "skipped":
            retake_place(connection, last.item)
        entries = [NewEvent("returned", person, item, {"why": "released"}) for item in freed]
        moment = project.clock()
        now = _events.stamp(moment)
        lease = fresh_lease(project, now)
        told = {"expires": lease["expires"], "seq": last.seq}
        entries.append(NewEvent("undone", person, last.item, told))
        _events.append(connection, entries, moment)
        for item in freed:
            free_place(connection, person, item)
        connection.execute(
            update(assignments)
            .where(assignments.c.person == person, assignments.c.item == last.item)
            .values(state="leased", since=now, seq=None, score=None, **lease)
        )


def lease_offline(project: Project, person: int, count: int, days: float) -> list[Task]:
    """Gives somebody items for a sheet, at most `count`, for a number of days."""
    sweep(project)
    given: list[Task] = []
    with project.database.write() as connection:
        lock_person(connection, person)
        while len(given) < count:
            lease = lease_next(connection, project, person, offline=days * 86_400, training=False)
            if lease is None:
                break
            given.append(task_of(project, lease.row, lease.values))
    return given


def offline_tasks(project: Project, person: int) -> list[Task]:
    """What somebody has in sheets, in the order in which it was given."""
    with project.database.read() as connection:
        rows = connection.execute(
            task_query(assignments.c.person == person, assignments.c.state == "offline").order_by(
                assignments.c.since, assignments.c.position
            )
        ).all()
    return [task_of(project, row) for row in rows]


def feedback(project: Project, person: int, ticket: str) -> Feedback | None:
    """What an answered training item teaches; None if the ticket is none of the person's."""
    with project.database.read() as connection:
        row = connection.execute(
            task_query(
                assignments.c.person == person,
                assignments.c.ticket == ticket,
                assignments.c.kind == "training",
                assignments.c.state != "leased",
            )
        ).one_or_none()
        if row is None:
            return None
        counts = count_states(connection, person)
    total = sum(n for (kind, _), n in counts.items() if kind == "training")
    explanation = Text.model_validate_json(row.explanation) if row.explanation else None
    answered = (
        total - counts.get(("training", "waiting"), 0) - counts.get(("training", "leased"), 0)
    )
    return Feedback(task_of(project, row), row.score, row.gold, explanation, answered, total)


def progress(project: Project, person: int) -> Progress:
    """How far somebody is. It grows by one an answer, whatever the kind of the item."""
    right = case((assignments.c.score == items.c.gold, 1), else_=0)
    free = case((items.c.taken < items.c.quota, 1), else_=0)
    query = (
        select(
            assignments.c.kind, assignments.c.state, func.count(), func.sum(right), func.sum(free)
        )
        .select_from(assignments.join(items, items.c.id == assignments.c.item))
        .where(assignments.c.person == person)
        .group_by(assignments.c.kind, assignments.c.state)
    )
    with project.database.look() as connection:
        rows = connection.execute(query).all()
    counts: Counts = {(row[0], row[1]): row[2] for row in rows}
    known = sum(row[3] for row in rows if row[0] == "training")
    training = sum(n for (kind, _), n in counts.items() if kind == "training")
    left = sum(counts.get(("training", state), 0) for state in ("waiting", "leased"))
    if left:
        return Progress("training", training - left, training, known, training - left)
    work = sum(row[4] for row in rows if row[:2] == ("work", "waiting"))
    served = served_of(counts)
    in_hand = sum(counts.get((kind, "leased"), 0) for kind in ("work", "control"))
    controls = controls_ahead(project, person, served, work, counts.get(("control", "waiting"), 0))
    return Progress("work", served - in_hand, served + work + controls, known, training)
