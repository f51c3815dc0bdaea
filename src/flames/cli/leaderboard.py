"""`flames leaderboard`: published and measured results."""

from __future__ import annotations

import typer

from flames.analysis.inputs import SourceOptions
from flames.cli._console import JsonOptions, present, say, tell
from flames.leaderboard.attack import AttackOptions, measure_attack
from flames.leaderboard.audit import AuditOptions, audit_file
from flames.leaderboard.entries import EntryOptions, add_entries
from flames.leaderboard.published import ShowOptions, rank_published
from flames.options import LangOptions
from flames.records import dump_line
from flames.reports.leaderboard import attack_document, ranking_document
from flames.reports.leaderboard_site import SiteOptions, build_from_entries
from flames.storage.record_files import FileOptions


def show_published(options: ShowOptions, language: LangOptions, output: JsonOptions) -> None:
    """Show a published table with intervals, rank intervals and groups of similar models."""
    published = rank_published(options)
    present(output, published.to_dict(), ranking_document(published), language.lang)


def audit(options: AuditOptions, reading: FileOptions, output: JsonOptions) -> None:
    """Test whether a table of rates and scores is arithmetically possible; exit 1 if it is not."""
    result = audit_file(options, reading)
    if output.json:
        typer.echo(dump_line(result.to_dict()))
    else:
        for line in result.lines():
            typer.echo(line)
        for note in result.unchecked:
            say(f"not tested: {note}")
        verdict = f"{len(result.findings)} impossible" if result.findings else "all possible"
        say(f"{result.cells} cells: {verdict}")
    if result.findings:
        raise typer.Exit(1)


def add(options: EntryOptions, reading: SourceOptions, output: JsonOptions) -> None:
    """Write an entry from a run: a small file of label counts, to be reviewed."""
    entries = add_entries(options, reading)
    data = [
        {"path": str(path), "name": entry.title, "scorer": entry.scorer}
        for path, entry in entries.items()
    ]
    tell(output, {"schema": 1, "entries": data}, map(str, entries))


def build(options: SiteOptions, language: LangOptions, output: JsonOptions) -> None:
    """Build the leaderboard as a static site that works offline."""
    entries, files = build_from_entries(options, language.lang)
    data = {"schema": 1, "entries": entries, "files": list(map(str, files))}
    tell(output, data, [str(files[0])])
    if not output.json:
        say(f"{entries} entries, {len(files)} files")


def attack(
    options: AttackOptions, reading: SourceOptions, language: LangOptions, output: JsonOptions
) -> None:
    """Show attack success rates of prompt sets on models, published and measured."""
    table = measure_attack(options, reading)
    present(output, table.to_dict(), attack_document(table), language.lang)
