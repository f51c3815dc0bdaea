"""Comparing two sources verdict by verdict, as plainly as it can be said: slow, to test against."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import product
from typing import Any

import numpy as np

from flames.analysis.comparison import Change, Difference, DimensionComparison, PartComparison
from flames.analysis.pairing import correct_together, difference_of
from flames.metrics.grouping import subcomponent_names
from flames.metrics.intervals import Array, effective_size, stream
from flames.metrics.paired import Pairs
from flames.metrics.source import Source
from flames.records import Verdict
from flames.taxonomy import Taxonomy


@dataclass(frozen=True)
class PairsOfRows(Pairs):
    by_row: Sequence[tuple[Array, Array]] = ()

    @cached_property
    def singles(self) -> tuple[Array, Array]:
        found: dict[float, float] = defaultdict(float)
        for first, second in self.by_row:
            ours, theirs = (Counter(side.tolist()).items() for side in (first, second))
            for (a, n), (b, m) in product(ours, theirs):
                found[round(b - a, 12)] += n * m / (len(first) * len(second))
        return np.array(list(found)), np.array(list(found.values())) / len(self.first)

    @cached_property
    def size(self) -> float:
        values, shares = self.singles
        spread = float(shares @ (values - shares @ values) ** 2)
        most = float(sum(max(len(first), len(second)) for first, second in self.by_row))
        return effective_size(self.differences, np.ones(len(self.first)), spread, most)


@dataclass(frozen=True)
class PairOfRows:
    prompt_id: str
    dimension: str
    first: Sequence[Verdict]
    second: Sequence[Verdict]


def compare_by_rows(
    first: tuple[str, Source],
    second: tuple[str, Source],
    taxonomy: Taxonomy,
    seed: int,
    resamples: int,
) -> dict[str, Any]:
    """Returns what `compare_two` finds, without remarks and robustness, as it is dumped."""
    pairs, left_out = _joined(first, second, taxonomy)

    def rng(*use: object) -> np.random.Generator:
        return stream(seed, first[0], second[0], *use)

    def difference(groups: Sequence[Sequence[PairOfRows]], rate: bool, *use: object) -> Difference:
        strata = [_values(own, taxonomy, rate=rate) for own in groups]
        return difference_of(strata, partial(rng, *use), resamples)

    strata = {
        d.name: own
        for d in taxonomy.dimensions
        if (own := [p for p in pairs if p.dimension == d.name])
    }
    whole = len(strata) == len(taxonomy.dimensions)
    rates = [difference([own], True, name, "rate") for name, own in strata.items()]
    scores = [difference([own], False, name, "score") for name, own in strata.items()]
    for place, name in enumerate(strata):
        if len(taxonomy.dimension(name).scale) == 2:
            same = {field: getattr(rates[place], field) for field in ("p", "test", "p_fall")}
            scores[place] = scores[place].model_copy(update=same)
    tested = zip(strata.items(), correct_together(rates), correct_together(scores), strict=True)

    def parts(groups: Mapping[str, list[PairOfRows]]) -> dict[str, Any]:
        found = [difference([own], True, "part", name) for name, own in groups.items()]
        return {
            name: PartComparison(n=len(own), **_moved(own, taxonomy), harmless_rate=rate)
            for (name, own), rate in zip(groups.items(), correct_together(found), strict=True)
        }

    changes = _changes(pairs, first[1], second[1])
    dumped = {
        "n": len(pairs),
        "left_out": left_out,
        "partial": not whole,
        "harmless_rate": difference(list(strata.values()), True, "rate") if whole else None,
        "harmless_score": difference(list(strata.values()), False, "score") if whole else None,
        "dimensions": {
            name: DimensionComparison(
                n=len(own), **_moved(own, taxonomy), harmless_rate=rate, harmless_score=score
            )
            for (name, own), rate, score in tested
        },
        "subcomponents": parts(_by_subcomponent(pairs, taxonomy)),
        "techniques": parts(_by_technique(pairs)),
        "changed": len(changes),
        "changes": changes,
    }
    return {name: _dumped(value) for name, value in dumped.items()}


def _dumped(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _dumped(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_dumped(each) for each in value]
    return value.model_dump(mode="json") if hasattr(value, "model_dump") else value


def _joined(
    first: tuple[str, Source], second: tuple[str, Source], taxonomy: Taxonomy
) -> tuple[list[PairOfRows], dict[str, int]]:
    sides = {name: _scored(source) for name, source in (first, second)}
    ours, theirs = sides.values()
    ids = [dict.fromkeys(v.prompt_id for v in source.verdicts) for _, source in (first, second)]
    pairs: list[PairOfRows] = []
    left_out: dict[str, int] = defaultdict(int)
    for prompt in ids[0]:
        without = [name for name, scored in sides.items() if prompt not in scored]
        one, two = (source.prompts.get(prompt) for _, source in (first, second))
        if one and two and one.asked.differs(two.asked):
            left_out["another text"] += 1
        elif prompt not in ids[1]:
            left_out["not in common"] += 1
        elif without:
            left_out[f"unscored: {without[0] if len(without) == 1 else 'both'}"] += 1
        else:
            dimension = taxonomy.dimension(ours[prompt][0].dimension).name
            pairs.append(PairOfRows(prompt, dimension, ours[prompt], theirs[prompt]))
    left_out["not in common"] += len(ids[1].keys() - ids[0].keys())
    return pairs, {reason: n for reason, n in left_out.items() if n}


def _scored(source: Source) -> dict[str, list[Verdict]]:
    by_prompt: dict[str, list[Verdict]] = defaultdict(list)
    for verdict in source.verdicts:
        if verdict.score is not None:
            by_prompt[verdict.prompt_id].append(verdict)
    return by_prompt


def _by_subcomponent(
    pairs: Sequence[PairOfRows], taxonomy: Taxonomy
) -> dict[str, list[PairOfRows]]:
    names = subcomponent_names(taxonomy)
    found: dict[str, list[PairOfRows]] = {name: [] for name in names.values()}
    for pair in pairs:
        if part := pair.first[0].subcomponent:
            found.setdefault(names.get((pair.dimension, part), part), []).append(pair)
    return {name: own for name, own in found.items() if own}


def _by_technique(pairs: Sequence[PairOfRows]) -> dict[str, list[PairOfRows]]:
    found: dict[str, list[PairOfRows]] = defaultdict(list)
    for pair in pairs:
        if technique := pair.first[0].technique:
            found[technique].append(pair)
    return dict(sorted(found.items()))


def _values(pairs: Sequence[PairOfRows], taxonomy: Taxonomy, *, rate: bool) -> Pairs:
    best = {d.name: d.best for d in taxonomy.dimensions}

    def values(dimension: str, verdicts: Sequence[Verdict]) -> Array:
        scores = [verdict.score for verdict in verdicts if verdict.score is not None]
        if rate:
            return np.array([float(score == best[dimension]) for score in scores])
        return np.array([score / best[dimension] for score in scores])

    by_row = [(values(p.dimension, p.first), values(p.dimension, p.second)) for p in pairs]
    scales = [taxonomy.dimension(name).scale for name in {p.dimension for p in pairs}]
    first, second = (np.array([side.mean() for side in own]) for own in zip(*by_row, strict=True))
    low = 0.0 if rate else min(scale[-1] / scale[0] for scale in scales)
    if any(len(a) + len(b) > 2 for a, b in by_row):
        return PairsOfRows(first=first, second=second, low=low, by_row=by_row)
    return Pairs(first=first, second=second, low=low)


def _moved(pairs: Sequence[PairOfRows], taxonomy: Taxonomy) -> dict[str, int]:
    gains = np.round(_values(pairs, taxonomy, rate=False).differences, 9)
    return {"better": int((gains > 0).sum()), "worse": int((gains < 0).sum())}


def _changes(pairs: Sequence[PairOfRows], first: Source, second: Source) -> list[Change]:
    changes = []
    for pair in pairs:
        sides = pair.first, pair.second
        scores = [tuple(v.score for v in side if v.score is not None) for side in sides]
        if sorted(scores[0]) == sorted(scores[1]):
            continue
        prompt = first.prompts.get(pair.prompt_id) or second.prompts.get(pair.prompt_id)
        changes.append(
            Change(
                prompt_id=pair.prompt_id,
                dimension=pair.dimension,
                subcomponent=pair.first[0].subcomponent,
                technique=pair.first[0].technique,
                prompt=prompt.text if prompt else None,
                before=prompt.asked.before if prompt else (),
                scores=(scores[0], scores[1]),
                responses=(_texts(first, pair.first), _texts(second, pair.second)),
                rationales=(_reasons(pair.first), _reasons(pair.second)),
                fall=float(np.mean(scores[0]) - np.mean(scores[1])),
            )
        )
    return sorted(changes, key=lambda change: -change.fall)


def _texts(source: Source, verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    responses = (source.responses.get(verdict.key) for verdict in verdicts)
    return tuple(getattr(response, "response", None) or "" for response in responses)


def _reasons(verdicts: Sequence[Verdict]) -> tuple[str, ...]:
    return tuple(verdict.rationale or "" for verdict in verdicts)
