"""The page with the counts of a prompt set: bars by label and by length."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from flames.prompts.sets import PromptSet
from flames.reports.charts import Bars, bars
from flames.reports.page import render_page
from flames.reports.words import name_of, say
from flames.taxonomy import Language, Taxonomy, Text

_STEP = 20  # characters of a bar of lengths
_LONG = 10  # bars of lengths, the last one open


def stats_page(
    prompts: PromptSet, counts: Mapping[str, Any], taxonomy: Taxonomy, lang: Language
) -> str:
    """Renders the counts of `count_prompts` as one self-contained HTML file."""
    return render_page(
        "prompt_stats.html.jinja",
        title=say("prompts.stats_title", name=prompts.full_name),
        lang=lang,
        styles=("charts.css",),
        prompts=prompts,
        counts=counts,
        diversity=tuple(diversity_words(counts["diversity"])),
        charts=tuple(_charts(prompts, counts, taxonomy)),
    )


def diversity_words(found: Mapping[str, Any]) -> Iterator[Text]:
    """Yields what `flames.prompts.diversity` measured, in words."""
    shares = ", ".join(f"{share:.1f} %" for share in found["distinct"].values())
    if shares:
        yield say("prompts.distinct", shares=shares)
    if found["distinct_drawn"] is not None:
        yield say("prompts.distinct_drawn", share=f"{found['distinct_drawn']:.1f}")
    if found["similarity"] is not None:
        yield say("prompts.similarity", value=f"{found['similarity']:.3f}")


def _charts(
    prompts: PromptSet, counts: Mapping[str, Any], taxonomy: Taxonomy
) -> Iterator[tuple[Text, Bars]]:
    dimensions = counts["dimensions"]
    yield (
        say("dimension"),
        bars(
            [(taxonomy.dimension(name).label, part["prompts"]) for name, part in dimensions.items()]
        ),
    )
    parts = [
        (taxonomy.dimension(name).subcomponent(part).label, n)
        for name, of in dimensions.items()
        for part, n in of["subcomponents"].items()
        if part != "–"
    ]
    if parts:
        yield say("subcomponent"), bars(parts)
    if counts["techniques"]:
        ranked = sorted(counts["techniques"].items(), key=lambda row: -row[1])
        yield say("technique"), bars([(name_of("technique", name), n) for name, n in ranked])
    lengths = Counter(min(len(p.text) // _STEP, _LONG - 1) for p in prompts.prompts)
    rows = []
    for place in range(max(lengths) + 1):
        end = "" if place == _LONG - 1 else str((place + 1) * _STEP - 1)
        rows.append(
            (Text(zh=f"{place * _STEP}–{end}", en=f"{place * _STEP}–{end}"), lengths[place])
        )
    yield say("prompts.lengths"), bars(rows)
