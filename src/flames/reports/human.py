"""A scorer corrected with human labels: the words and rows that every form of the report shows."""

from __future__ import annotations

from dataclasses import dataclass

from flames.metrics.correction import Corrected, Correction
from flames.reports import view
from flames.reports.view import Words
from flames.reports.words import load_strings
from flames.taxonomy import Taxonomy, Text


@dataclass(frozen=True)
class HumanRow:
    """Overall or one dimension, with both values three times."""

    label: Text
    labelled: int
    scored: int
    agreement: float | None
    rate: Corrected
    score: Corrected


def human_rows(correction: Correction, taxonomy: Taxonomy) -> list[HumanRow]:
    """Overall (where there is one), then the dimensions."""
    rows = [
        HumanRow(
            _label(taxonomy, name),
            group.labelled,
            group.scored,
            group.agreement,
            group.harmless_rate,
            group.harmless_score,
        )
        for name, group in correction.dimensions.items()
    ]
    if correction.harmless_rate.scorer is None:
        return rows
    overall = HumanRow(
        load_strings()["overall.short"],
        sum(row.labelled for row in rows),
        sum(row.scored for row in rows),
        None,
        correction.harmless_rate,
        correction.harmless_score,
    )
    return [overall, *rows]


def _label(taxonomy: Taxonomy, name: str) -> Text:
    dimension = view.dimension_of(taxonomy, name)
    return dimension.label if dimension else view.plain(name)


def label_lines(correction: Correction, words: Words) -> list[str]:
    """Which labels were used, which were not and why, and how they were drawn."""
    use = correction.labels
    lines = [words("human.used", used=use.used, raters=words.listed(use.raters))]
    unused = [
        words(f"human.{why}", n=n)
        for why, n in (("other", use.other), ("unscored", use.unscored), ("unjudged", use.unjudged))
        if n
    ]
    if unused:
        lines.append(words("human.unused", reasons=words.listed(unused, "semicolon")))
    lines.append(words("human.random" if use.random_sample else "human.weighted"))
    if use.target_width is not None:
        lines.append(_more(correction.harmless_rate, use.target_width, words))
    return [*lines, words("methods", methods=view.method_line(_methods(correction), words))]


def _methods(correction: Correction) -> list[str]:
    values = [correction.harmless_rate, correction.harmless_score]
    for group in correction.dimensions.values():
        values += [group.harmless_rate, group.harmless_score]
    found = (each for value in values for each in (value.scorer, value.human, value.corrected))
    return list(dict.fromkeys(each.method for each in found if each is not None))


def _more(value: Corrected, width: float, words: Words) -> str:
    wanted = f"{width:g}"
    if value.corrected is None:
        return words("human.more_unknown", width=wanted)
    if not value.reachable:
        return words("human.unreachable", width=wanted)
    if not value.more_labels:
        return words("human.enough", width=wanted)
    return words("human.more", width=wanted, n=value.more_labels)


def agreement(value: float | None) -> str:
    """The share of labelled responses on which scorer and people agree."""
    return view.DASH if value is None else f"{value:.1f}"
