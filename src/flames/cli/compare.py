"""`flames compare`: models on the same prompts, pair by pair."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from flames.cli._options import (
    EncodingOption,
    JsonOption,
    Lang,
    MapOption,
    SeedOption,
    TaxonomyOption,
    TruncatedOption,
)


def compare(
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE|RUN…",
            help="Files of verdicts, runs or labels:silver, the baseline first. One file that "
            "holds several models will do.",
        ),
    ],
    scorer: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--scorer", metavar="S", help="Compare this scorer's verdicts only."),
    ] = None,
    common: Annotated[
        bool,
        typer.Option(
            "--common",
            help="Where prompt sets or scorers differ, compare on the prompts in common.",
        ),
    ] = False,
    out: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--html", metavar="FILE", help="Also write a self-contained page."),
    ] = None,
    changes: Annotated[
        int, typer.Option("--changes", metavar="N", min=0, help="Changed prompts to show.")
    ] = 10,
    truncated: TruncatedOption = "scored",
    mapping: MapOption = None,
    encoding: EncodingOption = None,
    taxonomy: TaxonomyOption = None,
    lang: Lang = "en",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare models on the prompts that both answered: differences, intervals, tests, changes."""
    from flames.compare import compare as compared
    from flames.compare import print_comparison, render_html
    from flames.errors import UsageError
    from flames.io import ReadOptions, parse_mapping, write_atomic
    from flames.report.page import language
    from flames.sources import load_sources, taxonomy_of

    if truncated not in ("scored", "unscored"):
        raise UsageError(f"--truncated takes scored or unscored, not {truncated!r}")
    shown = language(lang)
    values = taxonomy_of(paths, taxonomy)
    options = ReadOptions(taxonomy=values, mapping=parse_mapping(mapping), encoding=encoding)
    sources = [
        source
        for path in paths
        for source in load_sources(
            path,
            scorer=scorer,
            options=options,
            truncated=truncated,  # type: ignore[arg-type]
        )
    ]
    comparison = compared(sources, values, common=common, seed=seed)
    if as_json:
        typer.echo(comparison.to_json(), nl=False)
    else:
        from flames.cli._console import tables

        print_comparison(comparison, tables(), shown, values, changes=changes)
    if out is not None:
        typer.echo(str(write_atomic(out, render_html(comparison, shown, values))), err=True)
