"""Rules for continuous integration: thresholds, allowed drops, coverage."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any
from xml.etree import ElementTree

from flames.analysis.compare import compare
from flames.analysis.comparison import Difference, DimensionComparison, PairComparison
from flames.analysis.inputs import VerdictOptions
from flames.analysis.limits import OVERALL, parse_limits, parse_share
from flames.analysis.source import display_names
from flames.errors import UsageError
from flames.metrics.paired import holm
from flames.metrics.rates import measure
from flames.metrics.result import Group, Overall, Result, format_estimate, format_interval
from flames.metrics.source import Source
from flames.options import Opt, SeedOptions
from flames.storage.record_files import RecordOptions
from flames.taxonomy import Taxonomy, default_taxonomy
from flames.text import for_markdown, for_terminal

BLOCKED = "blocked"
LEVEL = 0.05
"""How often a gate may call a fall what is none."""


@dataclass(frozen=True)
class Rules:
    """The least harmless rate, the largest fall (in points) and the largest unscored shares.

    Falls need a baseline; with `significant`, a one-sided paired test must confirm them at 5 %,
    corrected over all falls that the gate asks about. Unscored
    responses are `blocked`, or `failed`: all others without a score.
    """

    least: dict[str, float] = field(default_factory=dict)
    most_drop: dict[str, float] = field(default_factory=dict)
    significant: bool = False
    most_unscored: float | None = None
    most_blocked: float | None = None
    most_failed: float | None = None

    @property
    def shares(self) -> dict[str, float]:
        """The largest shares that are limited, by what is counted."""
        given = {
            "unscored": self.most_unscored,
            BLOCKED: self.most_blocked,
            "failed": self.most_failed,
        }
        return {name: most for name, most in given.items() if most is not None}


@dataclass(frozen=True)
class RuleResult:
    """One rule on one model: whether it holds, and the value found.

    A fall has its one-sided p value, raw and corrected over the `tests` falls asked about.
    """

    model: str
    rule: str
    passed: bool
    found: str
    p: float | None = None
    p_corrected: float | None = None
    tests: int | None = None


@dataclass(frozen=True)
class _Fall:
    """A rule on a fall, before the p values of all of them are corrected together."""

    model: str
    name: str
    most: float
    pair: PairComparison

    @property
    def difference(self) -> Difference | None:
        groups: dict[str, DimensionComparison | PairComparison]
        groups = {**self.pair.dimensions, OVERALL: self.pair}
        return groups[self.name].harmless_rate if self.name in groups else None


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
            "--max-blocked, --max-failed"
        )
    if rules.most_drop and not baseline:
        raise UsageError("--max-drop needs --against BASE")
    for name in rules.most_drop:
        if name not in (OVERALL, *taxonomy.names):
            known = ", ".join((OVERALL, *taxonomy.names))
            raise UsageError(f"--max-drop is tested for {known}, not for {name!r}")
    checked: list[RuleResult | _Fall] = []
    for source, shown in zip(sources, display_names(sources), strict=True):
        measured = measure(source, taxonomy, seed=seed)
        result = measured.model_copy(update={"model": shown})
        checked += [_least(result, name, value) for name, value in rules.least.items()]
        checked += [_coverage(result, name, most) for name, most in rules.shares.items()]
        if rules.most_drop:
            base = _baseline(baseline, source)
            pair = compare([base, source], taxonomy, common=common, seed=seed).pairs[0]
            checked += [_Fall(shown, *limit, pair) for limit in rules.most_drop.items()]
    falls = [each for each in checked if isinstance(each, _Fall)]
    tested = [fall.difference.p_fall for fall in falls if fall.difference]
    corrected = iter(holm(tested))
    results = []
    for each in checked:
        if isinstance(each, _Fall):
            p = next(corrected) if each.difference else 1.0
            each = _fall_result(each, p, len(tested), rules.significant)
        results.append(each)
    return results


def _least(result: Result, name: str, least: float) -> RuleResult:
    groups: dict[str, Group | Overall]
    groups = {**result.subcomponents, **result.dimensions, OVERALL: result.overall}
    rate = groups[name].harmless_rate if name in groups else None
    rule = f"{name} ≥ {least:g} %"
    if rate is None:
        why = "no scored response"
        if name == OVERALL:
            scored = [n for n, own in result.dimensions.items() if own.harmless_rate is not None]
            why = f"it takes every dimension; scored: {', '.join(scored) or 'none'}"
        return RuleResult(result.model, rule, False, f"not measured: {why}")
    found = f"{rate.value:.2f} % {format_interval(rate)}"
    return RuleResult(result.model, rule, rate.value >= least - 1e-9, found)


def _coverage(result: Result, what: str, most: float) -> RuleResult:
    coverage = result.overall.coverage
    counted = {
        reason: n
        for reason, n in coverage.unscored.items()
        if what == "unscored" or (reason == BLOCKED) == (what == BLOCKED)
    }
    number = sum(counted.values())
    share = 100 * number / coverage.prompts
    reasons = ", ".join(f"{reason} {n}" for reason, n in counted.items())
    found = f"{share:.2f} % ({number} of {coverage.prompts}{f': {reasons}' if reasons else ''})"
    return RuleResult(result.model, f"{what} ≤ {most:g} %", share <= most + 1e-9, found)


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
    rule = f"{fall.name} falls ≤ {fall.most:g} points" + (", or unconfirmed" if significant else "")
    remarks = map(str, fall.pair.remarks)
    found = fall.difference
    if found is None:
        where = " of every dimension" if fall.name == OVERALL else ""
        why = f"not measured: no prompt{where} that both were scored on"
        return RuleResult(fall.model, rule, False, "; ".join((why, *remarks)))
    gap = format_estimate(found.difference, 2, 1, sign=True)
    asked = f"{tests} rule{'' if tests == 1 else 's'}"
    text = (
        f"{gap}, {found.first:.2f} → {found.second:.2f}, one-sided p {_shown(found.p_fall)}, "
        f"corrected over {asked} {_shown(p)}, two-sided p {_shown(found.p)}"
    )
    broken = -found.difference.value > fall.most + 1e-9 and (p < LEVEL or not significant)
    text = "; ".join((text, *remarks))
    return RuleResult(
        fall.model, rule, not broken, text, p=found.p_fall, p_corrected=p, tests=tests
    )


def _shown(p: float) -> str:
    return "< 0.001" if p < 0.0005 else f"= {p:.3f}"


@dataclass(frozen=True)
class GateOptions(SeedOptions, VerdictOptions, RecordOptions):
    """The rules that verdicts must keep."""

    min: Annotated[
        tuple[str, ...],
        Opt(
            "Minimum harmless rate in per cent, overall or by dimension or part; repeatable.",
            metavar="NAME=RATE",
        ),
    ] = ()
    against: Annotated[str | None, Opt("Run or file to compare with.", metavar="BASE")] = None
    max_drop: Annotated[
        tuple[str, ...],
        Opt(
            "Largest fall of the overall rate (0 unless given); NAME=POINTS for a dimension.",
            metavar="POINTS",
        ),
    ] = ()
    significant: Annotated[
        bool, Opt("Count only a fall that a paired test confirms, corrected over the falls asked.")
    ] = False
    max_unscored: Annotated[
        str | None, Opt("Largest unscored share that is allowed, like 1%.", metavar="SHARE")
    ] = None
    max_blocked: Annotated[
        str | None, Opt("Largest share unscored because it was blocked.", metavar="SHARE")
    ] = None
    max_failed: Annotated[
        str | None, Opt("Largest share unscored for any other reason.", metavar="SHARE")
    ] = None
    common: Annotated[bool, Opt("Compare with BASE on the prompts in common.")] = False
    junit: Annotated[Path | None, Opt("Write JUnit XML.", metavar="FILE")] = None
    summary: Annotated[
        Path | None, Opt("Append a table to this file ($GITHUB_STEP_SUMMARY).", metavar="FILE")
    ] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.significant and self.against is None:
            raise UsageError("--significant needs --against BASE")

    def rules(self, taxonomy: Taxonomy) -> Rules:
        """Reads the rules with the names of a taxonomy."""
        drops = self.max_drop or (() if self.against is None else ("0",))
        return Rules(
            least=parse_limits(self.min, "--min", taxonomy),
            most_drop=parse_limits(drops, "--max-drop", taxonomy, default=OVERALL, points=True),
            significant=self.significant,
            most_unscored=parse_share(self.max_unscored, "--max-unscored"),
            most_blocked=parse_share(self.max_blocked, "--max-blocked"),
            most_failed=parse_share(self.max_failed, "--max-failed"),
        )


@dataclass(frozen=True)
class GateOutcome:
    """Every rule on every model."""

    rules: list[RuleResult]

    @property
    def passed(self) -> bool:
        """Whether all rules are kept."""
        return all(rule.passed for rule in self.rules)

    def to_dict(self) -> dict[str, Any]:
        """Returns the outcome as `flames gate --json` prints it."""
        return {"schema": 1, "passed": self.passed, "rules": [asdict(rule) for rule in self.rules]}


def to_junit(checked: Sequence[RuleResult]) -> str:
    """Returns JUnit XML with one test case per rule."""
    failures = sum(not each.passed for each in checked)
    suite = ElementTree.Element(
        "testsuite", name="flames gate", tests=str(len(checked)), failures=str(failures)
    )
    for each in checked:
        name, model, found = (for_terminal(text) for text in (each.rule, each.model, each.found))
        case = ElementTree.SubElement(suite, "testcase", classname=model, name=name)
        if each.passed:
            ElementTree.SubElement(case, "system-out").text = found
        else:
            ElementTree.SubElement(case, "failure", message=f"{name}: {found}").text = found
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def to_summary(checked: Sequence[RuleResult]) -> str:
    """Returns Markdown for a step summary; text from outside is escaped."""
    failed = sum(not each.passed for each in checked)
    title = f"{failed} of {len(checked)} rules broken" if failed else f"{len(checked)} rules kept"
    lines = [f"### Flames gate: {title}", "", "| | model | rule | found |", "|---|---|---|---|"]
    for each in checked:
        mark = "✅" if each.passed else "❌"
        cells = (for_markdown(text) for text in (each.model, each.rule, each.found))
        lines.append(f"| {mark} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n\n"


def append_summary(path: str | os.PathLike[str], text: str) -> None:
    """Adds to a summary file, which other steps may have begun."""
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise UsageError(f"{target}: cannot be written: {error.strerror}") from None
