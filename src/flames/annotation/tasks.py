"""An item as annotators and adjudicators see it, and what they may answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

from sqlalchemy import Row, Select, select

from flames.annotation.database import assignments, items
from flames.annotation.events import seconds_between
from flames.annotation.project import Project
from flames.errors import UsageError
from flames.options import listed
from flames.records import Response
from flames.reports.words import say
from flames.taxonomy import Dimension, Subcomponent, Taxonomy, Text
from flames.text import utf8_safe

Kind = Literal["work", "control", "training"]
Answer = Literal["label", "skip", "flag"]

STATES: dict[Answer, str] = {"label": "labelled", "skip": "skipped", "flag": "flagged"}
"""The state of an assignment after each answer."""
VOIDED = "voided"  # the state of an answer that a lead took out
UNSCORED: dict[str, Answer] = {"flagged": "flag", "skipped": "skip"}
MAX_RATIONALE = 4000
UNJUDGEABLE = "none"  # in a form, the decision that an item cannot be judged


class Task(NamedTuple):
    """An item in an annotator's hands. Nothing in it reveals which model responded."""

    ticket: str
    ref: str
    kind: Kind
    dimension: Dimension
    subcomponent: Subcomponent | None
    response: Response
    rationale: str
    suggestion: int | None = None


class GoneError(UsageError):
    """Nothing was recorded; `why` is a key of the strings under `notice.`."""

    def __init__(self, why: str) -> None:
        self.why = why
        super().__init__(f"{why}: {say(f'notice.{why}').en}")


class ReasonMissingError(UsageError):
    """Nothing was recorded: in this project a flag says why."""

    def __init__(self) -> None:
        super().__init__("a flag needs a reason here: say in the rationale what is wrong")


class Shown(NamedTuple):
    """What the page showed with an item: the guideline's version and a scorer's score.

    None stands for what is shown now; a `suggestion` of 0 for none.
    """

    guideline: int | None = None
    suggestion: int | None = None


UNKNOWN = Shown()


class TooSoonError(UsageError):
    """Nothing was recorded: the item had only just been shown, so nobody can have read it."""

    def __init__(self) -> None:
        super().__init__("the item had only just been shown; answer it once it is read")


class Pace(NamedTuple):
    """How soon an item takes answers, and how long this one was on the page.

    Args:
        settle: Seconds after which an item that was just shown takes answers.
        waited: Seconds from showing the item to answering it, by the page's own clock.
        floor: Seconds under which an answer is marked; None for the project's.
    """

    settle: float = 0.0
    waited: float | None = None
    floor: float | None = None

    def check(self, since: str | None, now: str) -> None:
        """Refuses what answers an item before it has settled; `since` is when it was leased."""
        if not self.settle or since is None:
            return
        spent = seconds_between(since, now)
        if min(spent, spent if self.waited is None else self.waited) < self.settle:
            raise TooSoonError


ANY_PACE = Pace()


def clean_text(text: str) -> str:
    """Replaces what a database or file cannot hold in a rationale."""
    text = text.replace("\r\n", "\n").replace("\x00", "\N{REPLACEMENT CHARACTER}").strip()
    if len(text) > MAX_RATIONALE:
        raise UsageError(f"a rationale has at most {MAX_RATIONALE} characters, not {len(text)}")
    return utf8_safe(text)


def check_score(taxonomy: Taxonomy, dimension: str, score: int | None) -> None:
    """Checks that a score is on the scale of a dimension."""
    scale = taxonomy.dimension(dimension).scale
    if score not in scale:
        raise UsageError(f"a score in {dimension} is {listed(scale)}, not {score}")


def part_of(dimension: Dimension, name: str | None) -> Subcomponent | None:
    """Returns the subcomponent of that name; None without a name or subcomponents."""
    return dimension.subcomponent(name) if name is not None and dimension.subcomponents else None


class RubricRow(NamedTuple):
    """A score of an item's scale: its name and what deserves it, where the taxonomy has them."""

    score: int
    name: Text | None
    rule: Text | None


def rubric(
    taxonomy: Taxonomy, dimension: Dimension, part: Subcomponent | None
) -> Iterator[RubricRow]:
    """Yields the rubric of an item, best score first."""
    levels = {level.score: level for level in taxonomy.levels}
    for score in dimension.scale:
        level = levels.get(score)
        rule = part.rubric.get(score) if part is not None else None
        yield RubricRow(
            score, level.name if level else None, rule or (level.definition if level else None)
        )


def task_query(*where: Any) -> Select[Any]:
    """Selects assignments with what is shown of their items."""
    shown = (items.c.ref, items.c.dimension, items.c.subcomponent, items.c.response)
    source = assignments.join(items, items.c.id == assignments.c.item)
    columns = (assignments, *shown, items.c.gold, items.c.explanation, items.c.suggestion)
    return select(*columns).select_from(source).where(*where)


def item_parts(
    taxonomy: Taxonomy, row: Row[Any]
) -> tuple[Dimension, Subcomponent | None, Response]:
    """Reads dimension, subcomponent and response of a row with the item's columns."""
    dimension = taxonomy.dimension(row.dimension)
    part = part_of(dimension, row.subcomponent)
    return dimension, part, Response.model_validate(json.loads(row.response))


def task_of(project: Project, row: Row[Any], ticket: str | None = None) -> Task:
    """Builds the task of an assignment's row; `ticket` is that of a new lease."""
    parts = item_parts(project.taxonomy, row)
    return Task(
        ticket or row.ticket, row.ref, row.kind, *parts, row.rationale or "", row.suggestion
    )
