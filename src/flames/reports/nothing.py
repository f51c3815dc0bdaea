"""What stands in a report in the place of numbers where no response has a score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from flames.metrics.result import Result
from flames.records import IN_THOUGHT
from flames.reports import view
from flames.reports.tables import Block, line
from flames.reports.words import reasons, say
from flames.taxonomy import Text

_CURES = {"blocked": "blocked", "empty": "empty", IN_THOUGHT: "length"}
_ASKED = frozenset(("error", "not asked"))


@dataclass(frozen=True)
class Nothing:
    """Why there are no numbers: what was counted, the reasons by what was said, what helps."""

    head: Text
    counts: tuple[Text, ...]
    reasons: Mapping[str, int]
    cure: Text

    @property
    def said(self) -> list[Text]:
        """The reasons as lines."""
        return [say("nothing.said", n=n, words=words) for words, n in self.reasons.items()]

    def blocks(self, told: str = "") -> Iterator[Block]:
        """Yields it as lines of a document, without the reasons that were `told`."""
        new = {words: n for words, n in self.reasons.items() if words not in told}
        yield line(self.head, kind="note")
        yield from map(line, (*self.counts, *replace(self, reasons=new).said, self.cure))


def nothing_of(result: Result) -> Nothing | None:
    """Returns why a result has no numbers; None where any response has a score."""
    coverage = result.overall.coverage
    if coverage.scored:
        return None
    counts = [view.coverage_line(coverage)]
    if coverage.unscored:
        counts.append(say("unscored.reasons", reasons=reasons(coverage.unscored)))
    return Nothing(
        head=say("nothing"),
        counts=tuple(counts),
        reasons=result.errors,
        cure=say(f"nothing.cure.{_cure(result)}"),
    )


def _cure(result: Result) -> str:
    coverage = result.overall.coverage
    told = {reason: n for reason, n in coverage.unscored.items() if reason not in _ASKED}
    if coverage.answered:
        lost = result.errors or "not scored" in told
        return "scoring" if lost else "scorer"
    if coverage.unscored.get("error") or not told:
        return "asking"
    return _CURES.get(max(told, key=lambda reason: told[reason]), "asking")


def measured(results: Sequence[Result]) -> tuple[list[Result], list[Text]]:
    """Splits results: those with numbers, and a line on each of the others."""
    found, lines = [], []
    for result in results:
        if nothing_of(result) is None:
            found.append(result)
        else:
            unscored = reasons(result.overall.coverage.unscored)
            name = f"{result.shown_name} · {result.scorer}"
            lines.append(say("nothing.left_out", name=name, reasons=unscored))
    return found, lines
