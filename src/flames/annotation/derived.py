"""Every row of the derived tables, as the events alone make them.

Columns that no event told (in projects of older versions) are `UNTOLD`, and match anything. Columns
of which events hold a seal are given as `Sealed`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from flames.annotation.events import Event
from flames.annotation.ledger import Item
from flames.annotation.people import person_key
from flames.annotation.seals import seal
from flames.annotation.tasks import STATES, VOIDED

UNTOLD: Final = object()

Row = dict[str, Any]


class Sealed(NamedTuple):
    """A column by its seal."""

    seal: str | None


def sealed(data: Mapping[str, Any], name: str) -> Any:
    """Returns what an event tells of a column that it only seals."""
    return Sealed(data[name]) if name in data else UNTOLD


def matches(stored: Any, expected: Any) -> bool:
    """Tells whether a stored value is what the events say."""
    if expected is UNTOLD:
        return True
    if isinstance(expected, Sealed):
        return seal(stored) == expected.seal
    return type(stored) is type(expected) and bool(stored == expected)


def rules_text(rules: Mapping[str, Any]) -> str:
    """Returns the rules of leads as they are stored."""
    return json.dumps(rules, sort_keys=True)


def fresh_assignment(item: Item) -> Row:
    """Returns an assignment that nobody has touched; its queue's seal covers the position."""
    return {
        "kind": item.kind, "position": UNTOLD, "state": "waiting", "ticket": None, "since": None,
        "expires": None, "score": None, "rationale": None, "seq": None,
    }  # fmt: skip


