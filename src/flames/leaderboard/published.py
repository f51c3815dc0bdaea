"""The two published leaderboards as data, with the label counts behind their figures.

Figures: the README of github.com/AIFlames/Flames, releases of 2023-11-08 and 2023-12-11. Every
cell but one is the image of whole-number label counts.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from flames.errors import UsageError
from flames.leaderboard.possible import best_counts, possible_counts, score_of
from flames.leaderboard.ranks import Ranked, Ranking, Value, rank_models
from flames.metrics.rates import RESAMPLES, measure
from flames.metrics.result import Note, Result
from flames.metrics.source import Source
from flames.options import Opt, SeedOptions, listed
from flames.records import PromptSetInfo, Verdict
from flames.taxonomy import Taxonomy, default_taxonomy

RELEASES = ("2023-11-08", "2023-12-11")
LATEST = RELEASES[-1]
FILE = "data/published_leaderboard.csv"


class PublishedRow(NamedTuple):
    """One figure of a published table.

    The macro mean, `Overall`, has neither `n` nor score. `counts` come best score first; `exact`
    is False where none give both figures: they give the rate, all other labels being the worst.
    """

    release: str
    model: str
    dimension: str
    n: int | None
    harmless_rate: float
    harmless_score: float | None
    counts: tuple[int, ...] | None = None
    exact: bool = True


def published(release: str = LATEST) -> tuple[PublishedRow, ...]:
    """Returns the rows of one release, in its order."""
    if release not in RELEASES:
        raise UsageError(f"no published release {release!r}; there are: {', '.join(RELEASES)}")
    return tuple(row for row in _rows() if row.release == release)


def published_counts(release: str = LATEST) -> Mapping[str, Mapping[str, tuple[int, ...]]]:
    """Returns model → dimension → label counts, best score first, in the table's order."""
    models: dict[str, dict[str, tuple[int, ...]]] = {}
    for row in published(release):
        if row.counts is not None:
            models.setdefault(row.model, {})[row.dimension] = row.counts
    return models


def published_results(
    release: str = LATEST, *, seed: int = 0, resamples: int = RESAMPLES
) -> dict[str, Result]:
    """Measures each model's label counts, in the table's order."""
    results = {}
    for model, dimensions in published_counts(release).items():
        n = sum(map(sum, dimensions.values()))
        info = PromptSetInfo(name=f"flames, as published {release}", sha256="unknown", n=n)
        notes = tuple(
            Note("published_score", dimension=row.dimension, score=row.harmless_score or 0)
            for row in published(release)
            if row.model == model and not row.exact
        )
        source = Source(
            model=model,
            scorer="as published",
            prompt_set=info,
            verdicts=tuple(_verdicts(model, dimensions)),
            notes=notes,
            origin=Path(FILE),
        )
        results[model] = measure(source, seed=seed, resamples=resamples)
    return results


@dataclass(frozen=True)
class ShowOptions(SeedOptions):
    """Which published table is shown, and how it is ordered."""

    release: Annotated[str, Opt(f"{listed(RELEASES)}.", metavar="DATE")] = LATEST
    dimension: Annotated[
        str | None, Opt("Rank by this dimension instead of overall.", metavar="D")
    ] = None
    sort: Annotated[Literal["rate", "score", "model"], Opt("What to order by.")] = "rate"


@dataclass(frozen=True)
class PublishedRanking:
    """A published table with ranks; `models` are in the order in which they are shown."""

    release: str
    ranking: Ranking
    models: tuple[Ranked, ...]
    results: Mapping[str, Result]

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON data, models from best to worst."""
        return {
            "schema": 1,
            "release": self.release,
            "source": "github.com/AIFlames/Flames",
            "ranking": self.ranking.model_dump(),
            "models": {name: result.to_dict() for name, result in self.results.items()},
        }


def rank_published(options: ShowOptions) -> PublishedRanking:
    """Ranks the models of a published table."""
    dimension = options.dimension
    if dimension is not None:
        dimension = default_taxonomy().dimension(dimension).name
    results = published_results(options.release, seed=options.seed)
    value: Value = "harmless_score" if options.sort == "score" else "harmless_rate"
    ranking = rank_models(results, dimension=dimension, value=value, seed=options.seed)
    models = ranking.models
    if options.sort == "model":
        models = tuple(sorted(models, key=lambda ranked: ranked.model.casefold()))
    return PublishedRanking(options.release, ranking, models, results)


def _verdicts(model: str, dimensions: Mapping[str, tuple[int, ...]]) -> Iterator[Verdict]:
    taxonomy = default_taxonomy()
    for name, counts in dimensions.items():
        for score, times in zip(taxonomy.dimension(name).scale, counts, strict=True):
            for i in range(times):
                yield Verdict.model_construct(
                    prompt_id=f"{name}/{score}/{i}",
                    model=model,
                    dimension=name,
                    scorer="as published",
                    score=score,
                )


@cache
def _rows() -> tuple[PublishedRow, ...]:
    taxonomy = default_taxonomy()
    text = resources.files("flames").joinpath(FILE).read_text("utf-8")
    return tuple(_row(fields, taxonomy) for fields in csv.DictReader(text.splitlines()))


def _row(fields: Mapping[str, str], taxonomy: Taxonomy) -> PublishedRow:
    rate = Decimal(fields["harmless_rate_pct"])
    row = PublishedRow(
        release=fields["release"],
        model=fields["model"],
        dimension=fields["dimension"],
        n=int(fields["n"]) if fields["n"] else None,
        harmless_rate=float(rate),
        harmless_score=float(fields["harmless_score"]) if fields["harmless_score"] else None,
    )
    if row.n is None:
        return row
    score = Decimal(fields["harmless_score"])
    scale = taxonomy.dimension(row.dimension).scale
    fitting = possible_counts(row.n, scale, rate, score)
    if not fitting:
        best = best_counts(row.n, rate, 2)[0]
        counts = (best, *(0 for _ in scale[2:]), row.n - best)
        return row._replace(counts=counts, exact=False)
    # In a few large cells two neighbouring counts are printed alike: the nearer one is taken.
    nearest = min(fitting, key=lambda counts: abs(score_of(counts, scale) - Fraction(score)))
    return row._replace(counts=nearest)
