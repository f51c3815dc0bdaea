"""What labelled rows teach: their targets, the weights of classes and of sources."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flames.errors import UsageError
from flames.options import listed
from flames.records import dump_line
from flames.scorers.label_rows import Labelled
from flames.scorers.labelled import LabelledSet
from flames.scorers.trained.settings import Head, ScorerSettings, TrainingData
from flames.taxonomy import Taxonomy

Array = NDArray[np.float32]


def target(row: Labelled, head: Head) -> Array:
    """Returns the share of annotators per class; 1 for the label if all agree."""
    counts = Counter(row.votes.values())
    given = np.array([counts[score] for score in head.scale], dtype=np.float32)
    return np.asarray(given / given.sum())


def target_levels(rows: Sequence[Labelled], levels: Sequence[int]) -> Array:
    """Returns the share of annotators per level (rows × levels)."""
    head = Head(name="all", scale=tuple(levels))
    return np.stack([target(row, head) for row in rows])


def class_weights(rows: Sequence[Labelled], settings: ScorerSettings) -> dict[str, Array]:
    """Computes weights that make the classes of a dimension count the same; 1 on average."""
    by_head = {}
    for head in settings.heads:
        mass = np.zeros(len(head.scale))
        for row in rows:
            if row.dimension == head.name:
                mass += target(row, head)
        present = mass > 0
        weights = np.ones_like(mass)
        weights[present] = mass.sum() / (present.sum() * mass[present])
        by_head[head.name] = weights.astype(np.float32)
    return by_head


def source_weights(rows: Sequence[Labelled], weights: Mapping[str, float]) -> Array:
    """Returns the weight of each row by the file that it came from; 1 unless given."""
    sources = tuple(dict.fromkeys(row.source for row in rows))
    for name in weights:
        if not any(name in _names(source) for source in sources):
            known = listed(sources, "and")
            raise UsageError(f"--weight {name}=…: no labels to train on are of that; {known} are")
    by_source = {
        source: next((weights[name] for name in _names(source) if name in weights), 1.0)
        for source in sources
    }
    return np.array([by_source[row.source] for row in rows], dtype=np.float32)


def _names(source: str) -> tuple[str, str]:
    return source, Path(source).name


def training_data(part: LabelledSet, taxonomy: Taxonomy) -> TrainingData:
    """Describes the training data, with its checksum, for the scorer's configuration."""
    lines = []
    for row in part.rows:
        head = Head(name=row.dimension, scale=taxonomy.dimension(row.dimension).scale)
        goal = [round(float(share), 6) for share in target(row, head)]
        fields = [*row.key, row.dimension, row.response.prompt, row.response.response, goal]
        lines.append(dump_line(fields))
    digest = hashlib.sha256("\n".join(sorted(lines)).encode("utf-8", "replace")).hexdigest()
    return TrainingData(
        sha256=digest,
        n=len(part.rows),
        files=dict(part.files),
        models=tuple(dict.fromkeys(row.key.model for row in part.rows)),
        synthetic=part.synthetic,
    )
