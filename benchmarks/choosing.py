"""How many fewer labels `--choose uncertain` takes than a random draw, and what intervals cover.

On `labels:natural`, with the verdicts of the lexical scorer, fitted anew so that each row's
responder and prompt are left out (the bundled weights know these labels). Each run draws labels
as `flames annotate init` does and corrects the scorer as `flames report --human` does. Its
responses are drawn from the set with replacement, as if from a population of which the set's rate
is the truth. Run: python benchmarks/choosing.py [--runs N]
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "scripts"))
import train_bundled as bundled

from flames.annotation.choosing import EVEN, chances, draw_by_chance
from flames.metrics.correction import _part, _Stratum
from flames.metrics.intervals import mean_of, percentile_interval
from flames.training import crossfit

RESAMPLES = 500


class Group(NamedTuple):
    """One dimension: harmless and score by people and by the scorer, and how sure it was."""

    name: str
    human: np.ndarray
    scorer: np.ndarray
    doubt: np.ndarray
    worst: float


def groups() -> Iterator[Group]:
    rows = bundled.read_rows(None, None)
    features, _, _ = bundled.lexical_features(rows)
    kernel = np.asarray((features @ features.T).todense(), dtype=np.float32)
    scores = bundled.left_out(rows, kernel)
    found = crossfit.left_out_chances(
        scores, rows.labels, rows.models, bundled.natural(rows), bundled.TAXONOMY
    )
    levels = np.array(bundled.LEVELS)
    truth = levels[rows.labels.shares.argmax(axis=1)]
    for dimension in bundled.TAXONOMY.dimensions:
        own = np.flatnonzero((rows.sets == "natural") & (rows.labels.dimensions == dimension.name))
        columns = [bundled.LEVELS.index(level) for level in dimension.scale]
        sure = found[np.ix_(own, columns)]
        said = np.array(dimension.scale)[sure.argmax(axis=1)]
        yield Group(
            dimension.name,
            _columns(truth[own], dimension.best),
            _columns(said, dimension.best),
            np.sqrt(np.where(said == dimension.best, 1 - sure[:, 0], sure[:, 0])),
            dimension.scale[-1] / dimension.best,
        )


def _columns(scores: np.ndarray, best: int) -> np.ndarray:
    return np.column_stack([scores == best, scores / best]).astype(float)


def corrected(
    given: list[Group], labels: int, even: float, rng: np.random.Generator
) -> tuple[float, float, float]:
    """The overall corrected rate with its interval, from `labels` a dimension."""
    values, draws = [], []
    for whole in given:
        here = rng.integers(0, len(whole.human), len(whole.human))
        group = whole._replace(
            human=whole.human[here], scorer=whole.scorer[here], doubt=whole.doubt[here]
        )
        chance = chances(group.doubt, labels, even)
        chosen = draw_by_chance(chance, rng)
        order = np.concatenate([chosen, np.setdiff1d(np.arange(len(chance)), chosen)])
        weights = 1 / chance[chosen]
        stratum = _Stratum(
            human=group.human[chosen], scorer=group.scorer[order],
            weights=weights / weights.mean(), prompts=np.arange(len(chance)), worst=group.worst,
        )  # fmt: skip
        [part] = _part(stratum, RESAMPLES, rng)
        values.append(part.fits[0].value)
        draws.append(part.corrected_draws[:, 0])
    value = float(np.mean(values))
    low, high = percentile_interval(mean_of(draws), value)
    return value, low, high


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--even", type=float, default=EVEN)
    options = parser.parse_args()
    given = list(groups())
    for group in given:
        right = (group.human[:, 1] == group.scorer[:, 1]).mean()
        print(f"{group.name:16} {len(group.human):5} responses, left-out accuracy {right:.3f}")
    truth = float(np.mean([group.human[:, 0].mean() for group in given]))
    print(f"\noverall harmless rate {100 * truth:.1f} %\n")
    print(f"{'labels a dimension':20}{'draw':12}{'bias':>7}{'spread':>8}{'width':>7}{'covers':>8}")
    rng = np.random.default_rng(options.seed)
    for labels in (20, 30, 50, 80):
        spreads, widths = [], []
        for name, even in (("random", 1.0), ("uncertain", options.even)):
            runs = [corrected(given, labels, even, rng) for _ in range(options.runs)]
            values, lows, highs = (100 * np.array(column) for column in zip(*runs, strict=True))
            covers = 100 * np.mean((lows <= 100 * truth) & (100 * truth <= highs))
            spreads.append(values.std())
            widths.append(float(np.mean(highs - lows)))
            print(
                f"{labels:<20}{name:12}{values.mean() - 100 * truth:7.2f}{spreads[-1]:8.2f}"
                f"{widths[-1]:7.2f}{covers:8.1f}"
            )
        fewer = (100 * (1 - (b / a) ** 2) for a, b in (spreads, widths))
        print("fewer labels for the same spread {:.0f} %, the same width {:.0f} %".format(*fewer))


if __name__ == "__main__":
    main()
