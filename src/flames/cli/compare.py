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
        Optional[int],  # noqa: UP045
        typer.Option(
            "--changes",
            metavar="N",
            min=0,
            help="Changed prompts to show, shared among the pairs; 10 on the terminal, 500 in "
            "JSON and on the page unless given.",
        ),
    ] = None,
    truncated: TruncatedOption = "scored",
    mapping: MapOption = None,
    encoding: EncodingOption = None,
    taxonomy: TaxonomyOption = None,
    lang: Lang = "en",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Compare models on the prompts that both answered: differences, intervals, tests, changes."""
    from flames.analysis.compare import compare as compared
    from flames.analysis.comparison import SHOWN
    from flames.cli._sources import read_sources
    from flames.reports.comparison import print_comparison, render_html
    from flames.reports.words import language
    from flames.storage.atomic import write_atomic

    shown = language(lang)
    sources, options = read_sources(
        paths,
        scorer=scorer,
        truncated=truncated,
        mapping=mapping,
        encoding=encoding,
        taxonomy=taxonomy,
    )
    values = options.taxonomy
    comparison = compared(sources, values, common=common, seed=seed)
    most = SHOWN if changes is None else changes
    if as_json:
        typer.echo(comparison.to_json(changes=most), nl=False)
    else:
        from flames.cli._console import tables

        few = 10 if changes is None else changes
        print_comparison(comparison, tables(), shown, values, changes=few)
    if out is not None:
        page = render_html(comparison, shown, values, changes=most)
        typer.echo(str(write_atomic(out, page)), err=True)
