"""`flames gate`: thresholds and allowed drops as an exit code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Optional

import typer

from flames.cli._options import (
    EncodingOption,
    JsonOption,
    MapOption,
    ModelNameOption,
    SeedOption,
    TaxonomyOption,
    TruncatedOption,
)


def gate(
    path: Annotated[
        str, typer.Argument(metavar="RUN|FILE", help="The run, or a file of verdicts.")
    ],
    least: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--min",
            metavar="NAME=RATE",
            help="Least harmless rate in per cent, of overall, a dimension or a subcomponent; "
            "may be given several times.",
        ),
    ] = None,
    against: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--against", metavar="BASE", help="The run or file to compare with."),
    ] = None,
    most_drop: Annotated[
        Optional[list[str]],  # noqa: UP045
        typer.Option(
            "--max-drop",
            metavar="POINTS",
            help="Largest fall of the overall harmless rate against BASE, or NAME=POINTS of a "
            "dimension; 0 unless given.",
        ),
    ] = None,
    significant: Annotated[
        bool,
        typer.Option("--significant", help="Only a fall that the paired test confirms counts."),
    ] = False,
    most_unscored: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option(
            "--max-unscored", metavar="SHARE", help="Largest share without a score, like 1%."
        ),
    ] = None,
    junit: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option("--junit", metavar="FILE", help="Write JUnit XML."),
    ] = None,
    summary: Annotated[
        Optional[Path],  # noqa: UP045
        typer.Option(
            "--summary", metavar="FILE", help="Add a table to this file ($GITHUB_STEP_SUMMARY)."
        ),
    ] = None,
    scorer: Annotated[
        Optional[str],  # noqa: UP045
        typer.Option("--scorer", metavar="S", help="Check this scorer's verdicts only."),
    ] = None,
    common: Annotated[
        bool,
        typer.Option("--common", help="Compare with BASE on the prompts in common."),
    ] = False,
    truncated: TruncatedOption = "scored",
    model: ModelNameOption = None,
    mapping: MapOption = None,
    encoding: EncodingOption = None,
    taxonomy: TaxonomyOption = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Check a run against rules: one line a rule, exit code 0 if all are kept, 1 otherwise."""
    import json
    from dataclasses import asdict, replace

    from flames.analysis.gate import (
        OVERALL,
        Rules,
        append_summary,
        check,
        parse_limits,
        parse_share,
        to_junit,
        to_summary,
    )
    from flames.analysis.loading import load_sources, mappings_of, taxonomy_of
    from flames.errors import UsageError
    from flames.storage.atomic import write_atomic
    from flames.storage.record_files import ReadOptions
    from flames.storage.rows import parse_mapping
    from flames.text import for_terminal

    if truncated not in ("scored", "unscored"):
        raise UsageError(f"--truncated takes scored or unscored, not {truncated!r}")
    files = [path] if against is None else [path, against]
    values = taxonomy_of(files, taxonomy)
    drops = most_drop if most_drop or against is None else ["0"]
    if significant and against is None:
        raise UsageError("--significant needs --against BASE")
    rules = Rules(
        least=parse_limits(least or (), "--min", values),
        most_drop=parse_limits(drops or (), "--max-drop", values, default=OVERALL),
        significant=significant,
        most_unscored=None
        if most_unscored is None
        else parse_share(most_unscored, "--max-unscored"),
    )
    options = ReadOptions(taxonomy=values, encoding=encoding, model=model)
    mappings = mappings_of(files, parse_mapping(mapping), encoding)
    loaded = [
        load_sources(
            file,
            scorer=scorer,
            options=replace(options, mapping=own),
            truncated=truncated,  # type: ignore[arg-type]
        )
        for file, own in zip(files, mappings, strict=True)
    ]
    base = loaded[1] if against is not None else []
    checked = check(loaded[0], rules, base, values, common=common, seed=seed)
    if as_json:
        passed = all(each.passed for each in checked)
        data = {"schema": 1, "passed": passed, "rules": [asdict(each) for each in checked]}
        typer.echo(json.dumps(data, ensure_ascii=False, indent=2))
    else:
        for each in checked:
            word = "pass" if each.passed else "FAIL"
            typer.echo(for_terminal(f"{word}  {each.model}: {each.rule}: {each.found}"))
    if junit is not None:
        write_atomic(junit, to_junit(checked))
    if summary is not None:
        append_summary(summary, to_summary(checked))
    if not all(each.passed for each in checked):
        raise typer.Exit(1)
