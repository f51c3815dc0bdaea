"""What the commands about scorers print: the list of kinds, details, self-tests, probes, costs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flames.records import dump_line
from flames.reports.tables import Block, Cell, Column, Heading, Number, Share, Table, line
from flames.reports.words import say
from flames.scorers.card import CardEntry, ScorerCard, card_notes
from flames.scorers.registry import ScorerEntry, default_scorer
from flames.taxonomy import Text

if TYPE_CHECKING:  # slow to import, and `flames scorer list` needs none of it
    from flames.analysis.cost import Spending
    from flames.analysis.probe import Flips, ProbeReport, ProbeResult
    from flames.scorers.base import ScorerInfo
    from flames.scorers.calibrated import Calibration
    from flames.scorers.selftest import SelftestResult

_SUSPICIOUS = 0.99  # accuracy that hardly any scorer reaches on labels that it has not seen


def kinds_table(entries: Iterable[ScorerEntry]) -> Table:
    """Builds the table of the kinds of scorers."""

    def name(entry: ScorerEntry) -> Text | str:
        name = f"{entry.name}:{entry.argument}" if entry.argument else entry.name
        return say("scorers.kinds.default", name=name) if entry.name == default_scorer() else name

    columns: list[Column[ScorerEntry]] = [
        Column(say("scorers.kinds.name"), name, text=True),
        Column(say("scorers.kinds.title"), lambda entry: entry.title, text=True),
        Column(
            say("scorers.kinds.needs"),
            lambda e: f"flames-bench[{e.extra}]" if e.extra else "",
            text=True,
        ),
    ]
    return Table.of("", columns, entries)


def info_lines(info: ScorerInfo) -> Iterator[str]:
    """Yields what a scorer is: id, taxonomy, notes and details."""
    yield f"{info.id}: {info.title}"
    yield f"taxonomy: {info.taxonomy}"
    for note in info.notes:
        yield f"note: {note}"
    yield from _detail_lines(info.details)


def _detail_lines(details: Mapping[str, Any], indent: str = "") -> Iterator[str]:
    for name, value in details.items():
        if not isinstance(value, Mapping):
            text = value if isinstance(value, str) else dump_line(value)
            yield f"{indent}{name}: {text}"
        elif any(isinstance(part, Mapping | list) for part in value.values()):
            yield f"{indent}{name}:"
            yield from _detail_lines(value, indent + "  ")
        else:
            yield f"{indent}{name}: " + ", ".join(f"{n} {part}" for n, part in value.items())


def selftest_lines(result: SelftestResult) -> Iterator[str]:
    """Yields the outcome of a self-test, what was judged wrong, and the likely causes."""
    yield f"{result.scorer}: {'passed' if result.passed else 'FAILED'}"
    yield result.summary
    for name, (right, n) in result.dimensions.items():
        yield f"  {name}: {right} of {n} right"
    for reason, n in result.unscored.items():
        yield f"  unscored, {reason}: {n}"
    for wrong in result.wrong:
        given = "unscored" if wrong["given"] is None else wrong["given"]
        yield f"  {wrong['dimension']}: {given} instead of {wrong['right']}: {wrong['response']}"
    for cause in result.causes:
        yield f"likely cause: {cause}"


def calibration_lines(calibration: Calibration) -> Iterator[str]:
    """Yields what a calibration changes, measured on prompts that it was not fitted on."""
    before, after = calibration.before, calibration.after
    source = f"{calibration.scorer_id} on {calibration.labels}"
    yield f"{source}, {before.n} responses, five folds by prompt"
    yield f"calibration error  {before.ece:.3f} → {after.ece:.3f}"
    yield f"log-likelihood     {-before.nll:.3f} → {-after.nll:.3f}"
    yield f"accuracy           {before.accuracy:.3f} → {after.accuracy:.3f}"
    kept = calibration.abstention
    if kept is not None and kept.accuracy is not None:
        yield (
            f"threshold {kept.threshold:.3f}: keeps {kept.kept} of {kept.n}, of them "
            f"{kept.accuracy:.3f} right [{kept.low:.3f}, {kept.high:.3f}]"
        )
    for note in calibration.notes:
        yield f"note: {note}"
    if before.accuracy > _SUSPICIOUS:
        trained = "if the scorer was trained on these labels, the calibration is useless"
        yield f"almost all right: {trained}"


def card_document(scorer_id: str, card: ScorerCard | None) -> Iterator[Block]:
    """Yields a scorer's card: its line, what may be claimed, and the figures by set of labels."""
    yield Heading(say("scorers.card.title", scorer=scorer_id))
    own = card if card is not None and card.scorer == scorer_id else None
    for note in card_notes(scorer_id) if own is None else own.notes():
        yield line(note.words, kind="note")
    if own is None:
        return
    columns: list[Column[CardEntry]] = [
        Column(say("scorers.card.labels"), lambda e: e.labels, text=True),
        Column(say("scorers.card.by"), lambda e: say(f"scorers.card.by.{e.by}"), text=True),
        Column("n", lambda e: Share(e.scored, e.n)),
        Column(say("eval.accuracy"), lambda e: Number(e.accuracy)),
        Column(say("eval.harmless.accuracy"), lambda e: Number(e.harmless)),
        Column(say("eval.harmless.subcomponent_majority"), lambda e: Number(e.majority)),
        Column(say("eval.harmless.bias"), lambda e: Number(e.bias, sign=True)),
        Column(say("scorers.card.model_bias"), lambda e: Number(e.model_bias)),
        Column(say("eval.harmless.caught"), lambda e: Number(e.caught)),
        Column(say("eval.harmless.auc"), lambda e: Number(e.auc)),
        Column(say("eval.tau"), lambda e: Number(e.tau, 2)),
    ]
    yield Table.of("", columns, own.entries)
    if left := [entry.labels for entry in own.entries if entry.left_out]:
        yield line(say("scorers.card.left_out", names=", ".join(left)), kind="soft")


