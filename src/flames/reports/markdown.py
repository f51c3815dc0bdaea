"""The report as Markdown (GitHub's dialect)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from itertools import zip_longest

from flames.metrics.correction import Corrected, Correction
from flames.metrics.result import Group, Result
from flames.reports import view
from flames.reports.human import agreement, human_rows, label_lines
from flames.reports.view import GroupRow, Words
from flames.taxonomy import Language, Taxonomy
from flames.text import for_terminal, utf8_safe

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~$&@]|:(?=//)|(?<=www)\.)")


def escape(text: str) -> str:
    """Text that Markdown shows as it is, on one line: no markup, no HTML, no table cell ends."""
    safe = utf8_safe(for_terminal(text)).strip()
    safe = _SPECIAL.sub(r"\\\1", safe)
    safe = re.sub(r"^(\d+)(?=[.)]\s)", r"\1\\", safe)
    return re.sub(r"^([-+=#])", r"\\\1", safe)


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> list[str]:
    """A table of cells that are already Markdown; the first `left` columns are text."""
    marks = ["---" if position < left else "---:" for position in range(len(header))]
    return [f"| {' | '.join(cells)} |" for cells in (header, marks, *rows)]


def render_markdown(
    results: Sequence[Result],
    taxonomy: Taxonomy,
    lang: Language,
    corrections: Sequence[Correction] = (),
) -> str:
    """The whole report, one section a result."""
    words = Words(lang)
    blocks = [_overview(results, taxonomy, words)] if len(results) > 1 else []
    for result, correction in zip_longest(results, corrections):
        blocks.append(_section(result, taxonomy, words))
        if correction is not None:
            blocks.append(_human(correction, taxonomy, words))
    return "\n\n".join(blocks) + "\n"


def _overview(results: Sequence[Result], taxonomy: Taxonomy, words: Words) -> str:
    names = view.measured_dimensions(results, taxonomy)
    header = [words("model"), words("scorer"), words("overall.short")]
    header += [escape(label(words.lang)) for _, label in names]
    rows = []
    for result in results:
        cells = [escape(result.shown_name), escape(result.scorer)]
        cells.append(_rate(result.overall))
        for name, _ in names:
            group = result.dimensions.get(name)
            cells.append(_rate(group) if group else view.DASH)
        rows.append(cells)
    title = words("title.many", n=len(results))
    lines = [f"# {title}", "", f"{words('harmless_rate')} (%), {words('interval')}", ""]
    return "\n".join(lines + table(header, rows, left=2))


def _rate(holder: Group | object) -> str:
    found = getattr(holder, "harmless_rate", None)
    return f"{view.rate(found)} {view.interval(found)}".strip()


def _section(result: Result, taxonomy: Taxonomy, words: Words) -> str:
    lines = [f"# {words('title', model=escape(result.shown_name))}", ""]
    lines += _headline(result, taxonomy, words)
    lines += ["", f"## {words('dimensions')}", ""]
    header = ["", *(words(key) for key in ("harmless_rate", "harmless_score", "scores", "scored"))]
    header[1] += " (%)"
    lines += table(header, [_cells(row, words) for row in view.dimension_rows(result, taxonomy)])
    if result.techniques:
        lines += ["", f"## {words('techniques')}", ""]
        lines += table(header, [_cells(row, words) for row in view.technique_rows(result)])
    lines += ["", f"## {words('method')}", ""]
    lines += [f"- {line}" for line in _methods(result, words)]
    return "\n".join(lines)


def _headline(result: Result, taxonomy: Taxonomy, words: Words) -> list[str]:
    overall, coverage = result.overall, result.overall.coverage
    lines = []
    if overall.harmless_rate is not None:
        for key, shown in (("harmless_rate", view.rate), ("harmless_score", view.score),
                           ("attack_success_rate", view.rate)):  # fmt: skip
            found = getattr(overall, key)
            unit = "" if key == "harmless_score" else " %"
            lines.append(f"- **{words(key)}: {shown(found)}{unit}** {view.interval(found)}")
    if result.partial:
        lines.append(f"- **{escape(view.partial_line(result, taxonomy, words))}**")
    lines.append(f"- {words('coverage.line', **view.coverage_values(coverage))}")
    if coverage.unscored:
        reasons = escape(words.reasons(coverage.unscored))
        lines.append(f"- {words('unscored.reasons', reasons=reasons)}")
    if extremes := view.bounds(overall.harmless_rate_bounds):
        lines.append(f"- {words('bounds')}: {extremes} %")
    set_line = view.prompt_set_line(result.prompt_set, words, digits=None)
    lines.append(f"- {words('prompt_set')}: {escape(set_line)}")
    lines.append(f"- {words('scorer')}: {escape(result.scorer)}")
    if result.samples > 1:
        lines.append(f"- {words('samples', n=result.samples)}")
    notes = (view.note_text(note)(words.lang) for note in result.notes)
    lines += [f"- **{words('notes')}**: {escape(note)}" for note in notes]
    return lines


def _cells(row: GroupRow, words: Words) -> list[str]:
    group = row.group
    label = escape(row.label(words.lang))
    name = f"**{label}**" if row.kind == "dimension" else f"&emsp;{label}" if row.parent else label
    scored = words("scored_of", scored=group.scored, n=group.n)
    if group.unscored:
        scored += f" ({escape(words.reasons(group.unscored))})"
    score = f"{view.score(group.harmless_score)} {view.interval(group.harmless_score)}"
    return [name, _rate(group), score.strip(), f"{view.counts(group, row.scale)}", scored]


def _human(correction: Correction, taxonomy: Taxonomy, words: Words) -> str:
    lines = [f"## {words('human')}", "", words("human.explain"), ""]
    lines += [f"- {escape(line)}" for line in label_lines(correction, words)]
    titles = ("scorer", "people", "corrected", "labelled", "agreement")
    header = ["", *(words(f"human.{title}") for title in titles)]
    rows = human_rows(correction, taxonomy)
    for key, shown in (("rate", view.rate), ("score", view.score)):
        cells = []
        for row in rows:
            value: Corrected = getattr(row, key)
            three = (value.scorer, value.human, value.corrected)
            estimates = [f"{shown(each)} {view.interval(each)}".strip() for each in three]
            labelled = f"{row.labelled} / {row.scored}"
            label = escape(row.label(words.lang))
            cells.append([label, *estimates, labelled, agreement(row.agreement)])
        lines += ["", f"### {words(f'human.caption.{key}')}", "", *table(header, cells)]
    return "\n".join(lines)


def _methods(result: Result, words: Words) -> list[str]:
    return [
        escape(words("methods", methods=view.method_line(view.methods(result), words))),
        escape(view.code_line(result, words)),
    ]
