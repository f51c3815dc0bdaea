"""How hard each prompt of a set is for the models that answered it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from flames import __version__
from flames.analysis.source import display_names, fill_unasked
from flames.errors import UsageError
from flames.metrics.columns import NO_SCORE, Columns
from flames.metrics.difficulty import DifficultyFit, Interval, fit_difficulty
from flames.metrics.intervals import Array
from flames.metrics.result import Estimate, Note
from flames.metrics.source import Source
from flames.prompts.sets import PromptSet
from flames.records import Frozen, PromptSetInfo, dump_json
from flames.taxonomy import Taxonomy, default_taxonomy

METHOD = "item response"

Outcome = Literal["mixed", "all pass", "all fail", "no scores"]


class PromptDifficulty(Frozen):
    """How hard a prompt is: `failing` per cent of these models should fail it.

    `models` have a scored response to it, `passed` of them pass; one that gave several responses
    counts by the share that pass. `unscored` counts the other responses by reason.
    """

    id: str
    dimension: str
    subcomponent: str | None = None
    outcome: Outcome
    models: int
    passed: float
    unscored: dict[str, int] = Field(default_factory=dict)
    failing: Estimate
    logit: Estimate
    slope: Estimate | None = None


class PartDifficulty(Frozen):
    """The mean of `failing` over the prompts of a subcomponent."""

    dimension: str
    subcomponent: str | None = None
    prompts: int
    failing: Estimate


class ModelCount(Frozen):
    """What a model gave: prompts with a scored response, and the other responses by reason."""

    name: str
    scorer: str
    origin: str
    prompts: int
    passed: float
    unscored: dict[str, int] = Field(default_factory=dict)


class Difficulty(Frozen):
    """The difficulty of every prompt of a set, in its order.

    `spread` is the standard deviation of difficulties within a subcomponent, in logits;
    `reliability` the share of the variance between prompts that is known, from 0 to 1.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    code_version: str = __version__
    taxonomy: str
    prompt_set: PromptSetInfo
    models: tuple[ModelCount, ...]
    notes: tuple[Note, ...] = ()
    outcomes: dict[Outcome, int]
    spread: Estimate
    slope_spread: Estimate | None = None
    reliability: Estimate
    parts: tuple[PartDifficulty, ...]
    prompts: tuple[PromptDifficulty, ...]

    def to_json(self) -> str:
        """Returns the JSON for programs."""
        return dump_json(self.model_dump(by_alias=True))


@dataclass(frozen=True)
class Answers:
    """The outcomes of models on the prompts of a set.

    `passed` is the share of a model's scored responses that pass, NaN where it has none, shape
    (models, prompts); `unscored` counts the others by prompt and reason, for each model.
    """

    prompts: PromptSet
    names: tuple[str, ...]
    sources: tuple[Source, ...]
    passed: Array
    unscored: tuple[tuple[Counter[str], ...], ...]
    parts: NDArray[np.int64]
    labels: tuple[tuple[str, str | None], ...]
    notes: tuple[Note, ...] = ()


def gather_answers(
    prompts: PromptSet, sources: Sequence[Source], taxonomy: Taxonomy | None = None
) -> Answers:
    """Gathers what models did on the prompts of a set; at least two models must have scores.

    Raises:
        UsageError: There are fewer, or a model stands there under several scorers.
    """
    taxonomy = taxonomy or default_taxonomy()
    scorers: dict[str, str] = {}
    for source in sources:
        if scorers.setdefault(source.model, source.scorer) != source.scorer:
            both = f"{scorers[source.model]}, {source.scorer}"
            raise UsageError(
                f"{source.model} stands there under several scorers; choose --scorer: {both}"
            )
    filled = [fill_unasked(source, prompts) for source in sources]
    found = [_outcomes(source, prompts, taxonomy) for source in filled]
    there = [n for n, (passed, _) in enumerate(found) if not np.isnan(passed).all()]
    if len(there) < 2:
        raise UsageError(
            f"the difficulty of prompts takes scored responses of at least two models on the set "
            f"{prompts.name}; there {'is' if len(there) == 1 else 'are'} {len(there)}"
        )
    names = display_names(filled)
    notes = [
        *(note for source in filled for note in source.notes if note.code == "outside_set"),
        *(Note("nothing_scored", name=names[n]) for n in range(len(names)) if n not in there),
    ]
    if len(kinds := set(scorers.values())) > 1:
        notes.append(Note("several_scorers", scorers=", ".join(sorted(kinds))))
    labels = list(dict.fromkeys((p.dimension, p.subcomponent) for p in prompts.prompts))
    number = {label: n for n, label in enumerate(labels)}
    return Answers(
        prompts=prompts,
        names=tuple(names[n] for n in there),
        sources=tuple(filled[n] for n in there),
        passed=np.array([found[n][0] for n in there]),
        unscored=tuple(found[n][1] for n in there),
        parts=np.array([number[p.dimension, p.subcomponent] for p in prompts.prompts]),
        labels=tuple(labels),
        notes=tuple(dict.fromkeys(notes)),
    )


