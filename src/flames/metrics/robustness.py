"""Whether a model's values hold where prompts are said in other words: pairs that flip.

A pair is an original and one of its variants, with the responses of one sample. Several pairs of
one original are not independent: intervals and tests are by original.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from flames.metrics.intervals import Array, share_by_prompt, stream
from flames.metrics.paired import Pairs, holm, tested_difference
from flames.metrics.result import Flips, Robustness
from flames.metrics.source import Source
from flames.records import Verdict
from flames.taxonomy import Taxonomy

NO_ORIGINAL = "no original"
"""Why there is no pair where the prompt set has a variant alone."""


class VariantPair(NamedTuple):
    """Whether the responses to an original and its variant are harmless; `why` one is not known."""

    original: str
    variant: str
    kind: str
    sample: int
    before: bool | None = None
    after: bool | None = None
    why: str | None = None

    @property
    def lost(self) -> bool:
        """Whether it turned from harmless to not harmless."""
        return self.before is True and self.after is False


def variant_pairs(source: Source, taxonomy: Taxonomy) -> list[VariantPair]:
    """Returns the pairs of a source, one for each variant and sample, scored or not."""
    if not source.variants:
        return []
    originals = {variant.original for variant in source.variants.values()}
    wanted = originals | source.variants.keys()
    found: dict[tuple[str, int], Verdict] = {}
    for verdict in source.verdicts:
        if verdict.prompt_id in wanted:
            found[verdict.prompt_id, verdict.sample] = verdict
    pairs = []
    for (prompt, sample), verdict in found.items():
        if (variant := source.variants.get(prompt)) is None:
            continue
        pair = VariantPair(variant.original, prompt, variant.kind, sample)
        original = found.get((variant.original, sample))
        if original is None:
            pairs.append(pair._replace(why=NO_ORIGINAL))
        elif (why := _missing(original, verdict)) is not None:
            pairs.append(pair._replace(why=why))
        else:
            before, after = (_harmless(each, taxonomy) for each in (original, verdict))
            pairs.append(pair._replace(before=before, after=after))
    return pairs


def _missing(original: Verdict, variant: Verdict) -> str | None:
    for name, verdict in (("original", original), ("variant", variant)):
        if verdict.score is None:
            return f"{name}: {verdict.unscored or 'no score'}"
    return None


def _harmless(verdict: Verdict, taxonomy: Taxonomy) -> bool:
    return verdict.score == taxonomy.dimension(verdict.dimension).best


def measure_robustness(
    source: Source, taxonomy: Taxonomy, *, seed: int, resamples: int
) -> Robustness | None:
    """Measures how often pairs flip, all and by disguise or technique; None without variants."""
    pairs = variant_pairs(source, taxonomy)
    if not pairs:
        return None
    how = {"seed": seed, "resamples": resamples}
    kinds = {kind: _flips(kind, own, **how) for kind, own in by_kind(pairs).items()}
    tested = [name for name, found in kinds.items() if found.p is not None]
    corrected = holm([kinds[name].p or 0.0 for name in tested])
    for name, p in zip(tested, corrected, strict=True):
        kinds[name] = kinds[name].model_copy(update={"p_holm": p})
    return Robustness(overall=_flips("", pairs, **how), kinds=kinds)


def by_kind(pairs: Iterable[VariantPair]) -> dict[str, list[VariantPair]]:
    """Returns the pairs of each disguise or technique, in the order they first came."""
    found: dict[str, list[VariantPair]] = defaultdict(list)
    for pair in pairs:
        found[pair.kind].append(pair)
    return dict(found)


def mean_by_original(values: Iterable[tuple[str, bool]]) -> dict[str, float]:
    """Returns the mean of each original's values."""
    found: dict[str, list[bool]] = defaultdict(list)
    for original, value in values:
        found[original].append(value)
    return {original: float(np.mean(own)) for original, own in found.items()}


def _flips(kind: str, pairs: Sequence[VariantPair], *, seed: int, resamples: int) -> Flips:
    scored = [pair for pair in pairs if pair.why is None]
    unscored = Counter(pair.why for pair in pairs if pair.why is not None)
    found = Flips(
        n=len(pairs),
        scored=len(scored),
        originals=len({pair.original for pair in pairs}),
        unscored=dict(sorted(unscored.items())),
        lost=share_by_prompt([(pair.original, pair.lost) for pair in scored]),
        gained=share_by_prompt([(p.original, bool(p.after) and not p.before) for p in scored]),
    )
    if not scored:
        return found
    before = _column(mean_by_original((p.original, bool(p.before)) for p in scored))
    after = _column(mean_by_original((p.original, bool(p.after)) for p in scored))
    rng = partial(stream, seed, "robustness", kind)
    tested = tested_difference([Pairs(before, after)], rng, resamples)
    names = {"before": tested.first, "after": tested.second, "difference": tested.difference}
    return found.model_copy(update={**names, "p": tested.p, "test": tested.test})


def _column(means: Mapping[str, float]) -> Array:
    return np.array(list(means.values()))
