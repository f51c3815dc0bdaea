"""`flames annotate …` for leads: what they decide while people label."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from flames import annotation
from flames.annotation.lead_options import (
    AddOptions,
    BatchOptions,
    CommentOptions,
    GuidelineOptions,
    QuotaOptions,
    RuleOptions,
)
from flames.annotation.tables import batch_table, comment_table
from flames.cli._console import JsonOptions, present, say
from flames.cli.annotate import NameArgument, ProjectArgument
from flames.errors import InputError, UsageError
from flames.options import LangOptions
from flames.records import dump_line
from flames.storage.record_files import RecordOptions
from flames.text import for_terminal


def guideline(
    project: ProjectArgument,
    options: GuidelineOptions,
    language: LangOptions,
    output: JsonOptions,
) -> None:
    """Show the guideline, or publish a new version of it."""
    with annotation.open_project(project) as opened:
        versions = annotation.rules.read_guidelines(opened)
        if options.zh is not None or options.en is not None:
            last = versions[0] if versions else None
            zh = _text(options.zh) if options.zh is not None else (last.zh if last else "")
            en = _text(options.en) if options.en is not None else (last.en if last else "")
            after = last.version if last else 0
            made = annotation.rules.publish_guideline(opened, zh, en, options.person, after=after)
            say(f"version {made.version} is published; annotators read it before their next item")
            return
        if not versions:
            raise UsageError("this project has no guideline yet: --zh FILE, --en FILE")
        wanted = options.restore or options.version or versions[0].version
        found = next((each for each in versions if each.version == wanted), None)
        if found is None:
            raise UsageError(f"there is no version {wanted}; the newest is {versions[0].version}")
        if options.restore is not None:
            made = annotation.rules.publish_guideline(opened, found.zh, found.en, options.person)
            say(f"version {made.version} is published, with the text of version {found.version}")
            return
    if output.json:
        typer.echo(dump_line(found._asdict()))
    else:
        typer.echo(for_terminal(found.text(language.lang)))
        say(f"version {found.version} of {versions[0].version}, by {found.by}, {found.at[:16]}")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}", path=path) from None
    except UnicodeDecodeError:
        raise InputError("is not UTF-8; save it as UTF-8", path=path) from None


def add(
    project: ProjectArgument, plan: AddOptions, files: RecordOptions, output: JsonOptions
) -> None:
    """Add items to a project under way; they come last in everybody's queue."""
    with annotation.open_project(project) as opened:
        result = annotation.add_items(opened, replace(plan, options=files.read_options()))
    if output.json:
        typer.echo(result.model_dump_json())
        return
    parts = [f"{result.items} of {result.population} responses added"]
    if result.topped_up:
        parts.append("the first draw from these files is topped up")
    if result.repeated:
        parts.append(f"{result.repeated} were items already")
    if result.without_text:
        parts.append(f"{result.without_text} without text left out")
    say("; ".join(parts))


def batch(
    project: ProjectArgument,
    choice: BatchOptions,
    language: LangOptions,
    output: JsonOptions,
    name: Annotated[
        str | None,
        typer.Argument(metavar="BATCH", help="The batch's name; none to list all."),
    ] = None,
) -> None:
    """List the batches, or assign items to some people alone."""
    with annotation.open_project(project) as opened:
        if name is not None:
            made = annotation.batches.assign_batch(opened, name, choice, choice.person)
            if made is None:
                say(f"the items of {name.strip()} go to everybody again")
            else:
                say(f"{made.name}: {made.items} items for {', '.join(made.people)}")
            return
        if choice != BatchOptions():
            raise UsageError("say which batch: its name comes after the project")
        found = annotation.batches.list_batches(opened)
    data = [each.model_dump() for each in found]
    present(output, data, [batch_table(found)], language.lang)


def quota(project: ProjectArgument, name: NameArgument, options: QuotaOptions) -> None:
    """Limit how many labels a person is to give, or take the limit away."""
    with annotation.open_project(project) as opened:
        person = annotation.people.set_quota(opened, name, options.labels, options.person)
    limit = "any number of" if person.quota is None else f"at most {person.quota}"
    say(f"{person.name} gives {limit} labels")


def comment(
    project: ProjectArgument, options: CommentOptions, language: LangOptions, output: JsonOptions
) -> None:
    """List the comments on items, write one or take one back."""
    with annotation.open_project(project) as opened:
        if options.withdraw is not None:
            annotation.comments.withdraw(opened, str(options.person), options.withdraw)
            say(f"comment {options.withdraw} is taken back")
            return
        if options.text is not None:
            made = annotation.comments.comment(
                opened, str(options.person), str(options.item), options.text, options.to
            )
            say(f"comment {made.number} on {made.item}")
            return
        found = annotation.comments.read_comments(opened, ref=options.item)
    present(output, [each._asdict() for each in found], [comment_table(found)], language.lang)


def rules(
    project: ProjectArgument, options: RuleOptions, files: RecordOptions, output: JsonOptions
) -> None:
    """Show what holds for all annotators, or change it."""
    lead = options.person
    with annotation.open_project(project) as opened:
        if options.flag_reason is not None:
            annotation.rules.set_flag_reason(opened, options.flag_reason == "on", lead)
        if options.suggest is not None:
            found = annotation.suggestions.show_suggestions(
                opened, options.suggest, files.read_options(), lead
            )
            say(f"annotators see the scores of {found.scorer} on {found.items} items: this biases")
        elif options.no_suggest:
            annotation.suggestions.hide_suggestions(opened, lead)
        with opened.database.read() as connection:
            held = annotation.rules.read_rules(connection)
    if output.json:
        typer.echo(held.model_dump_json())
        return
    typer.echo(f"a flag needs a reason: {'yes' if held.flag_reason else 'no'}")
    typer.echo(f"annotators see the scores of: {for_terminal(held.suggestions or 'nobody')}")
