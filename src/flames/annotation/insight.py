"""What a lead wants to know: progress, speed, agreement, who errs how, where people differ."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from statistics import median

from pydantic import Field

from flames.annotation.adjudication import count_open
from flames.annotation.aggregate import answers_by_item, unanimous
from flames.annotation.labels_out import labels
from flames.annotation.ledger import GivenLabel, Item, Ledger, read_items, read_ledger
from flames.annotation.options import AgreementOptions
from flames.annotation.project import Project
from flames.metrics.agreement import Agreement, GroupAgreement, measure_agreement
from flames.metrics.intervals import wilson
from flames.metrics.result import Estimate
from flames.records import Frozen, Verdict
from flames.taxonomy import Taxonomy

_PAUSE_SECONDS = 600.0
"""An answer that took longer had a break in it; it does not count for speed."""


class Known(Frozen):
    """Answers to items with known answers: how many, how many of them right, the share of those.

    `accuracy` is in per cent; flags and skips are not counted.
    """

    n: int
    right: int
    accuracy: Estimate | None = None


class PersonStatus(Frozen):
    """How somebody is doing.

    `median_seconds` is of answers given in the browser within ten minutes, `changes` how often a
    label was given anew, `last` the time of the last answer.
    """

    name: str
    role: str
    active: bool
    labels: int = 0
    flags: int = 0
    skips: int = 0
    in_hand: int = 0
    changes: int = 0
    decisions: int = 0
    median_seconds: float | None = None
    controls: Known = Known(n=0, right=0)
    training: Known = Known(n=0, right=0)
    last: str | None = None


class Status(Frozen):
    """Where a project stands.

    `places` is the number of labels wanted, `filled` those given (flags included). Items are
    `unanimous`, `adjudicated`, `disputed` (they need an adjudicator), or still `open`.
    `seq`, `at` and `hash` are the last event's.
    """

    name: str
    items: int
    population: int
    without_text: int
    per_item: int
    places: int
    filled: int
    labels: int
    flags: int
    skips: int
    unanimous: int
    adjudicated: int
    disputed: int
    open: int
    controls: int
    training: int
    dimensions: dict[str, dict[str, int]]
    people: tuple[PersonStatus, ...]
    seq: int
    at: str
    hash: str


class Bucket(Frozen):
    """A span of time: answers given in it, and agreement on the items that were completed in it."""

    start: str
    answers: int
    agreement: GroupAgreement | None = None


class Insight(Frozen):
    """Agreement as a whole, by dimension and pair (`agreement`), by subcomponent, and over time."""

    agreement: Agreement
    subcomponents: dict[str, GroupAgreement] = Field(default_factory=dict)
    over_time: tuple[Bucket, ...] = ()
    seq: int


class Voice(Frozen):
    """Somebody's answer to a disputed item, with their name: for leads."""

    annotator: str
    answer: str
    score: int | None
    rationale: str
    at: str


class Disagreement(Frozen):
    """An item on which people differ, or that somebody flagged."""

    item: str
    dimension: str
    subcomponent: str | None
    model: str
    prompt: str
    response: str
    voices: tuple[Voice, ...]
    decision: int | None = None
    decided: bool = False
    reason: str | None = None
    spread: int = 0


def project_status(project: Project) -> Status:
    """Where a project stands now."""
    with project.database.read() as connection:
        ledger = read_ledger(project, connection)
        return status(project, ledger, read_items(connection), count_open(connection))


def project_agreement(project: Project, options: AgreementOptions | None = None) -> Insight:
    """Agreement as it was after an event or at a time; now if `until` is None."""
    options = options or AgreementOptions()
    with project.database.read() as connection:
        ledger = read_ledger(project, connection, options.until)
        items = read_items(connection)
    return insight(ledger, items, project.taxonomy, resamples=options.resamples, seed=options.seed)


def status(project: Project, ledger: Ledger, items: Mapping[int, Item], disputed: int) -> Status:
    """Where a project stands; `disputed` as `adjudication.count_open` counts it."""
    work = [item for item in items.values() if item.kind == "work"]
    answers = answers_by_item(ledger)
    settled = sum(
        unanimous(answers.get(item.id, []), item.quota)
        for item in work
        if item.id not in ledger.decisions
    )
    counts = Counter(
        given.answer for given in ledger.answers.values() if items[given.item].kind == "work"
    )
    by_dimension: dict[str, dict[str, int]] = {}
    for item in work:
        row = by_dimension.setdefault(item.dimension, {"items": 0, "places": 0, "filled": 0})
        row["items"] += 1
        row["places"] += item.quota or 0
        row["filled"] += len(answers.get(item.id, []))
    decided = len(ledger.decisions)
    return Status(
        name=project.settings.name,
        items=len(work),
        population=project.settings.population,
        without_text=project.settings.without_text,
        per_item=project.settings.per_item,
        places=sum(row["places"] for row in by_dimension.values()),
        filled=sum(row["filled"] for row in by_dimension.values()),
        labels=counts["labelled"],
        flags=counts["flagged"],
        skips=counts["skipped"],
        unanimous=settled,
        adjudicated=decided,
        disputed=disputed,
        open=len(work) - settled - decided - disputed,
        controls=sum(item.kind == "control" for item in items.values()),
        training=sum(item.kind == "training" for item in items.values()),
        dimensions={
            name: by_dimension[name] for name in project.taxonomy.names if name in by_dimension
        },
        people=tuple(_people(ledger, items)),
        seq=ledger.head.seq,
        at=ledger.head.at,
        hash=ledger.head.hash,
    )


