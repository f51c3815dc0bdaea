"""`flames prompts`: the sets of prompts that models are asked."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

from flames.cli._options import (
    EncodingOption,
    JsonOption,
    LimitOption,
    MapOption,
    SeedOption,
    TaxonomyOption,
)

if TYPE_CHECKING:
    from flames.prompts.sets import PromptSet
    from flames.records import Prompt

app = typer.Typer(help="List, show, check and fetch prompt sets.", no_args_is_help=True)

SetArgument = Annotated[
    str, typer.Argument(metavar="SET|PATH", help="A prompt set by name, or a file of prompts.")
]


@app.command("list")
def list_sets(as_json: JsonOption = False) -> None:
    """List the prompt sets that are known by name."""
    from flames.prompts.sets import KNOWN_SETS, load_prompts

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
    if as_json:
        _print_json(rows)
        return
    _print_table(
        ("set", "prompts", "sha256", "what it is"),
        (
            (
                row["name"],
                "not fetched" if row["prompts"] is None else str(row["prompts"]),
                row["sha256"][:12],
                f"{row['title']} ({row['licence']})",
            )
            for row in rows
        ),
    )


@app.command("show")
def show(
    prompts: SetArgument,
    ids: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Argument(metavar="[ID]...", help="Only these prompts."),
    ] = None,
    dimension: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--dimension", metavar="NAME", help="Only the prompts of this dimension."),
    ] = None,
    limit: LimitOption = None,
    seed: SeedOption = 0,
    mapping: MapOption = None,
    encoding: EncodingOption = None,
    taxonomy: TaxonomyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the prompts of a set; --json prints them as JSON Lines, ready to be used as a file."""
    from flames.errors import UsageError
    from flames.taxonomy import load_taxonomy
    from flames.text import for_terminal

    found = _load(prompts, mapping, encoding, taxonomy, limit, seed)
    chosen: Iterable[Prompt] = found.prompts
    if ids:
        unknown = [i for i in ids if i not in found.by_id]
        if unknown:
            raise UsageError(f"no prompt {unknown[0]!r} in the set {found.name!r}")
        chosen = [found.by_id[i] for i in ids]
    if dimension is not None:
        name = load_taxonomy(taxonomy).dimension(dimension).name
        chosen = [prompt for prompt in chosen if prompt.dimension == name]
    for prompt in chosen:
        if as_json:
            typer.echo(prompt.to_line())
        else:
            labels = (prompt.dimension, prompt.subcomponent, prompt.technique)
            place = " · ".join(part for part in labels if part)
            typer.echo(for_terminal(f"{prompt.id}  {place}"))
            typer.echo(f"  {for_terminal(prompt.text)}")


