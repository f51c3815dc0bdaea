"""Evaluations on a terminal, as Markdown, and as a page.

What the evaluations' tables hold, for the terminal, Markdown and the page alike.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text as RichText

from flames.analysis.evaluation import Evaluation, ScorerMetrics
from flames.metrics.result import Estimate
from flames.reports.page import load_strings, render_page
from flames.reports.view import note_text
from flames.taxonomy import Language, Taxonomy, Text
from flames.taxonomy import Text as Words
from flames.text import for_terminal, utf8_safe


def print_summary(evaluations: Sequence[Evaluation], console: Console, lang: Language) -> None:
    """Prints one row a scorer."""
    _print_table(summary(evaluations), console, lang)


def print_evaluations(
    evaluations: Sequence[Evaluation], console: Console, taxonomy: Taxonomy, lang: Language
) -> None:
    """Prints a table over all scorers, then two a scorer."""
    if len(evaluations) > 1:
        print_summary(evaluations, console, lang)
    for each in evaluations:
        console.print(RichText(for_terminal(each.scorer), style="bold"))
        for note in each.notes:
            console.print(RichText(for_terminal(f"! {note}"), style="yellow"))
        _print_table(dimensions(each, taxonomy), console, lang)
        if len(each.models) > 1:
            _print_table(models(each), console, lang)
        if each.rank_agreement is not None:
            tau = f"{words()['tau'](lang)}: {number(each.rank_agreement, 2)}"
            console.print(RichText(tau))
        if each.per_second:
            told = f"{words()['speed'](lang)}: {each.per_second:,.1f}"
            console.print(RichText(told))
        for line in lines(each, taxonomy):
            console.print(RichText(for_terminal(line(lang)), style="dim"))


def _print_table(table: Table, console: Console, lang: Language) -> None:
    """Prints a table in as many parts as the terminal's width needs, none of them squeezed."""
    header = [name(lang) for name in table.header]
    rows = [
        [for_terminal(said(cell, lang)).replace(" [", "\n[") for cell in row] for row in table.rows
    ]
    widths = [
        max(cell_len(line) for text in (header[i], *(row[i] for row in rows))
            for line in (text.split() if text == header[i] else text.split("\n")))
        for i in range(len(header))
    ]  # fmt: skip
    widths[0] = min(widths[0], 24)
    parts: list[list[int]] = [[]]
    for column in range(1, len(header)):
        used = widths[0] + sum(widths[i] + 2 for i in [*parts[-1], column])
        if parts[-1] and used > console.width:
            parts.append([])
        parts[-1].append(column)
    for number, part in enumerate(parts):
        shown = RichTable(
            title=None if number else table.title(lang), title_justify="left",
            box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 1, 0, 0),
        )  # fmt: skip
        for column in (0, *part):
            justify: Any = "right" if column else "left"
            shown.add_column(header[column], justify=justify, width=widths[column], overflow="fold")
        for row in rows:
            shown.add_row(*(RichText(row[column]) for column in (0, *part)))
        console.print(shown)
        console.print()


_FIGURES = re.compile(r"[-+\d.,/\s\[\]×–]*")
_ESCAPED = str.maketrans({char: "\\" + char for char in "\\`*_[]<>#|~$&@"})


def plain(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return utf8_safe(for_terminal(text)).translate(_ESCAPED)


def _cell(text: str) -> str:
    return text if _FIGURES.fullmatch(text) else plain(text)


def markdown_table(table: Table, lang: Language) -> str:
    """A table in GitHub's dialect."""
    marks = ["---"] + ["---:"] * (len(table.header) - 1)
    head = [name(lang) for name in table.header]
    rows = [[_cell(said(cell, lang)) for cell in row] for row in table.rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, marks, *rows))


def markdown(evaluations: Sequence[Evaluation], taxonomy: Taxonomy, lang: Language) -> str:
    """Everything as one Markdown document."""
    w = words()
    title = w["title.many" if len(evaluations) > 1 else "title"](lang)
    blocks = [f"# {title}", markdown_table(summary(evaluations), lang)]
    for each in evaluations:
        blocks += [f"## {plain(each.scorer)}", plain(each.title)]
        blocks += [f"> {plain(note)}" for note in each.notes]
        blocks += markdown_body(each, taxonomy, lang)
        blocks.append("\n".join(f"- {plain(line(lang))}" for line in lines(each, taxonomy)))
    return "\n\n".join(blocks) + "\n"


