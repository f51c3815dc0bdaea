"""`flames prompts`: the sets of prompts that models are asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from flames.cli._console import JsonOptions, echo, present, tables, tell
from flames.errors import UsageError
from flames.options import LangOptions, SeedOptions
from flames.prompts.check import PromptCheck, check_prompts, count_parts, count_prompts
from flames.prompts.diff import diff_prompts
from flames.prompts.doubts import find_doubts, mended, unchecked
from flames.prompts.known import KNOWN_SETS, fetch_prompts, find_set, installed_sets
from flames.prompts.sets import PromptSet, SampleOptions, load_prompts
from flames.reports.prompt_diff import DiffOptions, DiffReport
from flames.reports.prompt_doubts import doubts_document
from flames.reports.prompt_stats import diversity_words, stats_page
from flames.reports.tables import Block, Cell, Table, line
from flames.reports.words import listed, name_of, say
from flames.scorers.frozen.backbone import text_embedder
from flames.storage.atomic import to_jsonl, write_atomic
from flames.storage.record_files import FileOptions
from flames.taxonomy import Taxonomy, load_taxonomy
from flames.text import for_terminal, shorten

SetArgument = Annotated[
    str, typer.Argument(metavar="SET|PATH", help="Prompt set by name, a package or a file.")
]


def list_sets(language: LangOptions, output: JsonOptions) -> None:
    """List the prompt sets that are known by name."""
    rows: list[dict[str, Any]] = []
    for known in (*KNOWN_SETS.values(), *installed_sets()):
        card = known.card
        rows.append(
            {
                "name": card.name,
                "version": card.version,
                "title": card.title or card.origin,
                "licence": card.licence,
                "present": known.present,
                "prompts": card.counts.prompts if known.present else None,
                "sha256": card.sha256,
                "path": str(known.path) if known.present else None,
                "url": card.url,
            }
        )
    cells: list[tuple[Cell, ...]] = [
        (
            f"{row['name']}@{row['version']}",
            say("prompts.not_fetched") if row["prompts"] is None else str(row["prompts"]),
            row["sha256"][:12],
            f"{row['title']} ({row['licence']})",
        )
        for row in rows
    ]
    columns = (say("prompt_set"), say("compare.n"), "SHA-256", say("scorers.kinds.title"))
    present(output, rows, [Table.of_cells("", columns, cells, text=4)], language.lang)


def show_prompts(
    prompts: SetArgument,
    files: FileOptions,
    sample: SampleOptions,
    seed: SeedOptions,
    output: JsonOptions,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="ID", help="Only these prompts.")
    ] = None,
    dimension: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only the prompts of this dimension.")
    ] = None,
) -> None:
    """Show the prompts of a set; --json prints them as JSON Lines, which can be used as a file."""
    taxonomy, found = load_set(prompts, files, limit=sample.limit, seed=seed.seed)
    chosen = list(found.prompts)
    if ids:
        if unknown := [i for i in ids if i not in found.by_id]:
            raise UsageError(f"no prompt {unknown[0]!r} in the set {found.name!r}")
        chosen = [found.by_id[i] for i in ids]
    if dimension is not None:
        name = taxonomy.dimension(dimension).name
        chosen = [prompt for prompt in chosen if prompt.dimension == name]
    for prompt in chosen:
        if output.json:
            typer.echo(prompt.to_line())
        else:
            labels = (prompt.dimension, prompt.subcomponent, prompt.technique)
            before = [f"  [{role}] {text}" for role, text in prompt.asked.before]
            head = f"{prompt.id}  {' · '.join(filter(None, labels))}"
            echo((head, *before, f"  {prompt.text}"))


def load_set(prompts: str, files: FileOptions, **sample: Any) -> tuple[Taxonomy, PromptSet]:
    """Loads the taxonomy and the set that an argument names."""
    taxonomy = load_taxonomy(files.taxonomy)
    given = {"mapping": files.mapping, "encoding": files.encoding, "sheet": files.sheet, **sample}
    return taxonomy, load_prompts(prompts, taxonomy=taxonomy, **given)


def stats(
    prompts: SetArgument,
    files: FileOptions,
    language: LangOptions,
    output: JsonOptions,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with charts too (HTML).")
    ] = None,
) -> None:
    """Count the prompts of a set by dimension, subcomponent and technique."""
    taxonomy, found = load_set(prompts, files)
    counts = count_prompts(found, taxonomy)
    present(output, counts, _counts_document(found, counts, taxonomy), language.lang)
    if out is not None:
        write_atomic(out, stats_page(found, counts, taxonomy, language.lang))
        typer.echo(for_terminal(str(out)), err=True)


def _counts_document(
    found: PromptSet, counts: Mapping[str, Any], taxonomy: Taxonomy
) -> Iterator[Block]:
    head = {"name": found.full_name, "n": counts["prompts"], "sha256": found.sha256}
    yield line(say("prompts.head", **head))
    yield line(say("prompts.characters", **counts["characters"]))
    if any(counts["turns"].values()):
        yield line(say("prompts.turns", **counts["turns"]))
    yield from map(line, diversity_words(counts["diversity"]))
    yield from _partial(counts["missing_dimensions"], taxonomy)
    yield _parts_table(count_parts(found.prompts), taxonomy)
    if counts["techniques"]:
        ranked = sorted(counts["techniques"].items(), key=lambda row: -row[1])
        rows = [(name_of("technique", name), n) for name, n in ranked]
        yield Table.of_cells("", (say("technique"), say("compare.n")), rows)


def _partial(missing: Iterable[str], taxonomy: Taxonomy) -> Iterator[Block]:
    labels = [taxonomy.dimension(name).label for name in missing]
    if labels:
        yield line(say("prompts.partial", missing=listed(labels)))


def validate(
    prompts: SetArgument, files: FileOptions, language: LangOptions, output: JsonOptions
) -> None:
    """Check a set of prompts and report everything that is wrong with it; exit 2 if anything is."""
    if prompts in KNOWN_SETS:
        find_set(prompts)  # says that it has to be fetched first
    taxonomy = load_taxonomy(files.taxonomy)
    check = check_prompts(
        prompts,
        taxonomy=taxonomy,
        mapping=files.mapping,
        encoding=files.encoding,
        sheet=files.sheet,
    )
    present(output, check.to_dict(), _check_document(check, taxonomy), language.lang)
    if not check.ok:
        raise typer.Exit(2)


def _check_document(check: PromptCheck, taxonomy: Taxonomy) -> Iterator[Block]:
    for error in check.errors:
        yield line(say("prompts.error", error=error))
    texts = {prompt.id: prompt.text for prompt in check.prompts}
    for pair in check.near_duplicates:
        values = {"first": pair.first, "second": pair.second, "share": f"{pair.similarity:.0%}"}
        yield line(say("prompts.alike", **values, text=shorten(texts[pair.first], 40)))
    if check.card is not None:
        card = check.card
        told = {"licence": card.licence, "languages": ", ".join(card.languages)}
        yield line(say("prompts.card", name=card.full_name, **told))
    if check.prompts:
        yield from _partial(check.missing_dimensions, taxonomy)
    if check.subcomponents:
        yield _parts_table(check.subcomponents, taxonomy)
    state = say("prompts.wrong", n=len(check.errors)) if check.errors else say("prompts.fine")
    yield line(say("prompts.usable", n=len(check.prompts), state=state))


def check(
    prompts: SetArgument,
    files: FileOptions,
    language: LangOptions,
    output: JsonOptions,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="SET|PATH", help="A set that prompts must not be taken from."),
    ] = None,
    embed: Annotated[
        bool,
        typer.Option("--embed", help="Find paraphrases too, by a language model (extra local)."),
    ] = False,
    fix: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the set with what can be mended by itself."),
    ] = None,
) -> None:
    """Check a set for copies, templates, doubtful labels, personal data, odd marks; exit 1 if any.

    What `validate` refuses is an error first. --fix removes hidden characters, spaces around a
    text and second copies, and writes full-width letters and digits as plain ones.
    """
    _, found = load_set(prompts, files)
    others = [load_set(each, files)[1] for each in against or ()]
    doubts = find_doubts(
        found, others, text_embedder(lambda text: typer.echo(text, err=True)) if embed else None
    )
    data = {
        "prompts": len(found.prompts),
        "findings": [asdict(each) for each in doubts],
        "unchecked": unchecked(found),
    }
    present(output, data, doubts_document(doubts, found), language.lang)
    if fix is not None:
        write_atomic(fix, to_jsonl(prompt.to_dict() for prompt in mended(found)))
        typer.echo(for_terminal(str(fix)), err=True)
    if doubts:
        raise typer.Exit(1)


def diff(
    old: Annotated[str, typer.Argument(metavar="OLD", help="The old set, by name or file.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The new set, by name or file.")],
    options: DiffOptions,
) -> None:
    """Compare two prompt sets: what was added, removed, reworded and relabelled."""
    taxonomy, before = load_set(old, options)
    found = DiffReport(diff_prompts(before, load_set(new, options)[1]), taxonomy, options.lang)
    if options.format is None:
        found.print(tables())
    elif options.out is None:
        typer.echo(found.render(options.format), nl=False)
    else:
        write_atomic(options.out, found.render(options.format))
        typer.echo(for_terminal(str(options.out)), err=True)


def fetch(
    output: JsonOptions,
    name: Annotated[str, typer.Argument(metavar="SET", help="A prompt set by name.")] = "flames-1k",
    source: Annotated[
        str | None, typer.Option("--from", metavar="PATH|URL", help="A local copy or a mirror.")
    ] = None,
) -> None:
    """Fetch a published prompt set into the cache (FLAMES_HOME moves it), checked by SHA-256."""
    path = fetch_prompts(name, source)
    found = load_prompts(name)
    n = len(found.prompts)
    data = {"name": name, "path": str(path), "sha256": found.sha256, "prompts": n}
    tell(output, data, [f"{name}: {n} prompts, checksum right, kept in {path}"])


def _parts_table(parts: Mapping[tuple[str, str], int], taxonomy: Taxonomy) -> Table:
    rows: list[tuple[Cell, ...]] = []
    for (name, part), n in parts.items():
        dimension = taxonomy.dimension(name)
        rows.append((dimension.label, dimension.subcomponent(part).label if part else None, n))
    header = (say("dimension"), say("subcomponent"), say("compare.n"))
    return Table.of_cells("", header, rows, text=2)
