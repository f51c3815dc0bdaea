"""Two sources prompt by prompt: what is paired, what is left out, and the difference of a group."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass

import numpy as np

from flames.analysis.comparison import Difference
from flames.metrics.grouping import subcomponent_names
from flames.metrics.intervals import Array
from flames.metrics.paired import (
    Pairs,
    detectable,
    fall_test,
    holm,
    tested_difference,
)
from flames.metrics.source import Source
from flames.records import Verdict
from flames.taxonomy import Taxonomy


@dataclass(frozen=True)
class Paired:
    """A prompt with the scored verdicts of both sides."""

    prompt_id: str
    dimension: str
    first: tuple[Verdict, ...]
    second: tuple[Verdict, ...]


def prompt_ids(source: Source) -> frozenset[str]:
    """Returns the ids of the prompts that a source has verdicts on, scored or not."""
    return frozenset(verdict.prompt_id for verdict in source.verdicts)


def _scored(source: Source) -> dict[str, list[Verdict]]:
    by_prompt: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in source.verdicts:
        if verdict.score is not None:
            by_prompt[verdict.prompt_id].append(verdict)
    return by_prompt


def join_prompts(
    first: tuple[str, Source],
    second: tuple[str, Source],
    shared: Set[str],
    other: Mapping[str, None],
    taxonomy: Taxonomy,
) -> tuple[list[Paired], dict[str, int]]:
    """Pairs the `shared` prompts that both sides have scores for; counts the rest by reason."""
    sides = {first[0]: _scored(first[1]), second[0]: _scored(second[1])}
    ours, theirs = sides.values()
    pairs: list[Paired] = []
    left_out: dict[str, int] = defaultdict(int)
    for prompt in dict.fromkeys(verdict.prompt_id for verdict in first[1].verdicts):
        without = [name for name, scored in sides.items() if prompt not in scored]
        if prompt not in shared:
            left_out["another text" if prompt in other else "not in common"] += 1
        elif without:
            left_out[f"unscored: {without[0] if len(without) == 1 else 'both'}"] += 1
        else:
            dimension = taxonomy.dimension(ours[prompt][0].dimension).name
            pairs.append(Paired(prompt, dimension, tuple(ours[prompt]), tuple(theirs[prompt])))
    left_out["not in common"] += len(prompt_ids(second[1]) - prompt_ids(first[1]))
    return pairs, {reason: n for reason, n in left_out.items() if n}


def by_dimension(pairs: Sequence[Paired], taxonomy: Taxonomy) -> dict[str, list[Paired]]:
    """Returns the pairs of each dimension that has any, in the taxonomy's order."""
    found: dict[str, list[Paired]] = {name: [] for name in taxonomy.names}
    for pair in pairs:
        found[pair.dimension].append(pair)
    return {name: own for name, own in found.items() if own}


def by_subcomponent(pairs: Sequence[Paired], taxonomy: Taxonomy) -> dict[str, list[Paired]]:
    """Returns the pairs of each subcomponent, under the name that results give it."""
    names = subcomponent_names(taxonomy)
    found: dict[str, list[Paired]] = {name: [] for name in names.values()}
    for pair in pairs:
        if part := pair.first[0].subcomponent:
            found.setdefault(names.get((pair.dimension, part), part), []).append(pair)
    return {name: own for name, own in found.items() if own}


def by_technique(pairs: Sequence[Paired]) -> dict[str, list[Paired]]:
    """Returns the pairs of each technique of attack."""
    found: dict[str, list[Paired]] = defaultdict(list)
    for pair in pairs:
        if technique := pair.first[0].technique:
            found[technique].append(pair)
    return dict(sorted(found.items()))


def values_of(pairs: Sequence[Paired], taxonomy: Taxonomy, *, rate: bool) -> Pairs:
    """Returns the harmless rates or scores of paired prompts, as shares."""
    best = {d.name: d.best for d in taxonomy.dimensions}

    def values(dimension: str, verdicts: Sequence[Verdict]) -> Array:
        scores = [verdict.score for verdict in verdicts if verdict.score is not None]
        if rate:
            return np.array([float(score == best[dimension]) for score in scores])
        return np.array([score / best[dimension] for score in scores])

    responses = [(values(p.dimension, p.first), values(p.dimension, p.second)) for p in pairs]
    scales = [taxonomy.dimension(name).scale for name in {p.dimension for p in pairs}]
    return Pairs(
        first=np.array([first.mean() for first, _ in responses]),
        second=np.array([second.mean() for _, second in responses]),
        low=0.0 if rate else min(scale[-1] / scale[0] for scale in scales),
        responses=responses if any(len(a) + len(b) > 2 for a, b in responses) else None,
    )


def difference_of(
    strata: Sequence[Pairs], rng: Callable[..., np.random.Generator], resamples: int
) -> Difference:
    """Tests the mean difference, also whether it is a fall."""
    differences = [own.differences for own in strata]
    return Difference(
        **tested_difference(strata, rng, resamples)._asdict(),
        p_fall=fall_test(differences, resamples, rng("fall")),
        detectable=100 * detectable(strata),
    )


def correct_together(differences: Sequence[Difference]) -> list[Difference]:
    """Returns the differences with p values that Holm's method corrects over all of them."""
    pairs = zip(differences, holm([each.p for each in differences]), strict=True)
    return [each.model_copy(update={"p_holm": p}) for each, p in pairs]
