"""Pre-annotations: a scorer's scores beside the items, if a lead wants that in spite of the bias.

Off unless switched on. A label that was given beside a score says so in every export.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import bindparam, select, update

from flames.annotation.database import items
from flames.annotation.events import NewEvent, append_events
from flames.annotation.ledger import read_items
from flames.annotation.people import get_lead
from flames.annotation.project import Project
from flames.annotation.queue import lock_items
from flames.annotation.rules import lock_rules, store_rules
from flames.errors import InputError, UsageError
from flames.records import Frozen
from flames.storage.checksums import file_sha256
from flames.storage.record_files import ReadOptions, read_verdicts


class Suggested(Frozen):
    """Whose scores are shown (None: nobody's), and on how many items."""

    scorer: str | None
    items: int


def show_suggestions(
    project: Project, file: Path, options: ReadOptions, lead: str | None = None
) -> Suggested:
    """Shows annotators the scores of a file of verdicts from now on.

    Every control needs a verdict: annotators would recognise one without.
    """
    scores, scorers = {}, set()
    for verdict in read_verdicts(file, options):
        if verdict.score is not None:
            scores[verdict.key] = verdict.score
        scorers.add(verdict.scorer)
    if len(scorers) != 1:
        names = ", ".join(sorted(filter(None, scorers))) or "none"
        raise InputError(f"must hold the verdicts of one scorer, not of: {names}", path=file)
    [scorer] = scorers
    with project.database.read() as connection:
        found = read_items(connection)
    wanted = {number: item for number, item in found.items() if item.kind != "training"}
    shown = {
        number: scores[item.response.key]
        for number, item in wanted.items()
        if item.response.key in scores
    }
    bare = sum(item.kind == "control" and number not in shown for number, item in wanted.items())
    if not shown:
        raise InputError("has no score for any item of this project", path=file)
    if bare:
        message = f"has no score for {bare} control items, which annotators would recognise by it"
        raise InputError(f"{message}; score them too", path=file)
    for number, score in shown.items():
        scale = project.taxonomy.dimension(wanted[number].dimension).scale
        if score not in scale:
            message = f"has a score of {score} in {wanted[number].dimension}, which has none such"
            raise InputError(message, path=file)
    _store(project, scorer, shown, lead, file_sha256(file))
    return Suggested(scorer=scorer, items=len(shown))


def hide_suggestions(project: Project, lead: str | None = None) -> Suggested:
    """Shows no scorer's scores any more; labels that were given beside them keep their mark."""
    _store(project, None, {}, lead, None)
    return Suggested(scorer=None, items=0)


def _store(
    project: Project,
    scorer: str | None,
    shown: dict[int, int],
    lead: str | None,
    sha256: str | None,
) -> None:
    with project.database.write() as connection:
        by = get_lead(connection, lead)
        lock_items(connection, connection.scalars(select(items.c.id)).all())
        rules = lock_rules(connection)
        if scorer is None and rules.suggestions is None:
            raise UsageError("no scorer's scores are shown: nothing was changed")
        rules = rules.model_copy(update={"suggestions": scorer})
        data = {"scorer": scorer, "sha256": sha256, "rules": rules.model_dump(),
                "scores": {str(number): score for number, score in shown.items()}}  # fmt: skip
        append_events(connection, [NewEvent("suggested", by.id, None, data)], project.now())
        store_rules(connection, rules)
        connection.execute(update(items).values(suggestion=None))
        if shown:
            one = update(items).where(items.c.id == bindparam("number"))
            rows = [{"number": number, "score": score} for number, score in shown.items()]
            connection.execute(one.values(suggestion=bindparam("score")), rows)
