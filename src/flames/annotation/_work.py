"""The annotators' work: giving out items, taking answers, taking them back.

An item never has more assignments at a time (open leases and answers together) than its quota.
Row locks see to it on PostgreSQL, one writer at a time on SQLite. The order of locks is people,
assignments, items, chain; a transaction that holds an item never waits for another.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Row, Select, and_, case, exists, func, select, update

from flames.annotation import _events
from flames.annotation._events import Entry
from flames.annotation._ledger import STATES
from flames.annotation._project import Project
from flames.annotation._schema import adjudications, assignments, items, people
from flames.errors import UsageError
from flames.records import Response
from flames.taxonomy import Dimension, Subcomponent, Text

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


def current(project: Project, person: int) -> Task | None:
    """The item that the person has, or the next one, leased to them now; None when all is done."""
    with project.database.look() as connection:
        row = _held(connection, person, _events.stamp(project.clock()))
    if row is not None:
        return _task(project, row)
    sweep(project)
    while True:
        with project.database.write() as connection:
            lock_person(connection, person)
            row = _held(connection, person, _events.stamp(project.clock()))
            if row is not None:
                return _task(project, row)
            lease = _lease_next(connection, project, person)
            if lease is not None:
                return _task(project, lease.row, lease.values)
            locked = connection.execute(_candidates(person, "work")).first()
            if locked is None:
                return None
        # All items that are left are in other transactions' hands. Waiting for one of them while
        # holding nothing cannot end in a deadlock; then everything is looked at anew.
        with project.database.write() as connection:
            _lock_item(connection, locked.item)


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
            _joined(assignments.c.person == person, assignments.c.ticket == ticket)
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
            _retake(connection, row.item)
        # After a skip the item itself is locked: the next one waits for its own transaction.
        hurry = what != "skip" and row.kind != "training"
        following = _choose(connection, project, person, training=False) if hurry else None
        lease = record_answer(connection, project, row, what, score, rationale, following=following)
    if lease is None:
        return Answered(row.kind, None)
    return Answered(row.kind, _task(project, lease.row, lease.values))


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


def _check_score(project: Project, row: Row[Any], what: Answer, score: int | None) -> None:
    if what not in STATES:
        raise UsageError("an answer is a label, a skip or a flag")
    if what != "label" and score is not None:
        raise UsageError("only a label has a score")
    scale = project.taxonomy.dimension(row.dimension).scale
    if what == "label" and score not in scale:
        raise UsageError(f"a score in {row.dimension} is {' or '.join(map(str, scale))}")


def _retake(connection: Connection, item: int) -> None:
    """Takes a place of an item again whose lease ran out, if there is one left."""
    row = _lock_item(connection, item)
    if row.quota is not None and row.taken >= row.quota:
        raise GoneError("expired")
    connection.execute(update(items).where(items.c.id == item).values(taken=items.c.taken + 1))


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
    entries = [Entry("labelled", row.person, row.item, data)]
    lease = _new_lease(project, following, moment) if following is not None else None
    if lease is not None:
        entries.append(lease.entry)
    event = _events.append(connection, entries, moment)[0]
    connection.execute(
        update(assignments)
        .where(assignments.c.person == row.person, assignments.c.item == row.item)
        .values(state=STATES[what], score=score, rationale=rationale, seq=event.seq, expires=None)
    )
    if lease is not None:
        _give(connection, lease)
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
            _joined(
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
            _joined(assignments.c.person == person, assignments.c.state == "leased")
            .with_for_update(of=assignments, key_share=True)
        ).all()  # fmt: skip
        freed = [row.item for row in open_leases]
        changed = sorted({*freed, *([last.item] if last.state == "skipped" else [])})
        connection.execute(
            select(items.c.id).where(items.c.id.in_(changed)).order_by(items.c.id)
            .with_for_update(key_share=True)
        )  # fmt: skip
        if last.state == "skipped":
            _retake(connection, last.item)
        entries = [Entry("returned", person, item, {"why": "released"}) for item in freed]
        moment = project.clock()
        now = _events.stamp(moment)
        lease = fresh_lease(project, now)
        told = {"expires": lease["expires"], "seq": last.seq}
        entries.append(Entry("undone", person, last.item, told))
        _events.append(connection, entries, moment)
        for item in freed:
            _free(connection, person, item)
        connection.execute(
            update(assignments)
            .where(assignments.c.person == person, assignments.c.item == last.item)
            .values(state="leased", since=now, seq=None, score=None, **lease)
        )


def _lock_item(connection: Connection, item: int) -> Row[Any]:
    query = select(items).where(items.c.id == item).with_for_update(key_share=True)
    return connection.execute(query).one()


def sweep(project: Project) -> int:
    """Returns leases that ran out to the queue; tells how many."""
    now = _events.stamp(project.clock())
    over = and_(assignments.c.state.in_(("leased", "offline")), assignments.c.expires <= now)
    with project.database.look() as connection:
        if not connection.execute(select(exists().where(over))).scalar_one():
            return 0
    with project.database.write() as connection:
        rows = connection.execute(
            select(assignments.c.person, assignments.c.item)
            .where(over)
            .order_by(assignments.c.item, assignments.c.person)
            .with_for_update(skip_locked=True, key_share=True)
        ).all()
        ids = sorted({row.item for row in rows})
        connection.execute(
            select(items.c.id).where(items.c.id.in_(ids)).order_by(items.c.id)
            .with_for_update(key_share=True)
        )  # fmt: skip
        entries = [Entry("returned", row.person, row.item, {"why": "expired"}) for row in rows]
        _events.append(connection, entries, project.clock())
        for row in rows:
            _free(connection, row.person, row.item)
        return len(rows)


def _free(connection: Connection, person: int, item: int) -> None:
    connection.execute(
        update(assignments)
        .where(assignments.c.person == person, assignments.c.item == item)
        .values(state="waiting", expires=None)
    )
    connection.execute(update(items).where(items.c.id == item).values(taken=items.c.taken - 1))


def lease_offline(project: Project, person: int, count: int, days: float) -> list[Task]:
    """Gives somebody items for a sheet, at most `count`, for a number of days."""
    sweep(project)
    given: list[Task] = []
    with project.database.write() as connection:
        lock_person(connection, person)
        while len(given) < count:
            lease = _lease_next(connection, project, person, offline=days * 86_400, training=False)
            if lease is None:
                break
            given.append(_task(project, lease.row, lease.values))
    return given


def offline_tasks(project: Project, person: int) -> list[Task]:
    """What somebody has in sheets, in the order in which it was given."""
    with project.database.read() as connection:
        rows = connection.execute(
            _joined(assignments.c.person == person, assignments.c.state == "offline").order_by(
                assignments.c.since, assignments.c.position
            )
        ).all()
    return [_task(project, row) for row in rows]


def feedback(project: Project, person: int, ticket: str) -> Feedback | None:
    """What an answered training item teaches; None if the ticket is none of the person's."""
    with project.database.read() as connection:
        row = connection.execute(
            _joined(
                assignments.c.person == person,
                assignments.c.ticket == ticket,
                assignments.c.kind == "training",
                assignments.c.state != "leased",
            )
        ).one_or_none()
        if row is None:
            return None
        counts = _counts(connection, person)
    total = sum(n for (kind, _), n in counts.items() if kind == "training")
    explanation = Text.model_validate_json(row.explanation) if row.explanation else None
    answered = (
        total - counts.get(("training", "waiting"), 0) - counts.get(("training", "leased"), 0)
    )
    return Feedback(_task(project, row), row.score, row.gold, explanation, answered, total)


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
    counts: _Counts = {(row[0], row[1]): row[2] for row in rows}
    known = sum(row[3] for row in rows if row[0] == "training")
    training = sum(n for (kind, _), n in counts.items() if kind == "training")
    left = sum(counts.get(("training", state), 0) for state in ("waiting", "leased"))
    if left:
        return Progress("training", training - left, training, known, training - left)
    work = sum(row[4] for row in rows if row[:2] == ("work", "waiting"))
    served = _served(counts)
    in_hand = sum(counts.get((kind, "leased"), 0) for kind in ("work", "control"))
    controls = _controls_ahead(project, person, served, work, counts.get(("control", "waiting"), 0))
    return Progress("work", served - in_hand, served + work + controls, known, training)


