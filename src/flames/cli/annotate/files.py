"""`flames annotate sheet`, `import`, `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from flames.cli._options import EncodingOption, JsonOption, MapOption, ModelNameOption
from flames.cli.annotate._shared import ProjectArgument


def sheet(
    project: ProjectArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose sheet.", show_default=False)],
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="FILE", help="The CSV file; NAME.csv unless given."),
    ] = None,
    count: Annotated[
        int, typer.Option("--items", metavar="N", min=0, help="New items to put into it.")
    ] = 50,
    days: Annotated[
        float,
        typer.Option("--days", metavar="N", min=0.01, help="After so long others get the items."),
    ] = 14,
    lang: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--lang", help="Language of the rubric: zh or en; the project's if not given."
        ),
    ] = None,
) -> None:
    """Write a sheet to fill in offline: CSV, one a person, without model names."""
    from flames.annotation import people, write_sheet
    from flames.cli.annotate._shared import opened, say
    from flames.errors import UsageError
    from flames.reports.words import language
    from flames.storage.atomic import write_atomic
    from flames.storage.run_dir import safe_name

    with opened(project) as found:
        with found.database.read() as connection:
            person = people.get_person(connection, name)
        if person.role != "annotator" or not person.active:
            raise UsageError(f"{person.name} is no active annotator")
        chosen = language(lang) if lang else found.settings.lang
        made = write_sheet(found, person, count, days, chosen)
    target = out or Path(f"{safe_name(person.name)}.csv")
    write_atomic(target, made.text)
    say(f"{target}: {made.items} items, {made.new} of them new")


def import_labels(
    project: ProjectArgument,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A filled-in sheet (CSV, XLSX), a Label Studio JSON export, or verdicts "
            "(JSONL, CSV, XLSX).",
            show_default=False,
        ),
    ],
    annotator: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--annotator", metavar="NAME", help="Whose labels, if the file tells not."),
    ] = None,
    model: ModelNameOption = None,
    mapping: MapOption = None,
    encoding: EncodingOption = None,
    json: JsonOption = False,
) -> None:
    """Take in labels: all of a file, or none of it. Twice the same file changes nothing."""
    from flames.annotation import import_labels as take_in
    from flames.cli.annotate._shared import opened, say
    from flames.storage.record_files import ReadOptions
    from flames.storage.rows import parse_mapping

    options = ReadOptions(mapping=parse_mapping(mapping), encoding=encoding, model=model)
    with opened(project) as found:
        result = take_in(found, file, annotator=annotator, options=options)
    if json:
        typer.echo(result.model_dump_json())
        return
    parts = [f"{result.new} new", f"{result.changed} changed", f"{result.unchanged} unchanged"]
    if result.open:
        parts.append(f"{result.open} left open")
    if result.beyond_quota:
        parts.append(f"{result.beyond_quota} items have more labels than wanted")
    say(f"{file} ({result.kind}): {', '.join(parts)}")
    if result.added_people:
        say(f"new annotators, who cannot sign in: {', '.join(result.added_people)}")


def export(
    project: ProjectArgument,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--out", metavar="FILE", help="Where to write; standard output if not given."),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(
            "--labels",
            metavar="WHICH",
            help="all: every single one; or one an item: adjudicated, majority, dawid-skene; "
            "or known: answers to control and training items.",
        ),
    ] = "all",
    form: Annotated[
        str, typer.Option("--format", metavar="F", help="jsonl, csv or label-studio.")
    ] = "jsonl",
    until: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--until",
            metavar="EVENT|TIME",
            help="As it was after that event (by number), or at that time (UTC).",
        ),
    ] = None,
    config: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--config", metavar="FILE", help="Also write the labelling config for Label Studio."
        ),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Tell on standard error what was written, as JSON.")
    ] = False,
) -> None:
    """Write labels as verdicts, with the probability that each item had of being drawn."""
    from flames.annotation import export as make
    from flames.annotation import label_studio_config
    from flames.cli.annotate._shared import opened, say
    from flames.errors import UsageError
    from flames.records import dump_line
    from flames.storage.atomic import write_atomic

    whats = {"all": "labels", "adjudicated": "adjudicated", "majority": "majority",
             "dawid-skene": "dawid-skene", "known": "known"}  # fmt: skip
    if labels not in whats:
        raise UsageError(f"--labels takes {', '.join(whats)}, not {labels!r}")
    if form not in ("jsonl", "csv", "label-studio"):
        raise UsageError(f"--format takes jsonl, csv or label-studio, not {form!r}")
    with opened(project) as found:
        made = make(found, whats[labels], form, until)  # type: ignore[arg-type]
        if config is not None:
            write_atomic(config, label_studio_config(found.settings.lang))
    if out is None:
        typer.echo(made.text, nl=False)
    else:
        write_atomic(out, made.text)
    if json:
        told = {"rows": made.rows, "scored": made.scored, "event": made.seq, "at": made.at,
                "hash": made.hash, "sha256": made.sha256}  # fmt: skip
        typer.echo(dump_line(told), err=True)
    else:
        say(
            f"{made.rows} lines, {made.scored} with a score, as of event {made.seq}; "
            f"--until {made.seq} gives the same bytes again"
        )
