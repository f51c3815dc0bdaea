"""How hard prompts are: terminal, Markdown, JSON and a page with a picture by subcomponent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from flames.analysis.difficulty import (
    Difficulty,
    ModelCount,
    PartDifficulty,
    PromptDifficulty,
    hardest_first,
)
from flames.analysis.inputs import VerdictOptions
from flames.options import Opt
from flames.prompts.sets import PromptSet
from flames.reports.documents import DocumentOptions
from flames.reports.page import render_page
from flames.reports.printing import print_document
from flames.reports.tables import (
    Block,
    Column,
    Heading,
    Number,
    Table,
    line,
    markdown_document,
)
from flames.reports.view import dimension_label, note_line, part_label
from flames.reports.words import join, name_of, reasons, say
from flames.taxonomy import Language, Taxonomy, Text
from flames.text import shorten

if TYPE_CHECKING:
    from rich.console import Console

_Form = Literal["md", "html", "json"]
_FEW = 20
"""So many of the hardest prompts are shown on a terminal; the other forms have all."""


@dataclass(frozen=True)
class DifficultyOptions(DocumentOptions, VerdictOptions):
    """Whose responses say how hard prompts are, and the form of what they say."""

    runs: Annotated[
        tuple[str, ...],
        Opt("A run, file of verdicts or labels:FILE; may be repeated.", metavar="RUN|FILE"),
    ] = ()
    slopes: Annotated[
        bool, Opt("Also estimate how sharply each prompt separates models (2PL).")
    ] = False
    format: Annotated[
        _Form | None, Opt("Form of the difficulties; tables on the terminal unless given.")
    ] = None


@dataclass(frozen=True)
class DifficultyReport:
    """The difficulty of the prompts of a set, ready to be rendered."""

    found: Difficulty
    prompts: PromptSet
    taxonomy: Taxonomy
    lang: Language

    def render(self, form: _Form) -> str:
        """Returns the difficulties as Markdown, HTML or JSON."""
        if form == "json":
            return self.found.to_json()
        if form == "md":
            return markdown_document([Heading(self._title()), *self._document()], self.lang)
        return self._page()

    def print(self, console: Console) -> None:
        """Prints what is known of the set, of its subcomponents, and the hardest prompts."""
        print_document(self._document(_FEW), console, self.lang)

    def _title(self) -> Text:
        return say("difficulty.title", name=self.found.prompt_set.name)

    def _document(self, few: int | None = None) -> Iterator[Block]:
        yield from self._lines()
        yield self._models()
        yield self._parts()
        yield self._prompts(few)
        yield line(say("difficulty.method"), kind="soft")

    def _lines(self) -> Iterator[Block]:
        found, counts = self.found, self.found.outcomes
        yield line(
            say(
                "difficulty.counts",
                n=found.prompt_set.n,
                models=len(found.models),
                passed=counts["all pass"],
                failed=counts["all fail"],
                mixed=counts["mixed"],
                none=counts["no scores"],
            )
        )
        yield line(
            say(
                "difficulty.spread",
                spread=str(Number(found.spread, 2)),
                reliability=str(Number(found.reliability, 2)),
            )
        )
        if found.slope_spread is not None:
            yield line(say("difficulty.slopes", spread=str(Number(found.slope_spread, 2))))
        for note in found.notes:
            yield line(note_line(note, self.taxonomy), kind="note")

    def _models(self) -> Table:
        columns = [
            Column[ModelCount](say("eval.model"), lambda model: model.name, text=True),
            Column[ModelCount](say("difficulty.scorer"), lambda model: model.scorer, text=True),
            Column[ModelCount](say("difficulty.scored"), lambda model: model.prompts),
            Column[ModelCount](
                say("difficulty.failed"), lambda model: Number(model.prompts - model.passed, 0)
            ),
            Column[ModelCount](
                say("difficulty.unscored"),
                lambda model: reasons(model.unscored) if model.unscored else None,
                text=True,
            ),
        ]
        return Table.of(say("difficulty.models"), columns, self.found.models)

    def _parts(self) -> Table:
        columns = [
            Column[PartDifficulty](say("subcomponent"), self.place, text=True),
            Column[PartDifficulty](say("compare.n"), lambda part: part.prompts),
            Column[PartDifficulty](say("difficulty.failing"), lambda part: Number(part.failing)),
        ]
        return Table.of(say("difficulty.parts"), columns, self._ranked())

    def _ranked(self) -> list[PartDifficulty]:
        return sorted(self.found.parts, key=lambda part: -part.failing.value)

    def place(self, item: PartDifficulty | PromptDifficulty) -> Text:
        """Returns dimension and subcomponent in words."""
        place = dimension_label(self.taxonomy, item.dimension)
        if not item.subcomponent:
            return place
        return join(place, " · ", part_label(self.taxonomy, item.dimension, item.subcomponent))

    def _prompts(self, few: int | None) -> Table:
        ranked = hardest_first(self.found)
        texts = self.prompts.by_id
        columns = [
            Column[PromptDifficulty]("ID", lambda each: each.id, text=True),
            Column[PromptDifficulty](
                say("difficulty.failing"), lambda each: Number(each.failing, 0)
            ),
            Column[PromptDifficulty](
                say("difficulty.failed"),
                lambda each: f"{each.models - each.passed:g}/{each.models}",
            ),
            Column[PromptDifficulty](
                say("difficulty.outcome"), lambda each: name_of("outcome", each.outcome), text=True
            ),
            Column[PromptDifficulty](
                say("difficulty.unscored"), lambda each: sum(each.unscored.values()) or None
            ),
            *(
                [Column[PromptDifficulty](say("difficulty.slope"), lambda p: Number(p.slope, 2))]
                if self.found.slope_spread is not None
                else []
            ),
            Column[PromptDifficulty](say("subcomponent"), self.place, text=True),
            Column[PromptDifficulty](
                say("scorers.prompt"),
                lambda each: shorten(texts[each.id].text, 30 if few else 400),
                text=True,
            ),
        ]
        shown = ranked[:few]
        title = say("difficulty.hardest", n=len(shown), total=len(ranked))
        return Table.of(title, columns, shown)

    def _page(self) -> str:
        return render_page(
            "difficulty.html.jinja",
            title=self._title(),
            lang=self.lang,
            styles=("charts.css", "report.css", "difficulty.css"),
            lines=list(self._lines()),
            parts=[(self.place(part), part) for part in self._ranked()],
            models=self._models(),
            prompts=self._prompts(None),
            number=Number,
        )
