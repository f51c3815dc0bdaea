"""How often a scorer's verdict flips when nothing that matters was changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from flames.errors import MissingExtraError, UsageError
from flames.metrics import wilson
from flames.metrics.result import Estimate
from flames.probes._transform import PROBES, Probe
from flames.records import Key, Response, Verdict
from flames.scorers.base import Scorer, score_stream
from flames.taxonomy import Taxonomy

Labels = Mapping[Key, int]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True)


class Flips(_Frozen):
    """What a probe did to a group of responses.

    `n` counts those that were scored before and after, `rate` is the share of them whose score
    changed. `to_harmless` is the share of those harmful before that are harmless after (the way
    that somebody who cheats wants), `to_harmful` that of those harmless before that are harmful
    after. Rates are in per cent, with Wilson's 95 % intervals; `moves` counts every change.
    """

    n: int
    flips: int
    rate: Estimate | None
    was_harmful: int
    to_harmless: Estimate | None
    was_harmless: int
    to_harmful: Estimate | None
    moves: dict[str, int] = Field(default_factory=dict)


class ProbeResult(_Frozen):
    """One probe: on how many responses it was tried, and what came of it.

    `lost` counts responses that were scored before and not after, by reason; `skipped` says why
    the probe was not run at all.
    """

    name: str
    title: str
    tried: int = 0
    lost: dict[str, int] = Field(default_factory=dict)
    overall: Flips | None = None
    dimensions: dict[str, Flips] = Field(default_factory=dict)
    skipped: str | None = None


class ProbeReport(_Frozen):
    """What all probes did to a scorer's verdicts."""

    schema_: int = Field(default=1, alias="schema")
    scorer: str
    notes: tuple[str, ...] = ()
    source: str
    responses: int
    scored: int
    unscored: dict[str, int]
    probes: tuple[ProbeResult, ...]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return self.model_dump(by_alias=True)


def probe_scorer(
    scorer: Scorer,
    responses: Iterable[Response],
    taxonomy: Taxonomy,
    *,
    source: str,
    labels: Labels | None = None,
    probes: Sequence[str] | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> ProbeReport:
    """Scores responses as they are and transformed, and compares.

    Args:
        scorer: What is probed.
        responses: With dimension and prompt filled in.
        taxonomy: The scales.
        source: What the responses are, for the report.
        labels: What responses deserve, by key; tells harmful bodies apart where it is given,
            and otherwise the scorer's own verdict does.
        probes: Their names; all whose extra is installed unless given.
        progress: Told after each pass of the scorer how many verdicts it gave.

    Raises:
        UsageError: There is no such probe, or nothing to probe with.
        MissingExtraError: A probe that was named needs an extra.
    """
    chosen = [_probe(name) for name in (probes or PROBES)]
    for probe in chosen if probes else ():
        probe.transform("问")  # what is missing is told before a scorer is asked anything
    given = [response for response in responses if response.scorable]
    if not given:
        raise UsageError("there is no response to probe with")
    before = list(score_stream(scorer, given))
    progress(len(before))
    known = labels or {}
    results = []
    for probe in chosen:
        results.append(_tried(scorer, probe, given, before, known, taxonomy))
        progress(results[-1].tried)
    unscored = Counter(v.unscored or "" for v in before if v.score is None)
    return ProbeReport(
        schema=1,
        scorer=scorer.info.id,
        notes=scorer.info.notes,
        source=source,
        responses=len(given),
        scored=len(given) - unscored.total(),
        unscored=dict(unscored),
        probes=tuple(results),
    )


def _probe(name: str) -> Probe:
    if name not in PROBES:
        raise UsageError(f"no probe {name!r}; one of: {', '.join(PROBES)}")
    return PROBES[name]


def _tried(
    scorer: Scorer,
    probe: Probe,
    given: Sequence[Response],
    before: Sequence[Verdict],
    labels: Labels,
    taxonomy: Taxonomy,
) -> ProbeResult:
    pairs: list[tuple[Verdict, Response]] = []
    try:
        for response, verdict in zip(given, before, strict=True):
            if verdict.score is None:
                continue
            dimension = taxonomy.dimension(verdict.dimension)
            right = labels.get(response.key, verdict.score)
            if not probe.applies(right, dimension):
                continue
            changed = probe.transform(response.response or "")
            if changed is not None:
                pairs.append((verdict, response.model_copy(update={"response": changed})))
    except MissingExtraError as error:
        return ProbeResult(name=probe.name, title=probe.title, skipped=str(error))
    after = list(score_stream(scorer, (response for _, response in pairs)))
    lost = Counter(v.unscored or "" for v in after if v.score is None)
    moves = [
        (was.dimension, was.score, now.score)
        for (was, _), now in zip(pairs, after, strict=True)
        if was.score is not None and now.score is not None
    ]
    names = [name for name in taxonomy.names if any(move[0] == name for move in moves)]
    return ProbeResult(
        name=probe.name,
        title=probe.title,
        tried=len(pairs),
        lost=dict(lost),
        overall=_flips(moves, taxonomy),
        dimensions={n: _flips([m for m in moves if m[0] == n], taxonomy) for n in names},
    )


def _flips(moves: Sequence[tuple[str, int, int]], taxonomy: Taxonomy) -> Flips:
    flips = was_harmful = freed = was_harmless = blamed = 0
    for name, was, now in moves:
        dimension = taxonomy.dimension(name)
        best, worst = dimension.best, dimension.scale[-1]
        flips += was != now
        was_harmful += was == worst
        freed += was == worst and now == best
        was_harmless += was == best
        blamed += was == best and now == worst
    changed = Counter(f"{was}→{now}" for _, was, now in moves if was != now)
    return Flips(
        n=len(moves),
        flips=flips,
        rate=_share(flips, len(moves)),
        was_harmful=was_harmful,
        to_harmless=_share(freed, was_harmful),
        was_harmless=was_harmless,
        to_harmful=_share(blamed, was_harmless),
        moves=dict(sorted(changed.items())),
    )


def _share(count: int, n: int) -> Estimate | None:
    if not n:
        return None
    low, high = wilson(count, n)
    return Estimate(value=100 * count / n, low=100 * low, high=100 * high, method="Wilson")
