"""Comparing models on the prompts that both answered and have scores for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from flames.analysis.comparison import (
    Change,
    Comparison,
    Difference,
    DimensionComparison,
    PairComparison,
    Side,
)
from flames.analysis.source import display_names, reworded_ids
from flames.errors import UsageError
from flames.metrics.conditions import differing
from flames.metrics.intervals import Array, bootstrap_estimate, mean_of, stream
from flames.metrics.paired import (
    Pairs,
    detectable,
    difference_draws,
    fall_test,
    holm,
    mcnemar_exact,
    sign_flip_test,
)
from flames.metrics.rates import RESAMPLES
from flames.metrics.result import Note
from flames.metrics.source import Source
from flames.metrics.unread import unread_notes
from flames.records import Verdict
from flames.taxonomy import Dimension, Taxonomy, default_taxonomy
from flames.text import normalize_text, shorten

INTERVAL = "paired bootstrap by prompt"
MCNEMAR = "McNemar, exact"
SIGN_FLIP = "sign-flip permutation by prompt"


def compare(
    sources: Sequence[Source],
    taxonomy: Taxonomy | None = None,
    *,
    common: bool = False,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compares every two sources; with `common`, those that differ on the prompts in common."""
    taxonomy = taxonomy or default_taxonomy()
    if len(sources) < 2:
        raise UsageError("comparing takes at least two models; only one was given")
    names = display_names(sources)
    for source in sources:
        if not source.joinable:
            raise UsageError(
                f"{source.origin}: its rows have neither `prompt_id` nor `prompt`, so responses "
                "cannot be joined with another model's"
            )
    return Comparison(
        taxonomy=taxonomy.id,
        sides=tuple(
            Side(
                name=name,
                model=source.model,
                scorer=source.scorer,
                prompt_set=source.prompt_set,
                origin=str(source.origin),
                notes=(*source.notes, *unread_notes(source.verdicts)),
            )
            for name, source in zip(names, sources, strict=True)
        ),
        pairs=tuple(
            _pair(first, second, taxonomy, common, seed, resamples)
            for first, second in combinations(zip(names, sources, strict=True), 2)
        ),
        seed=seed,
        resamples=resamples,
    )


def _ids(source: Source) -> frozenset[str]:
    return frozenset(verdict.prompt_id for verdict in source.verdicts)


def _remarks(
    first: Source, second: Source, shared: Set[str], other: Sequence[str], common: bool
) -> tuple[Note, ...]:
    remarks: list[Note] = []
    if first.scorer != second.scorer:
        if not common:
            raise UsageError(
                f"different scorers: {first.model} by {first.scorer}, {second.model} by "
                f"{second.scorer}; score both with one scorer, choose one with --scorer, or give "
                "--common to compare them all the same"
            )
        remarks.append(Note("different_scorers", first=first.scorer, second=second.scorer))
    apart = differing(first.conditions, second.conditions)
    if apart:
        what = "; ".join(f"{name}: {_short(a)} | {_short(b)}" for name, (a, b) in apart.items())
        remarks.append(Note("other_conditions", what=what))
    ours, theirs = _ids(first), _ids(second)
    different = []
    if other:
        texts = (shorten(side.prompts[other[0]].text, 40) for side in (first, second))
        values = {"id": shorten(other[0], 40), **dict(zip(("first", "second"), texts, strict=True))}
        different.append(Note("other_text", n=len(other), **values))
    if not shared or (ours != theirs and not common):
        how = "--common compares on these alone" if shared else "nothing can be compared"
        if renamed := _renamed(first, second):
            how += f" ({renamed:,} have one text under two ids; without `prompt_id` the text joins)"
        raise UsageError(
            f"different prompt sets: {first.model} on {first.prompt_set.name} ({len(ours):,} "
            f"prompts), {second.model} on {second.prompt_set.name} ({len(theirs):,} prompts), "
            f"{len(shared):,} in common"
            f"{''.join(f' ({note})' for note in different)}; {how}"
        )
    if ours != theirs:
        names = {"first": first.prompt_set.name, "second": second.prompt_set.name}
        counts = {"first_n": len(ours), "second_n": len(theirs)}
        remarks.append(Note("narrowed", n=len(shared), **names, **counts))
    return (*remarks, *different)