def markdown_body(evaluation: Evaluation, taxonomy: Taxonomy, lang: Language) -> list[str]:
    """An evaluation's tables, each with its heading."""
    w = words()
    blocks = []
    for table in (dimensions(evaluation, taxonomy), models(evaluation)):
        blocks += [f"### {table.title(lang)}", markdown_table(table, lang)]
    confusions = Table(
        w["confusions"],
        (w["dimension"], w["confusion"]),
        tuple(
            (taxonomy.dimension(name).label, confusion(found))
            for name, found in evaluation.dimensions.items()
        ),
    )
    blocks += [f"### {w['confusions'](lang)}", markdown_table(confusions, lang)]
    calibration = evaluation.overall.calibration
    if calibration is not None:
        bins = Table(
            w["calibration"],
            (w["calibration.axis"], w["accuracy"], w["n"]),
            tuple((f"{b.confidence:.0f}", f"{b.accuracy:.0f}", f"{b.n:,}")
                  for b in calibration.bins),
        )  # fmt: skip
        blocks += [f"### {w['calibration'](lang)} (ECE {number(calibration.ece)})",
                   markdown_table(bins, lang)]  # fmt: skip
    return blocks


def page(evaluations: Sequence[Evaluation], taxonomy: Taxonomy, lang: Language) -> str:
    """Everything as one self-contained page with pictures."""
    w = words()
    widest = max(
        (abs(v) for e in evaluations for b in e.bias for v in (b.bias.low, b.bias.high)), default=1
    )
    return render_page(
        "evaluation.html.jinja",
        title=w["title.many" if len(evaluations) > 1 else "title"],
        lang=lang,
        strings=w,
        styles=("charts.css", "report.css", "evaluation.css"),
        note_text=note_text,
        number=number,
        evaluations=evaluations,
        summary=summary(evaluations),
        dimensions_of=lambda each: dimensions(each, taxonomy),
        models_of=models,
        lines_of=lambda each: lines(each, taxonomy),
        groups_of=lambda each: _groups(each, taxonomy, w),
        reliability=reliability,
        signed=lambda found: number(found, sign=True),
        span=5 * math.ceil(max(widest, 1) / 5),
        shade=_shade,
        is_words=lambda cell: isinstance(cell, Words),
    )


def _groups(
    evaluation: Evaluation, taxonomy: Taxonomy, w: Mapping[str, Words]
) -> list[tuple[Words, ScorerMetrics]]:
    named = [(taxonomy.dimension(n).label, found) for n, found in evaluation.dimensions.items()]
    return [(w["all"], evaluation.overall), *named]


def reliability(found: ScorerMetrics) -> list[dict[str, Any]]:
    """The points of a reliability picture on a 100 × 100 field, the origin below left."""
    if found.calibration is None:
        return []
    most = max(each.n for each in found.calibration.bins)
    return [
        {
            "x": round(each.confidence, 2),
            "y": round(100 - each.accuracy, 2),
            "r": round(1.4 + 3.2 * math.sqrt(each.n / most), 2),
        }
        for each in found.calibration.bins
    ]


def _shade(row: Sequence[int], n: int) -> int:
    """How dark a cell of a confusion matrix is, from 0 to 9."""
    return round(9 * n / max(sum(row), 1))


DASH = "–"
Cell = Text | str


def words() -> dict[str, Text]:
    """The words of everything that shows evaluations."""
    return {k[5:]: text for k, text in load_strings().items() if k.startswith("eval.")}


@dataclass(frozen=True)
class Table:
    """A table: what it is about, its header, its rows; the first column is text."""

    title: Text
    header: tuple[Text, ...]
    rows: tuple[tuple[Cell, ...], ...]


def said(cell: Cell, lang: Language) -> str:
    """A cell in one language."""
    return cell(lang) if isinstance(cell, Text) else cell


def number(found: Estimate | None, digits: int = 1, *, sign: bool = False) -> str:
    """An estimate with its interval."""
    if found is None:
        return DASH
    plus = "+" if sign else ""
    return (
        f"{found.value:{plus}.{digits}f} "
        f"[{found.low:{plus}.{digits}f}, {found.high:{plus}.{digits}f}]"
    )


def _share(found: ScorerMetrics) -> str:
    return f"{found.scored:,} / {found.n:,}"


def _ece(found: ScorerMetrics) -> str:
    return number(found.calibration.ece if found.calibration else None)


def _cost(evaluation: Evaluation) -> str:
    """Money where prices are known, or else requests, of a scorer that asked somebody."""
    taken = evaluation.cost
    if taken is None:
        return DASH
    return f"{taken['requests']:,} req" if taken["cost"] is None else f"{taken['cost']:,.4g}"