_Counts = dict[tuple[str, str], int]


def _counts(connection: Connection, person: int) -> _Counts:
    rows = connection.execute(
        select(assignments.c.kind, assignments.c.state, func.count())
        .where(assignments.c.person == person)
        .group_by(assignments.c.kind, assignments.c.state)
    )
    return {(row[0], row[1]): row[2] for row in rows}


def _served(counts: _Counts) -> int:
    """How many items of the real queue were put before the person, answered or in hand."""
    return sum(
        n for (kind, state), n in counts.items() if kind != "training" and state != "waiting"
    )


def _block(project: Project) -> int:
    """Items in a block of the real queue that holds one control; 0 without controls."""
    rate = project.settings.control_rate
    return round(1 / rate) if rate else 0


def _control_slot(project: Project, person: int, block: int) -> int:
    size = _block(project)
    text = f"{project.settings.seed} {person} {block}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) % size


def _control_due(project: Project, person: int, served: int) -> bool:
    size = _block(project)
    return served % size == _control_slot(project, person, served // size)


def _controls_ahead(project: Project, person: int, served: int, work: int, left: int) -> int:
    """How many controls will come among the next `work` items of the real queue."""
    size = _block(project)
    if not size or not work:
        return 0
    ahead = 0
    position = served
    while work and ahead < left:
        block, offset = divmod(position, size)
        if offset == 0 and work >= 2 * size:  # whole blocks hold one control each
            whole = min(work // (size - 1) - 1, left - ahead)
            ahead, position, work = (
                ahead + whole,
                position + whole * size,
                work - whole * (size - 1),
            )
        elif offset == _control_slot(project, person, block):
            ahead, position = ahead + 1, position + 1
        else:
            position, work = position + 1, work - 1
    return ahead


def lock_person(connection: Connection, person: int) -> None:
    """One transaction a person at a time: two tabs cannot get two items."""
    connection.execute(
        select(people.c.id).where(people.c.id == person).with_for_update(key_share=True)
    )


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


def _joined(*where: Any) -> Select[Any]:
    source = assignments.join(items, items.c.id == assignments.c.item)
    return select(*_COLUMNS).select_from(source).where(*where)


def _held(connection: Connection, person: int, now: str) -> Row[Any] | None:
    return connection.execute(
        _joined(
            assignments.c.person == person,
            assignments.c.state == "leased",
            assignments.c.expires > now,
        ).limit(1)
    ).one_or_none()


def _lease_next(
    connection: Connection,
    project: Project,
    person: int,
    *,
    offline: float | None = None,
    training: bool = True,
) -> Lease | None:
    """Leases the next item of the person's own order; the person must be locked."""
    row = _choose(connection, project, person, training=training)
    if row is None:
        return None
    moment = project.clock()
    lease = _new_lease(project, row, moment, offline)
    _events.append(connection, [lease.entry], moment)
    _give(connection, lease)
    return lease


def _choose(
    connection: Connection, project: Project, person: int, *, training: bool = True
) -> Row[Any] | None:
    """The next item of the person's own order, locked; None if others hold all that are left.

    Args:
        connection: A writing transaction.
        project: The project.
        person: Whose item it will be.
        training: Whether training items come first.
    """
    if training:
        row = connection.execute(_candidates(person, "training")).first()
        if row is not None:
            return row
    free = _candidates(person, "work").with_for_update(of=items, key_share=True, skip_locked=True)
    row = connection.execute(free).first()
    if row is None:
        return None  # a control alone would stand out, and serve nobody
    if _block(project) and _control_due(project, person, _served(_counts(connection, person))):
        row = connection.execute(_candidates(person, "control")).first() or row
    return row


def _candidates(person: int, kind: Kind) -> Select[Any]:
    """The first item of a kind in the person's order that they may have."""
    conditions = [
        assignments.c.person == person,
        assignments.c.state == "waiting",
        assignments.c.kind == kind,
    ]
    if kind == "work":
        conditions.append(items.c.taken < items.c.quota)
    return _joined(*conditions).order_by(assignments.c.position).limit(1)


def fresh_lease(project: Project, now: str, seconds: float | None = None) -> dict[str, str]:
    """A new ticket and the time until which it holds.

    Tickets stay between server and browser: events tell only when a lease ends.
    """
    span = project.settings.lease_minutes * 60 if seconds is None else seconds
    return {"ticket": secrets.token_urlsafe(16), "expires": _events.later(now, span)}


class Lease(NamedTuple):
    """An item that is about to be in somebody's hands."""

    row: Row[Any]
    entry: Entry
    values: dict[str, str]


def _new_lease(
    project: Project, row: Row[Any], moment: datetime, offline: float | None = None
) -> Lease:
    now = _events.stamp(moment)
    fresh = fresh_lease(project, now, offline)
    told: dict[str, Any] = {"expires": fresh["expires"]}
    state = "leased"
    if offline is not None:
        told["offline"], state = True, "offline"
    entry = Entry("leased", row.person, row.item, told)
    return Lease(row, entry, {"state": state, "since": now, **fresh})


def _give(connection: Connection, lease: Lease) -> None:
    row = lease.row
    connection.execute(update(items).where(items.c.id == row.item).values(taken=items.c.taken + 1))
    connection.execute(
        update(assignments)
        .where(assignments.c.person == row.person, assignments.c.item == row.item)
        .values(lease.values)
    )


def _task(project: Project, row: Row[Any], lease: Mapping[str, str] | None = None) -> Task:
    """The task of an assignment's row, or of one that has just been leased."""
    dimension = project.taxonomy.dimension(row.dimension)
    part = None
    if row.subcomponent is not None and dimension.subcomponents:
        part = dimension.subcomponent(row.subcomponent)
    response = Response.model_validate(json.loads(row.response))
    ticket = row.ticket if lease is None else lease["ticket"]
    since = row.since if lease is None else lease["since"]
    return Task(ticket, row.ref, row.kind, dimension, part, response, row.rationale or "", since)