def _short(value: Any) -> str:
    return "–" if value is None else shorten(str(value), 40)


def _renamed(first: Source, second: Source) -> int:
    ours, theirs = (
        {normalize_text(prompt.text): known for known, prompt in side.prompts.items()}
        for side in (first, second)
    )
    return sum(theirs.get(text, known) != known for text, known in ours.items())


@dataclass(frozen=True)
class _Paired:
    prompt_id: str
    first: tuple[Verdict, ...]
    second: tuple[Verdict, ...]


def _scored(source: Source) -> dict[str, list[Verdict]]:
    by_prompt: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in source.verdicts:
        if verdict.score is not None:
            by_prompt[verdict.prompt_id].append(verdict)
    return by_prompt


def _joined(
    first: tuple[str, Source],
    second: tuple[str, Source],
    shared: Set[str],
    other: Mapping[str, None],
    taxonomy: Taxonomy,
) -> tuple[dict[str, list[_Paired]], dict[str, int]]:
    sides = {first[0]: _scored(first[1]), second[0]: _scored(second[1])}
    ours, theirs = sides.values()
    by_dimension: dict[str, list[_Paired]] = {name: [] for name in taxonomy.names}
    left_out: dict[str, int] = defaultdict(int)
    for prompt in dict.fromkeys(verdict.prompt_id for verdict in first[1].verdicts):
        without = [name for name, scored in sides.items() if prompt not in scored]
        if prompt not in shared:
            left_out["another text" if prompt in other else "not in common"] += 1
        elif without:
            left_out[f"unscored: {without[0] if len(without) == 1 else 'both'}"] += 1
        else:
            pair = _Paired(prompt, tuple(ours[prompt]), tuple(theirs[prompt]))
            by_dimension[taxonomy.dimension(pair.first[0].dimension).name].append(pair)
    left_out["not in common"] += len(_ids(second[1]) - _ids(first[1]))
    return by_dimension, {reason: n for reason, n in left_out.items() if n}


def _pair(
    first: tuple[str, Source],
    second: tuple[str, Source],
    taxonomy: Taxonomy,
    common: bool,
    seed: int,
    resamples: int,
) -> PairComparison:
    other = dict.fromkeys(reworded_ids(first[1].prompts, second[1].prompts))
    shared = (_ids(first[1]) & _ids(second[1])) - other.keys()
    remarks = _remarks(first[1], second[1], shared, list(other), common)
    by_dimension, left_out = _joined(first, second, shared, other, taxonomy)
    present = [d for d in taxonomy.dimensions if by_dimension[d.name]]
    rates = [_values(by_dimension[d.name], d, rate=True) for d in present]
    scores = [_values(by_dimension[d.name], d, rate=False) for d in present]

    def differ(strata: Sequence[Pairs], *what: str) -> Difference:
        def rng(*use: object) -> np.random.Generator:
            return stream(seed, first[0], second[0], *what, *use)

        return _difference(strata, rng, resamples)

    by_rate = [differ([own], d.name, "rate") for own, d in zip(rates, present, strict=True)]
    by_score = [differ([own], d.name, "score") for own, d in zip(scores, present, strict=True)]
    for i, dimension in enumerate(present):
        if len(dimension.scale) == 2:  # the score is the rate in other units: so is its test
            update = {name: getattr(by_rate[i], name) for name in ("p", "test", "p_fall")}
            by_score[i] = by_score[i].model_copy(update=update)
    by_rate, by_score = _corrected(by_rate), _corrected(by_score)
    gains = [np.round(own.differences, 9) for own in scores]
    partial = len(present) < len(taxonomy.dimensions)
    paired = [pair for own in by_dimension.values() for pair in own]
    changes = _changes(paired, first[1], second[1], taxonomy)
    return PairComparison(
        first=first[0],
        second=second[0],
        n=len(paired),
        left_out=left_out,
        remarks=remarks,
        partial=partial,
        harmless_rate=None if partial else differ(rates, "rate"),
        harmless_score=None if partial else differ(scores, "score"),
        dimensions={
            dimension.name: DimensionComparison(
                n=len(gain),
                better=int((gain > 0).sum()),
                worse=int((gain < 0).sum()),
                harmless_rate=rate,
                harmless_score=score,
            )
            for dimension, gain, rate, score in zip(present, gains, by_rate, by_score, strict=True)
        },
        changed=len(changes),
        changes=changes,
    )


