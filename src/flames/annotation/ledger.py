"""The state of a project, derived from its events alone: what exports and leads' pages read."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from copy import copy
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, select

from flames.annotation.database import items
from flames.annotation.events import GENESIS, ChainHead, Event, last_event_until, read_events
from flames.annotation.project import Project
from flames.annotation.tasks import STATES
from flames.records import Response
from flames.taxonomy import Text


class Item(NamedTuple):
    """An item as it was drawn; it never changes."""

    id: int
    ref: str
    kind: str
    dimension: str
    subcomponent: str | None
    response: Response
    gold: int | None
    explanation: Text | None
    stratum: str | None
    stratum_drawn: int | None
    stratum_size: int | None
    quota: int | None
    probability: float | None = None
    added: int = 0

    @property
    def inclusion_probability(self) -> float | None:
        """The probability that the item was drawn: its own, else n_h / N_h of its stratum."""
        if self.probability is not None:
            return self.probability
        if self.stratum_drawn is None or self.stratum_size is None:
            return None
        return self.stratum_drawn / self.stratum_size


class GivenLabel(NamedTuple):
    """A person's current answer to an item: a label, a skip or a flag."""

    person: int
    item: int
    answer: str
    score: int | None
    rationale: str
    at: str
    seq: int
    seconds: float | None
    source: str | None
    labelled_at: str | None
    changes: int
    under_floor: float | None = None
    guideline: int | None = None
    suggested: int | None = None
    suggested_by: str | None = None


class Addition(NamedTuple):
    """Items that were added later: numbers from `first` to `last`, by the event `seq`.

    `population` counts the responses that were not in the population before.
    """

    seq: int
    first: int
    last: int
    population: int
    without_text: int


class Decision(NamedTuple):
    """An adjudicator's current decision on an item."""

    person: int
    item: int
    score: int | None
    reason: str
    at: str
    seq: int


class Participant(NamedTuple):
    """A person, as the events describe them.

    `held` names the pass mark that they missed, `cleared` the event in which a lead let them go on.
    """

    name: str
    role: str
    active: bool
    held: str | None = None
    cleared: int = 0


