"""What a check and a report of a filing show: the same blocks for terminal, page and DOCX."""

from __future__ import annotations

from collections.abc import Iterator

from flames.filing.check import BankCheck, ClassCount, FilingCheck
from flames.filing.draw import Draw, DrawnBank
from flames.filing.rules import BankName, Rules
from flames.filing.sheets import gap_words
from flames.reports.tables import Block, Cell, Column, Heading, Table, line
from flames.reports.words import join, listed, name_of, same, say
from flames.taxonomy import Text

_LISTED = 10  # labels, pairs and keywords that are listed; the workbook has all


def class_name(code: str, rules: Rules) -> Text:
    """Returns a class with its code."""
    return gap_words(code, rules)


def bank_name(name: BankName, rules: Rules) -> Text:
    """Returns what a bank is called."""
    return rules.banks[name].name


def check_document(check: FilingCheck) -> Iterator[Block]:
    """Yields what was counted of each bank, what was asked for, and what is missing."""
    rules = check.rules
    yield _overview(check)
    for bank in check.banks.values():
        yield Heading(bank_name(bank.name, rules), 2)
        yield _classes(bank, rules)
        yield from _remarks(bank, rules)
    if check.absent:
        names = listed(bank_name(name, rules) for name in check.absent)
        yield line(say("filing.absent", names=names), kind="note")
    if check.hits is not None:
        yield from _hits(check)
    yield line(say("filing.no_verdict", rules=rules.title), kind="soft")
    yield line(say("filing.source", source=_sources(rules), check=_check(rules)), kind="soft")


def _check(rules: Rules) -> Text:
    return name_of("filing.checkwords", rules.check)


def _sources(rules: Rules) -> Text:
    found = dict.fromkeys(bank.total.source for bank in rules.banks.values())
    return listed((name_of("filing.sourcewords", each) for each in found), "semicolon")


def _overview(check: FilingCheck) -> Table:
    columns: list[Column[BankCheck]] = [
        Column(say("filing.bank"), lambda b: bank_name(b.name, check.rules), text=True),
        Column(say("filing.rows"), lambda b: b.rows),
        Column(say("filing.distinct"), lambda b: b.distinct),
        Column(say("filing.counted"), lambda b: b.counted),
        Column(say("filing.asked"), lambda b: b.asked),
        Column(say("filing.missing"), lambda b: max(0, b.asked - b.counted)),
        Column(say("filing.short_classes"), lambda b: sum(c.missing > 0 for c in b.classes)),
        Column(say("filing.near"), lambda b: len(b.near)),
        Column(say("filing.newest"), lambda b: _age(b)),
    ]
    return Table.of(say("filing.banks"), columns, check.banks.values())


def _age(bank: BankCheck) -> Text | None:
    ages = bank.ages
    if ages.newest is None:
        return None
    return say("filing.age", day=ages.newest.isoformat(), age=ages.age, asked=ages.asked or "–")


def _classes(bank: BankCheck, rules: Rules) -> Table:
    columns: list[Column[ClassCount]] = [
        Column(say("filing.class"), lambda c: class_name(c.code, rules), text=True),
        Column(say("filing.own"), lambda c: c.own),
        Column(say("filing.crosswalk"), lambda c: c.crosswalk),
        Column(say("filing.asked"), lambda c: c.asked),
        Column(say("filing.missing"), lambda c: c.missing),
        Column(say("filing.candidates"), lambda c: c.candidates),
    ]
    return Table.of("", columns, bank.classes)


def _remarks(bank: BankCheck, rules: Rules) -> Iterator[Block]:
    def some(counts: list[tuple[Text | str, int]]) -> Text:
        shown = [join(name, f" {n:,}") for name, n in counts[:_LISTED]]
        return listed([*shown, *(["…"] if len(counts) > _LISTED else [])])

    for file, sha256 in bank.files:
        yield line(say("filing.file", file=file, sha256=sha256), kind="soft")
    if bank.elsewhere:
        yield line(say("filing.elsewhere", n=bank.elsewhere))
    if bank.duplicates:
        yield line(say("filing.duplicates", n=len(bank.duplicates)))
        yield from _pairs([(a.where, b.where) for a, b, _ in bank.duplicates])
    if bank.near:
        yield line(say("filing.near_pairs", n=len(bank.near)))
        yield from _pairs([(a.where, b.where) for a, b, _ in bank.near])
    if bank.open:
        total = sum(n for n, _ in bank.open.values())
        named: list[tuple[Text | str, int]] = [(label, n) for label, (n, _) in bank.open.items()]
        yield line(say("filing.open", n=total, labels=some(named)))
    if bank.unplaced:
        unplaced: list[tuple[Text | str, int]] = [
            (label or say("filing.no_label"), n) for label, n in bank.unplaced.most_common()
        ]
        n = bank.unplaced.total()
        yield line(say("filing.unplaced", n=n, labels=some(unplaced)), kind="note")
    if bank.outside:
        outside: list[tuple[Text | str, int]] = [
            (class_name(code, rules), n) for code, n in bank.outside.most_common()
        ]
        yield line(say("filing.outside", n=bank.outside.total(), labels=some(outside)))
    if bank.ages.dated < bank.rows:
        yield line(say("filing.undated", n=bank.rows - bank.ages.dated, total=bank.rows))


def _pairs(pairs: list[tuple[str, str]]) -> Iterator[Block]:
    for first, second in pairs[:3]:
        yield line(f"  {first} ~ {second}", kind="soft")


def _hits(check: FilingCheck) -> Iterator[Block]:
    hits, rules = check.hits, check.rules
    assert hits is not None
    yield Heading(say("filing.hits"), 2)
    yield line(say("filing.hit", hit=hits.hit, texts=hits.texts, never=hits.never))
    rows: list[tuple[Cell, ...]] = [
        (class_name(code, rules) if code else say("filing.no_label"), n)
        for code, n in hits.classes.items()
    ]
    yield Table.of_cells("", (say("filing.class"), say("filing.texts")), rows)
    most = listed(join(same(word), f" {n:,}") for word, n in list(hits.most.items())[:_LISTED])
    yield line(say("filing.most", words=most))


def draw_document(draw: Draw) -> Iterator[Block]:
    """Yields how many were drawn from each bank, and what stood in the way."""
    rules, manifest = draw.rules, draw.manifest
    columns: list[Column[tuple[BankName, DrawnBank]]] = [
        Column(say("filing.bank"), lambda pair: bank_name(pair[0], rules), text=True),
        Column(say("filing.counted"), lambda pair: pair[1].n),
        Column(say("filing.left_out"), lambda pair: pair[1].left_out),
        Column(say("filing.asked"), lambda pair: pair[1].asked),
        Column(say("filing.drawn"), lambda pair: pair[1].drawn),
        Column(say("filing.classes"), lambda pair: len(pair[1].classes)),
    ]
    yield Table.of(say("filing.draw", seed=manifest.seed), columns, manifest.banks.items())
    for name, each in manifest.banks.items():
        if each.drawn < each.asked:
            given = {"bank": bank_name(name, rules), "drawn": each.drawn, "asked": each.asked}
            yield line(say("filing.short", **given), kind="note")
