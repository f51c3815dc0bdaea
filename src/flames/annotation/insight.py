"""What a lead wants to know: progress, speed, agreement, accuracy, and disagreements."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from statistics import median
from typing import NamedTuple

from pydantic import Field

from flames.annotation.adjudication import count_open
from flames.annotation.aggregate import answers_by_item, unanimous
from flames.annotation.labels_out import labels
from flames.annotation.ledger import Decision, GivenLabel, Item, Ledger, read_items, read_ledger
from flames.annotation.options import AgreementOptions
from flames.annotation.project import Project
from flames.metrics.agreement import Agreement, GroupAgreement, measure_agreement
from flames.metrics.intervals import wilson
from flames.metrics.result import Estimate
from flames.records import Frozen, Verdict
from flames.taxonomy import Taxonomy

_SETTINGS = {"name", "population", "without_text", "per_item", "min_seconds"}
_PAUSE_SECONDS = 600.0  # a longer answer included a break; it does not count for speed


class KnownAnswers(Frozen):
    """Scores given to items with known answers, without flags and skips; accuracy in per cent."""

    n: int
    right: int
    accuracy: Estimate | None = None


class PersonStatus(Frozen):
    """How a person is doing; `median_seconds` is of answers in the browser within ten minutes.

    Of all `timed` answers, `under_floor` came sooner than the project or its server allowed, as
    a share in per cent (None where there is no floor). `held` names the pass mark that they missed.
    """

    name: str
    role: str
    active: bool
    held: str | None
    labels: int
    flags: int
    skips: int
    voided: int
    in_hand: int
    changes: int
    decisions: int
    median_seconds: float | None
    timed: int
    under_floor: int
    under_floor_share: Estimate | None
    controls: KnownAnswers
    training: KnownAnswers
    last: str | None


class Status(Frozen):
    """The progress up to event `seq`: `filled` of the `places` have a label or a flag."""

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
    min_seconds: float
    seq: int
    at: str
    hash: str


class Bucket(Frozen):
    """An hour or day: the answers in it, and agreement on the items completed in it."""

    start: str
    answers: int
    agreement: GroupAgreement | None = None


class Insight(Frozen):
    """Agreement overall, by dimension and pair (`agreement`), by subcomponent, and over time."""

    agreement: Agreement
    subcomponents: dict[str, GroupAgreement] = Field(default_factory=dict)
    over_time: tuple[Bucket, ...] = ()
    seq: int


class Disagreement(NamedTuple):
    """An item on which people disagree, or that somebody flagged, and how it was decided."""

    item: Item
    answers: list[GivenLabel]
    decision: Decision | None

    @property
    def spread(self) -> int:
        """The difference between the highest and the lowest score."""
        scores = [given.score for given in self.answers if given.score is not None]
        return max(scores) - min(scores) if scores else 0


def project_status(project: Project) -> Status:
    """Returns the current progress of a project."""
    with project.database.read() as connection:
        ledger = read_ledger(project, connection)
        return status(project, ledger, read_items(connection), count_open(connection))


def project_agreement(project: Project, options: AgreementOptions | None = None) -> Insight:
    """Returns agreement after an event or at a time; now if `options.until` is None."""
    options = options or AgreementOptions()
    with project.database.read() as connection:
        ledger = read_ledger(project, connection, options.until)
        items = read_items(connection, ledger.head.seq)
    return insight(ledger, items, project.taxonomy, resamples=options.resamples, seed=options.seed)


def status(project: Project, ledger: Ledger, items: Mapping[int, Item], disputed: int) -> Status:
    """Computes progress; `disputed` is the count of `adjudication.count_open`."""
    work = [item for item in items.values() if item.kind == "work"]
    answers = answers_by_item(ledger)
    undecided = [item for item in work if item.id not in ledger.decisions]
    settled = sum(unanimous(answers.get(item.id, []), item.quota) for item in undecided)
    counts = Counter(g.answer for g in ledger.answers.values() if items[g.item].kind == "work")
    kinds = Counter(item.kind for item in items.values())
    used, none = {item.dimension for item in work}, {"items": 0, "places": 0, "filled": 0}
    by_dimension = {name: dict(none) for name in project.taxonomy.names if name in used}
    for item in work:
        row = by_dimension[item.dimension]
        row["items"] += 1
        row["places"] += item.quota or 0
        row["filled"] += len(answers.get(item.id, []))
    decided = len(ledger.decisions)
    counted = project.settings.model_dump(include=_SETTINGS)
    for name in ("population", "without_text"):
        counted[name] += sum(getattr(addition, name) for addition in ledger.additions)
    return Status(
        **counted,
        **ledger.head._asdict(),
        items=len(work),
        places=sum(row["places"] for row in by_dimension.values()),
        filled=sum(row["filled"] for row in by_dimension.values()),
        labels=counts["labelled"],
        flags=counts["flagged"],
        skips=counts["skipped"],
        unanimous=settled,
        adjudicated=decided,
        disputed=disputed,
        open=len(work) - settled - decided - disputed,
        controls=kinds["control"],
        training=kinds["training"],
        dimensions=by_dimension,
        people=tuple(_people(ledger, items, project.settings.min_seconds)),
    )


def _people(ledger: Ledger, items: Mapping[int, Item], floor: float) -> Iterable[PersonStatus]:
    given_by: dict[int, list[GivenLabel]] = defaultdict(list)
    for given in ledger.answers.values():
        given_by[given.person].append(given)
    decisions = Counter(decision.person for decision in ledger.decisions.values())
    held = Counter(person for person, _ in ledger.leases)
    voided = Counter(person for person, _ in ledger.voided)
    for number, person in ledger.people.items():
        of_kind: dict[str, list[GivenLabel]] = defaultdict(list)
        for given in given_by[number]:
            of_kind[items[given.item].kind].append(given)
        counts = Counter(given.answer for given in of_kind["work"])
        unseen = of_kind["work"] + of_kind["control"]
        timed = [given.seconds for given in unseen if given.seconds is not None]
        times = [seconds for seconds in timed if seconds <= _PAUSE_SECONDS]
        quick = sum(given.under_floor is not None for given in unseen)
        yield PersonStatus(
            name=person.name,
            role=person.role,
            active=person.active,
            held=person.held,
            labels=counts["labelled"],
            flags=counts["flagged"],
            skips=counts["skipped"],
            voided=voided[number],
            in_hand=held[number],
            changes=sum(given.changes for given in of_kind["work"]),
            decisions=decisions[number],
            median_seconds=round(median(times), 1) if times else None,
            timed=len(timed),
            under_floor=quick,
            under_floor_share=_share(quick, len(timed)) if floor or quick else None,
            controls=_known(of_kind["control"], items),
            training=_known(of_kind["training"], items),
            last=max((given.at for given in given_by[number]), default=None),
        )


def _known(answers: list[GivenLabel], items: Mapping[int, Item]) -> KnownAnswers:
    scored = [given for given in answers if given.score is not None]
    right = sum(given.score == items[given.item].gold for given in scored)
    return KnownAnswers(n=len(scored), right=right, accuracy=_share(right, len(scored)))


def _share(part: int, whole: int) -> Estimate | None:
    if not whole:
        return None
    low, high = (100 * limit for limit in wilson(part, whole))
    return Estimate(value=100 * part / whole, low=low, high=high, method="Wilson")


def insight(
    ledger: Ledger,
    items: Mapping[int, Item],
    taxonomy: Taxonomy,
    *,
    resamples: int,
    seed: int = 0,
    everywhere: bool = True,
) -> Insight:
    """Computes agreement overall and by dimension, pair, person, subcomponent and time.

    Each pair and person is also measured within each dimension and subcomponent if `everywhere`:
    of 50 people there are 1,225 pairs.
    """
    verdicts = labels(ledger, items)
    parts: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in verdicts:
        if verdict.subcomponent is not None:
            parts[verdict.subcomponent].append(verdict)
    order = [part.name for d in taxonomy.dimensions for part in d.subcomponents]
    fewer = min(resamples, 500)
    return Insight(
        agreement=measure_agreement(
            verdicts, taxonomy, seed=seed, resamples=resamples, everywhere=everywhere
        ),
        subcomponents={
            name: measure_agreement(
                parts[name], taxonomy, seed=seed, resamples=fewer, people=everywhere
            ).overall
            for name in sorted(parts, key=lambda n: order.index(n) if n in order else len(order))
        },
        over_time=tuple(_over_time(ledger, items, taxonomy, seed, fewer)),
        seq=ledger.head.seq,
    )


def _over_time(
    ledger: Ledger, items: Mapping[int, Item], taxonomy: Taxonomy, seed: int, resamples: int
) -> Iterable[Bucket]:
    """Yields the last two dozen hours or days with answers."""
    times = {
        given.seq: given.labelled_at or given.at
        for given in ledger.answers.values()
        if items[given.item].kind == "work"
    }
    days = {time[:10] for time in times.values()}
    width = len("2026-11-22T14") if len(days) <= 2 else len("2026-11-22")
    answered = Counter(time[:width] for time in times.values())
    completed: dict[str, list[GivenLabel]] = defaultdict(list)
    for number, answers in answers_by_item(ledger).items():
        if items[number].kind == "work":
            completed[max(times[given.seq] for given in answers)[:width]] += answers
    for start in sorted(answered)[-24:]:
        part = {(given.person, given.item): given for given in completed.get(start, [])}
        verdicts = labels(Ledger(people=ledger.people, answers=part), items)
        group = measure_agreement(
            verdicts, taxonomy, seed=seed, resamples=resamples, people=False
        ).overall
        agreement = group if group.pairable else None
        yield Bucket(start=start, answers=answered[start], agreement=agreement)


def disagreements(ledger: Ledger, items: Mapping[int, Item]) -> list[Disagreement]:
    """Returns the items with different answers or a flag: undecided and widest apart first."""
    found: list[Disagreement] = []
    for number, given in answers_by_item(ledger).items():
        scores = {each.score for each in given}
        if items[number].kind == "work" and (len(scores) > 1 or None in scores):
            found.append(Disagreement(items[number], given, ledger.decisions.get(number)))
    return sorted(found, key=lambda d: (d.decision is not None, -d.spread, d.item.ref))
