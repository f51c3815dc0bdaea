"""A series of checkpoints: the values of each, and between which of them something changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field

from flames import __version__
from flames.analysis.compare import compare_two, share_prompts
from flames.analysis.comparison import Difference
from flames.analysis.source import display_names
from flames.errors import UsageError
from flames.metrics.conditions import Conditions
from flames.metrics.paired import holm
from flames.metrics.rates import RESAMPLES, measure
from flames.metrics.result import Group, Note, Overall
from flames.metrics.source import Source
from flames.records import Frozen, PromptSetInfo, dump_json
from flames.storage.run_dir import is_run, open_run
from flames.storage.text_files import stem_of
from flames.taxonomy import Taxonomy, default_taxonomy

OVERALL = ""
"""The name of the overall values among those of the dimensions."""

_FOR_EACH = 100
"""Resamples for each test of a trend, at least: a corrected p can then reach 0.01."""


class TrendPoint(Frozen):
    """One checkpoint: what was measured on it; `date` is that of its first response."""

    name: str
    model: str
    origin: str
    date: str | None = None
    prompt_set: PromptSetInfo
    conditions: Conditions | None = None
    notes: tuple[Note, ...] = ()
    overall: Overall
    dimensions: dict[str, Group]


class TrendStep(Frozen):
    """What changed from one checkpoint to another, on the `n` prompts that both have scores for.

    `overall` is None where a dimension has no such prompt. The `p_holm` of all differences are
    corrected together, over every test of the trend.
    """

    first: int
    second: int
    n: int = 0
    left_out: dict[str, int] = Field(default_factory=dict)
    remarks: tuple[Note, ...] = ()
    overall: Difference | None = None
    dimensions: dict[str, Difference] = Field(default_factory=dict)

    @property
    def tested(self) -> dict[str, Difference]:
        """The differences by dimension, that of the overall values first, under no name."""
        overall = {} if self.overall is None else {OVERALL: self.overall}
        return overall | self.dimensions


class Trend(Frozen):
    """A series of checkpoints; `steps` lie between neighbours, `whole` from the first to the last.

    `whole` shows a slow drift that no step shows; with two checkpoints it is their step, and None.
    """

    schema_: Annotated[Literal[1], Field(alias="schema")] = 1
    code_version: str = __version__
    taxonomy: str
    scorer: str
    points: tuple[TrendPoint, ...]
    steps: tuple[TrendStep, ...]
    whole: TrendStep | None = None
    tests: int
    seed: int
    resamples: int

    @property
    def changes(self) -> list[tuple[TrendStep, str, Difference]]:
        """The changes that are shown, in their order: step, dimension and difference."""
        return [
            (step, name, difference)
            for step in self.steps
            for name, difference in step.tested.items()
            if difference.significant
        ]

    @property
    def drifts(self) -> list[tuple[TrendStep, str, Difference]]:
        """What differs between the first and the last checkpoint."""
        if self.whole is None:
            return []
        found = self.whole.tested.items()
        return [(self.whole, name, each) for name, each in found if each.significant]

    def to_json(self) -> str:
        """Returns the JSON for programs."""
        return dump_json(self.model_dump(by_alias=True))


def trend(
    sources: Sequence[Source],
    taxonomy: Taxonomy | None = None,
    *,
    by_date: bool = False,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Trend:
    """Measures checkpoints in the order given, or by date, and tests each step between them.

    A step is tested on the prompts that both checkpoints have in common, paired by prompt.
    """
    taxonomy = taxonomy or default_taxonomy()
    if len(sources) < 2:
        raise UsageError("a trend takes at least two runs; only one was given")
    scorers = list(dict.fromkeys(source.scorer for source in sources))
    if len(scorers) > 1:
        raise UsageError(
            f"a trend is of one scorer; choose one with --scorer: {', '.join(scorers)}"
        )
    if by_date:
        sources = sorted(sources, key=_date)
    named = list(zip(_names(sources), sources, strict=True))
    # A permutation test finds no p below 1 in its resamples, and there are many tests to correct.
    resamples = max(resamples, _FOR_EACH * len(sources) * (len(taxonomy.dimensions) + 1))

    def step(first: int, second: int) -> TrendStep:
        return _step(named, first, second, taxonomy, seed, resamples)

    last = len(named) - 1
    steps = [step(first, second) for first, second in pairwise(range(len(named)))]
    whole = [step(0, last)] if last > 1 else []
    tested = [found for each in (*steps, *whole) for found in each.tested.values()]
    corrected = iter(holm([found.p for found in tested]))
    steps, whole = (
        [_corrected(each, corrected.__next__) for each in own] for own in (steps, whole)
    )
    return Trend(
        taxonomy=taxonomy.id,
        scorer=scorers[0],
        points=tuple(_point(name, source, taxonomy, seed, resamples) for name, source in named),
        steps=tuple(steps),
        whole=whole[0] if whole else None,
        tests=len(tested),
        seed=seed,
        resamples=resamples,
    )


def _started(source: Source) -> str | None:
    """Returns when the first response was made, of a run at least when it began."""
    if source.conditions is not None and source.conditions.started is not None:
        return source.conditions.started
    return open_run(source.origin).manifest.created if is_run(source.origin) else None


def _date(source: Source) -> str:
    started = _started(source)
    if started is None:
        raise UsageError(
            f"{source.origin}: no response says when it was made; give the runs in their order, "
            "without --by-date"
        )
    return started


def _names(sources: Sequence[Source]) -> list[str]:
    """Returns the folders' names for checkpoints of one model, else what tells models apart."""
    own = [stem_of(source.origin) if source.origin.suffix == ".jsonl" else source.origin.name
           for source in sources]  # fmt: skip
    one_model = len({source.model for source in sources}) == 1
    return own if one_model and len(set(own)) == len(own) else display_names(sources)


def _point(name: str, source: Source, taxonomy: Taxonomy, seed: int, resamples: int) -> TrendPoint:
    result = measure(source, taxonomy, seed=seed, resamples=resamples)
    return TrendPoint(
        name=name,
        model=source.model,
        origin=str(source.origin),
        date=_started(source),
        prompt_set=source.prompt_set,
        conditions=source.conditions,
        notes=result.notes,
        overall=result.overall,
        dimensions=result.dimensions,
    )


def _step(
    named: Sequence[tuple[str, Source]],
    first: int,
    second: int,
    taxonomy: Taxonomy,
    seed: int,
    resamples: int,
) -> TrendStep:
    ours, theirs = named[first], named[second]
    if not share_prompts(ours[1], theirs[1]):
        return TrendStep(first=first, second=second, remarks=(Note("nothing_in_common"),))
    pair = compare_two(
        ours, theirs, taxonomy, common=True, parts=False, seed=seed, resamples=resamples
    )
    return TrendStep(
        first=first,
        second=second,
        n=pair.n,
        left_out=pair.left_out,
        remarks=pair.remarks,
        overall=pair.harmless_rate,
        dimensions={name: own.harmless_rate for name, own in pair.dimensions.items()},
    )


def _corrected(step: TrendStep, p: Callable[[], float]) -> TrendStep:
    found = {name: d.model_copy(update={"p_holm": p()}) for name, d in step.tested.items()}
    overall = found.pop(OVERALL, None)
    return step.model_copy(update={"overall": overall, "dimensions": found})
