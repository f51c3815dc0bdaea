"""Responses to try a scorer on, with the scores that they deserve where these are known."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated

from flames.errors import UsageError
from flames.options import Opt
from flames.prompts.sets import known_prompts
from flames.records import Key, Response
from flames.scorers.labelled import read_labelled
from flames.storage.record_files import ReadOptions, read_responses
from flames.taxonomy import Taxonomy

ModelNames = Annotated[
    tuple[str, ...] | None,
    Opt("Only the responses of these models.", metavar="A,B,…", commas=True),
]


@dataclass(frozen=True)
class ResponseSet:
    """Responses to try a scorer on.

    Args:
        responses: With text, prompt and dimension.
        labels: The scores that they deserve, where known.
        source: What they are, for reports.
        files: File name → SHA-256.
    """

    responses: Sequence[Response]
    labels: Mapping[Key, int]
    source: str
    files: Mapping[str, str] = field(default_factory=dict)

    def of_models(self, models: Sequence[str] | None) -> ResponseSet:
        """Returns the responses of some models; all if None.

        Raises:
            UsageError: There are none.
        """
        if models is None:
            return self
        kept = [response for response in self.responses if response.model in models]
        if not kept:
            known = ", ".join(sorted({response.model for response in self.responses}))
            raise UsageError(f"no response of {', '.join(models)}; there are: {known}")
        return replace(self, responses=kept, source=f"{self.source} ({', '.join(models)})")

    def sample(self, limit: int | None, seed: int) -> ResponseSet:
        """Draws a seeded sample; returns all if `limit` is None."""
        if limit is None or limit >= len(self.responses):
            return self
        drawn = random.Random(seed).sample(list(self.responses), limit)  # noqa: S311
        source = f"{self.source}, a sample of {limit} (seed {seed})"
        return replace(self, responses=drawn, source=source)


def labelled_responses(files: Sequence[str], taxonomy: Taxonomy) -> ResponseSet:
    """Reads labelled responses; labels without a text are skipped and counted in `source`.

    Raises:
        InputError: A row is unusable, or none is left.
    """
    options = ReadOptions(taxonomy=taxonomy, prompts=known_prompts(taxonomy))
    found = read_labelled(files, options, skip_incomplete=True)
    labels = {row.key: row.score for row in found.rows if row.score is not None}
    responses = [row.response for row in found.rows if row.score is not None]
    skipped = sum(found.excluded.values()) + len(found.rows) - len(responses)
    return ResponseSet(responses, labels, " + ".join(files) + _skipped(skipped), found.files)


def unlabelled_responses(path: str, taxonomy: Taxonomy) -> ResponseSet:
    """Reads the responses of a file; those without text or known prompt are skipped and counted.

    Raises:
        InputError: A row cannot be used.
    """
    options = ReadOptions(taxonomy=taxonomy, prompts=known_prompts(taxonomy))
    everything = list(read_responses(path, options))
    kept = [r for r in everything if r.scorable and r.prompt and r.dimension]
    return ResponseSet(kept, {}, Path(path).name + _skipped(len(everything) - len(kept)))


def _skipped(count: int) -> str:
    return f", {count} left out" if count else ""
