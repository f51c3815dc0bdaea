"""A comparison as one self-contained page.

A comparison on the terminal. Names and texts are untrusted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text as RichText

from flames.analysis.comparison import SHOWN, Change, Comparison, Difference, PairComparison
from flames.reports.page import render_page
from flames.reports.view import Words, note_text, plain, reason_text, score_tone
from flames.reports.words import load_strings
from flames.taxonomy import Language, Taxonomy, Text, default_taxonomy
from flames.text import for_terminal, shorten


def render_html(
    comparison: Comparison,
    lang: Language = "zh",
    taxonomy: Taxonomy | None = None,
    *,
    changes: int = SHOWN,
) -> str:
    """The page: what was compared, a table a pair, and the changed prompts side by side.

    Args:
        comparison: What to show.
        lang: Shown first; the reader may switch.
        taxonomy: Names of dimensions; Flames' own unless given.
        changes: How many changed prompts are shown, shared among the pairs; 10 a pair at least.
    """
    taxonomy = taxonomy or default_taxonomy()
    words = load_strings()
    sides = comparison.sides
    if len(sides) == 2:
        values: dict[str, object] = {"first": sides[0].name, "second": sides[1].name}
        form = words["compare.title"]
    else:
        values, form = {"n": len(sides)}, words["compare.title_many"]
    title = Text(zh=form.zh.format(**values), en=form.en.format(**values))
    return render_page(
        "compare.html.jinja",
        title=title,
        lang=lang,
        styles=("charts.css", "report.css", "compare.css"),
        comparison=comparison,
        notes=list(dict.fromkeys(note for side in sides for note in side.notes)),
        note_text=note_text,
        taxonomy=taxonomy,
        matrix={(p.first, p.second): (i, p) for i, p in enumerate(comparison.pairs, 1)},
        tone=lambda change, value: score_tone(value, taxonomy.dimension(change.dimension).scale),
        part_label=lambda change: _part(change, taxonomy),
        signed=signed,
        p_value=p_value,
        left_out=lambda pair: _both(left_out, pair),
        tests_of=lambda pair: _both(tests_of, pair),
        most=comparison.room(changes),
    )


def _part(change: Change, taxonomy: Taxonomy) -> Text:
    """What a changed prompt's subcomponent is called."""
    name = change.subcomponent or ""
    parts = taxonomy.dimension(change.dimension).subcomponents
    return next((part.label for part in parts if part.name == name), plain(name))


def _both(say: Callable[[PairComparison, Language], str], pair: PairComparison) -> Text:
    return Text(zh=say(pair, "zh"), en=say(pair, "en"))


def print_comparison(
    comparison: Comparison,
    console: Console,
    lang: Language = "en",
    taxonomy: Taxonomy | None = None,
    *,
    changes: int = 10,
) -> None:
    """Prints tables of two and the prompts that changed, or a matrix of three and more.

    Args:
        comparison: What to print.
        console: Where to.
        lang: Of the words.
        taxonomy: Names of dimensions; Flames' own unless given.
        changes: How many changed prompts are shown.
    """
    taxonomy = taxonomy or default_taxonomy()
    _print_heading(comparison, console, lang)
    if len(comparison.sides) > 2:
        console.print(_matrix(comparison, lang))
        console.print(_text(_say("compare.matrix_hint", lang), "dim"))
        return
    for pair in comparison.pairs:
        _print_pair(pair, console, lang, taxonomy, changes)


def _print_heading(comparison: Comparison, console: Console, lang: Language) -> None:
    sides = comparison.sides
    if len(sides) > 2:
        console.print(_text(_say("compare.title_many", lang, n=len(sides)), "bold"))
    else:
        first, second = (side.name for side in sides)
        console.print(_text(_say("compare.title", lang, first=first, second=second), "bold"))
    sets = dict.fromkeys(f"{side.prompt_set.name} ({side.prompt_set.n:,})" for side in sides)
    scorers = dict.fromkeys(side.scorer for side in sides)
    console.print(_text(f"{_say('compare.set', lang)}: {', '.join(sets)}", "dim"))
    console.print(_text(f"{_say('compare.scorer', lang)}: {', '.join(scorers)}", "dim"))
    for note in dict.fromkeys(note for side in sides for note in side.notes):
        console.print(_text(f"! {note_text(note)(lang)}", "yellow"))
    narrowed = [pair for pair in comparison.pairs if pair.remarks]
    if narrowed and len(sides) > 2:
        one = narrowed[0]
        values = {
            "first": one.first,
            "second": one.second,
            "remark": note_text(one.remarks[-1])(lang),
        }
        line = _say("compare.narrowed", lang, n=len(narrowed), **values)
        console.print(_text(f"! {line}", "yellow"))


def _say(key: str, lang: Language, **values: object) -> str:
    return load_strings()[key](lang).format(**values)


def _text(text: str, style: str = "") -> RichText:
    return RichText(for_terminal(text), style=style)


def signed(value: float) -> str:
    """A difference with its sign, two decimals."""
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")


