"""The certificate: what may be claimed of a run with people's labels, for an auditor to read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from flames import __version__
from flames.analysis.certify import Certificate, Certified, Check
from flames.analysis.inputs import MeasureOptions
from flames.metrics.result import Estimate, format_interval, format_number
from flames.options import Opt
from flames.reports import view
from flames.reports.documents import DocumentOptions
from flames.reports.evaluation import dimensions, explanation, models, parts
from flames.reports.page import render_page
from flames.reports.printing import print_document
from flames.reports.report import human_blocks
from flames.reports.tables import (
    Block,
    Column,
    Heading,
    Strong,
    Table,
    line,
    markdown_document,
)
from flames.reports.words import join, listed, say
from flames.scorers.card import is_claim
from flames.taxonomy import Language, Taxonomy, Text

if TYPE_CHECKING:
    from rich.console import Console

PAGE = "certificate.html"


@dataclass(frozen=True, kw_only=True)
class CertifyOptions(DocumentOptions, MeasureOptions):
    """What a certificate is made of, its form, and where it goes."""

    labels: Annotated[
        Path, Opt("People's labels of a random part of the responses.", metavar="LABELS")
    ]
    format: Annotated[
        Literal["html", "md", "json"] | None,
        Opt("Form; by default tables on the terminal, and for a run also the page in it."),
    ] = None
    labels_are_random: Annotated[
        bool, Opt("The labels are a simple random sample and need no inclusion_probability.")
    ] = False
    target_width: Annotated[
        float,
        Opt(
            "Width of the overall interval, in points, that the claim needs.",
            metavar="POINTS",
            min=0.01,
            per_cent=True,
        ),
    ] = 10.0


@dataclass(frozen=True)
class CertificateReport:
    """A certificate, ready to be rendered."""

    certificate: Certificate
    taxonomy: Taxonomy
    lang: Language
    written: list[Path] = field(default_factory=list)

    def render(self, form: Literal["html", "md", "json"]) -> str:
        """Returns the certificate as a page, Markdown or JSON."""
        if form == "json":
            return json.dumps(self.certificate.to_dict(), ensure_ascii=False, indent=1) + "\n"
        if form == "md":
            return markdown_document(list(self.document()), self.lang)
        return render_page(
            "certificate.html.jinja",
            title=_title(self.certificate),
            lang=self.lang,
            styles=("report.css", "evaluation.css", "certificate.css"),
            certified=[
                {
                    "one": one,
                    "whole": one.labels_by == "people" and _is_whole(one, self.taxonomy),
                    "claims": list(_claims(one, self.taxonomy)),
                    "sections": list(_sections(one, self.taxonomy)),
                }
                for one in self.certificate.certified
            ],
            kind_of=lambda block: type(block).__name__,
            check_words=lambda check: _check_words(check, self.taxonomy),
            provenance=list(_provenance(self.certificate)),
            value=lambda estimate: format_number(estimate.value),
            span=lambda estimate: format_interval(estimate),
        )

    def print(self, console: Console) -> None:
        """Prints the certificate."""
        print_document(self.document(), console, self.lang, intervals="below")

    def document(self) -> Iterator[Block]:
        """Describes the certificate in headings, lines and tables."""
        yield Heading(_title(self.certificate))
        for one in self.certificate.certified:
            yield Heading(_name(one), 2)
            for claim in _claims(one, self.taxonomy):
                yield line(Strong(claim), kind="paragraph")
            for check in one.checks:
                mark = say("certificate.met" if check.met else "certificate.unmet")
                yield line(mark, ": ", _check_words(check, self.taxonomy))
            for title, blocks in _sections(one, self.taxonomy):
                yield Heading(title, 2)
                yield from blocks
        yield Heading(say("certificate.made_of"), 2)
        yield from _provenance(self.certificate)


def _title(certificate: Certificate) -> Text:
    """Names the models with people's labels; without any, all of them as not certified."""
    every = certificate.certified
    certified = [one for one in every if one.labels_by == "people"]
    names = dict.fromkeys(one.result.shown_name for one in certified or every)
    key = "certificate.title" if certified else "certificate.title.none"
    return say(key, models=", ".join(names))


def _is_whole(one: Certified, taxonomy: Taxonomy) -> bool:
    """Tells whether every dimension has enough labels, so that there is an overall rate."""
    groups = one.correction.dimensions
    have = {name for name, group in groups.items() if group.harmless_rate.corrected}
    return have >= set(taxonomy.names)


def _name(one: Certified) -> str:
    return f"{one.result.shown_name} · {one.result.scorer}"


