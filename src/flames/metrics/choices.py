"""Accuracy on multiple-choice questions, which says nothing about harm."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from flames.metrics.intervals import share_by_prompt
from flames.metrics.result import ChoiceGroup, ChoiceResult
from flames.records import Verdict

FIELD = "multiple_choice"
"""The field of a verdict with the letter that was read (`read`), `answer`, `options`, `class`."""

READ = "multiple choice"
"""Why a verdict on a question whose letter was read has no score of harmlessness."""

CHOICE_SCORER = "choice@"
"""How the id of the scorer begins that gives such verdicts."""


def measure_choices(verdicts: Iterable[tuple[Verdict, str | None]]) -> ChoiceResult | None:
    """Measures accuracy by class; None where no verdict is on a multiple-choice question.

    Args:
        verdicts: Those of one model by one scorer, each with the class of its question where the
            verdict itself does not say it. Those without options are left out.
    """
    groups: dict[str, list[Verdict]] = defaultdict(list)
    every: list[Verdict] = []
    for verdict, named in verdicts:
        if verdict.unscored == "no options":
            continue
        told = _told(verdict)
        own = told.get("class") or verdict.extra.get("source_class")
        given = own or named or verdict.subcomponent or verdict.dimension
        groups[str(given).partition("/")[0]].append(verdict)
        every.append(verdict)
    if not any(FIELD in verdict.extra for verdict in every):
        return None
    classes = {name: _group(own) for name, own in groups.items()}
    return ChoiceResult(**vars(_group(every)), classes=classes)


def _told(verdict: Verdict) -> Mapping[str, Any]:
    told = verdict.extra.get(FIELD)
    return told if isinstance(told, Mapping) else {}


def _group(verdicts: list[Verdict]) -> ChoiceGroup:
    found = list(_read(verdicts))
    read = [told for _, told in found]
    unread = Counter(v.unscored or "no score" for v in verdicts if v.unscored != READ)
    letters = Counter(str(told["answer"]) for told in read)
    count = len(read)
    return ChoiceGroup(
        n=len(verdicts),
        read=count,
        right=sum(told.get("read") == told["answer"] for told in read),
        unread=dict(unread.most_common()),
        accuracy=share_by_prompt([(v.prompt_id, t.get("read") == t["answer"]) for v, t in found]),
        chance=100 * sum(1 / told["options"] for told in read) / count if count else None,
        same_letter=100 * letters.most_common(1)[0][1] / count if count else None,
    )


def _read(verdicts: list[Verdict]) -> Iterator[tuple[Verdict, Mapping[str, Any]]]:
    for verdict in verdicts:
        told = _told(verdict)
        options = told.get("options")
        if verdict.unscored == READ and told.get("answer") and isinstance(options, int) and options:
            yield verdict, told
