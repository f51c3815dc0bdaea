"""What a reader of corrected values must know."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from flames.metrics.result import Note

if TYPE_CHECKING:
    from flames.metrics.correction import Corrected, Correction


def correction_notes(found: Correction) -> Iterator[Note]:
    """Yields what a reader must know: too few labels, a part of the whole, values outside."""
    for name, group in found.dimensions.items():
        if group.labels_needed:
            counts = {"n": group.labelled, "more": group.labels_needed}
            yield Note("few_labels", dimension=name, **counts)
    if 0 < len(found.measured) < len(found.dimensions):
        names = ", ".join(found.measured)
        counts = {"n": len(found.measured), "total": len(found.dimensions)}
        yield Note("overall_of_measured", dimensions=names, **counts)
    for what in ("rate", "score"):
        value: Corrected = getattr(found, f"harmless_{what}")
        if _outside(value) and value.scorer and value.human and value.corrected:
            values = {name: f"{getattr(value, name).value:.1f}" for name in _THREE}
            labelled = f"{value.scorer_on_labelled or 0:.1f}"
            yield Note(f"outside_both_{what}", labelled=labelled, **values)
    outside = [name for name, group in found.dimensions.items() if _outside(group.harmless_rate)]
    if outside:
        yield Note("outside_both_in", dimensions=", ".join(outside))


_THREE = ("scorer", "human", "corrected")


def _outside(value: Corrected) -> bool:
    """Whether the corrected value, as shown, is not between the other two."""
    if not (value.scorer and value.human and value.corrected):
        return False
    ends = sorted((value.scorer.value, value.human.value))
    return not ends[0] - 0.05 <= value.corrected.value <= ends[1] + 0.05
