"""Linear heads of the bundled scorers: one per dimension, and one per subcomponent.

A head has the name of a dimension, or `Dimension/Subcomponent`; its scale; and a slice of the
classes of all heads, which stand side by side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from flames.errors import UsageError
from flames.records import Response, Verdict, verdict_for
from flames.scorers.base import TrainingLabels
from flames.taxonomy import Taxonomy

Floats = npt.NDArray[np.floating[Any]]
Heads = Mapping[str, tuple[tuple[int, ...], tuple[int, int]]]


def pick_head(heads: Heads, dimension: str | None, subcomponent: str | None) -> str | None:
    """Returns the name of the head for such a response: the most specific that there is."""
    part = f"{dimension}/{subcomponent}"
    return part if part in heads else dimension if dimension in heads else None


def heads_for(heads: Heads, taxonomy: Taxonomy, name: str) -> Heads:
    """Returns the heads whose dimension has their scale in a taxonomy.

    Raises:
        UsageError: There is none.
    """
    scales = {dimension.name: dimension.scale for dimension in taxonomy.dimensions}
    found = {
        head: (scale, place)
        for head, (scale, place) in heads.items()
        if scales.get(head.partition("/")[0]) == scale
    }
    if not found:
        known = ", ".join(head for head in heads if "/" not in head)
        raise UsageError(f"{name} has no head for {taxonomy.id}; it knows {known}")
    return found


def scored_by(
    response: Response, scorer: str, scale: Sequence[int], probabilities: Floats, **fields: Any
) -> Verdict:
    """Returns the verdict of a head: its likeliest score."""
    given = {str(s): round(float(p), 4) for s, p in zip(scale, probabilities, strict=True)}
    score = scale[int(np.argmax(probabilities))]
    return verdict_for(response, scorer=scorer, score=score, probabilities=given, **fields)


def learnt_from(scorer: str, card: Mapping[str, Any]) -> TrainingLabels:
    """Returns the labels that a scorer's card says it was trained on."""
    data = card["trained on"]
    files, models = list(data["sha256"].values()), list(data["models"])
    if further := data.get("further rows"):
        files.append(further["sha256"])
        models.append("jade")
    return TrainingLabels(scorer, tuple(files), tuple(models))