def summary(evaluations: Sequence[Evaluation]) -> Table:
    """One row a scorer."""
    w = words()
    keys = ["scorer", "scored", "accuracy", "macro_f1", "kappa", "gain", "ece", "tau"]
    keys += ["speed", "cost"]
    several = len(evaluations) > 1
    header = tuple(w[key] for key in keys) + ((w["versus"],) if several else ())
    rows = []
    for each in evaluations:
        found = each.overall
        row: list[Cell] = [
            each.scorer,
            _share(found),
            number(found.accuracy),
            number(found.macro_f1),
            number(found.kappa_quadratic, 2),
            number(found.gain, sign=True),
            _ece(found),
            number(each.rank_agreement, 2),
            DASH if each.per_second is None else f"{each.per_second:,.1f}",
            _cost(each),
        ]
        if several:
            gap = each.difference.accuracy if each.difference else None
            row.append(number(gap, sign=True))
        rows.append(tuple(row))
    return Table(w["summary"], header, tuple(rows))


def dimensions(evaluation: Evaluation, taxonomy: Taxonomy) -> Table:
    """One row a dimension, the last over all."""
    w = words()
    groups: list[tuple[Cell, ScorerMetrics]] = [
        (taxonomy.dimension(name).label, found) for name, found in evaluation.dimensions.items()
    ]
    groups.append((w["all"], evaluation.overall))
    several = any(found.annotators for _, found in groups)
    keys = ["dimension", "scored", "accuracy", "majority", "macro_f1", "kappa", "ece"]
    keys += ["annotators", "annotators.scorer"] if several else []
    rows = []
    for name, found in groups:
        row: list[Cell] = [
            name,
            _share(found),
            number(found.accuracy),
            number(found.majority),
            number(found.macro_f1),
            number(found.kappa_quadratic, 2),
            _ece(found),
        ]
        if several:
            people = found.annotators
            row += [number(people.agreement), number(people.scorer)] if people else [DASH, DASH]
        rows.append(tuple(row))
    return Table(w["dimensions"], tuple(w[key] for key in keys), tuple(rows))


def models(evaluation: Evaluation) -> Table:
    """One row a model."""
    w = words()
    bias = {each.model: each for each in evaluation.bias}
    keys = ["model", "scored", "accuracy", "macro_f1", "rate.labels", "rate.scorer", "bias"]
    rows = []
    for model, found in evaluation.models.items():
        rated = bias.get(model)
        rows.append(
            (
                model,
                _share(found),
                number(found.accuracy),
                number(found.macro_f1),
                f"{rated.labels:.1f}" if rated else DASH,
                f"{rated.scorer:.1f}" if rated else DASH,
                number(rated.bias, sign=True) if rated else DASH,
            )
        )
    return Table(w["models"], tuple(w[key] for key in keys), tuple(rows))


def confusion(found: ScorerMetrics) -> str:
    """A confusion matrix on one line: rows parted by bars."""
    return " | ".join(" ".join(map(str, row)) for row in found.confusion)


def lines(evaluation: Evaluation, taxonomy: Taxonomy) -> list[Text]:
    """How an evaluation was computed, a sentence a line."""
    w = words()
    files = ", ".join(f"{name} (SHA-256 {sha[:12]})" for name, sha in evaluation.labels.items())
    found = [_fill(w["how.labels"], files=files, n=f"{evaluation.overall.n:,}",
                   prompts=f"{evaluation.prompts:,}")]  # fmt: skip
    if evaluation.excluded:
        found.append(_fill(w["how.excluded"], reasons=_counted(evaluation.excluded)))
    if evaluation.overall.unscored:
        found.append(_fill(w["how.unscored"], reasons=_counted(evaluation.overall.unscored)))
    found.append(
        _fill(w["how.intervals"], seed=evaluation.seed, resamples=f"{evaluation.resamples:,}")
    )
    found.append(w["how.majority"])
    if evaluation.rank_agreement is not None:
        labels = [taxonomy.dimension(name).label for name in evaluation.ranked_by]
        zh, en = "、".join(label.zh for label in labels), ", ".join(label.en for label in labels)
        found.append(_fill(w["how.ranked"], names=Text(zh=zh, en=en)))
    found.append(
        _fill(w["how.version"], version=evaluation.code_version, taxonomy=evaluation.taxonomy)
    )
    return found


def _counted(reasons: Mapping[str, int]) -> str:
    return ", ".join(f"{reason} {n:,}" for reason, n in reasons.items())


def _fill(text: Text, **values: object) -> Text:
    def spoken(lang: Language) -> dict[str, object]:
        return {k: v(lang) if isinstance(v, Text) else v for k, v in values.items()}

    return Text(zh=text.zh.format(**spoken("zh")), en=text.en.format(**spoken("en")))
