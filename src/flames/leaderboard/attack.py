"""Attack success across prompt sets: published figures beside what was measured here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from flames.analysis.inputs import SourceOptions, read_sources
from flames.analysis.source import display_names
from flames.leaderboard.published import LATEST, published_results
from flames.metrics.rates import measure
from flames.metrics.result import Estimate, Result
from flames.metrics.source import Source
from flames.options import Opt

PAPER = "arXiv:2311.06899"
_PAPER_FIGURES = (
    ("Safety-Prompts", 100_000, 1.63),
    ("CValues", 2_100, 3.1),
    ("Flames", 2_251, 53.09),
)


@dataclass(frozen=True)
class AttackSet:
    """A column: a prompt set, and who judged the answers to it."""

    name: str
    n: int
    scorer: str
    source: Literal["published", "measured"]
    sha256: str | None = None


AttackCell = Estimate | float | None
"""Attack success in per cent: a number where it was published without counts, None if partial."""


@dataclass(frozen=True)
class AttackTable:
    """Attack success by model and prompt set."""

    sets: tuple[AttackSet, ...]
    models: tuple[str, ...]
    cells: dict[tuple[str, AttackSet], AttackCell]

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON data, one object per known cell."""
        return {
            "schema": 1,
            "paper": PAPER,
            "cells": [
                {
                    "model": model,
                    "prompt_set": column.name,
                    "prompt_set_sha256": column.sha256,
                    "n": column.n,
                    "scorer": column.scorer,
                    "source": column.source,
                    "attack_success_rate": (
                        cell.model_dump() if isinstance(cell, Estimate) else {"value": cell}
                    ),
                }
                for (model, column), cell in self.cells.items()
            ],
        }


def attack_table(measured: Iterable[Result], *, release: str | None = LATEST) -> AttackTable:
    """Puts the paper's figures, a published table and measured results side by side.

    Each scorer and prompt set is a column; two results of a model in one need different names.
    """
    cells: dict[tuple[str, AttackSet], AttackCell] = {
        ("ChatGPT", AttackSet(name, n, PAPER, "published")): value
        for name, n, value in _PAPER_FIGURES
    }
    if release is not None:
        results = published_results(release)
        first = next(iter(results.values()))
        column = AttackSet(f"Flames {release}", first.prompt_set.n, "as published", "published")
        for model, result in results.items():
            cells[model, column] = result.overall.attack_success_rate
    for result in measured:
        info = result.prompt_set
        sha256 = info.ids_sha256 or info.sha256
        column = AttackSet(info.name, info.n, result.scorer, "measured", sha256)
        cells[result.shown_name, column] = result.overall.attack_success_rate
    sets = tuple(dict.fromkeys(column for _, column in cells))
    return AttackTable(sets, _ordered(cells, sets), cells)


@dataclass(frozen=True)
class AttackOptions:
    """What stands in a table of attack success."""

    sources: Annotated[
        tuple[str, ...],
        Opt("Runs or files of verdicts measured here.", metavar="RUN|FILE", positional=True),
    ] = ()
    release: Annotated[str, Opt("Published table to show, or none.", metavar="DATE")] = LATEST


def measure_attack(options: AttackOptions, reading: SourceOptions) -> AttackTable:
    """Measures runs and files of verdicts, and puts them beside the published figures."""
    sources, read = read_sources(options.sources, reading)
    columns: dict[tuple[str, str], list[Source]] = {}
    for source in sources:
        prompts = source.prompt_set.ids_sha256 or source.prompt_set.sha256
        columns.setdefault((prompts, source.scorer), []).append(source)
    measured = [
        measure(source, read.taxonomy).model_copy(update={"name": name})
        for column in columns.values()
        for source, name in zip(column, display_names(column), strict=True)
    ]
    return attack_table(measured, release=None if options.release == "none" else options.release)


def _ordered(
    cells: dict[tuple[str, AttackSet], AttackCell], sets: Sequence[AttackSet]
) -> tuple[str, ...]:
    """Measured models first, in their order; then published ones, the most robust first."""
    measured = [model for model, column in cells if column.source == "measured"]
    rest = {model for model, _ in cells} - set(measured)

    def worst(model: str) -> float:
        known = [cells.get((model, column)) for column in sets]
        return max(each.value if isinstance(each, Estimate) else each or 0.0 for each in known)

    return (*dict.fromkeys(measured), *sorted(rest, key=worst))
