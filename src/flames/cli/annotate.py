"""`flames annotate`: human labels, from drawing responses to exports."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.cells import cell_len

from flames import annotation
from flames.analysis.loading import taxonomy_of
from flames.annotation.lead_options import LeadOptions, VoidOptions
from flames.annotation.options import (
    AgreementOptions,
    DecisionOptions,
    InviteOptions,
    LabelExportOptions,
    LinkOptions,
    ProjectPlan,
    ServeOptions,
    SheetOptions,
    TokenOptions,
    WebhookOptions,
)
from flames.annotation.tables import agreement_tables, case_table, people_table, status_tables
from flames.cli._console import JsonOptions, present, say
from flames.errors import CheckFailed
from flames.options import LangOptions
from flames.records import dump_line
from flames.storage.atomic import write_atomic
from flames.storage.record_files import RecordOptions
from flames.storage.run_dir import safe_name
from flames.text import for_terminal

ProjectArgument = Annotated[
    Path, typer.Argument(metavar="PROJECT", help="The project's folder.", show_default=False)
]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME", help="The person's name.", show_default=False)
]


def init(
    project: ProjectArgument, plan: ProjectPlan, files: RecordOptions, output: JsonOptions
) -> None:
    """Draw responses for labelling and make a personal link for each person."""
    sources = [str(source) for source in plan.sources]
    options = replace(files.read_options(), taxonomy=taxonomy_of(sources, files.taxonomy))
    created = annotation.create_project(project, replace(plan, options=options))
    with created.project as opened:
        settings, links = opened.settings, {n: opened.link(t) for n, t in created.links.items()}
    drawn = settings.sample or settings.population
    if output.json:
        line = {"project": str(project), "items": drawn, "population": settings.population,
                "without_text": settings.without_text,
                "repeated_controls": created.repeated_controls, "links": links}  # fmt: skip
        typer.echo(dump_line(line))
        return
    parts = [f"{drawn} of {settings.population} responses drawn, {settings.per_item} labels each"]
    if settings.without_text:
        parts.append(f"{settings.without_text} without text left out")
    if repeated := created.repeated_controls:
        parts.append(f"{repeated} controls left out because they are in the sample")
    say("; ".join(parts))
    say("Personal links (shown only once; `flames annotate user link` makes new ones):")
    width = max(map(cell_len, links))
    for person, link in links.items():
        typer.echo(f"{for_terminal(person)}{' ' * (width - cell_len(person))}  {link}")
    say(f"Next: flames annotate serve {project}")


def serve(project: ProjectArgument, options: ServeOptions) -> None:
    """Serve the labelling pages until interrupted."""
    with annotation.open_project(project) as opened:
        if options.exposed:
            say(
                "Warning: other machines reach this address without encryption; use "
                "--certificate, or a proxy with HTTPS and --url."
            )
        name = opened.settings.name
        annotation.web.serve(opened, options, ready=lambda url: say(f"Serving {name} on {url}"))


def status(project: ProjectArgument, language: LangOptions, output: JsonOptions) -> None:
    """Show progress, people and their answers to control items."""
    with annotation.open_project(project) as opened:
        state = annotation.project_status(opened)
    present(output, state.model_dump_json(), status_tables(state), language.lang)


def agreement(
    project: ProjectArgument,
    options: AgreementOptions,
    language: LangOptions,
    output: JsonOptions,
) -> None:
    """Show agreement (alpha, kappa, per cent) by dimension, subcomponent, pair and person."""
    with annotation.open_project(project) as opened:
        result, taxonomy = annotation.project_agreement(opened, options), opened.taxonomy
    present(output, result.model_dump_json(), agreement_tables(result, taxonomy), language.lang)


def adjudicate(
    project: ProjectArgument,
    decision: DecisionOptions,
    language: LangOptions,
    output: JsonOptions,
) -> None:
    """List the items that people disagree on, without names, or decide one of them."""
    with annotation.open_project(project) as opened:
        if decision.item is not None:
            annotation.adjudication.decide_item(opened, decision)
            say(f"{decision.item}: {decision.score}")
            return
        cases = annotation.adjudication.open_cases(opened)
    present(output, [case.to_dict() for case in cases], [case_table(cases)], language.lang)


def sheet(
    project: ProjectArgument,
    name: NameArgument,
    options: SheetOptions,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="CSV file; by default NAME.csv.")
    ] = None,
) -> None:
    """Write a person's sheet to fill in offline: CSV, without model names."""
    with annotation.open_project(project) as opened:
        written = annotation.write_sheet(opened, name, options)
    target = out or Path(f"{safe_name(written.person)}.csv")
    write_atomic(target, written.text)
    say(f"{target}: {written.items} items, {written.new} of them new")


