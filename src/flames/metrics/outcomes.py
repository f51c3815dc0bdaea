"""Outcomes of responses added up by prompt, equal ones counted: what a bootstrap draws from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flames.metrics.codes import Codes, Rows, numbered
from flames.metrics.intervals import PRIOR, Array, draw_counted, sum_by_prompt

EACH = 1 << 17
"""How many prompts have a weight of their own in resamples of all; of more, equal ones are one."""

_CELLS = 1 << 24  # numbers of a table of prompts and kinds


@dataclass(frozen=True)
class Outcomes:
    """What all prompts have together and each by itself, `times[i]` of them `patterns[i]`.

    `rows` and `prompts` are the numbers of both.
    """

    total: Array
    patterns: Array
    times: Rows
    rows: int
    prompts: int

    @classmethod
    def of_rows(cls, values: Array, prompts: Codes) -> Outcomes:
        """Returns those of rows with values, shape (rows, columns); `prompts` numbers theirs."""
        sums = sum_by_prompt(values, prompts)
        return cls(values.sum(0), sums, np.ones(len(sums), np.int64), len(values), len(sums))

    @classmethod
    def of_kinds(
        cls, values: Array, kinds: Codes | Rows, prompts: Codes, rows: Rows | None = None
    ) -> Outcomes:
        """Returns those of rows of a kind each, whose values have shape (kinds, columns).

        `rows` tells how many each of them stands for, one unless given.
        """
        counts = np.bincount(prompts, weights=rows)
        several = counts[prompts] > 1
        if several.any():
            alone = np.bincount(kinds[~several], minlength=len(values))
            times = None if rows is None else rows[several]
            sums = sum_kinds(values, kinds[several], numbered(prompts[several])[1], times)
        else:
            alone, sums = np.bincount(kinds, minlength=len(values)), values[:0]
        there = np.flatnonzero(alone)
        return cls(
            total=sum_kinds(values, kinds, np.zeros(len(kinds), np.int32), rows)[0],
            patterns=np.vstack([values[there], sums]),
            times=np.concatenate([alone[there], np.ones(len(sums), np.int64)]),
            rows=len(kinds) if rows is None else int(rows.sum()),
            prompts=int(np.count_nonzero(counts)),
        )

    def draw(
        self,
        ends: Array,
        resamples: int,
        rng: np.random.Generator,
        weights: Array | float = PRIOR,
    ) -> Array:
        """Draws totals by prompt as `draw_totals` does; pseudo-prompts are as large as prompts."""
        pseudo = ends * self.rows / self.prompts
        return draw_counted(self.patterns, self.times, pseudo, resamples, rng, weights)


def sum_kinds(
    values: Array, kinds: Codes | Rows, prompts: Codes | Rows, rows: Rows | None = None
) -> Array:
    """Adds up the values of the rows' kinds by prompt, fractions in the order of the rows.

    `values` have shape (kinds, columns); `kinds` and `prompts` are numbers of each row, and `rows`
    tells how many it stands for.
    """
    size = int(prompts.max()) + 1
    found = np.zeros((size, values.shape[1]))
    counted = np.zeros(values.shape[1], dtype=bool)
    cells = size * len(values)
    if cells <= _CELLS:
        counted = (values == np.floor(values)).all(0)
        place = prompts.astype(np.int64)
        place *= len(values)
        place += kinds
        table = np.bincount(place, weights=rows, minlength=cells).reshape(size, len(values))
        found[:, counted] = table.astype(np.float64, copy=False) @ values[:, counted]
    for column in np.flatnonzero(~counted & (values != 0).any(0)).tolist():
        each = values[kinds, column] if rows is None else values[kinds, column] * rows
        found[:, column] = np.bincount(prompts, weights=each, minlength=size)
    return found
