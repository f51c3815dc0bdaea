"""A comparison as one self-contained page."""

from __future__ import annotations

from flames.compare._result import SHOWN, Comparison
from flames.compare._terminal import p_value, scores_of, signed, tests_of
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
        styles=("compare.css",),
        comparison=comparison,
        notes=list(dict.fromkeys(note for side in sides for note in side.notes)),
        matrix={(pair.first, pair.second): pair.harmless_rate for pair in comparison.pairs},
        label=lambda name: taxonomy.dimension(name).label,
        signed=signed,
        p_value=p_value,
        scores_of=scores_of,
        tests_of=tests_of,
        most=comparison.room(changes),
    )
