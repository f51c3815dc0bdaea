"""Scorer alone, people alone and prediction-powered, side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from flames.metrics.correction_labels import Label, LabelUse, usable_labels
from flames.metrics.correction_notes import correction_notes
from flames.metrics.intervals import (
    BY_PROMPT,
    PRIOR,
    Array,
    bootstrap_estimate,
    design_effect,
    draw_totals,
    effective_size,
    mean_of,
    stream,
    sum_by_prompt,
    wilson,
)
from flames.metrics.powered import Powered, powered_mean, times_for_width
from flames.metrics.rates import RESAMPLES, measure, measure_overall
from flames.metrics.result import Estimate, Group, Note
from flames.metrics.source import Source
from flames.records import Frozen, Key, Verdict
from flames.taxonomy import Dimension, Taxonomy, default_taxonomy

_HUMAN = "bootstrap, stretched by Student's t"
METHOD = f"prediction-powered {_HUMAN}"

ENOUGH = 10
"""How many labels a dimension needs, on as many prompts, before it gets a corrected value.

From here on the intervals hold what they promise (`benchmarks/coverage.py`).
"""


_ENDS = np.array([PRIOR, PRIOR, PRIOR / 2, PRIOR / 2])
# Of all pseudo-prompts: two of the scorer's, and two labels that it got wrong, one either way.


class Corrected(Frozen):
    """One value three times: by the scorer alone, by people alone, and corrected.

    `tuning` is λ, how far the scorer was trusted; `scorer_on_labelled` is the scorer's value on
    the labelled responses, which the correction compares with its value on all. `more_labels`
    would bring the corrected interval to the wanted width; `reachable` is False where labelling
    everything would not do.
    """

    scorer: Estimate | None = None
    human: Estimate | None = None
    corrected: Estimate | None = None
    tuning: float | None = None
    scorer_on_labelled: float | None = None
    more_labels: int | None = None
    reachable: bool = True


class CorrectedGroup(Frozen):
    """One dimension; `agreement` is the per cent of labelled responses where both say the same.

    `labels_needed` counts the labels that it lacks for a corrected value.
    """

    scored: int
    labelled: int
    labels_needed: int = 0
    agreement: float | None = None
    harmless_rate: Corrected
    harmless_score: Corrected


class Correction(Frozen):
    """All three values overall and per dimension.

    The overall values are means over the `measured` dimensions, those with enough labels; where
    that is not all, a note says so. A note says why a corrected value lies outside both others.
    """

    model: str
    scorer: str
    labels: LabelUse
    harmless_rate: Corrected
    harmless_score: Corrected
    dimensions: dict[str, CorrectedGroup] = Field(default_factory=dict)
    measured: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()
    seed: int = 0
    resamples: int = 0


@dataclass(frozen=True)
class _Stratum:
    """One dimension, labelled responses first; columns are harmless and score of the best."""

    human: Array  # (labelled, 2)
    scorer: Array  # (N, 2)
    weights: Array  # (labelled,), mean 1
    prompts: NDArray[np.int64]  # (N,), number of each response's prompt
    worst: float
    binary: bool = False

    @property
    def labelled(self) -> int:
        return len(self.human)

    @property
    def size(self) -> float:
        """The labels' effective number: as if drawn evenly, on a prompt each."""
        if not self.labelled:
            return 0.0
        kish = float(self.weights.sum() ** 2 / (self.weights**2).sum())
        return min(kish, len(np.unique(self.prompts[: self.labelled])))

    @property
    def needed(self) -> int:
        """How many more labels, drawn the same way, make enough."""
        enough = max(min(ENOUGH, len(np.unique(self.prompts))), 2)
        if self.size >= enough - 1e-9:
            return 0
        wanted = math.ceil(self.labelled * enough / self.size - 1e-9) if self.size else enough
        return max(min(wanted, len(self.scorer)) - self.labelled, 0)


@dataclass(frozen=True)
class _Part:
    """What one dimension adds to a column; arrays have one column for rate and one for score."""

    stratum: _Stratum
    fits: tuple[Powered, Powered]
    human: Array  # (2,)
    scorer: Array  # (2,), on the labelled responses
    human_draws: Array  # (resamples, 2)
    corrected_draws: Array  # (resamples, 2)


