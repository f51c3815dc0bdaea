"""Reports: their options, and the document that is rendered in any form."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, get_args

from flames.analysis.beside import Beside
from flames.analysis.inputs import MeasureOptions
from flames.errors import UsageError
from flames.metrics.correction import Correction
from flames.metrics.refusals import BlockedOption
from flames.metrics.result import ROW_COLUMNS, Result
from flames.metrics.source import Source
from flames.options import LangOptions, Opt, declared, listed
from flames.reports.report import document_of, render_csv, render_json, render_markdown
from flames.reports.tables import Block
from flames.storage.row_files import TableForm, table_bytes
from flames.taxonomy import Language, Taxonomy

Form = Literal["md", "html", "json", "csv", "xlsx", "parquet"]
_ROWS = ("csv", "xlsx", "parquet")
"""The forms of a report that hold nothing but its rows."""


@dataclass(frozen=True)
class DocumentOptions(LangOptions):
    """The form of a document, and where it goes. Subclasses choose the forms."""

    format: str | None = None
    out: Annotated[
        Path | None, Opt("Where to write; standard output unless given.", metavar="FILE")
    ] = None
    json: Annotated[bool, Opt("Print JSON for programs; the same as --format json.")] = False

    def __post_init__(self) -> None:
        if self.json:
            if self.format not in (None, "json"):
                raise UsageError(f"--json is --format json, not {self.format}")
            object.__setattr__(self, "format", "json")
        super().__post_init__()
        if self.out is not None and self.format is None:
            [forms] = (o.choices for o in declared(type(self)) if o.name == "format")
            raise UsageError(f"--out needs --format ({listed(forms)})")


@dataclass(frozen=True)
class ReportOptions(DocumentOptions, MeasureOptions):
    """What a report says, in which form, and where it goes."""

    format: Annotated[
        Form | None, Opt("Form of the report; a table on the terminal unless given.")
    ] = None
    human: Annotated[
        Path | None,
        Opt(
            "Human labels on a random part: shows scorer, people and corrected values.",
            metavar="LABELS",
        ),
    ] = None
    labels_are_random: Annotated[
        bool, Opt("The labels are a simple random sample and need no inclusion_probability.")
    ] = False
    target_width: Annotated[
        float | None,
        Opt(
            "Estimate the extra labels needed for this width.",
            metavar="POINTS",
            min=0.01,
            per_cent=True,
        ),
    ] = None
    beside: Annotated[
        tuple[str, ...],
        Opt(
            "Show this run or file beside, instead of published models; may be repeated.",
            metavar="RUN|FILE",
        ),
    ] = ()
    disagreements: Annotated[
        Path | None,
        Opt("Write the responses that scorers judge differently, to be labelled.", metavar="FILE"),
    ] = None
    blocked: BlockedOption = "apart"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.format in get_args(TableForm) and self.out is None:
            raise UsageError(f"--format {self.format} needs --out FILE")
        if self.beside and self.format in _ROWS:
            raise UsageError(
                f"--beside is shown as a table, md, html or json, not as {self.format}"
            )
        if self.human is None and (self.labels_are_random or self.target_width is not None):
            raise UsageError("--labels-are-random and --target-width go with --human")
        if self.human is not None and self.format in _ROWS:
            raise UsageError(f"--human is shown as a table, md, html or json, not as {self.format}")


@dataclass(frozen=True)
class Report:
    """Results, ready to be rendered."""

    results: list[Result]
    sources: list[Source]
    taxonomy: Taxonomy
    lang: Language
    corrections: list[Correction] = field(default_factory=list)
    beside: Beside = field(default_factory=Beside)
    written: list[Path] = field(default_factory=list)

    def document(self) -> list[Block]:
        """Describes the report in headings, lines and tables."""
        return document_of(self.results, self.taxonomy, self.corrections, self.beside)

    def render(self, form: Form) -> str | bytes:
        """Returns the report as Markdown, HTML, JSON or CSV; as XLSX or Parquet in bytes."""
        if form == "xlsx" or form == "parquet":
            rows = (row for result in self.results for row in result.rows())
            return table_bytes(rows, form, ROW_COLUMNS)
        return "".join(map(str, self.parts(form)))

    def parts(self, form: Form) -> Iterator[str | bytes]:
        """Yields the report piece by piece; a page of many responses is never whole in memory."""
        given = (self.taxonomy, self.lang, self.corrections, self.beside)
        match form:
            case "xlsx" | "parquet":
                yield self.render(form)
            case "json":
                yield render_json(self.results, self.corrections, self.beside)
            case "csv":
                yield render_csv(self.results)
            case "md":
                yield render_markdown(self.results, *given)
            case "html":
                from flames.reports.html import html_parts  # templates, charts, published tables

                yield from html_parts(self.results, self.sources, *given)
