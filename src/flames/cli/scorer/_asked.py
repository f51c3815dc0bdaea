"""What `probe` and `calibrate` share: how a scorer is reached, and responses to try it on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Optional

import typer

if TYPE_CHECKING:
    from flames.metrics.result import Note
    from flames.records import Key, Response
    from flames.scorers.base import Scorer
    from flames.taxonomy import Taxonomy

ScorerArgument = Annotated[
    str, typer.Argument(metavar="SCORER", help="A scorer by name or path, as for --scorer.")
]
BaseUrlOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--base-url", metavar="URL", help="Endpoint of a judge or guard."),
]
ApiKeyEnvOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--api-key-env", metavar="NAME", help="Variable that holds its key."),
]
ConcurrencyOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--concurrency", metavar="N", min=1, help="Requests to it at a time."),
]
ScorerOptions = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--scorer-option",
        metavar="NAME=VALUE",
        help="Anything else that the scorer understands; may be repeated.",
    ),
]
ModelsOption = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--models", metavar="A,B,…", help="Only the responses of these models."),
]
SampleOption = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--limit", metavar="N", min=1, help="A seeded sample of N responses."),
]


def reached(
    spec: str,
    taxonomy: Path | None,
    pairs: Sequence[str] | None,
    *,
    base_url: str | None,
    api_key_env: str | None,
    concurrency: int | None,
) -> Scorer:
    """The scorer, with what its commands say of its endpoint."""
    from flames.cli.scorer._load import load, parse_options

    named: dict[str, Any] = {
        "base_url": base_url,
        "api_key_env": api_key_env,
        "concurrency": concurrency,
    }
    given = {name: value for name, value in named.items() if value is not None}
    return load(spec, taxonomy, {**parse_options(pairs), **given})


@dataclass(frozen=True)
class Material:
    """Responses to try a scorer on, what they deserve where that is known, and what they are."""

    responses: Sequence[Response]
    labels: Mapping[Key, int]
    source: str
    notes: tuple[Note, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)

    def only(self, models: str | None) -> Material:
        """The responses of those models (`A,B`).

        Raises:
            UsageError: There are none.
        """
        from flames.errors import UsageError

        if models is None:
            return self
        names = [name.strip() for name in models.split(",")]
        kept = [response for response in self.responses if response.model in names]
        if not kept:
            known = ", ".join(sorted({response.model for response in self.responses}))
            raise UsageError(f"no response of {models}; there are: {known}")
        return replace(self, responses=kept, source=f"{self.source} ({', '.join(names)})")

    def sample(self, limit: int | None, seed: int) -> Material:
        """A seeded sample, or all of them."""
        import random

        if limit is None or limit >= len(self.responses):
            return self
        drawn = random.Random(seed).sample(list(self.responses), limit)  # noqa: S311
        source = f"{self.source}, a sample of {limit} (seed {seed})"
        return replace(self, responses=drawn, source=source)


def labelled(files: Sequence[str], taxonomy: Taxonomy) -> Material:
    """Labelled responses; labels without a text are left out and counted in `source`.

    Raises:
        InputError: A row is unusable, or none is left.
    """
    from flames.prompts.sets import known_prompts
    from flames.scorers.labelled import read_labelled
    from flames.storage.record_files import ReadOptions

    options = ReadOptions(taxonomy=taxonomy, prompts=known_prompts(taxonomy))
    found = read_labelled(files, options, skip_incomplete=True)
    rows = [row for row in found.rows if row.score is not None]
    labels = {row.key: row.score for row in rows if row.score is not None}
    left = sum(found.excluded.values()) + len(found.rows) - len(rows)
    source = " + ".join(files) + (f", {left} left out" if left else "")
    responses = [row.response for row in rows]
    return Material(responses, labels, source, found.notes, found.files)


def unlabelled(path: str, taxonomy: Taxonomy) -> Material:
    """Responses of a file, those without text or known prompt left out and counted.

    Raises:
        InputError: A row cannot be used.
    """
    from flames.prompts.sets import known_prompts
    from flames.storage.record_files import ReadOptions, read_responses

    options = ReadOptions(taxonomy=taxonomy, prompts=known_prompts(taxonomy))
    everything = list(read_responses(path, options))
    kept = [r for r in everything if r.scorable and r.prompt and r.dimension]
    left = len(everything) - len(kept)
    return Material(kept, {}, Path(path).name + (f", {left} left out" if left else ""))