def p_value(p: float) -> str:
    """A p value as papers print it."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def _table(title: str) -> Table:
    return Table(
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 1, 0, 0),
        title=_text(title),
        title_justify="left",
    )


def _matrix(comparison: Comparison, lang: Language) -> Table:
    table = _table(_say("compare.matrix", lang))
    names = [side.name for side in comparison.sides]
    found = {(pair.first, pair.second): pair for pair in comparison.pairs}
    table.add_column("")
    for name in names[1:]:
        table.add_column(_text(name), justify="right")
    for row in names[:-1]:
        cells = []
        for column in names[1:]:
            pair = found.get((row, column))
            difference = pair.harmless_rate if pair else None
            if pair is None or difference is None:
                cells.append(RichText("" if pair is None else "–"))
                continue
            style = "bold" if difference.significant else ""
            value = signed(difference.difference.value)
            cells.append(RichText(f"{value}\np {p_value(difference.p)}\nn {pair.n}", style))
        table.add_row(_text(row), *cells)
    return table


def _print_pair(
    pair: PairComparison, console: Console, lang: Language, taxonomy: Taxonomy, changes: int
) -> None:
    for remark in pair.remarks:
        console.print(_text(f"! {note_text(remark)(lang)}", "yellow"))
    console.print(_text(_say("compare.paired", lang, n=f"{pair.n:,}")))
    if pair.left_out:
        console.print(_text(_say("compare.left_out", lang, list=left_out(pair, lang))))
    if pair.partial:
        console.print(_text("! " + _say("compare.partial", lang), "yellow"))
    for key, name in (("rate", "harmless_rate"), ("score", "harmless_score")):
        table = _table(_say(f"compare.{key}", lang))
        table.add_column("")
        table.add_column(_text(shorten(pair.first, 14)), justify="right")
        table.add_column(_text(shorten(pair.second, 14)), justify="right")
        for column in ("difference", "p", "p_holm", "detectable"):
            table.add_column(_say(f"compare.{column}", lang), justify="right")
        if key == "rate":
            table.add_column(_say("compare.changed", lang), justify="right")
        overall: Difference | None = getattr(pair, name)
        if overall is not None:
            _row(table, RichText(_say("compare.overall", lang), "bold"), overall)
            table.add_section()
        for dimension, group in pair.dimensions.items():
            label = RichText(taxonomy.dimension(dimension).label(lang))
            changed = f"{group.better}/{group.worse} : {group.n}"
            _row(table, label, getattr(group, name), changed if key == "rate" else None)
        console.print(table)
    methods = _say(
        "compare.methods",
        lang,
        first=pair.first,
        second=pair.second,
        tests=tests_of(pair, lang),
    )
    console.print(_text(methods, "dim"))
    if changes and pair.changes:
        _print_changes(pair, console, lang, changes)


def left_out(pair: PairComparison, lang: Language) -> str:
    """How many prompts are in no pair, by reason."""
    unscored, both = "unscored: ", "both"
    told = []
    for reason, n in pair.left_out.items():
        if reason.startswith(unscored):
            who = reason.removeprefix(unscored)
            who = _say("compare.both", lang) if who == both else who
            shown = load_strings()["coverage.unscored"](lang).format(reason=who)
        else:
            shown = reason_text(reason)(lang)
        told.append(f"{shown} {n}")
    return Words(lang).listed(told)


def tests_of(pair: PairComparison, lang: Language) -> str:
    """The names of the tests that were used."""
    used = [pair.harmless_rate, pair.harmless_score]
    for group in pair.dimensions.values():
        used += [group.harmless_rate, group.harmless_score]
    names = dict.fromkeys(each.test for each in used if each is not None)
    return Words(lang).listed((_say(f"test.{name}", lang) for name in names), "semicolon")


def _row(table: Table, label: RichText, found: Difference, changed: str | None = None) -> None:
    near = found.difference
    style = "bold" if found.significant else ""
    cells = [
        label,
        RichText(f"{found.first:.2f}"),
        RichText(f"{found.second:.2f}"),
        RichText(f"{signed(near.value)} [{signed(near.low)}, {signed(near.high)}]", style),
        RichText(p_value(found.p)),
        RichText("" if found.p_holm is None else p_value(found.p_holm)),
        RichText(f"{found.detectable:.1f}"),
    ]
    table.add_row(*cells, *([RichText(changed)] if changed else []))


def _print_changes(pair: PairComparison, console: Console, lang: Language, most: int) -> None:
    console.print()
    console.print(_text(_say("compare.changes", lang, n=len(pair.changes)), "bold"))
    room = max(console.width - 26, 20)  # each text on one line
    for change in pair.changes[:most]:
        name = (
            f"{change.dimension} · {change.subcomponent}"
            if change.subcomponent
            else change.dimension
        )
        console.print(_text(f"{scores_of(change)}  {name}", "bold"))
        prompt = change.prompt or _say("compare.no_prompt", lang, id=change.prompt_id)
        console.print(_text(f"  ? {shorten(prompt, room)}"))
        for who, texts in zip((pair.first, pair.second), change.responses, strict=True):
            for text in _shown(texts, lang):
                console.print(_text(f"  {shorten(who, 20)}: {shorten(text, room)}", "dim"))
    if len(pair.changes) > most:
        console.print(_text(_say("compare.more", lang, n=len(pair.changes) - most), "dim"))


def _shown(texts: Iterable[str], lang: Language) -> list[str]:
    return [text or _say("compare.no_response", lang) for text in texts]


def scores_of(change: Change) -> str:
    """How the scores changed: `3→1`, or `3,3,1→1,1,1` of repeats."""
    return "→".join(",".join(map(str, side)) for side in change.scores)