def _people(ledger: Ledger, items: Mapping[int, Item]) -> Iterable[PersonStatus]:
    given_by: dict[int, list[GivenLabel]] = defaultdict(list)
    for given in ledger.answers.values():
        given_by[given.person].append(given)
    decisions = Counter(decision.person for decision in ledger.decisions.values())
    held = Counter(person for person, _ in ledger.leases)
    for number, person in ledger.people.items():
        mine = given_by[number]
        real = [given for given in mine if items[given.item].kind == "work"]
        counts = Counter(given.answer for given in real)
        times = [
            given.seconds
            for given in mine
            if given.seconds is not None
            and given.seconds <= _PAUSE_SECONDS
            and items[given.item].kind != "training"
        ]
        yield PersonStatus(
            name=person.name,
            role=person.role,
            active=person.active,
            labels=counts["labelled"],
            flags=counts["flagged"],
            skips=counts["skipped"],
            in_hand=held[number],
            changes=sum(given.changes for given in real),
            decisions=decisions[number],
            median_seconds=round(median(times), 1) if times else None,
            controls=_known(mine, items, "control"),
            training=_known(mine, items, "training"),
            last=max((given.at for given in mine), default=None),
        )


def _known(mine: list[GivenLabel], items: Mapping[int, Item], kind: str) -> Known:
    scored = [g for g in mine if items[g.item].kind == kind and g.score is not None]
    right = sum(given.score == items[given.item].gold for given in scored)
    if not scored:
        return Known(n=0, right=0)
    low, high = wilson(right, len(scored))
    accuracy = Estimate(
        value=100 * right / len(scored), low=100 * low, high=100 * high, method="Wilson"
    )
    return Known(n=len(scored), right=right, accuracy=accuracy)


def insight(
    ledger: Ledger,
    items: Mapping[int, Item],
    taxonomy: Taxonomy,
    *,
    resamples: int = 2_000,
    seed: int = 0,
) -> Insight:
    """Agreement in every cut: overall, dimension, pair, person, subcomponent, time."""
    verdicts = labels(ledger, items)
    parts: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.subcomponent is not None:
            parts[verdict.subcomponent].append(verdict)
    order = [part.name for d in taxonomy.dimensions for part in d.subcomponents]
    fewer = min(resamples, 500)
    return Insight(
        agreement=measure_agreement(verdicts, taxonomy, seed=seed, resamples=resamples),
        subcomponents={
            name: measure_agreement(parts[name], taxonomy, seed=seed, resamples=fewer).overall
            for name in sorted(parts, key=lambda n: order.index(n) if n in order else len(order))
        },
        over_time=tuple(_over_time(ledger, items, taxonomy, seed, fewer)),
        seq=ledger.head.seq,
    )


def _over_time(
    ledger: Ledger, items: Mapping[int, Item], taxonomy: Taxonomy, seed: int, resamples: int
) -> Iterable[Bucket]:
    """The last two dozen hours or days with answers."""
    real = [g for g in ledger.answers.values() if items[g.item].kind == "work"]
    times = {given.seq: given.labelled_at or given.at for given in real}
    days = {time[:10] for time in times.values()}
    width = len("2026-11-22T14") if len(days) <= 2 else len("2026-11-22")
    answered = Counter(time[:width] for time in times.values())
    completed: dict[str, list[GivenLabel]] = defaultdict(list)
    for given_here in answers_by_item(ledger).values():
        if items[given_here[0].item].kind == "work":
            last = max(times[given.seq] for given in given_here)
            completed[last[:width]] += given_here
    for start in sorted(answered)[-24:]:
        part = {(given.person, given.item): given for given in completed.get(start, [])}
        view = Ledger(people=ledger.people, answers=part)
        verdicts = labels(view, items)
        group = measure_agreement(verdicts, taxonomy, seed=seed, resamples=resamples).overall
        yield Bucket(
            start=start, answers=answered[start], agreement=group if group.pairable else None
        )


def disagreements(ledger: Ledger, items: Mapping[int, Item]) -> list[Disagreement]:
    """Items whose answers differ or that were flagged, the widest apart first."""
    found: list[Disagreement] = []
    for number, given in answers_by_item(ledger).items():
        scores = {each.score for each in given}
        if items[number].kind == "work" and (len(scores) > 1 or None in scores):
            found.append(voices_on(items[number], given, ledger))
    return sorted(found, key=lambda each: (each.decided, -each.spread, each.item))


def voices_on(item: Item, given: list[GivenLabel], ledger: Ledger) -> Disagreement:
    """What everybody said of an item."""
    scores = [each.score for each in given if each.score is not None]
    decision = ledger.decisions.get(item.id)
    return Disagreement(
        item=item.ref,
        dimension=item.dimension,
        subcomponent=item.subcomponent,
        model=item.response.model,
        prompt=item.response.prompt or "",
        response=item.response.response or "",
        voices=tuple(
            Voice(
                annotator=ledger.people[each.person].name,
                answer=each.answer,
                score=each.score,
                rationale=each.rationale,
                at=each.labelled_at or each.at,
            )
            for each in given
        ),
        decision=decision.score if decision else None,
        decided=decision is not None,
        reason=decision.reason if decision else None,
        spread=max(scores) - min(scores) if scores else 0,
    )
