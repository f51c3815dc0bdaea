"""The report of a filing's draw: figures, the sheets to hand in, and the evidence behind them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from flames import __version__
from flames.analysis.conditions import ConditionsSeen, conditions_of_run
from flames.errors import need_extra
from flames.filing.annex import report_document, report_title
from flames.filing.draw import MANIFEST, Draw, open_draw
from flames.filing.figures import FilingFigures, figures_of
from flames.filing.outcomes import Outcome, OutcomeOptions, People, outcomes_of
from flames.filing.sheets import keyword_book, question_book
from flames.metrics.agreement import Agreement, measure_agreement
from flames.metrics.conditions import Conditions
from flames.options import LangOptions, Opt, SeedOptions
from flames.records import dump_json
from flames.reports.docx import docx_bytes
from flames.reports.page import render_page
from flames.reports.tables import Block
from flames.storage.atomic import write_atomic
from flames.storage.checksums import file_sha256
from flames.storage.run_dir import RunDir, open_run
from flames.taxonomy import Language


@dataclass(frozen=True, kw_only=True)
class FilingReportOptions(OutcomeOptions, SeedOptions, LangOptions):
    """Who decides, and where the report goes."""

    out: Annotated[
        Path | None, Opt("Folder for the report; `filing` in the run unless given.",
                         metavar="FOLDER")
    ] = None  # fmt: skip


@dataclass(frozen=True)
class FilingReport:
    """What a draw showed, with everything that it was computed from."""

    run: RunDir
    draw: Draw
    outcomes: list[Outcome]
    people: People
    figures: FilingFigures
    agreement: Agreement | None
    conditions: Conditions
    files: dict[str, str]
    options: FilingReportOptions
    cut: int = 0
    written: list[Path] = field(default_factory=list)

    def document(self, lang: Language) -> Iterator[Block]:
        """Describes the report."""
        return report_document(self, lang)

    def to_dict(self) -> dict[str, Any]:
        """Returns the figures and what they were computed from, for programs."""
        rules = self.draw.rules
        return {
            "schema": 1,
            "model": self.run.model,
            "code_version": __version__,
            "rules": {"id": rules.id, "check": rules.check},
            "blocked": self.options.blocked,
            "figures": self.figures.model_dump(mode="json"),
            "draw": self.draw.manifest.model_dump(mode="json", by_alias=True),
            "conditions": self.conditions.model_dump(mode="json", exclude_none=True),
            "people": self.people.names,
            "agreement": self.agreement and self.agreement.model_dump(mode="json"),
            "files": self.files,
            "cut_in_sheet": self.cut,
            "outcomes": [
                {"id": e.prompt.id, "bank": e.bank, "class": e.prompt.subcomponent,
                 "state": e.state, "passed": e.passed, "by": e.by}
                for e in self.outcomes
            ],
        }  # fmt: skip


def report_filing(run: str | Path, options: FilingReportOptions) -> FilingReport:
    """Counts a run of a draw, and writes the sheets, the evidence and the figures to a folder.

    `questions.xlsx`, `keywords.xlsx` (where the draw has keywords), `evidence.html`,
    `evidence.docx` and `report.json`.
    """
    need_extra("filing", "the report of a filing", "xlsxwriter", "docx")
    opened, draw = open_run(run), open_draw(options.draw)
    outcomes, people = outcomes_of(opened, draw, options)
    seen = ConditionsSeen()
    for each in outcomes:
        if each.response is not None:
            seen.add(each.response)
    together = people.together
    agreement = None
    if len({each.annotator or each.scorer for each in together}) > 1:
        agreement = measure_agreement(together, draw.taxonomy, seed=options.seed)
    questions = question_book(outcomes, draw.rules)
    report = FilingReport(
        run=opened,
        draw=draw,
        outcomes=outcomes,
        people=people,
        figures=figures_of(outcomes, draw.rules),
        agreement=agreement,
        conditions=conditions_of_run(opened, seen),
        files=_checksums(opened, options),
        options=options,
        cut=questions.cut,
    )
    out = options.out or opened.path / "filing"
    books = {"questions.xlsx": questions.data}
    if draw.keywords():
        books["keywords.xlsx"] = keyword_book(draw).data
    for name, data in books.items():
        report.written.append(write_atomic(out / name, data))
        report.files[name] = file_sha256(out / name)
    lang = options.lang
    title = report_title(report)
    page = render_page(
        "filing.html.jinja",
        title=title,
        lang=lang,
        styles=("report.css", "evaluation.css", "certificate.css"),
        document=list(report.document(lang))[1:],
        kind_of=lambda block: type(block).__name__,
    )
    report.written.append(write_atomic(out / "evidence.html", page))
    data = docx_bytes(report.document(lang), title(lang), lang)
    report.written.append(write_atomic(out / "evidence.docx", data))
    report.written.append(write_atomic(out / "report.json", dump_json(report.to_dict())))
    return report


def _checksums(run: RunDir, options: FilingReportOptions) -> dict[str, str]:
    files = [options.draw / MANIFEST, options.draw / "prompts.jsonl", options.draw / "rules.json",
             run.path / "manifest.json", run.responses_path,
             *run.verdict_files().values(),
             *([options.labels] if options.labels else [])]  # fmt: skip
    return {str(path): file_sha256(path) for path in files if path.exists()}