def _outcomes(
    source: Source, prompts: PromptSet, taxonomy: Taxonomy
) -> tuple[Array, tuple[Counter[str], ...]]:
    columns, place = Columns.of(source.verdicts), {p.id: n for n, p in enumerate(prompts.prompts)}
    ids = [place[prompt_id or ""] for prompt_id in columns.texts("prompt_id")]
    rows = np.array(ids, dtype=np.int64)[columns.codes("prompt_id")]
    best = np.array([taxonomy.dimension(p.dimension).best for p in prompts.prompts])
    scores = columns.score_column()
    scored, count = scores != NO_SCORE, len(prompts.prompts)
    seen = np.bincount(rows[scored], minlength=count)
    passes = np.bincount(rows[scored & (scores == best[rows])], minlength=count)
    unscored: tuple[Counter[str], ...] = tuple(Counter() for _ in prompts.prompts)
    reasons, codes = columns.texts("unscored"), columns.codes("unscored")
    for row in np.flatnonzero(~scored).tolist():
        unscored[rows[row]][reasons[codes[row]] or "no score"] += 1
    return np.where(seen > 0, passes / np.maximum(seen, 1), np.nan), unscored


def measure_difficulty(
    answers: Answers, taxonomy: Taxonomy | None = None, *, slopes: bool = False
) -> Difficulty:
    """Measures how hard the prompts are; with `slopes` also how sharply each separates models."""
    taxonomy = taxonomy or default_taxonomy()
    fit = fit_difficulty(answers.passed, answers.parts, slopes=slopes)
    prompts = tuple(_prompts(answers, fit))
    outcomes = Counter(prompt.outcome for prompt in prompts)
    kinds: tuple[Outcome, ...] = ("mixed", "all pass", "all fail", "no scores")
    return Difficulty(
        taxonomy=taxonomy.id,
        prompt_set=answers.prompts.info,
        models=tuple(_models(answers)),
        notes=answers.notes,
        outcomes={kind: outcomes[kind] for kind in kinds},
        spread=_estimate(fit.spread, ()),
        slope_spread=None if fit.slope_spread is None else _estimate(fit.slope_spread, ()),
        reliability=_estimate(fit.reliability, ()),
        parts=tuple(
            PartDifficulty(
                dimension=dimension,
                subcomponent=part,
                prompts=int((answers.parts == number).sum()),
                failing=_estimate(fit.part_failing, number, 100),
            )
            for number, (dimension, part) in enumerate(answers.labels)
        ),
        prompts=prompts,
    )


def _estimate(found: Interval, place: Any, scale: float = 1) -> Estimate:
    value, low, high = (scale * float(each[place]) for each in found)
    return Estimate(value=value, low=min(low, value), high=max(high, value), method=METHOD)


def _models(answers: Answers) -> Iterator[ModelCount]:
    for number, (name, source) in enumerate(zip(answers.names, answers.sources, strict=True)):
        total: Counter[str] = sum(answers.unscored[number], Counter())
        yield ModelCount(
            name=name,
            scorer=source.scorer,
            origin=str(source.origin),
            prompts=int((~np.isnan(answers.passed[number])).sum()),
            passed=float(np.nansum(answers.passed[number])),
            unscored=dict(sorted(total.items())),
        )


def _prompts(answers: Answers, fit: DifficultyFit) -> Iterator[PromptDifficulty]:
    for n, prompt in enumerate(answers.prompts.prompts):
        column = answers.passed[:, n]
        scored = column[~np.isnan(column)]
        total: Counter[str] = sum((each[n] for each in answers.unscored), Counter())
        yield PromptDifficulty(
            id=prompt.id,
            dimension=prompt.dimension,
            subcomponent=prompt.subcomponent,
            outcome=outcome_of(scored),
            models=len(scored),
            passed=float(scored.sum()),
            unscored=dict(sorted(total.items())),
            failing=_estimate(fit.failing, n, 100),
            logit=_estimate(fit.difficulty, n),
            slope=None if fit.slope is None else _estimate(fit.slope, n),
        )


def outcome_of(scored: Array) -> Outcome:
    """Returns what the models with scores did on a prompt, all of them alike or not."""
    if not len(scored):
        return "no scores"
    return "all pass" if scored.min() == 1 else "all fail" if scored.max() == 0 else "mixed"


def hardest_first(found: Difficulty) -> list[PromptDifficulty]:
    """Returns the prompts, the hardest first."""
    return sorted(found.prompts, key=lambda prompt: (-prompt.failing.value, prompt.id))
