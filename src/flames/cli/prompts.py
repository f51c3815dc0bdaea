"""`flames prompts`: the sets of prompts that models are asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Annotated, Any

import typer

from flames.cli._console import JsonOptions, echo, present, show, tell
from flames.errors import UsageError
from flames.options import SeedOptions
from flames.prompts.check import check_prompts, count_prompts
from flames.prompts.sets import KNOWN_SETS, PromptSet, SampleOptions, fetch_prompts, load_prompts
from flames.records import dump_line
from flames.reports.tables import Table
from flames.storage.record_files import FileOptions
from flames.taxonomy import Taxonomy, load_taxonomy
from flames.text import for_terminal, shorten

SetArgument = Annotated[
    str, typer.Argument(metavar="SET|PATH", help="Prompt set by name, or a file of prompts.")
]


def list_sets(output: JsonOptions) -> None:
    """List the prompt sets that are known by name."""
    rows: list[dict[str, Any]] = []
    for known in KNOWN_SETS.values():
        found = load_prompts(known.name) if known.present else None
        rows.append(
            {
                "name": known.name,
                "title": known.title,
                "licence": known.licence,
                "present": known.present,
                "prompts": len(found.prompts) if found else None,
                "sha256": found.sha256 if found else known.sha256,
                "path": str(known.path) if known.present else None,
                "url": known.url,
            }
        )
    cells = [
        (
            row["name"],
            "not fetched" if row["prompts"] is None else str(row["prompts"]),
            row["sha256"][:12],
            f"{row['title']} ({row['licence']})",
        )
        for row in rows
    ]
    columns = ("set", "prompts", "sha256", "what it is")
    present(output, rows, [Table.of_cells("", columns, cells, text=4)])


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
    taxonomy, found = _load(prompts, files, limit=sample.limit, seed=seed.seed)
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
            echo((f"{prompt.id}  {' · '.join(filter(None, labels))}", f"  {prompt.text}"))


def _load(prompts: str, files: FileOptions, **sample: Any) -> tuple[Taxonomy, PromptSet]:
    taxonomy = load_taxonomy(files.taxonomy)
    given = {"mapping": files.mapping, "encoding": files.encoding, **sample}
    return taxonomy, load_prompts(prompts, taxonomy=taxonomy, **given)


def stats(prompts: SetArgument, files: FileOptions, output: JsonOptions) -> None:
    """Count the prompts of a set by dimension, subcomponent and technique."""
    taxonomy, found = _load(prompts, files)
    counts = count_prompts(found, taxonomy)
    if output.json:
        typer.echo(dump_line(counts))
        return
    characters, missing = counts["characters"], counts["missing_dimensions"]
    span = f"{characters['shortest']} to {characters['longest']}, median {characters['median']:g}"
    head = f"{found.name}: {counts['prompts']} prompts, sha256 {found.sha256}"
    echo([head, f"characters: {span}"])
    if missing:
        echo([f"partial: nothing about {', '.join(missing)}"])
    parts = Counter((p.dimension, p.subcomponent or "–") for p in found.prompts)
    show(_parts_table(parts.items()))
    if counts["techniques"]:
        ranked = sorted(counts["techniques"].items(), key=lambda row: -row[1])
        show(Table.of_cells("", ("technique", "prompts"), ranked))


def validate(prompts: SetArgument, files: FileOptions, output: JsonOptions) -> None:
    """Check a set of prompts and report everything that is wrong with it; exit 2 if anything is."""
    known = KNOWN_SETS.get(prompts)
    if known is not None and not known.present:
        raise UsageError(f"{prompts!r} is not here yet: flames prompts fetch {prompts}")
    check = check_prompts(
        known.path if known else prompts,
        taxonomy=load_taxonomy(files.taxonomy),
        mapping=files.mapping,
        encoding=files.encoding,
    )
    if output.json:
        typer.echo(dump_line(check.to_dict()))
    else:
        echo(f"error: {error}" for error in check.errors)
        texts = {prompt.id: prompt.text for prompt in check.prompts}
        for pair in check.near_duplicates:
            alike = f"{pair.first} and {pair.second} are alike ({pair.similarity:.0%})"
            typer.echo(f"warning: {for_terminal(alike)}: {shorten(texts[pair.first], 40)}")
        if check.prompts and check.missing_dimensions:
            echo([f"partial: nothing about {', '.join(check.missing_dimensions)}"])
        if check.subcomponents:
            show(_parts_table(((d, s or "–"), n) for (d, s), n in check.subcomponents.items()))
        state = "fine" if check.ok else _count(len(check.errors), "error")
        echo([f"{_count(len(check.prompts), 'usable prompt')}, {state}"])
    if not check.ok:
        raise typer.Exit(2)


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


def _parts_table(parts: Iterable[tuple[tuple[str, str], int]]) -> Table:
    rows = [(dimension, part, n) for (dimension, part), n in parts]
    return Table.of_cells("", ("dimension", "subcomponent", "prompts"), rows, text=2)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
