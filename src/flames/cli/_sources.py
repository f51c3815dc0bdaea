"""Reading what commands compute on: files of verdicts and runs, with the options they share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flames.analysis.source import Source
    from flames.storage.record_files import ReadOptions


def read_sources(
    paths: Sequence[str],
    *,
    scorer: str | None = None,
    prompts: str | None = None,
    truncated: str = "scored",
    model: str | None = None,
    mapping: str | None = None,
    encoding: str | None = None,
    taxonomy: Path | None = None,
    beside: Path | None = None,
) -> tuple[list[Source], ReadOptions]:
    """The sources of all paths in order, and how they were read (the taxonomy among it).

    Of several files, each takes of the mapping what it has columns for. So does a further file
    that is read `beside` them: its mapping is that of the options that are given back.

    Raises:
        UsageError: An option's value is none of those it takes.
        InputError: A path cannot be read as verdicts.
    """
    from flames.analysis.loading import load_sources, mappings_of, taxonomy_of
    from flames.analysis.source import fill_unasked
    from flames.errors import UsageError
    from flames.prompts.sets import load_prompts
    from flames.storage.record_files import ReadOptions
    from flames.storage.rows import parse_mapping

    if truncated not in ("scored", "unscored"):
        raise UsageError(f"--truncated takes scored or unscored, not {truncated!r}")
    options = ReadOptions(
        taxonomy=taxonomy_of(paths, taxonomy),
        mapping=parse_mapping(mapping),
        encoding=encoding,
        model=model,
    )
    files = [*paths, *([] if beside is None else [str(beside)])]
    mappings = mappings_of(files, options.mapping, encoding)
    sources = [
        source
        for path, own in zip(paths, mappings, strict=False)
        for source in load_sources(
            path,
            scorer=scorer,
            options=replace(options, mapping=own),
            truncated=truncated,  # type: ignore[arg-type]
        )
    ]
    if prompts is not None:
        whole = load_prompts(prompts, taxonomy=options.taxonomy)
        sources = [fill_unasked(source, whole) for source in sources]
    return sources, options if beside is None else replace(options, mapping=mappings[-1])