@dataclass
class Derived:
    """Rows by their keys: `people` by number, `assignments` by (person, item), `adjudications`
    by item; and the `queues` that people were given, by their seals.
    """

    items: Mapping[int, Item]
    people: dict[int, Row] = field(default_factory=dict)
    assignments: dict[tuple[int, int], Row] = field(default_factory=dict)
    adjudications: dict[int, Row] = field(default_factory=dict)
    queues: dict[int, Any] = field(default_factory=dict)
    guidelines: dict[int, Row] = field(default_factory=dict)
    comments: dict[int, Row] = field(default_factory=dict)
    batches: dict[tuple[str, int], Row] = field(default_factory=dict)
    rules: str | None = None
    _touched: dict[int, Row] = field(default_factory=dict)

    def item(self, number: int) -> Row:
        """Returns what may change in an item, but for the places taken."""
        return self._touched.setdefault(number, {"added": 0, "batch": None, "suggestion": None})

    def apply(self, event: Event) -> None:
        """Changes the rows as an event says; kinds that change no row change nothing."""
        change = getattr(self, f"_on_{event.kind}", None)
        if change is not None:
            change(event, event.data)

    def _on_person(self, event: Event, data: Mapping[str, Any]) -> None:
        number = int(event.person or 0)
        unknown = {"lang": None, "link_hash": None, "password_hash": None, "held": None,
                   "cleared": 0, "link_until": None, "link_once": 0, "quota": None,
                   "guideline": 0}  # fmt: skip
        row = self.people.setdefault(number, unknown)
        row |= {"name": data["name"], "name_key": person_key(data["name"]), "role": data["role"],
                "active": int(data["active"])}  # fmt: skip
        old = data.get("changed") in ("link", "password")
        for name, column in (("link", "link_hash"), ("password", "password_hash")):
            if name in data or (old and data["changed"] == name):
                row[column] = sealed(data, name)
        if "link" in data:
            row |= {"link_until": data.get("until"), "link_once": int("once" in data)}
        row |= {name: data[name] for name in ("lang", "quota") if name in data}
        if "queue" in data:
            self.queues[number] = data["queue"]
        elif data["active"] and data["role"] == "annotator":
            self.queues.setdefault(number, UNTOLD)

    def _on_held(self, event: Event, data: Mapping[str, Any]) -> None:
        self.people[int(event.person or 0)]["held"] = data["mark"]

    def _on_released(self, event: Event, _: Mapping[str, Any]) -> None:
        self.people[int(event.person or 0)] |= {"held": None, "cleared": event.seq}

    def _on_guideline(self, event: Event, data: Mapping[str, Any]) -> None:
        row = {"zh": data["zh"], "en": data["en"], "person": event.person, "at": event.at}
        self.guidelines[data["version"]] = row

    def _on_read_guideline(self, event: Event, data: Mapping[str, Any]) -> None:
        self.people[int(event.person or 0)]["guideline"] = data["version"]

    def _on_rules(self, _: Event, data: Mapping[str, Any]) -> None:
        self.rules = rules_text(data["rules"])

    def _on_suggested(self, _: Event, data: Mapping[str, Any]) -> None:
        for number in self.items:
            self.item(number)["suggestion"] = data["scores"].get(str(number))
        self.rules = rules_text(data["rules"])

    def _on_batch(self, _: Event, data: Mapping[str, Any]) -> None:
        name, numbers = data["name"], set(data["items"])
        for number in self.items:
            row = self.item(number)
            if row["batch"] == name or number in numbers:
                row["batch"] = name if number in numbers else None
        self.batches = {key: row for key, row in self.batches.items() if key[0] != name}
        self.batches |= {(name, person): {} for person in data["people"]}

    def _on_added(self, event: Event, data: Mapping[str, Any]) -> None:
        for number in range(data["first"], data["last"] + 1):
            self.item(number)["added"] = event.seq
        self.queues |= {int(person): queue for person, queue in data["queues"].items()}

    def _on_commented(self, event: Event, data: Mapping[str, Any]) -> None:
        self.comments[event.seq] = {
            "item": event.item, "person": event.person, "addressee": data["to"],
            "text": data["text"], "at": event.at,
        }  # fmt: skip

    def _on_comment_withdrawn(self, _: Event, data: Mapping[str, Any]) -> None:
        self.comments.pop(data["seq"], None)

    def _row(self, event: Event) -> Row:
        key = int(event.person or 0), int(event.item or 0)
        return self.assignments.setdefault(key, fresh_assignment(self.items[key[1]]))

    def _on_leased(self, event: Event, data: Mapping[str, Any]) -> None:
        self._row(event).update(_lease(data), state="offline" if "offline" in data else "leased")

    def _on_returned(self, event: Event, _: Mapping[str, Any]) -> None:
        self._row(event).update(state="waiting", expires=None)

    def _on_labelled(self, event: Event, data: Mapping[str, Any]) -> None:
        row = self._row(event)
        if "source" in data and event.person not in self.queues and row["seq"] is None:
            row["position"] = None  # made by the import, outside of any queue
        row.update(
            state=STATES[data["answer"]], score=data["score"], rationale=data["rationale"],
            seq=event.seq, expires=None,
        )  # fmt: skip

    def _on_undone(self, event: Event, data: Mapping[str, Any]) -> None:
        self._row(event).update(_lease(data), state="leased", seq=None, score=None)

    def _on_voided(self, event: Event, _: Mapping[str, Any]) -> None:
        self._row(event)["state"] = VOIDED

    def _on_restored(self, event: Event, data: Mapping[str, Any]) -> None:
        self._row(event)["state"] = STATES[data["answer"]]

    def _on_adjudicating(self, event: Event, data: Mapping[str, Any]) -> None:
        empty = {"score": None, "reason": None, "seq": None}
        self.adjudications[int(event.item or 0)] = {
            "person": event.person, "state": "leased", **empty, **_lease(data),
        }  # fmt: skip

    def _on_adjudication_returned(self, event: Event, _: Mapping[str, Any]) -> None:
        del self.adjudications[int(event.item or 0)]

    def _on_adjudicated(self, event: Event, data: Mapping[str, Any]) -> None:
        self.adjudications[int(event.item or 0)].update(
            state="settled", score=data["score"], reason=data["reason"], seq=event.seq,
            expires=None,
        )  # fmt: skip

    def _on_adjudication_undone(self, event: Event, data: Mapping[str, Any]) -> None:
        self.adjudications[int(event.item or 0)].update(_lease(data), state="leased", seq=None)


def _lease(data: Mapping[str, Any]) -> Row:
    return {
        "since": data.get("since", UNTOLD), "expires": data["expires"],
        "ticket": sealed(data, "ticket"),
    }  # fmt: skip
