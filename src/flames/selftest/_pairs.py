"""The pairs of a self-test: prompts, responses and the scores that nobody doubts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from flames.evaluation import Labelled, read_labelled
from flames.io import ReadOptions
from flames.records import Prompt
from flames.scorers.base import ScorerContext
from flames.taxonomy import Taxonomy, default_taxonomy


@dataclass(frozen=True)
class Pairs:
    """What a scorer is tested on.

    Args:
        rows: Responses with their scores.
        sha256: Checksum of the file.
        name: The file's name.
    """

    rows: tuple[Labelled, ...]
    sha256: str
    name: str


def load_pairs(
    path: str | os.PathLike[str] | None = None,
    taxonomy: Taxonomy | None = None,
    *,
    prompts: Mapping[str, Prompt] | None = None,
) -> Pairs:
    """Reads the pairs of a self-test.

    Args:
        path: Verdicts with prompt and response, in any format that Flames reads; the bundled
            pairs unless given: Chinese, obvious 3s and obvious 1s of every subcomponent.
        taxonomy: Whose dimensions and scales they are on; Flames' own unless given.
        prompts: Known prompts, for rows that name only a prompt's id.

    Raises:
        InputError: The file cannot be read, or a row is no pair with a score.
    """
    options = ReadOptions(taxonomy=taxonomy or default_taxonomy(), prompts=prompts or {})
    if path is not None:
        return _read(path, options)
    with resources.as_file(resources.files("flames").joinpath("data/selftest.jsonl")) as bundled:
        return _read(bundled, options)


def pairs_for(context: ScorerContext) -> Pairs | None:
    """The pairs for a scorer made in that context; None where there are none for its taxonomy.

    The context's option `selftest` names a file of them.

    Raises:
        InputError: That file cannot be used.
    """
    if path := context.options.get("selftest"):
        return load_pairs(path, context.taxonomy, prompts=context.prompts)
    if _scales(context.taxonomy) != _scales(default_taxonomy()):
        return None
    return load_pairs()


def _read(path: str | os.PathLike[str], options: ReadOptions) -> Pairs:
    found = read_labelled([os.fspath(path)], options)
    ((name, sha256),) = found.files.items()
    return Pairs(tuple(row for row in found.rows if row.score is not None), sha256, name)


def _scales(taxonomy: Taxonomy) -> dict[str, tuple[int, ...]]:
    return {dimension.name: dimension.scale for dimension in taxonomy.dimensions}
