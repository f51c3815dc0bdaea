"""The options that mean the same in every command."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Optional

import typer

from flames.options import LangOptions, Opt


@dataclass(frozen=True)
class QuietOptions:
    """Whether progress is shown."""

    quiet: Annotated[bool, Opt("Print only results and errors, no progress.", short="-q")] = False


@dataclass(frozen=True)
class JsonOptions:
    """Whether the output is for programs."""

    json: Annotated[bool, Opt("Print JSON for programs.")] = False


@dataclass(frozen=True)
class ShowOptions(LangOptions, JsonOptions, QuietOptions):
    """How results are shown."""


Lang = Annotated[
    str, typer.Option("--lang", metavar="zh|en", help="Language of the output: zh or en.")
]
PromptsOption = Annotated[
    str,
    typer.Option(
        "--prompts", metavar="SET|PATH", help="A prompt set by name, or a file of prompts."
    ),
]
ScorerOption = Annotated[
    str,
    typer.Option(
        "--scorer",
        metavar="S",
        help="default, lexical, PATH, flames-scorer, judge:MODEL, guard:MODEL or labels:FILE.",
    ),
]
OutDir = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option(
        "--out", metavar="DIR", help="The run directory; made up from date and model unless given."
    ),
]
TaxonomyOption = Annotated[
    Optional[Path],  # noqa: UP045
    typer.Option("--taxonomy", metavar="FILE", help="Another taxonomy than Flames' own (JSON)."),
]
MapOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--map",
        metavar="FIELD=COLUMN,…",
        help="Names of the file's columns, where they differ: prompt=问题,response=回答.",
    ),
]
EncodingOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--encoding", metavar="NAME", help="Encoding of text files; UTF-8 unless given."),
]
ModelNameOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option(
        "--model",
        metavar="NAME",
        help="Model of records that name none; the file's stem unless given.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
QuietOption = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress, only results and errors.")
]
SeedOption = Annotated[
    int, typer.Option("--seed", metavar="N", help="Seed of our own random numbers.")
]
LimitOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--limit",
        metavar="N",
        min=1,
        help="A seeded sample of N prompts, balanced over subcomponents.",
    ),
]
TruncatedOption = Annotated[
    str,
    typer.Option(
        "--truncated",
        metavar="scored|unscored",
        help="Truncated responses: scored (and flagged), or unscored.",
    ),
]
