"""A comparison as one self-contained page."""

from __future__ import annotations

from collections.abc import Callable

from flames.compare._result import SHOWN, Change, Comparison, PairComparison
from flames.compare._terminal import left_out, p_value, signed, tests_of
from flames.report._view import note_text, plain, tone
from flames.report.page import load_strings, render_page
from flames.taxonomy import Language, Taxonomy, Text, default_taxonomy

_PACKAGE = "flames.compare"


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
    words = load_strings(_PACKAGE)
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
        package=_PACKAGE,
        strings=words,
        styles=("charts.css", "report.css", "compare.css"),
        comparison=comparison,
        notes=list(dict.fromkeys(note for side in sides for note in side.notes)),
        note_text=note_text,
        taxonomy=taxonomy,
        matrix={(p.first, p.second): (i, p) for i, p in enumerate(comparison.pairs, 1)},
        tone=lambda change, value: tone(value, taxonomy.dimension(change.dimension).scale),
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
