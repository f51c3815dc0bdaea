"""Comparisons: their options, and the document that is rendered in any form."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from flames.analysis.comparison import SHOWN, Comparison
from flames.analysis.inputs import VerdictOptions
from flames.options import Opt, SeedOptions
from flames.reports import comparison as pages
from flames.reports import comparison_page
from flames.reports.documents import DocumentOptions
from flames.reports.tables import Block
from flames.taxonomy import Language, Taxonomy


@dataclass(frozen=True)
class CompareOptions(DocumentOptions, SeedOptions, VerdictOptions):
    """What a comparison shows, in which form, and where it goes."""

    format: Annotated[
        Literal["md", "html", "json"] | None,
        Opt("Form of the comparison; a table on the terminal unless given."),
    ] = None
    common: Annotated[
        bool, Opt("Where prompt sets or scorers differ, compare on the prompts in common.")
    ] = False
    changes: Annotated[
        int | None,
        Opt("Changed prompts in all pairs; 10, or 500 in JSON and HTML.", metavar="N", min=0),
    ] = None


@dataclass(frozen=True)
class ComparisonReport:
    """A comparison, ready to be rendered."""

    comparison: Comparison
    taxonomy: Taxonomy
    lang: Language
    changes: int | None = None
    written: list[Path] = field(default_factory=list)

    def document(self) -> Iterable[Block]:
        """Describes the comparison in headings, lines and tables."""
        few = 10 if self.changes is None else self.changes
        return pages.document_of(self.comparison, self.taxonomy, few, room=200)

    def render(self, form: Literal["md", "html", "json"]) -> str:
        """Returns the comparison as Markdown, HTML or JSON."""
        many = SHOWN if self.changes is None else self.changes
        if form == "json":
            return self.comparison.to_json(changes=many)
        if form == "html":
            return comparison_page.render_html(
                self.comparison, self.lang, self.taxonomy, changes=many
            )
        few = 10 if self.changes is None else self.changes
        return pages.render_markdown(self.comparison, self.lang, self.taxonomy, changes=few)
