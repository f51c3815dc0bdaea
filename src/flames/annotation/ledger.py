"""The state of a project, derived from its events alone.

Exports, the dashboard and `verify` read a ledger, never the tables that serve assignment: so an
export up to a moment is the replay of the events up to it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection, select

from flames.annotation import events as _events
from flames.annotation.events import ChainHead, Event
from flames.annotation.project import Project
from flames.annotation.schema import items
from flames.records import Response
from flames.taxonomy import Text

STATES = {"label": "labelled", "skip": "skipped", "flag": "flagged"}


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

    @property
    def inclusion_probability(self) -> float | None:
        """The probability with which the item was drawn: n_h / N_h of its stratum."""
        if self.stratum_drawn is None or self.stratum_size is None:
            return None
        return self.stratum_drawn / self.stratum_size


class GivenLabel(NamedTuple):
    """Somebody's answer to an item as it stands: a label, a skip or a flag."""

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


class Decision(NamedTuple):
    """An adjudicator's decision as it stands."""

    person: int
    item: int
    score: int | None
    reason: str
    at: str
    seq: int


class Participant(NamedTuple):
    """Somebody, as the events tell."""

    name: str
    role: str
    active: bool


@dataclass
class Ledger:
    """What has come of the events that were applied, in order.

    Args:
        head: The last event applied.
        people: Everybody, by id.
        answers: Standing answers by (person, item).
        leases: Items in somebody's hands by (person, item): whether offline.
        decisions: Standing decisions by item.
        deciding: Items in an adjudicator's hands: item → person.
        faults: What cannot have happened in a sound store.
    """

    head: ChainHead = field(default_factory=lambda: ChainHead(0, "", _events.GENESIS))
    people: dict[int, Participant] = field(default_factory=dict)
    answers: dict[tuple[int, int], GivenLabel] = field(default_factory=dict)
    leases: dict[tuple[int, int], bool] = field(default_factory=dict)
    decisions: dict[int, Decision] = field(default_factory=dict)
    deciding: dict[int, int] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    _changes: dict[tuple[int, int], int] = field(default_factory=dict)

    def apply(self, happened: Iterable[Event]) -> Ledger:
        """Applies events; returns the ledger itself."""
        for event in happened:
            getattr(self, f"_on_{event.kind}", self._on_unknown)(event)
            self.head = ChainHead(event.seq, event.at, event.hash)
        return self

    def _fault(self, event: Event, message: str) -> None:
        self.faults.append(f"event {event.seq} ({event.kind}): {message}")

    def _on_unknown(self, event: Event) -> None:
        self._fault(event, "no such kind of event")

    def _on_project(self, event: Event) -> None:
        if event.seq != 1:
            self._fault(event, "a project begins once, with its first event")

    def _on_imported(self, event: Event) -> None:
        """The labels follow as events of their own."""

    def _on_person(self, event: Event) -> None:
        assert event.person is not None
        data = event.data
        self.people[event.person] = Participant(data["name"], data["role"], data["active"])

    def _key(self, event: Event) -> tuple[int, int]:
        assert event.person is not None
        assert event.item is not None
        if event.person not in self.people:
            self._fault(event, f"nobody is number {event.person}")
        return event.person, event.item

    def _on_leased(self, event: Event) -> None:
        key = self._key(event)
        if key in self.leases or key in self.answers:
            self._fault(event, f"person {key[0]} has or had item {key[1]} already")
        self.leases[key] = bool(event.data.get("offline"))

    def _on_returned(self, event: Event) -> None:
        key = self._key(event)
        if self.leases.pop(key, None) is None:
            self._fault(event, f"item {key[1]} was not with person {key[0]}")

    def _on_labelled(self, event: Event) -> None:
        key = self._key(event)
        data = event.data
        self.leases.pop(key, None)
        before = self.answers.get(key)
        if before is not None and data.get("source") is None:
            self._fault(event, f"person {key[0]} had answered item {key[1]} already")
        self._changes[key] = self._changes.get(key, -1) + 1
        self.answers[key] = GivenLabel(
            *key, STATES[data["answer"]], data["score"], data["rationale"], event.at, event.seq,
            data.get("seconds"), data.get("source"), data.get("labelled_at"), self._changes[key],
        )  # fmt: skip

    def _on_undone(self, event: Event) -> None:
        key = self._key(event)
        given = self.answers.pop(key, None)
        if given is None or given.seq != event.data["seq"]:
            self._fault(event, f"that is not the answer of person {key[0]} to item {key[1]}")
        self.leases[key] = False

    def _on_adjudicating(self, event: Event) -> None:
        person, item = self._key(event)
        if item in self.deciding or item in self.decisions:
            self._fault(event, f"item {item} is being decided or was decided already")
        self.deciding[item] = person

    def _on_adjudication_returned(self, event: Event) -> None:
        person, item = self._key(event)
        if self.deciding.pop(item, None) != person:
            self._fault(event, f"item {item} was not with person {person}")

    def _on_adjudicated(self, event: Event) -> None:
        person, item = self._key(event)
        if self.deciding.pop(item, None) != person:
            self._fault(event, f"item {item} was not with person {person}")
        data = event.data
        self.decisions[item] = Decision(
            person, item, data["score"], data["reason"], event.at, event.seq
        )

    def _on_adjudication_undone(self, event: Event) -> None:
        person, item = self._key(event)
        decision = self.decisions.pop(item, None)
        if decision is None or decision.seq != event.data["seq"]:
            self._fault(event, f"that is not the decision on item {item}")
        self.deciding[item] = person

    def copy(self) -> Ledger:
        """The same state, which later events do not change."""
        return Ledger(
            self.head, dict(self.people), dict(self.answers), dict(self.leases),
            dict(self.decisions), dict(self.deciding), list(self.faults), dict(self._changes),
        )  # fmt: skip

    def taken(self) -> dict[int, int]:
        """How many places of each item are used up, by item."""
        counts: dict[int, int] = {}
        for _, item in self.leases:
            counts[item] = counts.get(item, 0) + 1
        for given in self.answers.values():
            if given.answer != "skipped":
                counts[given.item] = counts.get(given.item, 0) + 1
        return counts


def read_ledger(project: Project, connection: Connection, until: str | int | None = None) -> Ledger:
    """The state after the last event up to a moment or a number; now if None.

    Raises:
        InputError: `until` is no event's number and no past time.
    """
    last = _events.last_until(connection, until, project.clock())
    return Ledger().apply(_events.read(connection, upto=last.seq))


def read_items(connection: Connection) -> dict[int, Item]:
    """All items by id, in order."""
    found: dict[int, Item] = {}
    for row in connection.execute(select(items).order_by(items.c.id)):
        found[row.id] = Item(
            row.id,
            row.ref,
            row.kind,
            row.dimension,
            row.subcomponent,
            Response.model_validate(json.loads(row.response)),
            row.gold,
            None if row.explanation is None else Text.model_validate_json(row.explanation),
            row.stratum,
            row.stratum_drawn,
            row.stratum_size,
            row.quota,
        )
    return found
