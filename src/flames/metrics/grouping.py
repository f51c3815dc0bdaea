"""Which verdicts belong to a dimension, a subcomponent or a technique: rows of columns."""

from __future__ import annotations

from collections import Counter

import numpy as np

from flames.metrics.codes import Rows, numbered
from flames.metrics.columns import Columns
from flames.taxonomy import Taxonomy


def subcomponent_names(taxonomy: Taxonomy) -> dict[tuple[str, str], str]:
    """Returns what results call a subcomponent; with its dimension where two share a name."""
    pairs = [(d.name, part.name) for d in taxonomy.dimensions for part in d.subcomponents]
    times = Counter(part for _, part in pairs)
    return {(d, part): part if times[part] == 1 else f"{d} · {part}" for d, part in pairs}


def rows_by_dimension(columns: Columns, taxonomy: Taxonomy) -> dict[str, Rows]:
    """Returns the rows of every dimension, in the taxonomy's order; none for some, perhaps."""
    names = [taxonomy.dimension(text or "").name for text in columns.texts("dimension")]
    places = np.array([taxonomy.names.index(name) for name in names], dtype=np.int64)
    own = places[columns.codes("dimension")]
    return {name: np.flatnonzero(own == place) for place, name in enumerate(taxonomy.names)}


def rows_by_part(columns: Columns, taxonomy: Taxonomy) -> dict[str, Rows]:
    """Returns the rows of every subcomponent that there is, those of the taxonomy first."""
    known = subcomponent_names(taxonomy)
    dimensions, parts = columns.texts("dimension"), columns.texts("subcomponent")
    pairs = columns.codes("dimension").astype(np.int64) * len(parts) + columns.codes("subcomponent")
    found: dict[str, Rows] = {name: np.array([], dtype=np.int64) for name in known.values()}
    different, place = numbered(pairs)
    rows_of = [np.flatnonzero(place == at) for at in range(len(different))]
    for rows, pair in sorted(zip(rows_of, different.tolist(), strict=True), key=lambda e: e[0][0]):
        dimension, part = divmod(pair, len(parts))
        if text := parts[part]:
            own = taxonomy.dimension(dimensions[dimension] or "").name
            name = known.get((own, text), text)
            found[name] = np.sort(np.concatenate([found.get(name, rows[:0]), rows]))
    return {name: rows for name, rows in found.items() if len(rows)}


def rows_by_technique(columns: Columns) -> dict[str, Rows]:
    """Returns the rows of every technique, by name."""
    codes = columns.codes("technique")
    found = {text: code for code, text in enumerate(columns.texts("technique")) if text}
    return {name: np.flatnonzero(codes == found[name]) for name in sorted(found)}
