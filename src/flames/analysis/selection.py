"""A smaller prompt set that keeps what runs show, judged on models that it was not chosen by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from flames import __version__
from flames.analysis.difficulty import Answers
from flames.analysis.figures import kendall_tau
from flames.analysis.inputs import VerdictOptions
from flames.errors import UsageError
from flames.metrics.difficulty import DifficultyFit, fit_difficulty
from flames.metrics.intervals import Array, stream
from flames.metrics.result import Estimate, Note
from flames.options import LangOptions, Opt, SeedOptions
from flames.records import Frozen, PromptSetInfo, dump_json, seeded_order

Keep = Literal["ranking", "rates"]
Way = Literal["random", "rates", "ranking"]
METHOD = "middle 95 % of splits"

_SPLITS, _DRAWS = 10, 20  # splits of the models, and random samples for each
_LEAST = 6  # models: three to choose by and three to judge on
_Chosen = NDArray[np.int64]


@dataclass(frozen=True)
class SelectOptions(LangOptions, SeedOptions, VerdictOptions):
    """How many prompts are chosen, by which runs, what for, and where they go."""

    n: Annotated[int | None, Opt("Number of prompts to choose.", metavar="N", min=1)] = None
    runs: Annotated[
        tuple[str, ...],
        Opt("A run, file of verdicts or labels:FILE; may be repeated.", metavar="RUN|FILE"),
    ] = ()
    keep: Annotated[
        Keep,
        Opt("What to keep: the ranking of models, or the rates that the whole set gives."),
    ] = "ranking"
    out: Annotated[
        Path | None, Opt("Where to write the chosen prompts; a new file.", metavar="FILE")
    ] = None


class Judged(Frozen):
    """How well a way of choosing does on models that it did not see.

    `tau` is Kendall's tau-b between the models' rates on the chosen prompts and on all of them,
    `width` how wide the 95 % interval of a model's overall rate becomes, `shift` by how much the
    rates move; the last two in points.
    """

    way: Way
    tau: Estimate | None
    width: Estimate
    shift: Estimate


class Selection(Frozen):
    """The chosen prompts, in the set's order, and how well such a choice does.

    `gain` is the tau of the chosen way less that of random samples, split by split. `judged` is
    empty where there are too few models to hold some out.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    code_version: str = __version__
    taxonomy: str
    prompt_set: PromptSetInfo
    keep: Keep
    seed: int
    models: tuple[str, ...]
    held_out: int = 0
    splits: int = 0
    ids: tuple[str, ...]
    parts: dict[str, int]
    whole_width: Estimate | None = None
    judged: tuple[Judged, ...] = ()
    gain: Estimate | None = None
    notes: tuple[Note, ...] = ()

    def to_json(self) -> str:
        """Returns the JSON for programs."""
        return dump_json(self.model_dump(by_alias=True))


