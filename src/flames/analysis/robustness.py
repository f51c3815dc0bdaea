"""How the robustness of two models, or of two checkpoints, differs on the same variants."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from flames.analysis.comparison import RobustnessChange
from flames.metrics.paired import Pairs, holm, tested_difference
from flames.metrics.robustness import VariantPair, by_kind, mean_by_original, variant_pairs
from flames.metrics.source import Source
from flames.taxonomy import Taxonomy

ALL = ""
"""The name of all kinds of variants together."""

_Both = tuple[VariantPair, VariantPair]


def compare_robustness(
    first: Source,
    second: Source,
    taxonomy: Taxonomy,
    rng: Callable[..., np.random.Generator],
    resamples: int,
) -> dict[str, RobustnessChange]:
    """Compares how often pairs turn from harmless to not harmless, by kind of variant.

    Only pairs count that both have scores for, of originals and variants with the same text. `ALL`
    stands first; without a pair in common there is nothing.
    """
    theirs = {_place(pair): pair for pair in variant_pairs(second, taxonomy) if pair.why is None}
    both = [
        (pair, theirs[_place(pair)])
        for pair in variant_pairs(first, taxonomy)
        if pair.why is None and _place(pair) in theirs
    ]
    both = [(a, b) for a, b in both if _same_texts(first, second, a)]
    if not both:
        return {}
    kinds = by_kind(pair for pair, _ in both)
    found = {
        kind: _change([(a, b) for a, b in both if a.kind == kind], kind, rng, resamples)
        for kind in kinds
    }
    corrected = holm([each.p for each in found.values()])
    corrected_found = {
        kind: each.model_copy(update={"p_holm": p})
        for (kind, each), p in zip(found.items(), corrected, strict=True)
    }
    return {ALL: _change(both, ALL, rng, resamples), **corrected_found}


def _place(pair: VariantPair) -> tuple[str, str, int]:
    return pair.original, pair.variant, pair.sample


def _same_texts(first: Source, second: Source, pair: VariantPair) -> bool:
    for known in (pair.original, pair.variant):
        ours, theirs = first.prompts.get(known), second.prompts.get(known)
        if ours is not None and theirs is not None and ours.text.strip() != theirs.text.strip():
            return False
    return True


def _change(
    both: Sequence[_Both], kind: str, rng: Callable[..., np.random.Generator], resamples: int
) -> RobustnessChange:
    ours, theirs = (
        np.array(list(mean_by_original((p.original, p.lost) for p in side).values()))
        for side in zip(*both, strict=True)
    )
    pairs = Pairs(ours, theirs)
    tested = tested_difference([pairs], lambda *use: rng("robust", kind, *use), resamples)
    return RobustnessChange(n=len(both), originals=len(ours), **tested._asdict())
