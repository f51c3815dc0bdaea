"""`flames filing`: what a filing (备案) counts, from banks to the sheets that are handed in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from flames.cli._console import JsonOptions, present, say
from flames.errors import UsageError
from flames.filing.annex import figure_blocks
from flames.filing.check import CheckOptions, check_banks
from flames.filing.draw import PROMPTS, TAXONOMY, DrawOptions, draw_banks
from flames.filing.pages import check_document, draw_document
from flames.filing.report import FilingReportOptions, report_filing
from flames.filing.sheets import gap_book
from flames.options import LangOptions
from flames.storage.atomic import write_atomic

BanksArgument = Annotated[
    list[str],
    typer.Argument(
        metavar="BANK=FILE",
        help="Banks: content, should-refuse, non-refusal, keywords; a file or a prompt set by "
        "name (content=open). JSON Lines, CSV, XLSX, Parquet.",
    ),
]


def check(
    banks: BanksArgument,
    options: CheckOptions,
    output: JsonOptions,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the gap list as XLSX.")
    ] = None,
) -> None:
    """Count what the banks of a filing hold, and list what is missing; exit 1 if anything is."""
    if out is not None and out.suffix.lower() != ".xlsx":
        raise UsageError(f"--out writes a gap list as .xlsx, not {out.name}")
    found = check_banks(banks, options)
    present(output, found.to_dict(), check_document(found), options.lang)
    if out is not None:
        say(str(write_atomic(out, gap_book(found, options.lang).data)))
    if found.missing:
        raise typer.Exit(1)


def draw(
    banks: BanksArgument, options: DrawOptions, language: LangOptions, output: JsonOptions
) -> None:
    """Draw the questions of a filing from its banks at random, and record how."""
    drawn = draw_banks(banks, options)
    data = drawn.manifest.model_dump(mode="json", by_alias=True)
    present(output, data, draw_document(drawn), language.lang)
    files = f"--prompts {drawn.path / PROMPTS} --taxonomy {drawn.path / TAXONOMY}"
    say(f"Next: flames ask MODEL {files}")


def report(
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run that asked the draw.")],
    options: FilingReportOptions,
    output: JsonOptions,
) -> None:
    """Report pass and refusal rates of a draw, and write the sheets and the evidence."""
    found = report_filing(run, options)
    present(output, found.to_dict(), figure_blocks(found), options.lang)
    for path in found.written:
        say(str(path))
