"""Comparing models on the prompts that both answered and have scores for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations
from typing import Any, overload

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
    Together,
    correct_together,
    difference_of,
    join_prompts,
)
from flames.analysis.robustness import compare_robustness
from flames.analysis.source import display_names, reworded_ids
from flames.errors import UsageError
from flames.metrics.codes import Rows
from flames.metrics.conditions import differing
from flames.metrics.intervals import stream
from flames.metrics.paired import Pairs
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


def share_prompts(first: Source, second: Source) -> bool:
    """Tells whether two sources have prompts in common, with the same text."""
    other = reworded_ids(first.prompts, second.prompts)
    return bool(Together(first, second).shared(other).any())


def _remarks(
    first: Source, second: Source, together: Together, other: Sequence[str], common: bool
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
    ours, theirs = int(together.ours.sum()), int(together.theirs.sum())
    same = bool((together.ours == together.theirs).all())
    shared = int(together.shared(other).sum())
    different = []
    if other:
        texts = (shorten(side.prompts[other[0]].text, 40) for side in (first, second))
        values = {"id": shorten(other[0], 40), **dict(zip(("first", "second"), texts, strict=True))}
        different.append(Note("other_text", n=len(other), **values))
    if not shared or not (same or common):
        how = "--common compares on these alone" if shared else "nothing can be compared"
        if renamed := _renamed(first, second):
            how += f" ({renamed:,} have one text under two ids; without `prompt_id` the text joins)"
        raise UsageError(
            f"different prompt sets: {first.model} on {first.prompt_set.full_name} ({ours:,} "
            f"prompts), {second.model} on {second.prompt_set.full_name} ({theirs:,} prompts), "
            f"{shared:,} in common"
            f"{''.join(f' ({note})' for note in different)}; {how}"
        )
    if not same:
        names = {"first": first.prompt_set.full_name, "second": second.prompt_set.full_name}
        counts = {"first_n": ours, "second_n": theirs}
        remarks.append(Note("narrowed", n=shared, **names, **counts))
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
    other = reworded_ids(first[1].prompts, second[1].prompts)
    together = Together(first[1], second[1])
    remarks = _remarks(first[1], second[1], together, other, common)
    names = first[0], second[0]
    paired, left_out = join_prompts(together, names, other, taxonomy)

    def rng(*use: object) -> np.random.Generator:
        return stream(seed, *names, *use)

    strata = {
        kind: {
            name: paired.values(own, rate=kind == "rate")
            for name, own in paired.by_dimension.items()
        }
        for kind in ("rate", "score")
    }
    partial_ = len(paired.by_dimension) < len(taxonomy.dimensions)

    def overall(kind: str) -> Difference | None:
        if partial_:
            return None
        return difference_of(list(strata[kind].values()), partial(rng, kind), resamples)

    subcomponents, techniques = (
        (paired.by_subcomponent(), paired.by_technique()) if parts else ({}, {})
    )
    changes = Changes(paired, first[1], second[1])
    return PairComparison(
        first=first[0],
        second=second[0],
        n=len(paired),
        left_out=left_out,
        remarks=remarks,
        partial=partial_,
        harmless_rate=overall("rate"),
        harmless_score=overall("score"),
        dimensions=_dimensions(paired, strata, rng, resamples),
        subcomponents=_parts(subcomponents, paired, rng, resamples),
        techniques=_parts(techniques, paired, rng, resamples),
        robustness=compare_robustness(first[1], second[1], taxonomy, rng, resamples),
        changed=len(changes),
        changes=changes,
    )


_Random = Callable[..., np.random.Generator]


def _dimensions(
    paired: Paired, strata: Mapping[str, Mapping[str, Pairs]], rng: _Random, resamples: int
) -> dict[str, DimensionComparison]:
    rates, scores = [], []
    for name in paired.by_dimension:
        rate, score = (
            difference_of([strata[kind][name]], partial(rng, name, kind), resamples)
            for kind in ("rate", "score")
        )
        if len(paired.taxonomy.dimension(name).scale) == 2:
            # The score is the rate in other units: so is its test.
            update = {field: getattr(rate, field) for field in ("p", "test", "p_fall")}
            score = score.model_copy(update=update)
        rates.append(rate)
        scores.append(score)
    groups = paired.by_dimension.items()
    tested = zip(groups, correct_together(rates), correct_together(scores), strict=True)
    return {
        name: DimensionComparison(
            n=len(own), **paired.moved(own), harmless_rate=rate, harmless_score=score
        )
        for (name, own), rate, score in tested
    }


def _parts(
    groups: Mapping[str, Rows], paired: Paired, rng: _Random, resamples: int
) -> dict[str, PartComparison]:
    """Compares the rates of subcomponents, or of techniques, corrected over all of them."""
    found = [
        difference_of([paired.values(own, rate=True)], partial(rng, "part", name), resamples)
        for name, own in groups.items()
    ]
    return {
        name: PartComparison(n=len(own), **paired.moved(own), harmless_rate=rate)
        for (name, own), rate in zip(groups.items(), correct_together(found), strict=True)
    }


class Changes(Sequence[Change]):
    """The prompts whose scores differ, the largest falls first; each is made when asked for."""

    def __init__(self, paired: Paired, first: Source, second: Source) -> None:
        self._paired, self._sources = paired, (first, second)
        changed, self._falls = paired.changed(), paired.falls()
        self._order = changed[np.argsort(-self._falls[changed], kind="stable")]

    def __len__(self) -> int:
        return len(self._order)

    @overload
    def __getitem__(self, index: int) -> Change: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Change, ...]: ...

    def __getitem__(self, index: int | slice) -> Change | tuple[Change, ...]:
        if isinstance(index, slice):
            return tuple(map(self._made, self._order[index].tolist()))
        return self._made(int(self._order[index]))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence) or len(self) != len(other):
            return False
        return all(ours == theirs for ours, theirs in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{len(self):,} changes>"

    def _made(self, place: int) -> Change:
        first, second = (
            [source.verdicts[row] for row in side.rows[side.of(place)].tolist()]
            for source, side in zip(self._sources, self._paired.sides, strict=True)
        )
        scores = [tuple(side.scores[side.of(place)].tolist()) for side in self._paired.sides]
        head = first[0]
        prompts = (source.prompts.get(head.prompt_id) for source in self._sources)
        prompt = next(filter(None, prompts), None)
        return Change(
            prompt_id=head.prompt_id,
            dimension=self._paired.taxonomy.dimension(head.dimension).name,
            subcomponent=head.subcomponent,
            technique=head.technique,
            prompt=prompt.text if prompt else None,
            before=prompt.asked.before if prompt else (),
            scores=(scores[0], scores[1]),
            responses=(_texts(self._sources[0], first), _texts(self._sources[1], second)),
            rationales=(_reasons(first), _reasons(second)),
            fall=float(self._falls[place]),
        )


def _texts(source: Source, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    return tuple(source.response_text(verdict) or "" for verdict in verdicts)


def _reasons(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    return tuple(verdict.rationale or "" for verdict in verdicts)
