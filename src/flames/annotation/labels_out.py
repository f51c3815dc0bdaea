"""Labels on their way out: verdicts that every other part of Flames reads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
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
    """A file of labels.

    `seq`, `at` and `hash` are those of the last event that it holds: `until=seq` gives the same
    bytes for ever.
    """

    text: str
    rows: int
    scored: int
    seq: int
    at: str
    hash: str

    def to_dict(self) -> dict[str, Any]:
        """Describes the file for programs, with its checksum."""
        sha256 = hashlib.sha256(self.text.encode("utf-8")).hexdigest()
        return {
            "rows": self.rows,
            "scored": self.scored,
            "event": self.seq,
            "at": self.at,
            "hash": self.hash,
            "sha256": sha256,
        }


def export(
    project: Project,
    what: Labels = "all",
    form: Format = "jsonl",
    until: str | int | None = None,
) -> Export:
    """Every single label, or one an item, up to a moment.

    Args:
        project: The project.
        what: `all` (every one, skips and flags too, unscored), `adjudicated`, `majority`,
            `dawid-skene` (one verdict for every item of the sample), or `known` (answers to
            control and training items, with the right ones).
        form: `label-studio` holds every single label of every item, whatever `what` is.
        until: An event's number or a time; everything so far if None.

    Raises:
        InputError: `until` is no event's number and no past time.
    """
    with project.database.read() as connection:
        ledger = read_ledger(project, connection, until)
        items = read_items(connection)
    if form == "label-studio":
        tasks = label_studio_tasks(project, ledger, items)
        rows = len(tasks)
        scored = sum(given.score is not None for given in _on(ledger, items, {"work"}))
        text = dump_line(tasks) + "\n"
    else:
        lines = list(_lines(project, what, ledger, items))
        rows, scored = len(lines), sum(line["score"] is not None for line in lines)
        text = to_jsonl(lines) if form == "jsonl" else _csv(lines)
    return Export(text, rows, scored, *ledger.head)


def labels(ledger: Ledger, items: Mapping[int, Item]) -> list[Verdict]:
    """Every answer to the items of the sample as a verdict, in the items' order."""
    return [_verdict(given, items[given.item], ledger) for given in _on(ledger, items, {"work"})]


def _on(ledger: Ledger, items: Mapping[int, Item], kinds: set[str]) -> Iterator[GivenLabel]:
    for given in sorted(ledger.answers.values(), key=lambda given: (given.item, given.person)):
        if items[given.item].kind in kinds:
            yield given


def _lines(
    project: Project, what: Labels, ledger: Ledger, items: Mapping[int, Item]
) -> Iterator[dict[str, Any]]:
    if what == "all" or what == "known":
        kinds = {"work"} if what == "all" else {"control", "training"}
        for given in _on(ledger, items, kinds):
            item = items[given.item]
            line = carry(item.response, _verdict(given, item, ledger))
            if what == "known":
                line |= {"kind": item.kind, "known_score": item.gold}
            yield line
        return
    answers = answers_by_item(ledger)
    for number, settled in aggregate(what, ledger, items, project.taxonomy).items():
        verdict = _aggregated(what, settled, items[number], answers.get(number, []), ledger)
        yield carry(items[number].response, verdict)


def _weights(item: Item) -> dict[str, Any]:
    if item.stratum is None:
        return {"item": item.ref}
    return {
        "item": item.ref,
        "inclusion_probability": item.inclusion_probability,
        "stratum": item.stratum,
        "stratum_drawn": item.stratum_drawn,
        "stratum_size": item.stratum_size,
    }


def _verdict(given: GivenLabel, item: Item, ledger: Ledger) -> Verdict:
    name = ledger.people[given.person].name
    extra: dict[str, Any] = {
        "labelled_at": given.labelled_at or given.at,
        "seconds": given.seconds,
        "changes": given.changes or None,
        "source": given.source,
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
    method: Method, settled: AggregatedLabel, item: Item, given: list[GivenLabel], ledger: Ledger
) -> Verdict:
    extra: dict[str, Any] = {
        "n_labels": sum(each.score is not None for each in given),
        "n_flags": sum(each.score is None for each in given),
    }
    if settled.adjudicator is not None:
        extra["adjudicator"] = ledger.people[settled.adjudicator].name
    return verdict_for(
        item.response,
        scorer=f"human:{method}",
        dimension=item.dimension,
        score=settled.score,
        unscored=settled.unscored,
        probabilities=settled.probabilities,
        rationale=settled.reason,
        **_weights(item),
        **extra,
    )


def _csv(lines: Iterable[dict[str, Any]]) -> str:
    rows = [_flat(line) for line in lines]
    return to_csv(rows, dict.fromkeys(name for row in rows for name in row))


def _flat(line: dict[str, Any]) -> dict[str, Any]:
    """A line for a table: a column for each probability, other structures as JSON."""
    flat: dict[str, Any] = {}
    for name, value in line.items():
        if name == "probabilities":
            flat |= {f"probability_{score}": share for score, share in value.items()}
        else:
            flat[name] = dump_line(value) if isinstance(value, dict | list) else value
    return flat
