"""A trend over checkpoints: on a terminal, as Markdown, JSON and a page with lines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from flames.analysis.comparison import Difference
from flames.analysis.inputs import SourceOptions
from flames.analysis.trend import OVERALL, Trend, TrendPoint, TrendStep
from flames.metrics.result import Bounds, Estimate, Group, Note, Overall
from flames.options import Opt, SeedOptions
from flames.reports.charts import axis_span, sparkline, time_line
from flames.reports.documents import DocumentOptions
from flames.reports.page import render_page
from flames.reports.printing import print_document
from flames.reports.tables import (
    Block,
    Cell,
    Heading,
    Number,
    Share,
    Stack,
    Strong,
    Table,
    line,
    markdown_document,
)
from flames.reports.view import dimension_label
from flames.reports.words import join, listed, p_text, reasons, say
from flames.taxonomy import Language, Taxonomy, Text
from flames.text import shorten

if TYPE_CHECKING:
    from rich.console import Console

_TOLD = 6
"""How many changes the first sentence names; the tables have all of them."""


@dataclass(frozen=True)
class TrendOptions(DocumentOptions, SeedOptions, SourceOptions):
    """What a trend shows, in which form, and where it goes."""

    format: Annotated[
        Literal["md", "html", "json"] | None,
        Opt("Form of the trend; a table on the terminal unless given."),
    ] = None
    by_date: Annotated[
        bool, Opt("Order the checkpoints by the date of their first response, not as given.")
    ] = False


@dataclass(frozen=True)
class TrendReport:
    """A trend, ready to be rendered."""

    trend: Trend
    taxonomy: Taxonomy
    lang: Language
    written: list[Path] = field(default_factory=list)

    def render(self, form: Literal["md", "html", "json"]) -> str:
        """Returns the trend as Markdown, HTML or JSON."""
        if form == "json":
            return self.trend.to_json()
        if form == "md":
            return markdown_document(document_of(self.trend, self.taxonomy), self.lang)
        return _page(self.trend, self.taxonomy, self.lang)

    def document(self) -> Iterable[Block]:
        """Describes the trend in headings, lines and tables."""
        return document_of(self.trend, self.taxonomy)

    def print(self, console: Console) -> None:
        """Prints a line of blocks per dimension, the checkpoints, and the steps between them."""
        print_document(document_of(self.trend, self.taxonomy), console, self.lang)


def _title(trend: Trend) -> Text:
    models = list(dict.fromkeys(point.model for point in trend.points))
    name = models[0] if len(models) == 1 else say("trend.models", n=len(models))
    return say("trend.title", model=name, n=len(trend.points))


def _name(dimension: str, taxonomy: Taxonomy) -> Text:
    return dimension_label(taxonomy, dimension) if dimension else say("trend.overall")


def verdict(trend: Trend, taxonomy: Taxonomy) -> Text:
    """Returns in a sentence or two what changed, and between which checkpoints."""

    def told(key: str, found: Sequence[tuple[TrendStep, str, Difference]]) -> Text:
        strongest = sorted(found, key=lambda each: each[2].p)[:_TOLD]
        parts = [
            say(
                f"trend.{key}.{'rose' if each.difference.value > 0 else 'fell'}",
                what=_name(name, taxonomy),
                first=shorten(trend.points[step.first].name, 40),
                second=shorten(trend.points[step.second].name, 40),
                by=Number(each.difference.value, 1, sign=True).value,
                p=p_text(each.p_holm),
            )
            for step, name, each in found
            if (step, name, each) in strongest
        ]
        more = len(found) - len(parts)
        return listed([*parts, *([say("trend.more", n=more)] if more else [])], "semicolon")

    if not trend.tests:
        return say("trend.untested")
    changes, drifts = trend.changes, trend.drifts
    found = say("trend.changes", list=told("step", changes)) if changes else say("trend.no_change")
    if drifts:
        return join(found, say("trend.drifts", list=told("whole", drifts)))
    return join(found, say("trend.no_drift")) if trend.whole else found


def _notes(trend: Trend) -> Iterator[Text]:
    """Yields what is to be known about checkpoints and steps, each once."""
    notes: dict[Note, list[str]] = {}
    for point in trend.points:
        for note in point.notes:
            notes.setdefault(note, []).append(point.name)
    for note, names in notes.items():
        where = [] if len(names) == len(trend.points) else [listed(names), say("colon")]
        yield join(*where, note.words)
    for step in trend.steps:
        for note in step.remarks:
            yield join(_between(trend, step), say("colon"), note.words)


def _between(trend: Trend, step: TrendStep) -> str:
    return f"{trend.points[step.first].name} → {trend.points[step.second].name}"


def _rates(trend: Trend, dimension: str) -> list[Estimate | None]:
    return [group.harmless_rate if group else None for group in _groups(trend, dimension)]


def _groups(trend: Trend, dimension: str) -> list[Group | Overall | None]:
    if dimension == OVERALL:
        return [point.overall for point in trend.points]
    return [point.dimensions.get(dimension) for point in trend.points]


def _dimensions(trend: Trend, taxonomy: Taxonomy) -> list[str]:
    measured = {name for point in trend.points for name in point.dimensions}
    return [OVERALL, *(name for name in taxonomy.names if name in measured)]


def _span(trend: Trend, names: Sequence[str]) -> tuple[int, int]:
    return axis_span(rate for name in names for rate in _rates(trend, name))


def document_of(trend: Trend, taxonomy: Taxonomy) -> Iterable[Block]:
    """Describes a trend in headings, lines and tables."""
    yield Heading(_title(trend))
    yield line(Strong(verdict(trend, taxonomy)))
    sets = dict.fromkeys(f"{p.prompt_set.full_name} ({p.prompt_set.n:,})" for p in trend.points)
    yield line(say("compare.set"), ": ", ", ".join(sets), kind="soft")
    yield line(say("compare.scorer"), ": ", trend.scorer, kind="soft")
    for note in _notes(trend):
        yield line(note, kind="note")
    yield from _tables(trend, taxonomy)
    yield line(_method(trend), kind="soft")


def _method(trend: Trend) -> Text:
    return say("trend.method", tests=trend.tests)


def _tables(trend: Trend, taxonomy: Taxonomy) -> Iterator[Table]:
    names = _dimensions(trend, taxonomy)
    yield _lines(trend, taxonomy, names)
    yield _points(trend, taxonomy, names)
    yield _steps(trend, taxonomy, names)


def _lines(trend: Trend, taxonomy: Taxonomy, names: Sequence[str]) -> Table:
    span = _span(trend, names)
    rows: list[list[Cell]] = []
    for name in names:
        rates = _rates(trend, name)
        steps = [s.tested[name] for s in trend.steps if name in s.tested]
        largest = max(steps, key=lambda each: abs(each.difference.value), default=None)
        marks = sparkline([rate.value if rate else None for rate in rates], span)
        ends = (Number(rates[0], 1), Number(rates[-1], 1))
        rows.append([_name(name, taxonomy), marks, *ends, _tested(largest)])
    header = [
        say("compare.dimension"), say("trend.line"), say("trend.first"), say("trend.last"),
        say("trend.largest"),
    ]  # fmt: skip
    low, high = span
    return Table.of_cells(say("trend.lines", low=low, high=high), header, rows, text=2)


def _tested(found: Difference | None) -> Cell:
    if found is None:
        return None
    value = Number(found.difference, 1, sign=True)
    p = f"p\u00a0{p_text(found.p_holm)}"
    return Stack((value.value, value.interval, p), strong=found.significant)


def _points(trend: Trend, taxonomy: Taxonomy, names: Sequence[str]) -> Table:
    def scored(point: TrendPoint) -> Share:
        covered = point.overall.coverage
        why = reasons(covered.unscored) if covered.unscored else None
        return Share(covered.scored, covered.prompts, why)

    rows: list[list[Cell]] = [
        [
            f"{number}  {point.name}",
            (point.date or "")[:10] or None,
            *(Number(_rates(trend, name)[number - 1], 1) for name in names),
            scored(point),
        ]
        for number, point in enumerate(trend.points, start=1)
    ]
    labels = [_name(name, taxonomy) for name in names]
    header = [say("trend.point"), say("trend.date"), *labels, say("scored")]
    return Table.of_cells(say("trend.points"), header, rows, text=2)


def _steps(trend: Trend, taxonomy: Taxonomy, names: Sequence[str]) -> Table:
    steps = [*trend.steps, *([trend.whole] if trend.whole else [])]
    rows: list[list[Cell]] = [
        [
            f"{step.first + 1} → {step.second + 1}",
            *(_tested(step.tested.get(name)) for name in names),
            step.n,
        ]
        for step in steps
    ]
    labels = [_name(name, taxonomy) for name in names]
    header = [say("trend.step"), *labels, say("compare.n")]
    return Table.of_cells(say("trend.steps", tests=trend.tests), header, rows)


def _page(trend: Trend, taxonomy: Taxonomy, lang: Language) -> str:
    names = _dimensions(trend, taxonomy)
    span = _span(trend, names)
    return render_page(
        "trend.html.jinja",
        title=_title(trend),
        lang=lang,
        styles=("charts.css", "report.css", "trend.css"),
        trend=trend,
        verdict=verdict(trend, taxonomy),
        notes=list(_notes(trend)),
        sets=", ".join(
            dict.fromkeys(f"{p.prompt_set.full_name} ({p.prompt_set.n:,})" for p in trend.points)
        ),
        charts=[_chart(trend, name, taxonomy, span) for name in names],
        tables=list(_tables(trend, taxonomy))[1:],
        method=_method(trend),
        every=max(1, -(-len(trend.points) // 12)),
        number=Number,
        p_text=p_text,
    )


def _chart(trend: Trend, name: str, taxonomy: Taxonomy, span: tuple[int, int]) -> dict[str, Any]:
    shown = [(s, d) for s, of, d in trend.changes if of == name]
    groups = _groups(trend, name)
    bounds: list[Bounds | None] = [each.harmless_rate_bounds if each else None for each in groups]
    rates = _rates(trend, name)
    gone = [i + 1 for i, rate in enumerate(rates) if rate is None]
    return {
        "label": _name(name, taxonomy),
        "line": time_line(rates, bounds, {s.first: d.difference.value for s, d in shown}, span),
        "last": Number(rates[-1], 1),
        "changes": [(f"{s.first + 1} → {s.second + 1}", d) for s, d in shown],
        "missing": ", ".join(map(str, gone)),
    }