def import_labels(
    project: ProjectArgument,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A filled-in sheet (CSV, XLSX), a Label Studio export (JSON), or verdicts "
            "(JSONL, CSV, XLSX).",
            show_default=False,
        ),
    ],
    files: RecordOptions,
    output: JsonOptions,
    annotator: Annotated[
        str | None,
        typer.Option("--annotator", metavar="NAME", help="Annotator of labels that name none."),
    ] = None,
) -> None:
    """Import labels: all of a file or none. Importing a file twice changes nothing."""
    with annotation.open_project(project) as opened:
        result = annotation.import_labels(
            opened, file, annotator=annotator, options=files.read_options()
        )
    if output.json:
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
    options: LabelExportOptions,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Output file; by default standard output."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="Also write a Label Studio config here."),
    ] = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print what was written, as JSON, to standard error.")
    ] = False,
) -> None:
    """Export labels as verdicts, with each item's inclusion probability."""
    with annotation.open_project(project) as opened:
        exported = annotation.export(opened, options.labels, options.format, options.until)
        if config is not None:
            write_atomic(config, annotation.label_studio_config(opened.settings.lang))
    if out is None:
        typer.echo(exported.text, nl=False)
    else:
        write_atomic(out, exported.text)
    if json:
        typer.echo(dump_line(exported.to_dict()), err=True)
    else:
        say(
            f"{exported.rows} lines, {exported.scored} with a score, as of event {exported.seq}; "
            f"--until {exported.seq} reproduces this file"
        )


def verify(project: ProjectArgument, output: JsonOptions) -> None:
    """Check the store: the chain of events, and everything that is derived from it."""
    with annotation.open_project(project) as opened:
        result = annotation.verify(opened)
    if output.json:
        typer.echo(result.model_dump_json())
    else:
        typer.echo(
            f"{result.events} events, {result.items} items, {result.labels} labels, "
            f"{result.decisions} decisions; last event {result.last}, hash {result.hash}"
        )
        for problem in result.problems:
            say(problem)
    if result.problems:
        raise CheckFailed(f"{project}: the store is not sound: {len(result.problems)} problems")


def backup(
    project: ProjectArgument,
    output: JsonOptions,
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="New folder for the copy.")],
) -> None:
    """Copy a project while it is served, and check the copy."""
    with annotation.open_project(project) as opened:
        result = annotation.backup(opened, out)
    if output.json:
        typer.echo(result.model_dump_json())
    else:
        say(
            f"{out}: {result.events} events, {result.labels} labels, {result.decisions} decisions; "
            f"last event {result.last}, hash {result.hash}"
        )
    if result.problems:
        raise CheckFailed(f"{out}: the store is not sound: {len(result.problems)} problems")


def webhook(project: ProjectArgument, options: WebhookOptions) -> None:
    """Send each finished item to another program, until interrupted."""
    with annotation.open_project(project) as opened:
        annotation.tell_finished(
            opened, options,
            told=lambda sent: say(f"{sent} messages"),
            failed=lambda error: say(f"{error}; trying again"),
        )  # fmt: skip


def void(
    project: ProjectArgument, name: NameArgument, choice: VoidOptions, output: JsonOptions
) -> None:
    """Void labels of a person, so that others get their items; --undo brings them back."""
    with annotation.open_project(project) as opened:
        result = annotation.void(opened, name, choice)
    if output.json:
        typer.echo(result.model_dump_json())
        return
    done = "are back" if result.undone else "are void, and their items go to others"
    say(f"{result.labels} labels of {result.person} {done}")
    if result.decided:
        say(f"{result.decided} of these items are decided; the decisions stand")
    if result.stuck:
        say(f"{result.stuck} of them nobody else can label: they go to the adjudicator")
    if result.beyond_quota:
        say(f"{result.beyond_quota} items have more labels than wanted")


def add_person(project: ProjectArgument, name: NameArgument, options: InviteOptions) -> None:
    """Add a person and print their personal link."""
    with annotation.open_project(project) as opened:
        typer.echo(annotation.access.invite(opened, name, options))


def list_people(project: ProjectArgument, language: LangOptions, output: JsonOptions) -> None:
    """List the people of a project."""
    with annotation.open_project(project) as opened:
        everybody = annotation.people.list_people(opened)
    data = [person._asdict() for person in everybody]
    present(output, data, [people_table(everybody)], language.lang)


def renew_link(project: ProjectArgument, name: NameArgument, options: LinkOptions) -> None:
    """Print a new personal link; the old one stops working."""
    with annotation.open_project(project) as opened:
        typer.echo(annotation.access.renew_link(opened, name, options))


def give_token(project: ProjectArgument, name: NameArgument, options: TokenOptions) -> None:
    """Print a token by which a program acts as a person, under the same rules."""
    with annotation.open_project(project) as opened:
        typer.echo(annotation.access.give_token(opened, name, options.days))


def set_password(project: ProjectArgument, name: NameArgument) -> None:
    """Set a password, asked for on a terminal or read from standard input."""
    if sys.stdin.isatty():
        text = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        text = sys.stdin.readline().rstrip("\r\n")
    with annotation.open_project(project) as opened:
        person = annotation.access.give_password(opened, name, text)
    say(f"{person.name} has a password now")


def stop(project: ProjectArgument, name: NameArgument) -> None:
    """Stop a person from signing in; their labels stay."""
    with annotation.open_project(project) as opened:
        say(f"{annotation.people.admit(opened, name, False).name} is kept out")


def resume(project: ProjectArgument, name: NameArgument) -> None:
    """Resume the work of a stopped person: they may sign in again."""
    with annotation.open_project(project) as opened:
        say(f"{annotation.people.admit(opened, name, True).name} may sign in again")


def release(project: ProjectArgument, name: NameArgument, options: LeadOptions) -> None:
    """Release a person who missed a pass mark: they get items again."""
    with annotation.open_project(project) as opened:
        say(f"{annotation.marks.release(opened, name, options.person).name} gets items again")
