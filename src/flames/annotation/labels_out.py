"""Exports labels as verdicts, which every other part of Flames reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from flames.annotation.aggregate import AggregatedLabel, Method, aggregate, answers_by_item
from flames.annotation.label_studio import label_studio_tasks
from flames.annotation.ledger import GivenLabel, Item, Ledger, read_items, read_ledger
from flames.annotation.options import Format, Labels
from flames.annotation.project import Project
from flames.records import Verdict, carry, dump_line, verdict_for
from flames.storage.atomic import to_csv, to_jsonl

AGGREGATED = tuple(f"human:{method}" for method in ("adjudicated", "majority", "dawid-skene"))


class Export(NamedTuple):
    """A file of labels up to the event `seq`: `until=seq` later reproduces the same bytes."""

    text: str
    rows: int
    scored: int
    seq: int
    at: str
    hash: str

    def to_dict(self) -> dict[str, Any]:
        """Returns a description of the file for JSON, with its checksum."""
        sha256 = hashlib.sha256(self.text.encode("utf-8")).hexdigest()
        counts = {"rows": self.rows, "scored": self.scored}
        return {**counts, "event": self.seq, "at": self.at, "hash": self.hash, "sha256": sha256}


def export(
    project: Project, what: Labels = "all", form: Format = "jsonl", until: str | int | None = None
) -> Export:
    """Exports labels up to an event's number or a time; `label-studio` ignores `what`."""
    with project.database.read() as connection:
        ledger = read_ledger(project, connection, until)
        items = read_items(connection, ledger.head.seq)
    if form == "label-studio":
        given = list(_answers(ledger, items, {"work"}))
        work = [item for item in items.values() if item.kind == "work"]
        tasks = label_studio_tasks(project, ledger, work, given)
        rows, scored = len(tasks), sum(each.score is not None for each in given)
        text = dump_line(tasks) + "\n"
    else:
        lines = list(_lines(project, what, ledger, items))
        rows, scored = len(lines), sum(line["score"] is not None for line in lines)
        if form == "jsonl":
            text = to_jsonl(lines)
        else:
            table = [dict(_cells(line)) for line in lines]
            text = to_csv(table, dict.fromkeys(name for row in table for name in row))
    return Export(text, rows, scored, *ledger.head)


def labels(ledger: Ledger, items: Mapping[int, Item]) -> list[Verdict]:
    """Returns every answer to the items of the sample as a verdict, in the items' order."""
    return [_verdict(g, items[g.item], ledger) for g in _answers(ledger, items, {"work"})]


def _answers(ledger: Ledger, items: Mapping[int, Item], kinds: set[str]) -> Iterator[GivenLabel]:
    for given in sorted(ledger.answers.values(), key=lambda given: (given.item, given.person)):
        if items[given.item].kind in kinds:
            yield given


def _lines(
    project: Project, what: Labels, ledger: Ledger, items: Mapping[int, Item]
) -> Iterator[dict[str, Any]]:
    if what == "all" or what == "known":
        kinds = {"work"} if what == "all" else {"control", "training"}
        for given in _answers(ledger, items, kinds):
            item = items[given.item]
            line = carry(item.response, _verdict(given, item, ledger))
            if what == "known":
                line |= {"kind": item.kind, "known_score": item.gold}
            yield line
        return
    answers = answers_by_item(ledger)
    for number, label in aggregate(what, ledger, items, project.taxonomy).items():
        verdict = _aggregated(what, label, items[number], answers.get(number, []), ledger)
        yield carry(items[number].response, verdict)


def _weights(item: Item) -> dict[str, Any]:
    draw = ("inclusion_probability", "stratum", "stratum_drawn", "stratum_size")
    known = {name: getattr(item, name) for name in draw if item.stratum is not None}
    return {"item": item.ref, **known}


def _verdict(given: GivenLabel, item: Item, ledger: Ledger) -> Verdict:
    name = ledger.people[given.person].name
    extra: dict[str, Any] = {
        "labelled_at": given.labelled_at or given.at,
        "seconds": given.seconds,
        "changes": given.changes or None,
        "source": given.source,
        "under_floor": given.under_floor,
        "guideline": given.guideline,
        "suggested": given.suggested,
        "suggested_by": given.suggested_by,
    }
    return verdict_for(
        item.response,
        scorer=f"human:{name}",
        dimension=item.dimension,
        score=given.score,
        unscored=None if given.score is not None else given.answer,
        rationale=given.rationale or None,
        annotator=name,
        **_weights(item),
        **{key: value for key, value in extra.items() if value is not None},
    )


def _aggregated(
    method: Method, label: AggregatedLabel, item: Item, given: list[GivenLabel], ledger: Ledger
) -> Verdict:
    scored = sum(each.score is not None for each in given)
    extra: dict[str, Any] = {"n_labels": scored, "n_flags": len(given) - scored}
    if beside := sum(each.suggested is not None for each in given):
        extra["n_suggested"] = beside
    if label.adjudicator is not None:
        extra["adjudicator"] = ledger.people[label.adjudicator].name
    return verdict_for(
        item.response,
        scorer=f"human:{method}",
        dimension=item.dimension,
        score=label.score,
        unscored=label.unscored,
        probabilities=label.probabilities,
        rationale=label.reason,
        **_weights(item),
        **extra,
    )


def _cells(line: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yields a column for each probability; other structures become JSON."""
    for name, value in line.items():
        if name == "probabilities":
            yield from ((f"probability_{score}", share) for score, share in value.items())
        else:
            yield name, dump_line(value) if isinstance(value, dict | list) else value
