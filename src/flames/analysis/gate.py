"""Checks a run against rules: thresholds, allowed drops, coverage.

Numbers and keys only; `flames.reports.gate` says them in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from flames.analysis.compare import compare
from flames.analysis.comparison import Difference, DimensionComparison, PairComparison
from flames.analysis.gate_rules import BLOCKED, Rules
from flames.analysis.limits import OVERALL
from flames.analysis.source import display_names
from flames.errors import UsageError
from flames.metrics.grouping import subcomponent_names
from flames.metrics.intervals import BY_PROMPT, design_effect, wilson
from flames.metrics.paired import holm
from flames.metrics.rates import measure
from flames.metrics.result import Estimate, Group, Note, Overall, Result
from flames.metrics.source import Source
from flames.records import Prompt, Verdict
from flames.taxonomy import Taxonomy, default_taxonomy
from flames.text import shorten

LEVEL = 0.05
"""How often a gate may call a fall what is none."""

SHOWN = 50
"""How many failing responses of a rule are told."""

_EXCERPT = 200  # terminal columns

Kind = Literal["least", "share", "fall"]


@dataclass(frozen=True)
class Failing:
    """A response that speaks against a rule: harmful, unscored, or worse than the baseline's.

    Prompt and response are shortened to one safe line; of several turns, `prompt` is the last one
    and `earlier` counts those before it. Of a fall, `prompt_id` stands for all responses to the
    prompt, `score` and `before` for their mean scores.
    """

    prompt_id: str
    dimension: str
    subcomponent: str | None = None
    sample: int | None = None
    score: float | None = None
    before: float | None = None
    unscored: str | None = None
    prompt: str | None = None
    earlier: int | None = None
    response: str | None = None


@dataclass(frozen=True)
class RuleResult:
    """One rule on one model by one scorer: whether it holds, and the numbers found.

    Args:
        kind: `least` (a harmless rate), `share` (of unscored responses) or `fall`.
        name: `overall`, a dimension or subcomponent; of a share what is counted.
        limit: What the rule allows, in per cent or points.
        value: The rate, the share or the difference (a fall is negative); None if not measured.
        n: Responses that were expected; of a fall the prompts that were compared.
        missing: Responses without a score; of a fall the prompts that were left out.
        before, after: The two rates of a fall.
        p: The one-sided p value of a fall, and corrected over the `tests` falls asked about.
        significant: Whether only a confirmed fall breaks the rule.
        unscored: The counted responses without a score, by reason.
        remarks: What a reader must know, or why nothing was measured.
        failing: What broke the rule, the worst first, at most `SHOWN` of `failing_n`.
    """

    model: str
    kind: Kind
    name: str
    limit: float
    passed: bool
    value: float | None = None
    low: float | None = None
    high: float | None = None
    method: str | None = None
    n: int = 0
    missing: int = 0
    before: float | None = None
    after: float | None = None
    p: float | None = None
    p_corrected: float | None = None
    p_two_sided: float | None = None
    tests: int | None = None
    significant: bool = False
    unscored: dict[str, int] = field(default_factory=dict)
    remarks: tuple[Note, ...] = ()
    failing: tuple[Failing, ...] = ()
    failing_n: int = 0
    scorer: str = ""


@dataclass(frozen=True)
class _Fall:
    """A rule on a fall, before the p values of all of them are corrected together."""

    model: str
    name: str
    most: float
    pair: PairComparison
    source: Source

    @property
    def group(self) -> DimensionComparison | PairComparison | None:
        groups: dict[str, DimensionComparison | PairComparison]
        groups = {**self.pair.dimensions, OVERALL: self.pair}
        return groups.get(self.name)

    @property
    def difference(self) -> Difference | None:
        return None if self.group is None else self.group.harmless_rate


def check(
    sources: Sequence[Source],
    rules: Rules,
    baseline: Sequence[Source] = (),
    taxonomy: Taxonomy | None = None,
    *,
    common: bool = False,
    seed: int = 0,
) -> list[RuleResult]:
    """Checks every rule on every source; the baseline is one model by the same scorer."""
    taxonomy = taxonomy or default_taxonomy()
    if not (rules.least or rules.most_drop or rules.shares):
        raise UsageError(
            "a gate needs a rule: --min, --against with --max-drop, --max-unscored, "
            "--max-blocked, --max-failed, or a file of rules (flames gate --init writes one)"
        )
    if rules.most_drop and not baseline:
        raise UsageError("--max-drop needs --against BASE")
    for name in rules.most_drop:
        if name not in (OVERALL, *taxonomy.names):
            known = ", ".join((OVERALL, *taxonomy.names))
            raise UsageError(f"--max-drop is tested for {known}, not for {name!r}")
    checked: list[RuleResult | _Fall] = []
    scorers: dict[str, str] = {}
    for source, shown in zip(sources, display_names(sources), strict=True):
        scorers[shown] = source.scorer
        measured = measure(source, taxonomy, seed=seed)
        result = measured.model_copy(update={"model": shown})
        checked += [_least(source, result, *limit, taxonomy) for limit in rules.least.items()]
        checked += [_share(source, result, *limit) for limit in rules.shares.items()]
        if rules.most_drop:
            base = _baseline(baseline, source)
            pair = compare([base, source], taxonomy, common=common, seed=seed).pairs[0]
            checked += [_Fall(shown, *limit, pair, source) for limit in rules.most_drop.items()]
    falls = [each for each in checked if isinstance(each, _Fall)]
    tested = [fall.difference.p_fall for fall in falls if fall.difference]
    corrected = iter(holm(tested))
    results = []
    for each in checked:
        if isinstance(each, _Fall):
            p = next(corrected) if each.difference else 1.0
            each = _fall_result(each, p, len(tested), rules.significant)
        results.append(replace(each, scorer=scorers[each.model]))
    return results


def _least(
    source: Source, result: Result, name: str, least: float, taxonomy: Taxonomy
) -> RuleResult:
    groups: dict[str, Group | Overall]
    groups = {**result.subcomponents, **result.dimensions, OVERALL: result.overall}
    group = groups.get(name)
    if isinstance(group, Overall):
        n, scored = group.coverage.prompts, group.coverage.scored
    else:
        n, scored = (0, 0) if group is None else (group.n, group.scored)
    counts: dict[str, Any] = {"n": n, "missing": n - scored}
    rate = None if group is None else group.harmless_rate
    if rate is None:
        why = Note("gate.no_score")
        if name == OVERALL:
            found = [n for n, own in result.dimensions.items() if own.harmless_rate is not None]
            why = Note("gate.partial", dimensions=", ".join(found)) if found else why
        return RuleResult(result.model, "least", name, least, False, remarks=(why,), **counts)
    passed = rate.value >= least - 1e-9
    harmful: list[Verdict] = []
    if not passed:
        harmful = sorted(_harmful(source, name, taxonomy), key=lambda verdict: verdict.score or 0)
    return RuleResult(
        result.model, "least", name, least, passed, **_numbers(rate), **counts,
        **_failing(source, harmful),
    )  # fmt: skip


def _harmful(source: Source, name: str, taxonomy: Taxonomy) -> Iterator[Verdict]:
    """Yields the verdicts below the best score, overall or in one dimension or subcomponent."""
    parts = subcomponent_names(taxonomy)
    for verdict in source.verdicts:
        dimension = taxonomy.dimension(verdict.dimension)
        part = parts.get((dimension.name, verdict.subcomponent or ""))
        harmful = verdict.score is not None and verdict.score < dimension.best
        if harmful and name in (OVERALL, dimension.name, part):
            yield verdict


def _numbers(estimate: Estimate) -> dict[str, Any]:
    return estimate.model_dump(include={"value", "low", "high", "method"})


def _share(source: Source, result: Result, what: str, most: float) -> RuleResult:
    coverage = result.overall.coverage
    counted = {
        reason: n
        for reason, n in coverage.unscored.items()
        if what == "unscored" or (reason == BLOCKED) == (what == BLOCKED)
    }
    number = sum(counted.values())
    missing = [v for v in source.verdicts if v.score is None and (v.unscored or "") in counted]
    share = 100 * number / coverage.prompts
    passed = share <= most + 1e-9
    return RuleResult(
        result.model, "share", what, most, passed, value=share,
        **_share_interval(source, missing, number), n=coverage.prompts, missing=number,
        unscored=counted, **_failing(source, () if passed else missing),
    )  # fmt: skip


def _share_interval(source: Source, missing: Sequence[Verdict], number: int) -> dict[str, Any]:
    size, method = float(len(source.verdicts)), "wilson"
    if source.samples > 1:
        keys = {verdict.key for verdict in missing}
        values = np.array([[float(verdict.key in keys)] for verdict in source.verdicts])
        size /= design_effect(values, [verdict.prompt_id for verdict in source.verdicts])
        method = f"wilson, {BY_PROMPT}"
    low, high = wilson(size * number / len(source.verdicts), size)
    return {"low": 100 * low, "high": 100 * high, "method": method}


def _failing(source: Source, verdicts: Sequence[Verdict]) -> dict[str, Any]:
    def told(verdict: Verdict) -> Failing:
        prompt, response = source.prompts.get(verdict.prompt_id), source.responses.get(verdict.key)
        return Failing(
            prompt_id=verdict.prompt_id,
            sample=verdict.sample,
            dimension=verdict.dimension,
            subcomponent=verdict.subcomponent,
            score=verdict.score,
            unscored=verdict.unscored,
            prompt=_excerpt(prompt.text if prompt else None),
            earlier=_earlier(prompt),
            response=_excerpt(response.response if response else None),
        )

    return {"failing": tuple(map(told, verdicts[:SHOWN])), "failing_n": len(verdicts)}


def _excerpt(text: str | None) -> str | None:
    return shorten(text, _EXCERPT) if text else None


def _earlier(prompt: Prompt | None) -> int | None:
    return len(prompt.history) if prompt and prompt.history else None


def _baseline(baseline: Sequence[Source], source: Source) -> Source:
    same = [base for base in baseline if base.scorer == source.scorer] or list(baseline)
    if len(same) > 1:
        same = [base for base in same if base.model == source.model] or same
    if len(same) > 1:
        names = ", ".join(base.label for base in same)
        raise UsageError(f"{same[0].origin}: a baseline is one model by one scorer, not: {names}")
    return same[0]


def _fall_result(fall: _Fall, p: float, tests: int, significant: bool) -> RuleResult:
    """Judges one fall by its p value, corrected over all `tests` of this gate."""
    found, group = fall.difference, fall.group
    missing = sum(fall.pair.left_out.values())
    common: dict[str, Any] = {"significant": significant, "missing": missing}
    if found is None:
        why = Note("gate.no_pair_of_all" if fall.name == OVERALL else "gate.no_pair")
        remarks = (why, *fall.pair.remarks)
        return RuleResult(
            fall.model, "fall", fall.name, fall.most, False, remarks=remarks, **common
        )
    broken = -found.difference.value > fall.most + 1e-9 and (p < LEVEL or not significant)
    worse = tuple(_worse(fall)) if broken else ()
    return RuleResult(
        fall.model, "fall", fall.name, fall.most, not broken, **_numbers(found.difference),
        n=group.n if group else 0, before=found.first, after=found.second,
        p=found.p_fall, p_corrected=p, p_two_sided=found.p, tests=tests,
        remarks=fall.pair.remarks, failing=worse[:SHOWN], failing_n=len(worse), **common,
    )  # fmt: skip


def _worse(fall: _Fall) -> Iterator[Failing]:
    """Yields the prompts that got worse, the largest fall first."""
    for change in fall.pair.changes:
        if change.fall > 0 and fall.name in (OVERALL, change.dimension):
            before, after = (sum(scores) / len(scores) for scores in change.scores)
            yield Failing(
                prompt_id=change.prompt_id,
                dimension=change.dimension,
                subcomponent=change.subcomponent,
                score=after,
                before=before,
                prompt=_excerpt(change.prompt),
                earlier=_earlier(fall.source.prompts.get(change.prompt_id)),
                response=_excerpt(next(iter(change.responses[1]), None)),
            )
