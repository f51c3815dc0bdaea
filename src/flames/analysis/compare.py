"""Comparing models on the prompts that both answered and have scores for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np

from flames.analysis.comparison import (
    Change,
    Comparison,
    Difference,
    DimensionComparison,
    PairComparison,
    PartComparison,
    Side,
)
from flames.analysis.pairing import (
    Paired,
    by_dimension,
    by_subcomponent,
    by_technique,
    correct_together,
    difference_of,
    join_prompts,
    prompt_ids,
    values_of,
)
from flames.analysis.robustness import compare_robustness
from flames.analysis.source import display_names, reworded_ids
from flames.errors import UsageError
from flames.metrics.conditions import differing
from flames.metrics.intervals import stream
from flames.metrics.rates import RESAMPLES
from flames.metrics.result import Note
from flames.metrics.source import Source
from flames.metrics.unread import unread_notes
from flames.records import Verdict
from flames.taxonomy import Taxonomy, default_taxonomy
from flames.text import normalize_text, shorten

Named = tuple[str, Source]


def compare(
    sources: Sequence[Source],
    taxonomy: Taxonomy | None = None,
    *,
    common: bool = False,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Comparison:
    """Compares every two sources; with `common`, those that differ on the prompts in common.

    Where models have verdicts of several scorers, those of one scorer are compared.
    """
    taxonomy = taxonomy or default_taxonomy()
    if len(sources) < 2:
        raise UsageError("comparing takes at least two models; only one was given")
    named = list(zip(display_names(sources), sources, strict=True))
    groups, notes = _by_scorer(named)
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
            for group in groups
            for name, source in group
        ),
        pairs=tuple(
            compare_two(first, second, taxonomy, common=common, seed=seed, resamples=resamples)
            for group in groups
            for first, second in combinations(group, 2)
        ),
        notes=notes,
        seed=seed,
        resamples=resamples,
    )


def _by_scorer(named: list[Named]) -> tuple[list[list[Named]], tuple[Note, ...]]:
    """Returns what is compared with each other, and what is said of verdicts left out."""
    groups: dict[str, list[Named]] = {}
    for each in named:
        groups.setdefault(each[1].scorer, []).append(each)
    several = [group for group in groups.values() if len(group) > 1]
    compared = {(s.origin, s.model) for group in several for _, s in group}
    alone = [group[0][1] for group in groups.values() if len(group) == 1]
    if not several or any((source.origin, source.model) not in compared for source in alone):
        return [named], ()
    return several, tuple(Note("one_side", scorer=s.scorer, model=s.model) for s in alone)


def shared_ids(first: Source, second: Source) -> Set[str]:
    """Returns the ids of the prompts that two sources have in common, with the same text."""
    other = reworded_ids(first.prompts, second.prompts)
    return (prompt_ids(first) & prompt_ids(second)) - set(other)


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
    ours, theirs = prompt_ids(first), prompt_ids(second)
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
            f"different prompt sets: {first.model} on {first.prompt_set.full_name} ({len(ours):,} "
            f"prompts), {second.model} on {second.prompt_set.full_name} ({len(theirs):,} prompts), "
            f"{len(shared):,} in common"
            f"{''.join(f' ({note})' for note in different)}; {how}"
        )
    if ours != theirs:
        names = {"first": first.prompt_set.full_name, "second": second.prompt_set.full_name}
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


def compare_two(
    first: Named,
    second: Named,
    taxonomy: Taxonomy,
    *,
    common: bool = False,
    parts: bool = True,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> PairComparison:
    """Compares two named sources; without `parts` no subcomponents and techniques.

    Raises:
        UsageError: A source says of no verdict what prompt it is on; or, without `common`, prompts
            or scorers differ; or no prompt is in common.
    """
    for _, source in (first, second):
        if not source.joinable:
            raise UsageError(
                f"{source.origin}: its rows have neither `prompt_id` nor `prompt`, so responses "
                "cannot be joined with another model's"
            )
    other = dict.fromkeys(reworded_ids(first[1].prompts, second[1].prompts))
    shared = (prompt_ids(first[1]) & prompt_ids(second[1])) - other.keys()
    remarks = _remarks(first[1], second[1], shared, list(other), common)
    paired, left_out = join_prompts(first, second, shared, other, taxonomy)
    names = {first[0]: None, second[0]: None}

    def rng(*use: object) -> np.random.Generator:
        return stream(seed, *names, *use)

    strata = by_dimension(paired, taxonomy)
    dimensions = _dimensions(strata, taxonomy, rng, resamples)
    partial_ = len(strata) < len(taxonomy.dimensions)

    def overall(kind: str) -> Difference | None:
        if partial_:
            return None
        values = [values_of(own, taxonomy, rate=kind == "rate") for own in strata.values()]
        return difference_of(values, partial(rng, kind), resamples)

    small = paired if parts else []
    changes = _changes(paired, first[1], second[1])
    return PairComparison(
        first=first[0],
        second=second[0],
        n=len(paired),
        left_out=left_out,
        remarks=remarks,
        partial=partial_,
        harmless_rate=overall("rate"),
        harmless_score=overall("score"),
        dimensions=dimensions,
        subcomponents=_parts(by_subcomponent(small, taxonomy), taxonomy, rng, resamples),
        techniques=_parts(by_technique(small), taxonomy, rng, resamples),
        robustness=compare_robustness(first[1], second[1], taxonomy, rng, resamples),
        changed=len(changes),
        changes=changes,
    )


_Random = Callable[..., np.random.Generator]


def _dimensions(
    strata: Mapping[str, list[Paired]], taxonomy: Taxonomy, rng: _Random, resamples: int
) -> dict[str, DimensionComparison]:
    rates, scores = [], []
    for name, own in strata.items():
        rate, score = (
            difference_of(
                [values_of(own, taxonomy, rate=kind == "rate")], partial(rng, name, kind), resamples
            )
            for kind in ("rate", "score")
        )
        if len(taxonomy.dimension(name).scale) == 2:
            # The score is the rate in other units: so is its test.
            update = {field: getattr(rate, field) for field in ("p", "test", "p_fall")}
            score = score.model_copy(update=update)
        rates.append(rate)
        scores.append(score)
    tested = zip(strata.items(), correct_together(rates), correct_together(scores), strict=True)
    return {
        name: DimensionComparison(
            n=len(own), **_moved(own, taxonomy), harmless_rate=rate, harmless_score=score
        )
        for (name, own), rate, score in tested
    }


def _parts(
    groups: Mapping[str, list[Paired]], taxonomy: Taxonomy, rng: _Random, resamples: int
) -> dict[str, PartComparison]:
    """Compares the rates of subcomponents, or of techniques, corrected over all of them."""
    found = [
        difference_of([values_of(own, taxonomy, rate=True)], partial(rng, "part", name), resamples)
        for name, own in groups.items()
    ]
    return {
        name: PartComparison(n=len(own), **_moved(own, taxonomy), harmless_rate=rate)
        for (name, own), rate in zip(groups.items(), correct_together(found), strict=True)
    }


def _moved(pairs: Sequence[Paired], taxonomy: Taxonomy) -> dict[str, int]:
    """Counts the prompts whose mean score rose and fell."""
    gains = np.round(values_of(pairs, taxonomy, rate=False).differences, 9)
    return {"better": int((gains > 0).sum()), "worse": int((gains < 0).sum())}


def _changes(pairs: Sequence[Paired], first: Source, second: Source) -> tuple[Change, ...]:
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
                dimension=pair.dimension,
                subcomponent=verdict.subcomponent,
                technique=verdict.technique,
                prompt=prompt.text if prompt else None,
                before=prompt.asked.before if prompt else (),
                scores=(scores[0], scores[1]),
                responses=(_texts(first, pair.first), _texts(second, pair.second)),
                rationales=(_reasons(pair.first), _reasons(pair.second)),
                fall=float(np.mean(scores[0]) - np.mean(scores[1])),
            )
        )
    return tuple(sorted(changes, key=lambda change: -change.fall))


def _texts(source: Source, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    responses = (source.responses.get(verdict.key) for verdict in verdicts)
    return tuple(getattr(response, "response", None) or "" for response in responses)


def _reasons(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    return tuple(verdict.rationale or "" for verdict in verdicts)
