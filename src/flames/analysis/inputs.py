"""What is measured: verdicts of files and runs, and the options that choose and read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

from flames.analysis.loading import load_sources, mappings_of, taxonomy_of
from flames.analysis.source import Source, fill_unasked
from flames.options import Opt, check_options
from flames.prompts.sets import load_prompts
from flames.storage.record_files import FileOptions, ReadOptions, RecordOptions


@dataclass(frozen=True)
class VerdictOptions(FileOptions):
    """Which verdicts of a file or run are used."""

    scorer: Annotated[str | None, Opt("Use only the verdicts of this scorer.", metavar="S")] = None
    truncated: Annotated[
        Literal["scored", "unscored"],
        Opt("Whether truncated responses keep their scores (and a flag) or count as unscored."),
    ] = "scored"

    def __post_init__(self) -> None:
        check_options(self)


@dataclass(frozen=True)
class SourceOptions(VerdictOptions, RecordOptions):
    """Which verdicts of a file or run are used, and what was to be asked."""

    prompts: Annotated[
        str | None,
        Opt(
            "Prompt set that was to be asked; its prompts without a verdict count as not asked.",
            metavar="SET|PATH",
        ),
    ] = None


def read_sources(
    paths: Sequence[str], options: VerdictOptions, *, beside: Path | None = None
) -> tuple[list[Source], ReadOptions]:
    """Reads the sources of all paths in order.

    Of several files, each takes of the column mapping what it has columns for. So does a further
    file that is read `beside` them.

    Returns:
        The sources, and how files were read (for `beside`, if it is given).

    Raises:
        InputError: A path cannot be read as verdicts.
    """
    read = replace(options.read_options(), taxonomy=taxonomy_of(paths, options.taxonomy))
    files = [*paths, *([] if beside is None else [str(beside)])]
    mappings = mappings_of(files, read.mapping, read.encoding)
    sources = [
        source
        for path, mapping in zip(paths, mappings, strict=False)
        for source in load_sources(
            path,
            scorer=options.scorer,
            options=replace(read, mapping=mapping),
            truncated=options.truncated,
        )
    ]
    if isinstance(options, SourceOptions) and options.prompts is not None:
        whole = load_prompts(options.prompts, taxonomy=read.taxonomy)
        sources = [fill_unasked(source, whole) for source in sources]
    return sources, read if beside is None else replace(read, mapping=mappings[-1])