@app.command("stats")
def stats(
    prompts: SetArgument,
    mapping: MapOption = None,
    encoding: EncodingOption = None,
    taxonomy: TaxonomyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Count the prompts of a set by dimension, subcomponent and technique."""
    from collections import Counter
    from statistics import median

    from flames.taxonomy import load_taxonomy
    from flames.text import for_terminal

    found = _load(prompts, mapping, encoding, taxonomy, None, 0)
    lengths = [len(prompt.text) for prompt in found.prompts]
    missing = found.missing(load_taxonomy(taxonomy))
    parts = Counter((p.dimension, p.subcomponent or "–") for p in found.prompts)
    dimensions = Counter(p.dimension for p in found.prompts)
    techniques = Counter(p.technique for p in found.prompts if p.technique)
    if as_json:
        _print_json(
            {
                "name": found.name,
                "sha256": found.sha256,
                "ids_sha256": found.ids_sha256,
                "prompts": len(found.prompts),
                "partial": bool(missing),
                "missing_dimensions": list(missing),
                "dimensions": {
                    name: {
                        "prompts": n,
                        "subcomponents": {s: k for (d, s), k in parts.items() if d == name},
                    }
                    for name, n in dimensions.items()
                },
                "techniques": dict(techniques),
                "characters": {
                    "shortest": min(lengths),
                    "median": median(lengths),
                    "longest": max(lengths),
                },
            }
        )
        return
    typer.echo(f"{for_terminal(found.name)}: {len(found.prompts)} prompts, sha256 {found.sha256}")
    typer.echo(f"characters: {min(lengths)} to {max(lengths)}, median {median(lengths):g}")
    if missing:
        typer.echo(f"partial: nothing about {', '.join(missing)}")
    rows = [(d, s, str(n)) for (d, s), n in parts.items()]
    _print_table(("dimension", "subcomponent", "prompts"), rows, right=(2,))
    if techniques:
        counted = [(name, str(n)) for name, n in techniques.most_common()]
        _print_table(("technique", "prompts"), counted, right=(1,))


@app.command("validate")
def validate(
    prompts: SetArgument,
    mapping: MapOption = None,
    encoding: EncodingOption = None,
    taxonomy: TaxonomyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Check a set of prompts and tell all that is wrong with it; exit code 2 if anything is."""
    from flames.errors import UsageError
    from flames.prompts.check import check_prompts
    from flames.prompts.sets import KNOWN_SETS
    from flames.storage.rows import parse_mapping
    from flames.taxonomy import load_taxonomy
    from flames.text import for_terminal, shorten

    known = KNOWN_SETS.get(prompts)
    if known is not None and not known.present:
        raise UsageError(f"{prompts!r} is not here yet: flames prompts fetch {prompts}")
    check = check_prompts(
        known.path if known else prompts,
        taxonomy=load_taxonomy(taxonomy),
        mapping=parse_mapping(mapping),
        encoding=encoding,
    )
    if as_json:
        _print_json(
            {
                "ok": check.ok,
                "prompts": len(check.prompts),
                "errors": [str(error) for error in check.errors],
                "near_duplicates": [pair._asdict() for pair in check.near_duplicates],
                "missing_dimensions": list(check.missing_dimensions),
                "subcomponents": [
                    {"dimension": d, "subcomponent": s or None, "prompts": n}
                    for (d, s), n in check.subcomponents.items()
                ],
            }
        )
    else:
        for error in check.errors:
            typer.echo(f"error: {for_terminal(str(error))}")
        texts = {prompt.id: prompt.text for prompt in check.prompts}
        for pair in check.near_duplicates:
            alike = f"{pair.first} and {pair.second} are alike ({pair.similarity:.0%})"
            typer.echo(f"warning: {for_terminal(alike)}: {shorten(texts[pair.first], 40)}")
        if check.prompts and check.missing_dimensions:
            typer.echo(f"partial: nothing about {', '.join(check.missing_dimensions)}")
        rows = [(d, s or "–", str(n)) for (d, s), n in check.subcomponents.items()]
        if rows:
            _print_table(("dimension", "subcomponent", "prompts"), rows, right=(2,))
        state = "fine" if check.ok else _count(len(check.errors), "error")
        typer.echo(f"{_count(len(check.prompts), 'usable prompt')}, {state}")
    if not check.ok:
        raise typer.Exit(2)


@app.command("fetch")
def fetch(
    name: Annotated[str, typer.Argument(metavar="SET", help="A prompt set by name.")] = "flames-1k",
    source: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--from", metavar="PATH|URL", help="A local copy or a mirror."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch a published prompt set into the cache (FLAMES_HOME moves it), checked by SHA-256."""
    from flames.prompts.sets import fetch_prompts, load_prompts

    path = fetch_prompts(name, source)
    found = load_prompts(name)
    if as_json:
        _print_json(
            {
                "name": name,
                "path": str(path),
                "sha256": found.sha256,
                "prompts": len(found.prompts),
            }
        )
    else:
        typer.echo(f"{name}: {len(found.prompts)} prompts, checksum right, kept in {path}")


def _load(
    prompts: str,
    mapping: str | None,
    encoding: str | None,
    taxonomy: Any,
    limit: int | None,
    seed: int,
) -> PromptSet:
    from flames.prompts.sets import load_prompts
    from flames.storage.rows import parse_mapping
    from flames.taxonomy import load_taxonomy

    return load_prompts(
        prompts,
        taxonomy=load_taxonomy(taxonomy),
        mapping=parse_mapping(mapping),
        encoding=encoding,
        limit=limit,
        seed=seed,
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _print_json(value: Any) -> None:
    from flames.records import dump_line

    typer.echo(dump_line(value))


def _print_table(
    header: tuple[str, ...], rows: Iterable[tuple[str, ...]], right: tuple[int, ...] = ()
) -> None:
    from rich.table import Table
    from rich.text import Text

    from flames.cli._console import tables
    from flames.text import for_terminal

    table = Table(box=None, header_style="bold")
    for index, name in enumerate(header):
        table.add_column(name, justify="right" if index in right else "left")
    for row in rows:
        table.add_row(*(Text(for_terminal(cell)) for cell in row))
    tables().print(table)
