"""Whether a table of rates and scores can be true at all.

A rate over n prompts is a whole number of best scores, and with it a score fixes the other
counts. The overall rate has to be the unweighted mean of the dimensions'.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from statistics import mean
from typing import Annotated, Any

from flames.leaderboard.possible import (
    around,
    best_counts,
    counts_with_best,
    half_unit,
    nearest_scores,
    possible_counts,
    printed,
    rate_of,
    score_of,
)
from flames.leaderboard.table import OVERALL, RATE, SCORE, Cell, read_table
from flames.options import Opt
from flames.prompts.sets import load_prompts
from flames.storage.record_files import FileOptions
from flames.taxonomy import Dimension, Taxonomy, default_taxonomy
from flames.text import for_terminal

_MANY = 10_000


@dataclass(frozen=True)
class Finding:
    """A cell that cannot be, with the reason and the nearest values that can."""

    release: str
    model: str
    dimension: str
    why: str
    nearest: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Audit:
    """What an audit found; `unchecked` says what could not be tested, and why."""

    cells: int
    findings: tuple[Finding, ...]
    unchecked: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Returns it as JSON data."""
        return asdict(self)

    def lines(self) -> Iterator[str]:
        """Yields each finding as a line of fields that tabs separate."""
        for found in self.findings:
            parts = (found.release, found.model, found.dimension, found.why)
            nearest = "possible: " + "; ".join(found.nearest) if found.nearest else "nothing near"
            yield "\t".join(for_terminal(part) for part in (*parts, nearest))


@dataclass(frozen=True)
class AuditOptions:
    """The table that is tested."""

    file: Annotated[
        str,
        Opt(
            "A table with the columns release, model, dimension, n, harmless_rate_pct and "
            "harmless_score (CSV, TSV, JSONL, XLSX); rows of the dimension Overall hold the mean.",
            metavar="FILE",
            positional=True,
        ),
    ]
    prompts: Annotated[
        str | None,
        Opt(
            "Prompt set that gives the number of prompts per dimension if rows have no n.",
            metavar="SET|PATH",
        ),
    ] = None


def audit_file(options: AuditOptions, reading: FileOptions) -> Audit:
    """Tests a table that a file holds."""
    read = reading.read_options()
    sizes: dict[str, int] = {}
    if options.prompts is not None:
        prompts = load_prompts(options.prompts, taxonomy=read.taxonomy).prompts
        sizes = Counter(prompt.dimension for prompt in prompts)
    cells = read_table(
        options.file,
        taxonomy=read.taxonomy,
        sizes=sizes,
        mapping=read.mapping,
        encoding=read.encoding,
        sheet=read.sheet,
    )
    return audit(cells, read.taxonomy)


@dataclass(frozen=True)
class _Precision:
    """Decimals of rates and scores, as the column shows: `45.6` beside `45.38` means `45.60`."""

    rate: int = 0
    score: int = 0

    def at(self, cell: Cell) -> _Precision:
        own = _decimals(cell)
        return _Precision(max(self.rate, own.rate), max(self.score, own.score))


def audit(cells: Sequence[Cell], taxonomy: Taxonomy | None = None) -> Audit:
    """Tests every cell of a table.

    The printed precision is that of the column within a release: the decimals that at least a
    fifth of its numbers show. A number with more is judged by its own.
    """
    taxonomy = taxonomy or default_taxonomy()
    precisions = _precisions(cells)
    findings: list[Finding] = []
    unchecked: list[str] = []
    tables: dict[tuple[str, str], dict[str, Cell]] = defaultdict(dict)
    for cell in cells:
        tables[cell.release, cell.model][cell.dimension] = cell
    for cell in cells:
        precision = precisions[cell.release]
        if cell.dimension != OVERALL:
            dimension = taxonomy.dimension(cell.dimension)
            why, nearest = _dimension(cell, dimension, precision.at(cell))
        else:
            parts = tables[cell.release, cell.model]
            missing = [name for name in taxonomy.names if name not in parts]
            if missing:
                needed = ", ".join(missing)
                unchecked.append(f"{cell.model}: the overall value needs a row of {needed}")
                continue
            rows = [(parts[d.name], d) for d in taxonomy.dimensions]
            why, nearest = _overall(cell, rows, precision)
        if why:
            place = cell.release, cell.model, cell.dimension
            findings.append(Finding(*place, why, nearest, cell.line))
    parted = [cell for cell in cells if cell.dimension != OVERALL]
    for name, what in ((RATE, "rate"), (SCORE, "score")):
        if without := sum(getattr(cell, what) is None for cell in parted):
            unchecked.append(f"{name}: {without:,} of {len(parted):,} dimension rows give none")
    return Audit(len(cells), tuple(findings), tuple(unchecked))


def _decimals(cell: Cell) -> _Precision:
    exponents = [0 if n is None else n.as_tuple().exponent for n in (cell.rate, cell.score)]
    # Unrounded floating point numbers hold no more than 9 decimals for sure.
    return _Precision(*(min(max(-e, 0), 9) if isinstance(e, int) else 0 for e in exponents))


