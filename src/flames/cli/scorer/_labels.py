"""Options that the commands about labels share, and how they are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from flames.storage.record_files import ReadOptions
    from flames.taxonomy import Taxonomy

LabelsOption = Annotated[
    list[str],
    typer.Option(
        "--labels",
        metavar="FILE",
        help="Verdicts with their responses (JSONL, CSV, XLSX), or labels:silver; may be repeated.",
    ),
]
LabelPromptsOption = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--prompts",
        metavar="SET|PATH",
        help="Where labels that name only a prompt_id find its text, beside the sets that are "
        "known; may be repeated.",
    ),
]
SkipIncompleteOption = Annotated[
    bool,
    typer.Option(
        "--skip-incomplete", help="Leave labels without a text out, counted, instead of stopping."
    ),
]


def read_options(
    taxonomy: Path | None,
    prompts: Sequence[str] | None,
    mapping: str | None,
    encoding: str | None,
    model: str | None,
) -> tuple[Taxonomy, ReadOptions]:
    """The taxonomy, and how label files are read."""
    from flames.prompts.sets import known_prompts, load_prompts
    from flames.storage.record_files import ReadOptions
    from flames.storage.rows import parse_mapping
    from flames.taxonomy import load_taxonomy

    values = load_taxonomy(taxonomy)
    known: dict[str, Any] = known_prompts(None if taxonomy is None else values)
    for name in prompts or ():
        known.update(load_prompts(name, taxonomy=values).by_id)
    options = ReadOptions(
        taxonomy=values,
        mapping=parse_mapping(mapping),
        encoding=encoding,
        model=model,
        prompts=known,
    )
    return values, options
