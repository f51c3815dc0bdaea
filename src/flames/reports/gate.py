"""What a gate found, in words: a line per rule, JSON, JUnit XML and a step summary."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from flames.analysis.gate import Failing, RuleResult
from flames.analysis.limits import OVERALL
from flames.errors import UsageError
from flames.metrics.result import Estimate, format_estimate, format_interval
from flames.reports.tables import Block, Column, Number, Table
from flames.reports.view import part_label
from flames.reports.words import join, listed, name_of, reasons, same, say
from flames.taxonomy import Language, Taxonomy, Text
from flames.text import for_markdown, for_terminal, for_xml

_IN_SUMMARY = 10  # failing responses of a rule in a step summary


@dataclass(frozen=True)
class GateRule(RuleResult):
    """A checked rule with its words: what it asks, and what was found."""

    rule: str = ""
    found: str = ""

    @classmethod
    def of(cls, result: RuleResult, taxonomy: Taxonomy, lang: Language) -> GateRule:
        """Puts a result into words of one language."""
        known = {field.name: getattr(result, field.name) for field in fields(result)}
        rule, found = _rule(result, taxonomy)(lang), _found(result)(lang)
        return cls(**known, rule=rule, found=found)

    def to_dict(self, lang: Language) -> dict[str, Any]:
        """Returns the rule for programs, the failing responses without what is not known."""
        data = asdict(self)
        data["remarks"] = [note.to_dict() | {"text": note.words(lang)} for note in self.remarks]
        data["failing"] = [
            {name: value for name, value in asdict(each).items() if value is not None}
            for each in self.failing
        ]
        return data


@dataclass(frozen=True)
class GateOutcome:
    """Every rule on every model; `rules_file` is the file that rules came from, if any."""

    rules: list[GateRule]
    lang: Language = "en"
    rules_file: Path | None = None

    @property
    def passed(self) -> bool:
        """Whether all rules are kept."""
        return all(rule.passed for rule in self.rules)

    def document(self) -> Iterator[Block]:
        """Describes the outcome as a table with the numbers of every rule."""

        def number(rule: GateRule) -> Number:
            if rule.value is None or rule.low is None or rule.high is None:
                return Number(None)
            ends = {"low": rule.low, "high": rule.high, "method": rule.method or ""}
            return Number(Estimate(value=rule.value, **ends), 2, 1)

        columns: list[Column[GateRule]] = [
            Column(say("model"), lambda rule: rule.model, text=True),
            Column(say("gate.rule"), lambda rule: rule.rule, text=True),
            Column("", lambda rule: say("gate.pass" if rule.passed else "gate.fail"), text=True),
            Column(say("gate.value"), number),
            Column("p", lambda rule: Number(rule.p, 3)),
            Column(say("gate.corrected"), lambda rule: Number(rule.p_corrected, 3)),
            Column("n", lambda rule: rule.n),
            Column(say("gate.missing"), lambda rule: rule.missing),
        ]
        yield Table.of("Flames gate", columns, self.rules)

    def to_dict(self) -> dict[str, Any]:
        """Returns the outcome as `flames gate --json` prints it."""
        return {
            "schema": 1,
            "passed": self.passed,
            "rules_file": None if self.rules_file is None else str(self.rules_file),
            "rules": [rule.to_dict(self.lang) for rule in self.rules],
        }


def _name(name: str, taxonomy: Taxonomy) -> Text:
    """Returns a name as the rules spell it in English, and as it is called in Chinese."""
    if name == OVERALL:
        return Text(zh=say("overall.short").zh, en=name)
    for dimension in taxonomy.dimensions:
        if name == dimension.name:
            return Text(zh=dimension.label.zh, en=name)
        if any(name == part.name for part in dimension.subcomponents):
            return Text(zh=part_label(taxonomy, dimension.name, name).zh, en=name)
    return same(name)


def _rule(result: RuleResult, taxonomy: Taxonomy) -> Text:
    limit = f"{result.limit:g}"
    if result.kind == "share":
        return say("gate.share", name=say(f"gate.what.{result.name}"), limit=limit)
    form = "gate.fall.significant" if result.significant else f"gate.{result.kind}"
    return say(form, name=_name(result.name, taxonomy), limit=limit)


def _found(result: RuleResult) -> Text:
    remarks = [note.words for note in result.remarks]
    if result.value is None:
        return say("gate.not_measured", why=listed(remarks, "semicolon"))
    if result.kind == "share":
        counts = {"n": f"{result.missing:,}", "total": f"{result.n:,}"}
        why = join(say("gate.colon"), reasons(result.unscored)) if result.unscored else same("")
        return say("gate.found.share", share=f"{result.value:.2f}", reasons=why, **counts)
    estimate = Estimate(
        value=result.value, low=result.low or 0.0, high=result.high or 0.0, method=""
    )
    if result.kind == "least":
        return same(f"{result.value:.2f} % {format_interval(estimate)}")
    tests = say("gate.tests.one") if result.tests == 1 else say("gate.tests", n=result.tests)
    gap = say(
        "gate.found.fall",
        gap=format_estimate(estimate, 2, 1, sign=True),
        before=f"{result.before:.2f}",
        after=f"{result.after:.2f}",
        p=_p(result.p),
        tests=tests,
        corrected=_p(result.p_corrected),
        both=_p(result.p_two_sided),
    )
    return listed([gap, *remarks], "semicolon")


def _p(value: float | None) -> str:
    return "< 0.001" if value is None or value < 0.0005 else f"= {value:.3f}"


def _failing_line(each: Failing, lang: Language) -> str:
    """Returns a failing response on one line: id, dimension, score, prompt and response."""
    sample = f"#{each.sample}" if each.sample else ""
    place = " / ".join(filter(None, (each.dimension, each.subcomponent)))
    if each.unscored is not None:
        told = name_of("reason", each.unscored)(lang)
    elif each.before is not None:
        told = f"{each.before:g} → {each.score:g}"
    else:
        told = "" if each.score is None else f"{each.score:g}"
    texts = " → ".join(filter(None, (each.prompt, each.response)))
    if each.earlier:
        texts = say("gate.earlier", n=each.earlier)(lang) + texts
    return f"{each.prompt_id}{sample} [{place}] {told}" + (f": {texts}" if texts else "")


def _failing_lines(rule: RuleResult, most: int, lang: Language) -> Iterator[str]:
    for each in rule.failing[:most]:
        yield for_terminal(_failing_line(each, lang))
    left = rule.failing_n - min(most, len(rule.failing))
    if left:
        yield say("gate.more", n=f"{left:,}")(lang)


def gate_lines(outcome: GateOutcome) -> Iterator[str]:
    """Yields the line of every rule."""
    for rule in outcome.rules:
        word = say("gate.pass" if rule.passed else "gate.fail")(outcome.lang)
        yield f"{word}  {rule.model}: {rule.rule}: {rule.found}"


def to_junit(rules: Sequence[GateRule], lang: Language = "en") -> str:
    """Returns JUnit XML with a test case per rule; a failure lists what failed."""
    failures = sum(not each.passed for each in rules)
    suite = ElementTree.Element(
        "testsuite", name="flames gate", tests=str(len(rules)), failures=str(failures)
    )
    for each in rules:
        texts = (each.rule, each.model, each.found)
        name, model, found = (for_xml(for_terminal(text)) for text in texts)
        case = ElementTree.SubElement(suite, "testcase", classname=model, name=name)
        if each.passed:
            ElementTree.SubElement(case, "system-out").text = found
        else:
            lines = [found, *_failing_lines(each, len(each.failing), lang)]
            failure = ElementTree.SubElement(case, "failure", message=f"{name}: {found}")
            failure.text = for_xml("\n".join(lines))
    suites = ElementTree.Element("testsuites")
    suites.append(suite)
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def to_summary(rules: Sequence[GateRule], lang: Language = "en") -> str:
    """Returns Markdown for a step summary; text from outside is escaped."""
    failed = sum(not each.passed for each in rules)
    counts = {"n": failed, "total": len(rules)}
    title = say("gate.title.broken" if failed else "gate.title.kept", **counts)(lang)
    head = " | ".join(say(name)(lang) for name in ("model", "gate.rule", "gate.found"))
    lines = [f"### Flames gate: {title}", "", f"| | {head} |", "|---|---|---|---|"]
    for each in rules:
        mark = "✅" if each.passed else "❌"
        cells = (for_markdown(text) for text in (each.model, each.rule, each.found))
        lines.append(f"| {mark} | {' | '.join(cells)} |")
    for each in rules:
        if each.failing:
            told = f"{each.model}: {each.rule} ({each.failing_n:,})"
            lines += ["", f"**{for_markdown(told)}**", ""]
            lines += [f"- {for_markdown(t)}" for t in _failing_lines(each, _IN_SUMMARY, lang)]
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
