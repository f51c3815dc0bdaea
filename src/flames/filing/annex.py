"""The evidence of a filing's report: what was counted, who decided, conditions and checksums."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from flames import __version__
from flames.filing.figures import BankFigures
from flames.filing.pages import bank_name, class_name
from flames.metrics.binomial import EXACT, exact_share
from flames.reports.tables import Block, Cell, Column, Heading, Number, Table, line
from flames.reports.words import join, listed, name_of, same, say
from flames.taxonomy import Language, Text
from flames.text import shorten

if TYPE_CHECKING:
    from flames.filing.report import FilingReport


def report_title(report: FilingReport) -> Text:
    """Returns the title of a report."""
    return say("filing.report", model=report.run.model)


def report_document(report: FilingReport, lang: Language) -> Iterator[Block]:
    """Yields the report block by block; `lang` does not matter but to sheets."""
    yield Heading(report_title(report))
    yield line(say("filing.no_verdict", rules=report.draw.rules.title), kind="note")
    yield from figure_blocks(report)
    yield Heading(say("filing.by_class"), 2)
    for each in report.figures.banks.values():
        yield _class_table(each, report)
    yield from _evidence(report)


def figure_blocks(report: FilingReport) -> Iterator[Block]:
    """Yields the figures: rates, chances in another draw, who decided, and what is open."""
    rules, figures = report.draw.rules, report.figures
    banks = list(figures.banks.values())
    columns: list[Column[BankFigures]] = [
        Column(say("filing.bank"), lambda b: bank_name(b.bank, rules), text=True),
        Column(say("filing.drawn"), lambda b: b.drawn),
        Column(say("filing.judged"), lambda b: b.judged),
        Column(say("filing.figure"), lambda b: say(f"filing.figure.{_kind(b)}"), text=True),
        Column(join(say("filing.rate"), " (%)"), lambda b: Number(b.rate)),
        Column(say("filing.asked"), lambda b: f"{'≤' if b.at_most else '≥'} {b.asked} %"),
        Column(say("filing.reached"), lambda b: b.reached),
        Column(say("filing.needed"), lambda b: b.needed),
        Column(say("filing.missing"), lambda b: b.missing),
        Column(say("filing.clause"), lambda b: b.clause, text=True, wide=True),
    ]
    yield Table.of(say("filing.counts"), columns, banks, full_width=130)
    yield line(say("filing.reached.explain"), kind="soft")
    yield _chances(report)
    if figures.together is not None:
        yield line(say("filing.together", chance=_per_cent(figures.together)))
    yield line(say("filing.chances.explain"), kind="soft")
    for each in banks:
        yield from _remarks(each, report)
    if report.cut:
        yield line(say("filing.cut.note", n=report.cut), kind="note")


def _kind(bank: BankFigures) -> str:
    return "passed" if bank.refused is None else "refused"


def _per_cent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _chances(report: FilingReport) -> Table:
    rules = report.draw.rules

    def row(bank: BankFigures) -> tuple[Cell, ...]:
        found = bank.chances
        name = bank_name(bank.bank, rules)
        if found is None:
            return (name, *[None] * 7)
        sign = "≤" if bank.at_most else "≥"
        return (
            name,
            found.size,
            found.needs,
            _per_cent(found.at_value),
            f"{_per_cent(found.at_low)} – {_per_cent(found.at_high)}",
            _per_cent(found.predictive),
            f"{sign} {found.level:.2f} %",
            same("–") if found.own is None else f"{found.own:,}/{bank.judged:,}",
        )

    header = ("bank", "size", "needs", "at_value", "at_ends", "predictive", "level", "own_needed")
    return Table.of_cells(
        say("filing.chances"),
        [say(f"filing.{name}") for name in header],
        [row(each) for each in report.figures.banks.values()],
    )


def _remarks(bank: BankFigures, report: FilingReport) -> Iterator[Block]:
    name = bank_name(bank.bank, report.draw.rules)
    states = listed(
        join(name_of("filing.state", state), f" {n:,}") for state, n in bank.states.items()
    )
    by = listed(join(name_of("filing.by", who), f" {n:,}") for who, n in bank.by.items())
    yield line(say("filing.states", bank=name, states=states, by=by))
    if bank.partly:
        yield line(say("filing.partly", bank=name, n=bank.partly), kind="soft")
    if "blocked" in bank.states:
        how = report.options.blocked if bank.refused is not None else "content"
        yield line(say(f"filing.blocked.{how}", bank=name, n=bank.states["blocked"]), kind="soft")
    official = report.draw.rules.banks[bank.bank].draw
    if official is not None and bank.drawn < official.value:
        yield line(
            say("filing.short", bank=name, drawn=bank.drawn, asked=official.value), kind="note"
        )


def _class_table(bank: BankFigures, report: FilingReport) -> Table:
    rules = report.draw.rules
    rows: list[tuple[Cell, ...]] = [
        (class_name(code, rules), drawn, judged, passed,
         Number(exact_share(passed, judged) if judged else None))
        for code, (drawn, judged, passed) in bank.classes.items()
    ]  # fmt: skip
    header = [say(f"filing.{n}") for n in ("class", "drawn", "judged", "reached")]
    header.append(join(say("filing.reached"), " (%)"))
    return Table.of_cells(bank_name(bank.bank, rules), header, rows)


def _evidence(report: FilingReport) -> Iterator[Block]:
    yield Heading(say("filing.evidence"), 2)
    yield line(_conditions(report))
    manifest, rules = report.draw.manifest, report.draw.rules
    yield line(
        say(
            "filing.drawn_how",
            seed=manifest.seed,
            created=manifest.created,
            ids=manifest.ids_sha256,
        )
    )
    rows: list[tuple[Cell, ...]] = [
        (bank_name(name, rules), file, sha256, each.n, each.left_out, each.drawn)
        for name, each in manifest.banks.items()
        for file, sha256 in each.files.items()
    ]
    header = [say(f"filing.{n}") for n in ("bank", "file.title")] + [same("SHA-256")]
    header += [say(f"filing.{n}") for n in ("counted", "left_out", "drawn")]
    yield Table.of_cells(say("filing.drawn_from"), header, rows, text=3)
    yield from _labels(report)
    files: list[tuple[Cell, ...]] = list(report.files.items())
    yield Table.of_cells(
        say("certificate.files"), (say("certificate.file"), same("SHA-256")), files, text=2
    )
    figures: list[tuple[Cell, ...]] = [
        (bank_name(name, rules), say(f"filing.rule.{kind}"), figure.value, figure.clause,
         name_of("filing.checkwords", figure.check))
        for name, bank in rules.banks.items()
        for kind in ("draw", "pass_at_least", "refused_at_least", "refused_at_most")
        if (figure := getattr(bank, kind)) is not None
    ]  # fmt: skip
    columns = [say(f"filing.{n}") for n in ("bank", "what", "asked", "clause", "check")]
    yield Table.of_cells(say("filing.rules", id=rules.id), columns, figures, text=2)
    yield line(say("certificate.version", version=__version__), kind="soft")


def _labels(report: FilingReport) -> Iterator[Block]:
    names = report.people.names
    if not names:
        yield line(say("filing.no_people"), kind="note")
        return
    people = listed(join(same(name), f" {n:,}") for name, n in names.items())
    yield line(say("filing.people", people=people))
    found = None if report.agreement is None else report.agreement.overall
    if found is None or not found.pairable:
        yield line(say("filing.no_agreement"), kind="note")
        return
    yield Table.of_cells(
        say("filing.agreement"),
        [say(f"filing.{n}") for n in ("pairable", "same", "alpha")],
        [(found.pairable, Number(found.percent), Number(found.alpha_nominal, 3))],
        text=0,
    )


def _conditions(report: FilingReport) -> Text:
    known = report.conditions
    parts = [join(say("filing.model"), say("colon"), report.run.model)]
    if known.endpoint:
        parts.append(say("conditions.endpoint", endpoint=known.endpoint))
    parts += [same(f"{name} {value}") for name, value in known.of_settings().items()]
    if known.system_prompt:
        parts.append(say("conditions.system", text=shorten(known.system_prompt, 200)))
    if known.started:
        days = dict.fromkeys(time[:10] for time in (known.started, known.ended) if time)
        parts.append(say("conditions.when", days=" – ".join(days)))
    parts.append(join(say("filing.intervals"), say("colon"), name_of("method", EXACT)))
    return listed(parts, "semicolon")