def select_prompts(
    answers: Answers, n: int, taxonomy: str, *, keep: Keep = "ranking", seed: int = 0
) -> Selection:
    """Chooses `n` prompts, as many of each subcomponent as a balanced sample has.

    To keep the ranking, those that tell most about which model is better; to keep the rates, those
    that lie evenly along the difficulties of their subcomponent.
    """
    prompts = answers.prompts
    if n >= len(prompts.prompts):
        raise UsageError(f"--n must be below the size of {prompts.name}, {len(prompts.prompts):,}")
    fit = fit_difficulty(answers.passed, answers.parts)
    sample = {prompt.id for prompt in prompts.sample(n, seed).prompts}
    quota = np.bincount(
        [part for part, p in zip(answers.parts, prompts.prompts, strict=True) if p.id in sample],
        minlength=len(answers.labels),
    )
    chosen = np.sort(_choose(keep, fit, answers, quota, seed))
    kept = [prompts.prompts[place] for place in chosen.tolist()]
    notes, whole, gain, held = answers.notes, None, None, 0
    judged: tuple[Judged, ...] = ()
    if len(answers.names) < _LEAST:
        notes = (*notes, Note("not_judged", n=len(answers.names), least=_LEAST))
    else:
        held = max(3, len(answers.names) // 3)
        spread = float(fit.spread.value)
        whole, judged, gain = _judged(answers, quota, keep, spread, held, seed)
    return Selection(
        taxonomy=taxonomy,
        prompt_set=prompts.info,
        keep=keep,
        seed=seed,
        models=answers.names,
        held_out=held,
        splits=_SPLITS if held else 0,
        ids=tuple(prompt.id for prompt in kept),
        parts=dict(Counter(" · ".join(filter(None, (p.dimension, p.subcomponent))) for p in kept)),
        whole_width=whole,
        judged=judged,
        gain=gain,
        notes=notes,
    )


def _choose(
    way: Way, fit: DifficultyFit | None, answers: Answers, quota: NDArray[np.int64], seed: int
) -> _Chosen:
    """Chooses so many prompts of each part; ties and random choices depend on the seed alone."""
    drawn = seeded_order(seed)
    order = np.argsort([drawn(prompt.id) for prompt in answers.prompts.prompts], kind="stable")
    found = []
    for part, count in enumerate(quota.tolist()):
        own = order[answers.parts[order] == part]
        if fit is not None and way == "ranking":
            own = own[np.argsort(-fit.information[own], kind="stable")]
        elif fit is not None and way == "rates":
            own = own[np.argsort(fit.failing.value[own], kind="stable")]
            start = float(stream(seed, "rates", part).random())
            own = own[((np.arange(count) + start) * len(own) / max(count, 1)).astype(int)]
        found.append(own[:count])
    return np.concatenate(found)


def _judged(
    answers: Answers,
    quota: NDArray[np.int64],
    keep: Keep,
    spread: float,
    held: int,
    seed: int,
) -> tuple[Estimate, tuple[Judged, ...], Estimate | None]:
    """Holds models out again and again, chooses by the others, and judges on those held out."""
    rng, models = stream(seed, "held out"), len(answers.names)
    names = [prompt.dimension for prompt in answers.prompts.prompts]
    dimensions = np.unique(names, return_inverse=True)[1]
    values: Mapping[Way, list[list[Array]]] = {way: [] for way in get_args(Way)}
    widths = []
    for split in range(_SPLITS):
        out = rng.permutation(models)[:held]
        seen = np.delete(answers.passed, out, axis=0)
        fit = fit_difficulty(seen, answers.parts, known_spread=spread)
        passed = answers.passed[out]
        whole = _rates(passed, dimensions)
        widths.append(float(np.nanmean(whole[1])))

        judge, first = _judge_on(passed, dimensions, whole), seed + 1000 * (split + 1)
        drawn = [_choose("random", None, answers, quota, first + n) for n in range(_DRAWS)]
        values["random"].append([judge(each) for each in drawn])
        for way in get_args(Keep):
            values[way].append([judge(_choose(way, fit, answers, quota, first))])
    judged = tuple(_summed(way, np.array(values[way])) for way in get_args(Way))
    gains = [
        float(np.mean([each[0] for each in own]) - np.mean([each[0] for each in others]))
        for own, others in zip(values[keep], values["random"], strict=True)
    ]
    return _over_splits(np.array(widths)), judged, _known(np.array(gains))


def _judge_on(
    passed: Array, dimensions: _Chosen, whole: tuple[Array, Array]
) -> Callable[[_Chosen], Array]:
    """Returns what judges chosen prompts: tau, mean width and shift on the models."""

    def judge(chosen: _Chosen) -> Array:
        rate, width = _rates(passed[:, chosen], dimensions[chosen])
        there = ~np.isnan(rate) & ~np.isnan(whole[0])
        tau = kendall_tau(rate[None, there], whole[0][None, there])[0]
        return np.array([tau, np.nanmean(width), np.nanmean(rate - whole[0])])

    return judge


def _rates(passed: Array, dimensions: _Chosen) -> tuple[Array, Array]:
    """Returns each model's mean rate over the dimensions with scores, and its interval's width.

    Per cent; the width is the normal one, of rates with two more responses (Agresti & Coull).
    """
    rates, variances = [], []
    for dimension in np.unique(dimensions):
        own = passed[:, dimensions == dimension]
        n, passes = (~np.isnan(own)).sum(axis=1), np.nansum(own, axis=1)
        near = (passes + 1) / (n + 2)
        rates.append(np.where(n > 0, passes / np.maximum(n, 1), np.nan))
        variances.append(np.where(n > 0, near * (1 - near) / np.maximum(n, 1), np.nan))
    there = (~np.isnan(rates)).sum(axis=0)
    share = np.where(there > 0, 1.0, np.nan) / np.maximum(there, 1)
    half = 1.96 * np.sqrt(np.nansum(variances, axis=0)) * share
    return 100 * np.nansum(rates, axis=0) * share, 200 * half


def _summed(way: Way, values: Array) -> Judged:
    """Sums up values of shape (splits, draws, 3)."""
    tau, width, shift = (values[..., place].ravel() for place in range(3))
    return Judged(way=way, tau=_known(tau), width=_over_splits(width), shift=_over_splits(shift))


def _known(values: Array) -> Estimate | None:
    there = values[~np.isnan(values)]
    return _over_splits(there) if len(there) else None


def _over_splits(values: Array) -> Estimate:
    low, high = np.quantile(values, (0.025, 0.975))
    mean = float(np.mean(values))
    return Estimate(
        value=mean, low=min(float(low), mean), high=max(float(high), mean), method=METHOD
    )


def chosen_rows(answers: Answers, found: Selection) -> Iterator[dict[str, Any]]:
    """Yields the chosen prompts as rows of a file."""
    return (answers.prompts.by_id[prompt_id].to_dict() for prompt_id in found.ids)