def correct(
    source: Source,
    labels: Iterable[Verdict],
    taxonomy: Taxonomy | None = None,
    *,
    random_sample: bool = False,
    target_width: float | None = None,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Correction:
    """Puts the scorer alone, people alone and the corrected values side by side.

    Labels join by prompt, model and sample, where their texts are known only on the same ones;
    several people's on one response are averaged.

    Args:
        labels: Human labels on a random part; each with `inclusion_probability`, the
            probability in (0, 1] with which its response was chosen to be labelled.
        random_sample: The labels are a simple random sample; no probabilities are needed.
        target_width: Width of the corrected intervals, in points, to estimate more labels for.
    """
    [found] = correct_for_widths(
        source,
        labels,
        (target_width,),
        taxonomy,
        random_sample=random_sample,
        seed=seed,
        resamples=resamples,
    )
    return found


def correct_for_widths(
    source: Source,
    labels: Iterable[Verdict],
    widths: Sequence[float | None],
    taxonomy: Taxonomy | None = None,
    *,
    random_sample: bool = False,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> list[Correction]:
    """Corrects once and estimates more labels for each of several widths; see `correct`."""
    taxonomy = taxonomy or default_taxonomy()
    given, use = usable_labels(source, labels, random_sample)
    alone = measure(source, taxonomy, seed=seed, resamples=resamples)
    groups: dict[str, tuple[Group, _Stratum, list[_Part]]] = {}
    for dimension in taxonomy.dimensions:
        group = alone.dimensions.get(dimension.name)
        if group is not None and group.harmless_rate is not None:
            stratum = _stratum(source.verdicts, given, dimension)
            part = _part(stratum, resamples, stream(seed, "powered", dimension.name))
            groups[dimension.name] = group, stratum, part
    parts = {n: part[0] for n, (_, own, part) in groups.items() if part and not own.needed}
    overall = alone.overall
    if alone.partial:
        parts = {}
    elif 0 < len(parts) < len(groups):
        overall = measure_overall(source, taxonomy, tuple(parts), seed=seed, resamples=resamples)
    whole = list(parts.values())
    corrections = []
    for width in widths:
        found = Correction(
            model=source.model,
            scorer=source.scorer,
            labels=use.model_copy(update={"target_width": width}),
            harmless_rate=_column(overall.harmless_rate, whole, 0, width),
            harmless_score=_column(overall.harmless_score, whole, 1, width),
            dimensions={name: _corrected_group(*own, width) for name, own in groups.items()},
            measured=tuple(parts),
            seed=seed,
            resamples=resamples,
        )
        notes = tuple(correction_notes(found))
        corrections.append(found.model_copy(update={"notes": notes}))
    return corrections


def _corrected_group(
    group: Group, stratum: _Stratum, part: Sequence[_Part], width: float | None
) -> CorrectedGroup:
    apart = np.abs(stratum.human - stratum.scorer[: stratum.labelled])[:, 1]
    return CorrectedGroup(
        scored=group.scored,
        labelled=stratum.labelled,
        labels_needed=stratum.needed,
        agreement=100 * float((apart < 1e-9).mean()) if len(apart) else None,
        harmless_rate=_column(group.harmless_rate, part, 0, width),
        harmless_score=_column(group.harmless_score, part, 1, width),
    )


def _stratum(
    verdicts: Sequence[Verdict], given: Mapping[Key, Label], dimension: Dimension
) -> _Stratum:
    own = [v for v in verdicts if v.dimension == dimension.name and v.score is not None]
    own.sort(key=lambda verdict: verdict.key not in given)
    numbers: dict[str, int] = {}

    def values(score: int | None) -> tuple[float, float]:
        assert score is not None
        return float(score == dimension.best), score / dimension.best

    labelled = [given[verdict.key] for verdict in own if verdict.key in given]
    human = [np.mean([values(score) for score in label.scores], axis=0) for label in labelled]
    weights = np.array([1 / label.probability for label in labelled])
    prompts = [numbers.setdefault(verdict.prompt_id, len(numbers)) for verdict in own]
    return _Stratum(
        human=np.array(human).reshape(-1, 2),
        scorer=np.array([values(verdict.score) for verdict in own]),
        weights=weights / weights.mean() if len(weights) else weights,
        prompts=np.array(prompts, dtype=np.int64),
        worst=dimension.scale[-1] / dimension.best,
        binary=len(dimension.scale) == 2,
    )


def _part(stratum: _Stratum, resamples: int, rng: np.random.Generator) -> list[_Part]:
    """Returns nothing from fewer than two labels.

    Draws are stretched about the estimate to the standard deviation of unbiased variances, times
    Student's t over the normal quantile. The pseudo-labels may already have done that.
    """
    from scipy.special import ndtri, stdtrit  # only here: it is slow to import

    n = stratum.labelled
    if n < 2:
        return []
    weights, labelled = stratum.weights[:, None], stratum.scorer[:n]
    low, high = (0.0, stratum.worst), (1.0, 1.0)
    fits = []
    for i in range(2):
        values = stratum.human[:, i], labelled[:, i], stratum.scorer[:, i]
        fit = powered_mean(*values, stratum.weights)
        fits.append(replace(fit, value=min(max(fit.value, low[i]), high[i])))
    # Columns: the scorer on everything (2), their number, people (2), the scorer on the same
    # responses (2), their weight.
    rows = np.zeros((len(stratum.scorer), 8))
    rows[:, :3] = np.column_stack([stratum.scorer, np.ones(len(stratum.scorer))])
    rows[:n, 3:] = np.hstack([stratum.human * weights, labelled * weights, weights])
    ends = np.array(
        [
            [*high, 1.0, 0, 0, 0, 0, 0],
            [*low, 1, 0, 0, 0, 0, 0],
            [0, 0, 0, *high, *low, 1],
            [0, 0, 0, *low, *high, 1],
        ]
    )
    # With several responses to a prompt, an end counts as one independent response.
    of_all = design_effect(stratum.scorer, stratum.prompts)
    of_labelled = design_effect(stratum.human, stratum.prompts[:n])
    ends *= np.array([[of_all], [of_all], [of_labelled], [of_labelled]])
    outcomes = sum_by_prompt(rows, stratum.prompts)
    totals = draw_totals(outcomes, ends, resamples, rng, _ENDS)
    everything = totals[:, :2] / totals[:, 2:3]
    human = totals[:, 3:5] / totals[:, 7:]
    scorer = totals[:, 5:7] / totals[:, 7:]
    size = max(stratum.size, 2.0)
    few = float(stdtrit(size - 1, 0.975) / ndtri(0.975))
    value = np.array([fit.value for fit in fits])
    tuning = np.array([fit.tuning for fit in fits])
    alone = np.average(stratum.human, axis=0, weights=stratum.weights)
    shares = stratum.weights / stratum.weights.sum()
    spread = shares**2 @ (stratum.human - alone) ** 2 / (shares @ shares)
    wanted = np.array([math.sqrt(fit.residual / (size - 1) + fit.floor) for fit in fits])
    corrected = tuning * (everything - scorer) + human
    corrected = _stretched(corrected, value, few * wanted)
    human = _stretched(human, alone, few * np.sqrt(spread / (size - 1)))
    return [
        _Part(
            stratum=stratum,
            fits=(fits[0], fits[1]),
            human=alone,
            scorer=np.average(labelled, axis=0, weights=stratum.weights),
            human_draws=np.clip(human, low, high),
            corrected_draws=np.clip(corrected, low, high),
        )
    ]


def _stretched(draws: Array, value: Array, wanted: Array) -> Array:
    """Stretches draws about the estimate to the wanted standard deviation, if theirs is less."""
    return np.asarray(value + np.maximum(wanted / draws.std(axis=0), 1.0) * (draws - value))


def _column(
    scorer: Estimate | None, parts: Sequence[_Part], which: int, target_width: float | None
) -> Corrected:
    """The three values as means over `parts`: one dimension's own, or all of them."""
    if not parts:
        return Corrected(scorer=scorer)
    human = float(np.mean([part.human[which] for part in parts]))
    if len(parts) == 1 and (which == 0 or parts[0].stratum.binary):
        alone = _human_rate(parts[0].stratum, float(parts[0].human[0]), which)
    else:
        draws = mean_of(part.human_draws[:, which] for part in parts)
        alone = bootstrap_estimate(100 * human, 100 * draws, _HUMAN)
    if any(part.stratum.needed for part in parts):
        return Corrected(scorer=scorer, human=alone)
    fits = [part.fits[which] for part in parts]
    corrected = bootstrap_estimate(
        100 * float(np.mean([fit.value for fit in fits])),
        100 * mean_of(part.corrected_draws[:, which] for part in parts),
        METHOD,
    )
    more = times = None
    if target_width is not None:
        times = times_for_width(fits, corrected.high - corrected.low, target_width)
        if times is not None:
            more = sum(
                min(math.ceil(part.stratum.labelled * times), fit.total) - part.stratum.labelled
                for part, fit in zip(parts, fits, strict=True)
            )
    return Corrected(
        scorer=scorer,
        human=alone,
        corrected=corrected,
        tuning=float(np.mean([fit.tuning for fit in fits])),
        scorer_on_labelled=100 * float(np.mean([part.scorer[which] for part in parts])),
        more_labels=more,
        reachable=target_width is None or times is not None,
    )


def _human_rate(stratum: _Stratum, rate: float, which: int) -> Estimate:
    """People alone: Wilson's interval at the labels' effective number.

    `which` is 0 for the rate, 1 for the score, which on two levels is the rate in other units.
    """
    weights = stratum.weights
    rows = np.column_stack([weights * stratum.human[:, 0], weights])
    totals = sum_by_prompt(rows, stratum.prompts[: stratum.labelled])
    size = effective_size(totals[:, 0], totals[:, 1])
    rate = min(rate, 1.0)
    worst = stratum.worst if which else 0.0
    value, low, high = (100 * (worst + (1 - worst) * x) for x in (rate, *wilson(rate * size, size)))
    equal = len(totals) == len(weights) and np.ptp(weights) == 0
    method = "wilson" if equal else f"wilson, {BY_PROMPT} and weight"
    return Estimate(value=value, low=low, high=high, method=method)
