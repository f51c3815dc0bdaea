"""The annotators' work: the current item, answers to it, and undo."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, bindparam, select

from flames.annotation.database import adjudications, assignments
from flames.annotation.events import NewEvent, append_events, seconds_between
from flames.annotation.marks import hold, missed_mark
from flames.annotation.people import lock_person
from flames.annotation.project import Project
from flames.annotation.queue import (
    change_assignment,
    change_assignments,
    change_taken,
    choose,
    count_states,
    free_work,
    held_by,
    lease_item,
    lease_values,
    lock_items,
    retake_place,
    return_leases,
    sweep,
    training_left,
)
from flames.annotation.rules import read_rules, seen
from flames.annotation.seals import lease_data
from flames.annotation.tasks import (
    ANY_PACE,
    STATES,
    UNKNOWN,
    Answer,
    GoneError,
    Kind,
    Pace,
    ReasonMissingError,
    Shown,
    Task,
    check_score,
    clean_text,
    task_of,
    task_query,
)
from flames.errors import UsageError
from flames.taxonomy import Text


class Feedback(NamedTuple):
    """What a training item teaches after its answer."""

    task: Task
    given: int | None
    right: int
    explanation: Text | None
    answered: int
    total: int


class Answered(NamedTuple):
    """The kind of the answered item, and the next one if the same transaction could lease it."""

    kind: Kind
    following: Task | None


def current(project: Project, person: int) -> Task | None:
    """Returns the person's current item, or leases the next one.

    Returns None when all is done, and while the person is held.
    """
    with project.database.look() as connection:
        row = held_by(connection, person, project.now())
    if row is not None:
        return task_of(project, row)
    sweep(project)
    while True:
        with project.database.write() as connection:
            who = lock_person(connection, person)
            row = held_by(connection, person, project.now())
            if row is not None:
                return task_of(project, row)
            if who.held is not None:
                return None
            row = choose(connection, project, who)
            if row is not None:
                return lease_item(connection, project, row)
            locked = free_work(connection, who, lock=False)
            if locked is None:
                return None
        # All items that are left are locked by other transactions. Waiting for one of them while
        # holding nothing cannot end in a deadlock; then everything is read again.
        with project.database.write() as connection:
            lock_items(connection, [locked.item])


def answer(
    project: Project,
    person: int,
    ticket: str,
    what: Answer,
    *,
    score: int | None = None,
    rationale: str = "",
    pace: Pace = ANY_PACE,
    shown: Shown = UNKNOWN,
) -> Answered:
    """Stores an answer to a leased item, and leases the next one in the same transaction.

    The same answer given twice (a double click, a repeated request) counts once. An answer that
    comes after the lease ran out still counts while the item has a place left.

    Raises GoneError if the ticket is not the person's, has another answer, or expired and its place
    was given to somebody else; TooSoonError if the item had only just been shown.
    """
    rationale = clean_text(rationale)
    with project.database.write() as connection:
        who = lock_person(connection, person)
        row = connection.execute(_ticket(), {"person": person, "ticket": ticket}).one_or_none()
        if row is None or row.state == "offline":
            raise GoneError("gone")
        if what not in STATES:
            raise UsageError("an answer is a label, a skip or a flag")
        if what == "label":
            check_score(project.taxonomy, row.dimension, score)
        elif score is not None:
            raise UsageError("only a label has a score")
        if row.state not in ("leased", "waiting"):
            if (row.state, row.score, row.rationale) == (STATES[what], score, rationale):
                return Answered(row.kind, None)
            raise GoneError("answered")
        pace.check(row.since, project.now())
        if what == "flag" and not rationale and read_rules(connection).flag_reason:
            raise ReasonMissingError
        if row.state == "waiting":
            retake_place(connection, row.item)
        missed = missed_mark(connection, project, who, row, what, score)
        free = who.held is None and missed is None
        # After a skip the item itself is locked: the next one waits for its own transaction.
        at_once = free and row.state == "leased" and what != "skip" and row.kind != "training"
        following = choose(connection, project, who, training=False) if at_once else None
        task = record_answer(
            connection, project, row, what, score, rationale, following=following,
            floor=pace.floor, after=[] if missed is None else [missed],
            **seen(row, shown, who.newest),
        )  # fmt: skip
        if missed is not None:
            hold(connection, missed)
    return Answered(row.kind, task)


@cache
def _ticket() -> Select[Any]:
    """Selects and locks the assignment that a person holds by a ticket."""
    mine = (
        assignments.c.person == bindparam("person"),
        assignments.c.ticket == bindparam("ticket"),
    )
    return task_query(*mine).with_for_update(of=assignments, key_share=True)


def record_answer(
    connection: Connection,
    project: Project,
    row: Row[Any],
    what: Answer,
    score: int | None,
    rationale: str,
    *,
    following: Row[Any] | None = None,
    floor: float | None = None,
    after: Sequence[NewEvent] = (),
    **extra: Any,
) -> Task | None:
    """Writes an answer to a locked assignment that takes a place.

    `extra` are further fields of the event, `after` are events that follow from it. A locked
    `following` item is leased and returned.
    An answer within `floor` seconds (the project's if None) is marked, unless it corrects one.
    """
    if what == "skip":
        change_taken(connection, row.item, -1)
    now = project.now()
    data: dict[str, Any] = {"answer": what, "score": score, "rationale": rationale, **extra}
    if row.since is not None and "source" not in extra:
        data["seconds"] = spent = seconds_between(row.since, now)
        floor = project.settings.min_seconds if floor is None else floor
        if spent < floor and row.rationale is None:  # text, even if empty, once it was answered
            data["under_floor"] = floor
    new = [NewEvent("labelled", row.person, row.item, data), *after]
    state = {"state": STATES[what], "score": score, "rationale": rationale, "expires": None}
    if following is None:
        seq = append_events(connection, new, now)
        change_assignment(connection, row.person, row.item, seq=seq, **state)
        return None
    lease = lease_values(project, now)
    new.append(NewEvent("leased", following.person, following.item, lease_data(lease)))
    seq = append_events(connection, new, now)
    change_taken(connection, following.item, 1)
    change_assignments(connection, (row, {**state, "seq": seq}), (following, lease))
    return task_of(project, following, lease["ticket"])


def undo(project: Project, person: int, pace: Pace = ANY_PACE) -> None:
    """Takes the person's last answer back: they hold that item instead of their current one.

    Raises GoneError if there is none, or an adjudicator or (after a skip) somebody else has it;
    TooSoonError if the current item had only just been shown.
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
        adjudicated = select(adjudications.c.item).where(adjudications.c.item == last.item)
        if connection.execute(adjudicated).first() is not None:
            raise GoneError("adjudicating")
        held = connection.execute(
            task_query(assignments.c.person == person, assignments.c.state == "leased")
            .with_for_update(of=assignments, key_share=True)
        ).all()  # fmt: skip
        for row in held:
            pace.check(row.since, project.now())
        skipped = [last.item] if last.state == "skipped" else []
        lock_items(connection, [*(row.item for row in held), *skipped])
        for item in skipped:
            retake_place(connection, item)
        return_leases(connection, project, held, "released")
        now = project.now()
        lease = lease_values(project, now)
        data = {**lease_data(lease), "seq": last.seq}
        append_events(connection, [NewEvent("undone", person, last.item, data)], now)
        change_assignment(connection, person, last.item, seq=None, score=None, **lease)


def lease_offline(project: Project, person: int, count: int, days: float) -> int:
    """Leases items for a person's sheet for some days: at most `count`; returns how many."""
    sweep(project)
    with project.database.write() as connection:
        who = lock_person(connection, person)
        if who.held is not None:
            raise UsageError("this person is held; `flames annotate user release` lets them go on")
        for leased in range(count):
            row = choose(connection, project, who, training=False)
            if row is None:
                return leased
            lease_item(connection, project, row, offline=days * 86_400)
    return count


def offline_tasks(project: Project, person: int) -> list[Task]:
    """Returns what a person has in sheets, in the order in which it was leased."""
    query = task_query(assignments.c.person == person, assignments.c.state == "offline")
    with project.database.read() as connection:
        rows = connection.execute(query.order_by(assignments.c.since, assignments.c.position))
        return [task_of(project, row) for row in rows]


def feedback(project: Project, person: int, ticket: str) -> Feedback | None:
    """Returns what an answered training item teaches; None if the ticket is not the person's."""
    query = task_query(
        assignments.c.person == person,
        assignments.c.ticket == ticket,
        assignments.c.kind == "training",
        assignments.c.state != "leased",
    )
    with project.database.read() as connection:
        row = connection.execute(query).one_or_none()
        if row is None:
            return None
        total, left = training_left(count_states(connection, person))
    explanation = Text.model_validate_json(row.explanation) if row.explanation else None
    return Feedback(task_of(project, row), row.score, row.gold, explanation, total - left, total)