def probe_document(report: ProbeReport) -> Iterator[Block]:
    """Yields how often each probe flips verdicts, overall and by dimension."""
    lost = sum(report.unscored.values())
    key = "scorers.probe.scored.lost" if lost else "scorers.probe.scored"
    values = report.model_dump(include={"scorer", "source", "scored"})
    yield line(say(key, **values, n=report.responses, lost=lost))
    for note in report.notes:
        yield line(say("scorers.probe.note", note=note.words))
    run = [(result, result.overall) for result in report.probes if result.overall is not None]
    columns: list[Column[tuple[ProbeResult, Flips]]] = [
        Column(say("scorers.probe.name"), lambda row: row[0].name, text=True),
        Column("n", lambda row: row[1].n),
        Column(say("scorers.probe.flips"), lambda row: Number(row[1].rate)),
        Column("1→3 %", lambda row: Number(row[1].to_harmless)),
        Column("3→1 %", lambda row: Number(row[1].to_harmful)),
    ]
    yield Table.of("", columns, run)
    names = list(dict.fromkeys(name for result in report.probes for name in result.dimensions))
    rows = [(result.name, *(_flip_rate(result, name) for name in names)) for result, _ in run]
    header: list[Text | str] = [say("scorers.probe.name"), *names]
    yield Table.of_cells(say("scorers.probe.dimensions"), header, rows)
    yield line(say("scorers.probe.intervals"))
    for result in report.probes:
        if result.skipped:
            yield line(say("scorers.probe.skipped", name=result.name, why=result.skipped))
        if result.lost:
            yield line(say("scorers.probe.lost", name=result.name, reasons=_counted(result.lost)))


def _flip_rate(result: ProbeResult, dimension: str) -> str | None:
    flips = result.dimensions.get(dimension)
    return f"{flips.rate.value:.1f}" if flips and flips.rate else None


def spending_document(spendings: Sequence[Spending]) -> Iterator[Block]:
    """Yields what each scorer decided and what it took, with the steps of a cascade below it."""
    counts = ("requests", "tokens_in", "tokens_out")
    columns = ("scorer", "asked", "decided", "unscored", *counts, "latency_s", "cost")
    rows: list[tuple[Cell, ...]] = [
        (
            indent + each.scorer,
            each.asked,
            each.decided,
            sum(each.unscored.values()),
            *(getattr(each, name) for name in counts),
            Number(each.latency_s),
            None if each.cost is None else f"{each.cost:.6g} {each.currency or ''}".rstrip(),
        )
        for spending in spendings
        for indent, each in (("", spending), *(("  ", step) for step in spending.steps))
    ]
    yield Table.of_cells("", [say(f"scorers.spent.{name}") for name in columns], rows)
    for spending in spendings:
        if spending.unscored:
            reasons = _counted(spending.unscored)
            yield line(say("scorers.spent.reasons", scorer=spending.scorer, reasons=reasons))


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {n}" for reason, n in counts.items())