@dataclass
class Ledger:
    """The result of applying events in order, up to `head`.

    `answers`, `voided` ones and `leases` (whether offline) are by (person, item), `decisions` and
    `deciding` (who holds it) by item; `faults` is what cannot have happened in a sound store.
    `guideline` is the present version, `suggesting` the scorer whose scores annotators are shown;
    `comments` that stand are by their events, with (person, item).
    """

    head: ChainHead = field(default=ChainHead(0, "", GENESIS))
    people: dict[int, Participant] = field(default_factory=dict)
    answers: dict[tuple[int, int], GivenLabel] = field(default_factory=dict)
    voided: dict[tuple[int, int], GivenLabel] = field(default_factory=dict)
    leases: dict[tuple[int, int], bool] = field(default_factory=dict)
    decisions: dict[int, Decision] = field(default_factory=dict)
    deciding: dict[int, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    additions: list[Addition] = field(default_factory=list)
    guideline: int = 0
    suggesting: str | None = None
    comments: dict[int, tuple[int, int]] = field(default_factory=dict)
    _changes: dict[tuple[int, int], int] = field(default_factory=dict)

    def apply(self, events: Iterable[Event]) -> Ledger:
        """Applies events and returns the ledger itself."""
        for event in events:
            getattr(self, f"_on_{event.kind}", self._on_unknown)(event)
            self.head = ChainHead(event.seq, event.at, event.hash)
        return self

    def _check(self, possible: bool, event: Event, message: str) -> None:
        if not possible:
            self.faults.append(f"event {event.seq} ({event.kind}): {message}")

    def _on_unknown(self, event: Event) -> None:
        self._check(False, event, "unknown kind of event")

    def _on_project(self, event: Event) -> None:
        self._check(event.seq == 1, event, "only the first event can create the project")

    def _on_imported(self, event: Event) -> None:
        """The labels follow as events of their own."""

    def _on_signed_in(self, event: Event) -> None:
        known = event.person in self.people
        self._check(known, event, f"there is no person {event.person}")

    def _on_person(self, event: Event) -> None:
        assert event.person is not None
        data, known = event.data, self.people.get(event.person, Participant("", "", False))
        self.people[event.person] = known._replace(
            name=data["name"], role=data["role"], active=data["active"]
        )

    def _on_held(self, event: Event) -> None:
        person = self._person(event)
        self._check(person.held is None, event, f"person {event.person} was held already")
        self._hold(event, held=event.data["mark"])

    def _on_released(self, event: Event) -> None:
        person = self._person(event)
        self._check(person.held is not None, event, f"person {event.person} was not held")
        self._hold(event, held=None, cleared=event.seq)

    def _person(self, event: Event) -> Participant:
        assert event.person is not None
        known = event.person in self.people
        self._check(known, event, f"there is no person {event.person}")
        return self.people.get(event.person, Participant("", "", False))

    def _hold(self, event: Event, **values: Any) -> None:
        assert event.person is not None
        self.people[event.person] = self._person(event)._replace(**values)

    def _key(self, event: Event) -> tuple[int, int]:
        assert event.person is not None
        assert event.item is not None
        known = event.person in self.people
        self._check(known, event, f"there is no person {event.person}")
        return event.person, event.item

    def _on_leased(self, event: Event) -> None:
        key = self._key(event)
        free = key not in self.leases and key not in self.answers
        self._check(free, event, f"person {key[0]} has or had item {key[1]} already")
        self.leases[key] = bool(event.data.get("offline"))

    def _on_returned(self, event: Event) -> None:
        key = self._key(event)
        held = self.leases.pop(key, None) is not None
        self._check(held, event, f"person {key[0]} did not hold item {key[1]}")

    def _on_labelled(self, event: Event) -> None:
        key, data = self._key(event), event.data
        self.leases.pop(key, None)
        self.voided.pop(key, None)
        first = key not in self.answers or data.get("source") is not None
        self._check(first, event, f"person {key[0]} had answered item {key[1]} already")
        self._changes[key] = self._changes.get(key, -1) + 1
        self.answers[key] = GivenLabel(
            *key, STATES[data["answer"]], data["score"], data["rationale"], event.at, event.seq,
            data.get("seconds"), data.get("source"), data.get("labelled_at"), self._changes[key],
            data.get("under_floor"), data.get("guideline"), data.get("suggested"),
            self.suggesting if "suggested" in data else None,
        )  # fmt: skip
        self._check((data.get("guideline") or 0) <= self.guideline, event, "no such guideline")

    def _on_undone(self, event: Event) -> None:
        key = self._key(event)
        given = self.answers.pop(key, None)
        theirs = given is not None and given.seq == event.data["seq"]
        self._check(theirs, event, f"not the answer of person {key[0]} to item {key[1]}")
        self.leases[key] = False

    def _on_voided(self, event: Event) -> None:
        self._move(event, self.answers, self.voided)

    def _on_restored(self, event: Event) -> None:
        self._move(event, self.voided, self.answers)

    def _move(
        self,
        event: Event,
        source: dict[tuple[int, int], GivenLabel],
        target: dict[tuple[int, int], GivenLabel],
    ) -> None:
        key = self._key(event)
        given = source.pop(key, None)
        there = given is not None and given.seq == event.data["seq"] and key not in target
        self._check(there, event, f"person {key[0]} has no such answer to item {key[1]}")
        if given is not None:
            target[key] = given

    def _on_adjudicating(self, event: Event) -> None:
        person, item = self._key(event)
        free = item not in self.deciding and item not in self.decisions
        self._check(free, event, f"item {item} is being decided or was decided already")
        self.deciding[item] = person

    def _on_adjudication_returned(self, event: Event) -> None:
        person, item = self._key(event)
        held = self.deciding.pop(item, None) == person
        self._check(held, event, f"person {person} did not hold item {item}")

    def _on_adjudicated(self, event: Event) -> None:
        self._on_adjudication_returned(event)
        key, data = self._key(event), event.data
        self.decisions[key[1]] = Decision(*key, data["score"], data["reason"], event.at, event.seq)

    def _on_adjudication_undone(self, event: Event) -> None:
        person, item = self._key(event)
        decision = self.decisions.pop(item, None)
        standing = decision is not None and decision.seq == event.data["seq"]
        self._check(standing, event, f"not the decision on item {item}")
        self.deciding[item] = person

    def _lead(self, event: Event) -> None:
        person = self._person(event)
        self._check(person.role == "lead", event, f"person {event.person} is not a lead")

    def _on_guideline(self, event: Event) -> None:
        self._lead(event)
        follows = event.data["version"] == self.guideline + 1
        self._check(follows, event, f"version {event.data['version']} cannot come now")
        self.guideline = event.data["version"]

    def _on_read_guideline(self, event: Event) -> None:
        self._person(event)
        there = 0 < event.data["version"] <= self.guideline
        self._check(there, event, f"there is no version {event.data['version']}")

    def _on_rules(self, event: Event) -> None:
        self._lead(event)

    def _on_suggested(self, event: Event) -> None:
        self._lead(event)
        self.suggesting = event.data["scorer"]

    def _on_batch(self, event: Event) -> None:
        self._lead(event)
        known = all(number in self.people for number in event.data["people"])
        self._check(known, event, "a person of the batch is not here")

    def _on_added(self, event: Event) -> None:
        self._lead(event)
        names = ("first", "last", "population", "without_text")
        self.additions.append(Addition(event.seq, *(event.data[name] for name in names)))

    def _on_commented(self, event: Event) -> None:
        self.comments[event.seq] = self._key(event)

    def _on_comment_withdrawn(self, event: Event) -> None:
        mine = self.comments.pop(event.data["seq"], None)
        self._check(mine is not None, event, f"there is no comment {event.data['seq']}")

    def copy(self) -> Ledger:
        """Returns the same state, which later events do not change."""
        return Ledger(*map(copy, vars(self).values()))

    def taken(self) -> Counter[int]:
        """Counts the places taken of each item."""
        answered = [given.item for given in self.answers.values() if given.answer != "skipped"]
        return Counter([*answered, *(item for _, item in self.leases)])


_DRAWN = Item._fields[: Item._fields.index("probability")]


def read_ledger(project: Project, connection: Connection, until: str | int | None = None) -> Ledger:
    """Returns the state after the last event up to a time or a number; now if None."""
    last = last_event_until(connection, until, project.now())
    return Ledger().apply(read_events(connection, upto=last.seq))


def read_items(connection: Connection, until: int | None = None) -> dict[int, Item]:
    """Returns all items by id, in order; only those that the event `until` could know.

    Where more was drawn from a stratum later, all its items have had the chance of both draws.
    """
    found: dict[int, Item] = {}
    known = select(items).order_by(items.c.id)
    if until is not None:
        known = known.where(items.c.added <= until)
    for row in connection.execute(known):
        values = {name: row._mapping[name] for name in Item._fields}
        values["response"] = Response.model_validate(json.loads(row.response))
        if row.explanation is not None:
            values["explanation"] = Text.model_validate_json(row.explanation)
        found[row.id] = Item(**values)
    latest: dict[str | None, Item] = {}
    for item in found.values():
        if item.added >= latest.setdefault(item.stratum, item).added:
            latest[item.stratum] = item
    for number, item in found.items():
        last = latest[item.stratum]
        if item.stratum is not None and last.added != item.added:
            found[number] = item._replace(stratum_drawn=last.stratum_drawn)
    return found


def items_digest(rows: Iterable[Any]) -> str:
    """Returns a checksum of everything that never changes in the items, in the order of ids."""
    digest = hashlib.sha256()
    for row in rows:
        values = [row[name] for name in _DRAWN]
        if row["probability"] is not None:  # not in the digests of older versions
            values.append(row["probability"])
        digest.update(json.dumps(values).encode() + b"\n")
    return digest.hexdigest()