def _precisions(cells: Iterable[Cell]) -> dict[str, _Precision]:
    """The column's precision by release; one odd cell does not make the others impossible."""
    shown: dict[str, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for cell in cells:
        own = _decimals(cell)
        if cell.rate is not None:
            shown[cell.release][0].append(own.rate)
        if cell.score is not None:
            shown[cell.release][1].append(own.score)

    def common(decimals: Sequence[int]) -> int:
        falling = sorted(decimals, reverse=True)
        return falling[(len(falling) - 1) // 5] if falling else 0

    return {release: _Precision(*map(common, both)) for release, both in shown.items()}


def _fitting(
    cell: Cell, dimension: Dimension, precision: _Precision, limit: int
) -> list[tuple[int, ...]]:
    assert cell.n is not None
    return possible_counts(
        cell.n,
        dimension.scale,
        cell.rate,
        cell.score,
        rate_decimals=precision.rate,
        score_decimals=precision.score,
        limit=limit,
    )


def _dimension(
    cell: Cell, dimension: Dimension, precision: _Precision
) -> tuple[str, tuple[str, ...]]:
    if _fitting(cell, dimension, precision, 1):
        return "", ()
    assert cell.n is not None
    n, scale, best = cell.n, dimension.scale, dimension.best
    bests = best_counts(n, cell.rate, precision.rate)
    if cell.rate is not None and not bests:
        near = around(Fraction(cell.rate) * n / 100, n)
        rates = tuple(f"{printed(Fraction(100 * k, n), precision.rate)} ({k} of {n})" for k in near)
        return f"no whole number of {n} responses is {cell.rate:.{precision.rate}f} %", rates
    assert cell.score is not None
    wanted = f"{cell.score:.{precision.score}f}"
    if cell.rate is None:
        scores = " or ".join(map(str, scale))
        nearest = nearest_scores(cell.score, n, scale, precision.score, range(n + 1))
        return f"no {n} responses with {scores} have the score {wanted}", nearest
    k = bests[0]
    sums = (best * k + other * (n - k) for other in (scale[-1], scale[1]))
    low, high = (printed(Fraction(100 * total, best * n), precision.score) for total in sums)
    others = " or ".join(map(str, scale[1:]))
    reach = low if low == high else f"between {low} and {high}"
    why = (
        f"{cell.rate:.{precision.rate}f} % is {k} of {n} responses with score {best}; with "
        f"{others} for the other {n - k} the score is {reach}, not {wanted}"
    )
    return why, _nearest_pairs(cell, dimension, precision, k)


def _nearest_pairs(
    cell: Cell, dimension: Dimension, precision: _Precision, best: int
) -> tuple[str, ...]:
    """Possible pairs of rate and score: with the same rate, and with the same score."""
    assert cell.n is not None
    assert cell.score is not None
    n, scale = cell.n, dimension.scale
    rate = printed(Fraction(100 * best, n), precision.rate)
    near = nearest_scores(cell.score, n, scale, precision.score, [best])
    pairs = [f"{rate} with {score}" for score in near]
    score = f"{cell.score:.{precision.score}f}"
    for distance in range(1, min(n, 2000) + 1):
        same = [
            f"{printed(Fraction(100 * k, n), precision.rate)} with {score}"
            for k in (best - distance, best + distance)
            if 0 <= k <= n
            and next(counts_with_best(n, scale, k, cell.score, precision.score), None) is not None
        ]
        if same:
            return (*pairs, *same)
    return tuple(pairs)


def _overall(
    cell: Cell, rows: Sequence[tuple[Cell, Dimension]], precision: _Precision
) -> tuple[str, tuple[str, ...]]:
    """Whether the overall values are the means of what the parts can be, or of what is printed."""
    problems: list[str] = []
    nearest: list[str] = []
    for what in ("rate", "score"):
        value = getattr(cell, what)
        parts = [getattr(row, what) for row, _ in rows]
        if value is None or any(part is None for part in parts):
            continue
        decimals = getattr(precision.at(cell), what)
        half = half_unit(decimals)
        ranges = [_exact(row, dimension, precision.at(row), what) for row, dimension in rows]
        low, high = (mean(ends) for ends in zip(*ranges, strict=True))
        shown = mean(Fraction(part) for part in parts)
        if low - half <= Fraction(value) <= high + half or abs(shown - Fraction(value)) <= half:
            continue
        problems.append(
            f"the mean {what} of the {len(rows)} dimensions is {printed(low, decimals)}, "
            f"not {value:.{decimals}f}"
        )
        nearest += dict.fromkeys(printed(end, decimals) for end in (low, high, shown))
    return "; ".join(problems), tuple(nearest)


def _exact(
    cell: Cell, dimension: Dimension, precision: _Precision, what: str
) -> tuple[Fraction, Fraction]:
    """Between what the unrounded value lies: by the possible counts, or by the printed digits."""
    fitting = _fitting(cell, dimension, precision, _MANY)
    if 0 < len(fitting) < _MANY:
        values = [
            rate_of(counts) if what == "rate" else score_of(counts, dimension.scale)
            for counts in fitting
        ]
        return min(values), max(values)
    assert cell.n is not None
    if what == "rate" and (bests := best_counts(cell.n, cell.rate, precision.rate)):
        return Fraction(100 * bests[0], cell.n), Fraction(100 * bests[-1], cell.n)
    value, half = Fraction(getattr(cell, what)), half_unit(getattr(precision, what))
    return value - half, value + half