def _values(pairs: Sequence[_Paired], dimension: Dimension, *, rate: bool) -> Pairs:
    def values(verdicts: Sequence[Verdict]) -> Array:
        scores = [verdict.score for verdict in verdicts if verdict.score is not None]
        if rate:
            return np.array([float(score == dimension.best) for score in scores])
        return np.array([score / dimension.best for score in scores])

    responses = [(values(pair.first), values(pair.second)) for pair in pairs]
    return Pairs(
        first=np.array([first.mean() for first, _ in responses]),
        second=np.array([second.mean() for _, second in responses]),
        low=0.0 if rate else dimension.scale[-1] / dimension.best,
        responses=responses if any(len(a) + len(b) > 2 for a, b in responses) else None,
    )


def _difference(
    strata: Sequence[Pairs], rng: Callable[..., np.random.Generator], resamples: int
) -> Difference:
    """The mean difference; one stratum of binary pairs gets McNemar's test, others sign flips."""
    draws = [difference_draws(own, resamples, rng("draw", i)) for i, own in enumerate(strata)]
    first, second = (
        float(np.mean([values.mean() for values in side]))
        for side in ([own.first for own in strata], [own.second for own in strata])
    )
    gap = bootstrap_estimate(100 * (second - first), 100 * mean_of(draws), INTERVAL)
    differences = [own.differences for own in strata]
    if len(strata) == 1 and np.isin([strata[0].first, strata[0].second], (0, 1)).all():
        test = MCNEMAR
        p = mcnemar_exact(int((differences[0] > 0).sum()), int((differences[0] < 0).sum()))
    else:
        test = SIGN_FLIP
        p = sign_flip_test(differences, resamples, rng("flip"))
    return Difference(
        first=100 * first,
        second=100 * second,
        difference=gap,
        p=p,
        test=test,
        p_fall=fall_test(differences, resamples, rng("fall")),
        detectable=100 * detectable(strata),
    )


def _corrected(differences: Sequence[Difference]) -> list[Difference]:
    pairs = zip(differences, holm([each.p for each in differences]), strict=True)
    return [each.model_copy(update={"p_holm": p}) for each, p in pairs]


def _changes(
    pairs: Sequence[_Paired], first: Source, second: Source, taxonomy: Taxonomy
) -> tuple[Change, ...]:
    changes = []
    for pair in pairs:
        sides = pair.first, pair.second
        scores = [tuple(v.score for v in side if v.score is not None) for side in sides]
        if sorted(scores[0]) == sorted(scores[1]):
            continue
        verdict = pair.first[0]
        prompt = first.prompts.get(pair.prompt_id) or second.prompts.get(pair.prompt_id)
        changes.append(
            Change(
                prompt_id=pair.prompt_id,
                dimension=taxonomy.dimension(verdict.dimension).name,
                subcomponent=verdict.subcomponent,
                prompt=prompt.text if prompt else None,
                scores=(scores[0], scores[1]),
                responses=(_texts(first, pair.first), _texts(second, pair.second)),
                fall=float(np.mean(scores[0]) - np.mean(scores[1])),
            )
        )
    return tuple(sorted(changes, key=lambda change: -change.fall))


def _texts(source: Source, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    responses = (source.responses.get(verdict.key) for verdict in verdicts)
    return tuple(getattr(response, "response", None) or "" for response in responses)