def _spelt(estimate: Estimate) -> str:
    return f"{format_number(estimate.value)} % {format_interval(estimate)}"


def _claims(one: Certified, taxonomy: Taxonomy) -> Iterator[Text]:
    """Yields what may be claimed, and what may not; nothing without people's labels."""
    about = {"model": one.result.shown_name, "set": one.result.prompt_set.full_name}
    if one.labels_by != "people":
        yield say(f"certificate.claim.{one.labels_by}", **about)
        return
    use, rate = one.correction.labels, one.correction.harmless_rate
    if rate.corrected is not None and _is_whole(one, taxonomy):
        values = {"rate": _spelt(rate.corrected), "n": f"{use.used:,}"}
        total = f"{one.result.overall.coverage.scored:,}"
        yield say("certificate.claim.overall", **about, **values, total=total)
        if rate.scorer is not None:
            inside = rate.corrected.low <= rate.scorer.value <= rate.corrected.high
            key = "certificate.scorer.inside" if inside else "certificate.scorer.outside"
            gap = format_number(rate.scorer.value - rate.corrected.value, sign=True)
            yield say(key, scorer=one.result.scorer, rate=_spelt(rate.scorer), gap=gap)
    else:
        some = [
            join(view.dimension_label(taxonomy, name), f" {_spelt(group.harmless_rate.corrected)}")
            for name, group in one.correction.dimensions.items()
            if group.harmless_rate.corrected is not None
        ]
        key = "certificate.claim.some" if some else "certificate.claim.none"
        yield say(key, **about, n=f"{use.used:,}", rates=listed(some, "semicolon"))
    if not one.claimable:
        yield say("certificate.conditions")


def _check_words(check: Check, taxonomy: Taxonomy) -> Text:
    labelled = [
        join(view.dimension_label(taxonomy, name), f" {n:,}") for name, n in check.labelled.items()
    ]
    missing = listed(view.dimension_label(taxonomy, name) for name in check.missing)
    state = "met" if check.met else "unmet"
    if check.values.get("by") == "unknown":
        state = "unknown"
    key = f"certificate.check.{check.code}.{state}"
    return say(key, **check.values, missing=missing, labelled=listed(labelled))


def _sections(one: Certified, taxonomy: Taxonomy) -> Iterator[tuple[Text, list[Block]]]:
    people = one.labels_by == "people"
    title = say("certificate.rates" if people else "certificate.rates.labels")
    yield title, list(human_blocks(one.correction, taxonomy, people=people))
    found = one.evaluation
    blocks: list[Block] = [line(say("certificate.right", n=f"{found.overall.n:,}"))]
    blocks += [line(note.words, kind="note") for note in found.notes]
    blocks += [dimensions(found, taxonomy), *parts(found, taxonomy)]
    blocks += [models(found)] if len(found.models) > 1 else []
    yield say("certificate.scorer"), blocks
    widths = [(width, more) for width, more in one.more_labels.items()]
    columns: list[Column[tuple[str, int | None]]] = [
        Column(say("certificate.width"), lambda pair: pair[0], text=True),
        Column(say("certificate.more"), lambda pair: _more_words(pair[1])),
    ]
    more: list[Block] = [
        line(say("certificate.more.explain", n=f"{one.correction.labels.used:,}")),
        Table.of(say("certificate.more"), columns, widths),
    ]
    yield say("certificate.labels"), more
    coverage: list[Block] = [line(view.coverage_line(one.result.overall.coverage))]
    coverage.append(line(say("prompt_set"), ": ", view.prompt_set_line(one.result.prompt_set)))
    notes = [note for note in one.result.notes if not is_claim(note)]  # the page itself says more
    coverage += [line(view.note_line(note, taxonomy), kind="note") for note in notes]
    coverage += [line(text, kind="soft") for text in explanation(found, taxonomy)]
    yield say("certificate.computed"), coverage


def _more_words(more: int | None) -> Text | str:
    return say("certificate.more.unknown") if more is None else f"{more:,}"


def _provenance(certificate: Certificate) -> Iterator[Block]:
    columns: list[Column[tuple[str, str]]] = [
        Column(say("certificate.file"), lambda pair: pair[0], text=True),
        Column("SHA-256", lambda pair: pair[1], text=True),
    ]
    yield Table.of(say("certificate.files"), columns, certificate.files.items())
    first = certificate.certified[0]
    yield line(view.code_line(first.result))
    yield line(say("certificate.version", version=__version__), kind="soft")
