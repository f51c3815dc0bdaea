"""What changed between two versions of a prompt set: terminal, Markdown, JSON and a page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from flames.options import Opt
from flames.prompts.diff import PromptDiff, PromptPair
from flames.records import Prompt, dump_json
from flames.reports.documents import DocumentOptions
from flames.reports.page import render_page
from flames.reports.printing import print_document
from flames.reports.tables import (
    Block,
    Cell,
    Heading,
    Table,
    line,
    markdown_document,
)
from flames.reports.view import dimension_label, part_label
from flames.reports.word_diff import word_diff
from flames.reports.words import join, name_of, say
from flames.storage.record_files import FileOptions
from flames.taxonomy import Language, Taxonomy, Text
from flames.text import shorten

if TYPE_CHECKING:
    from rich.console import Console

_Form = Literal["md", "html", "json"]
_BESIDE = 40  # characters around a change that the terminal shows


@dataclass(frozen=True)
class DiffOptions(DocumentOptions, FileOptions):
    """How two sets of prompts are read, and the form of their difference."""

    format: Annotated[
        _Form | None, Opt("Form of the difference; a list on the terminal unless given.")
    ] = None


@dataclass(frozen=True)
class DiffReport:
    """A difference of two sets, ready to be rendered."""

    diff: PromptDiff
    taxonomy: Taxonomy
    lang: Language

    def render(self, form: _Form) -> str:
        """Returns the difference as Markdown, HTML or JSON."""
        if form == "json":
            return dump_json(self.diff.to_dict())
        if form == "md":
            blocks = [Heading(_title(self.diff)), *_document(self.diff, self.taxonomy, whole=True)]
            return markdown_document(blocks, self.lang)
        return _page(self.diff, self.taxonomy, self.lang)

    def print(self, console: Console) -> None:
        """Prints what was added, removed, reworded and relabelled."""
        print_document(_document(self.diff, self.taxonomy, whole=False), console, self.lang)


def _title(diff: PromptDiff) -> Text:
    return say("diff.title", old=diff.old.full_name, new=diff.new.full_name)


def _counts(diff: PromptDiff) -> Text:
    counts = {name: len(getattr(diff, name)) for name in ("added", "removed", "reworded")}
    more = {"relabelled": len(diff.relabelled), "renamed": len(diff.renamed)}
    return say("diff.counts", unchanged=diff.unchanged, **counts, **more)


def _place(prompt: Prompt, taxonomy: Taxonomy) -> Text:
    place = dimension_label(taxonomy, prompt.dimension)
    if not prompt.subcomponent:
        return place
    return join(place, " · ", part_label(taxonomy, prompt.dimension, prompt.subcomponent))


def _label(name: str, value: str | None, pair: PromptPair, side: str, taxonomy: Taxonomy) -> Text:
    if value is None:
        return say("diff.none")
    prompt: Prompt = getattr(pair, side)
    match name:
        case "dimension":
            return dimension_label(taxonomy, value)
        case "subcomponent":
            return part_label(taxonomy, prompt.dimension, value)
        case _:
            return name_of(name, value)


def _document(diff: PromptDiff, taxonomy: Taxonomy, *, whole: bool) -> Iterator[Block]:
    yield line(_counts(diff))
    for key in ("added", "removed"):
        if prompts := getattr(diff, key):
            rows: list[tuple[Cell, ...]] = [
                (p.id, _place(p, taxonomy), p.asked.whole if whole else shorten(p.asked.whole, 60))
                for p in prompts
            ]
            header = ("ID", say("dimension"), say("scorers.prompt"))
            yield Table.of_cells(say(f"diff.{key}"), header, rows, text=3)
    if diff.reworded:
        yield Table.of_cells(
            say("diff.reworded"),
            ("ID", say("diff.old"), say("diff.new")),
            [(pair.new.id, *_texts(pair, whole=whole)) for pair in diff.reworded],
            text=3,
        )
    if diff.relabelled:
        names = ("ID", say("diff.label"), say("diff.old"), say("diff.new"))
        changes = [
            (pair.new.id, say(f"diff.label.{name}"), *_sides(name, pair, taxonomy))
            for pair in diff.relabelled
            for name in pair.labels
        ]
        yield Table.of_cells(say("diff.relabelled"), names, changes, text=4)
    if diff.renamed:
        texts = (
            pair.new.asked.whole if whole else shorten(pair.new.asked.whole, 60)
            for pair in diff.renamed
        )
        moved = [(t, pair.old.id, pair.new.id) for t, pair in zip(texts, diff.renamed, strict=True)]
        titles = (say("scorers.prompt"), say("diff.old"), say("diff.new"))
        yield Table.of_cells(say("diff.renamed"), titles, moved, text=3)


def _sides(name: str, pair: PromptPair, taxonomy: Taxonomy) -> tuple[Text, Text]:
    old, new = pair.labels[name]
    return _label(name, old, pair, "old", taxonomy), _label(name, new, pair, "new", taxonomy)


def _texts(pair: PromptPair, *, whole: bool) -> tuple[str, str]:
    """Returns both texts; on a terminal only what is around the first change."""
    if whole:
        return pair.old.asked.whole, pair.new.asked.whole
    same = 0
    for one, other in zip(pair.old.asked.whole, pair.new.asked.whole, strict=False):
        if one != other:
            break
        same += 1
    start = max(0, same - _BESIDE // 4)
    lead = "…" if start else ""
    return tuple(
        lead + shorten(t[start:], _BESIDE) for t in (pair.old.asked.whole, pair.new.asked.whole)
    )  # type: ignore[return-value]


def _page(diff: PromptDiff, taxonomy: Taxonomy, lang: Language) -> str:
    def marked(pair: PromptPair) -> tuple[list[str], list[str]]:
        return word_diff(pair.old.asked.whole, pair.new.asked.whole) or (
            ["", pair.old.asked.whole],
            ["", pair.new.asked.whole],
        )

    rows: list[dict[str, Any]] = []
    for pair in diff.reworded:
        old, new = marked(pair)
        labels = [
            (say(f"diff.label.{name}"), *_sides(name, pair, taxonomy)) for name in pair.labels
        ]
        rows.append({"pair": pair, "old": old, "new": new, "labels": labels})
    relabelled = [
        (pair.new, [(say(f"diff.label.{n}"), *_sides(n, pair, taxonomy)) for n in pair.labels])
        for pair in diff.relabelled
        if not pair.reworded
    ]
    return render_page(
        "prompt_diff.html.jinja",
        title=_title(diff),
        lang=lang,
        styles=("prompt_diff.css",),
        diff=diff,
        counts=_counts(diff),
        reworded=rows,
        relabelled=relabelled,
        place=lambda prompt: _place(prompt, taxonomy),
    )
